"""Two endpoints, an impaired path between them, one virtual clock and one seed: no trio, no kernel.

The same seed gives the same octets on the wire, to the last one; what took a minute there takes
milliseconds here. It is how the core is proven, and how a change in its behaviour shows::

    simulator = Simulator(seed=1, impairments=Impairments(loss=0.1, delay=0.01))
    client, server = simulator.connect()
    server.send(b"x" * 1_000_000)
    client.shutdown()
    server.shutdown()
    simulator.run(lambda: client.done and server.done)
    assert client.received == b"x" * 1_000_000
"""

from __future__ import annotations

from collections import deque
from functools import partial
from hashlib import sha256
from heapq import heappop, heappush
from ipaddress import IPv4Interface
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final

from tunstack.path.impair import Impairer, Impairments
from tunstack.stack.flow import Flow
from tunstack.stack.stack import Stack
from tunstack.tcp.connection.state import CAN_SEND, State
from tunstack.wire import gso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tunstack.ip.datagram import Buffer
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config
    from tunstack.tcp.listen.listener import Listener

CLIENT: Final = IPv4Interface("198.51.100.1/24")
SERVER: Final = IPv4Interface("198.51.100.2/24")
PORT: Final = 7

_PIECE: Final = 65536
"""Octets that an application with a low-water mark gives at a time."""


class StuckError(AssertionError):
    """The simulation came to its end, in events or in time, before what it was run for."""


class Application:
    """The application of one end of a simulated connection: sends what it is given, reads all.

    Attributes:
        flow: The connection; None until it is there.
        sent: How many octets the connection has taken.
        received: What was read.
        reading: Whether it reads what is there.
        lowat: How many octets may be unsent when it gives more, 64 KiB at a time
            (TCP_NOTSENT_LOWAT; trio's streams have 16 KiB); None to give all that is taken.
        ended: Whether the peer's end of stream was read.
        error: The error that reading or sending met, if any.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._queue = bytearray()
        self._shutdown = False
        self._gone = False
        self._turn_due = False
        self.flow: Flow | None = None
        self.sent = 0
        self.received = bytearray()
        self.reading = True
        self.lowat: int | None = None
        self.ended = False
        self.error: OSError | None = None

    def attach(self, flow: Flow) -> None:
        """Use `flow` from now on."""
        self.flow = flow
        self._node.stack.attach(flow, self.act)
        self.act()

    def send(self, data: Buffer) -> None:
        """Send `data`, as there is room for it."""
        self._queue += data
        self.act()

    def shutdown(self) -> None:
        """End our half, behind everything that was sent."""
        self._shutdown = True
        self.act()

    def close(self) -> None:
        """Close the connection; what it has taken by now is still delivered."""
        self._gone = True
        if self.flow is not None:
            self._node.stack.close(self.flow)

    def abort(self) -> None:
        """Reset the connection."""
        self._gone = True
        if self.flow is not None:
            self._node.stack.abort(self.flow)

    def read(self, reading: bool) -> None:
        """Begin, or cease, to read."""
        self.reading = reading
        self.act()

    @property
    def done(self) -> bool:
        """Whether both halves have ended: all of ours is acknowledged, all of theirs is read."""
        flow = self.flow
        over = flow is not None and (flow.state in (State.CLOSED, State.TIME_WAIT))
        return self.error is not None or (self.ended and over)

    def act(self) -> None:
        """Send and read as much as the connection allows now."""
        flow = self.flow
        if self._gone or flow is None:
            return
        if flow.state in (State.SYN_SENT, State.SYN_RECEIVED) and not flow.sends_early:
            return
        stack = self._node.stack
        try:
            while self._queue and (size := self._piece(flow)):
                sent = stack.send(flow, bytes(self._queue[:size]), self._node.now)
                del self._queue[:sent]
                self.sent += sent
                if self.lowat is not None:
                    self._go_on()
                    break
            if self._shutdown and not self._queue and flow.state in CAN_SEND:
                stack.shutdown(flow)
                self._shutdown = False
            while self.reading and flow.readable and not self.ended:
                data = stack.read(flow, 65536)
                self.received += data
                self.ended = not data
        except OSError as error:
            self.error = error

    @property
    def left(self) -> int:
        """Octets that the connection has not taken yet."""
        return len(self._queue)

    def _piece(self, flow: Flow) -> int:
        """How many octets to give now."""
        if self.lowat is None:
            return flow.writable_size
        return _PIECE if flow.wants_data(self.lowat) else 0

    def _go_on(self) -> None:
        """Act again in this moment, when what was given has been sent: a task's next turn."""
        if self._queue and not self._turn_due:
            self._turn_due = True
            self._node.soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        self.act()


class Bottleneck:
    """The slowest hop of a path, and the queue before it, which drops what it has no room for.

    Args:
        rate: Bits per second, IP headers included.
        limit: Packets that it holds, the one on its way through it included.
    """

    def __init__(self, rate: float, limit: int) -> None:
        self._rate = rate
        self._limit = limit
        self._leaving: deque[float] = deque()

    def passes(self, now: float, size: int) -> float | None:
        """Take in `size` octets; returns when they have passed, or None if they are dropped."""
        leaving = self._leaving
        while leaving and leaving[0] <= now:
            leaving.popleft()
        if len(leaving) >= self._limit:
            return None
        leaving.append((leaving[-1] if leaving else now) + size * 8 / self._rate)
        return leaving[-1]


class Node:
    """One side: a stack, and the impairments of what it sends."""

    def __init__(
        self,
        interface: IPv4Interface,
        mtu: int,
        rng: Random,
        impairments: Impairments,
        config: Config | None,
        bottleneck: Bottleneck | None,
        soon: Callable[[Callable[[], None]], None],
        *,
        offload: bool,
        predict: bool,
    ) -> None:
        self.now = 0.0
        self.bottleneck = bottleneck
        self.soon = soon
        self.address = interface.ip.packed
        self.stack = Stack(
            [interface], mtu, rng=rng, config=config, offload=offload, predict=predict
        )
        self.impairer = Impairer(impairments, rng)


class Simulator:
    """Two nodes and the path between them.

    Args:
        seed: Of everything random.
        impairments: Of the path, each way; or a pair, of the client's packets and the server's.
        mtu: Of the path.
        bottleneck: Its rate in bits per second, each way, and how many packets wait for it.
        config: What connections begin with, on both sides; or a pair, the client's first.
        middlebox: A device on the path: called with each packet, it returns the one that goes on
            and the one that goes back, either of which may be None.
        tap: Called with ``"client"`` or ``"server"`` and each of that side's observations.
        script: Called with the same, each packet that this side sends, and the time, when a run is
            to go as it is told: it returns how many seconds later than others the packet arrives,
            or None for never.
        offload: Whether the stacks leave segmentation and checksums to the path, which carries
            packets as a wire does all the same.
        predict: Whether they predict headers.

    Attributes:
        now: The virtual time, in seconds.
        events: How many events were processed.
        middlebox: What stands in the way; it may be replaced at any time.
    """

    def __init__(
        self,
        *,
        seed: int,
        impairments: Impairments | tuple[Impairments, Impairments] | None = None,
        mtu: int = 1500,
        bottleneck: tuple[float, int] | None = None,
        config: Config | tuple[Config, Config] | None = None,
        middlebox: Callable[[bytes], tuple[bytes | None, bytes | None]] | None = None,
        tap: Callable[[str, Observation], None] | None = None,
        script: Callable[[str, bytes, float], float | None] | None = None,
        offload: bool = False,
        predict: bool = True,
    ) -> None:
        rng = Random(seed)
        both = impairments or Impairments()
        there, back = both if isinstance(both, tuple) else (both, both)
        self.now = 0.0
        self.events = 0
        self.middlebox = middlebox
        self._offload = offload
        ours, theirs = config if isinstance(config, tuple) else (config, config)
        ways = ((CLIENT, there, ours), (SERVER, back, theirs))
        self.client, self.server = (
            Node(
                interface,
                mtu,
                Random(rng.random()),
                path,
                begins_with,
                bottleneck and Bottleneck(*bottleneck),
                self._soon,
                offload=offload,
                predict=predict,
            )
            for interface, path, begins_with in ways
        )
        if tap is not None:
            self.client.stack.set_tap(lambda observation: tap("client", observation))
            self.server.stack.set_tap(lambda observation: tap("server", observation))
        self._script = script
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._wire = sha256()
        self._listener: Listener | None = None
        self._servers: dict[int, Application] = {}

    @property
    def digest(self) -> str:
        """A hash of every packet sent so far, and of when: equal seeds give equal ones."""
        return self._wire.hexdigest()

    @property
    def nodes(self) -> Iterable[Node]:
        """The client and the server."""
        return self.client, self.server

    def connect(
        self, config: Config | None = None, *, early: bool = False
    ) -> tuple[Application, Application]:
        """Begin a connection; returns the applications of the client and of the server.

        With `config` the client's end begins with that. With `early` what the client sends before
        the simulation goes on may travel in its SYN (TCP Fast Open).
        """
        client, server = Application(self.client), Application(self.server)
        stack = self.server.stack
        if self._listener is None:
            stack.bind(None, PORT, reuse=True)
            self._listener = stack.listen(None, PORT, 128)
            self._listener.changed = self._accept
        flow = self.client.stack.connect(
            self.server.address, PORT, self.now, config=config, early=early
        )
        self._servers[flow.four_tuple.local_port] = server
        client.attach(flow)
        return client, server

    def _accept(self) -> None:
        assert self._listener is not None
        while (flow := self._listener.accept()) is not None:
            assert isinstance(flow, Flow)
            server = self._servers.pop(flow.four_tuple.remote_port, None)
            if server is not None:
                server.attach(flow)
            else:
                # A SYN that came twice: with a cookie, that alone opens (RFC 7413 section 2.1).
                self.server.stack.abort(flow)

    def _soon(self, call: Callable[[], None]) -> None:
        self.at(self.now, call)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Have `call` called at a time of the virtual clock."""
        heappush(self._heap, (when, next(self._order), call))

    def run(
        self,
        until: Callable[[], bool] = lambda: False,
        *,
        limit: float = 3600.0,
        max_events: int = 1_000_000,
    ) -> None:
        """Run until `until` is true; or, if it never is, until nothing is left to happen.

        Raises:
            StuckError: more than `limit` seconds of virtual time, or `max_events`, went by.
        """
        self._settle()
        most = self.events + max_events
        while not until():
            when = self._next_event()
            if when is None:
                return
            if when > limit or self.events >= most:
                raise StuckError(f"at {self.now:.3f} s, after {self.events} events")
            self.events += 1
            self.now = max(self.now, when)
            self._happen()
            self._settle()

    def _next_event(self) -> float | None:
        times = [node.stack.deadline() for node in self.nodes]
        if self._heap:
            times.append(self._heap[0][0])
        return min((time for time in times if time is not None), default=None)

    def _happen(self) -> None:
        """Everything that is due now."""
        for node in self.nodes:
            node.now = self.now
            node.stack.handle_timers(self.now)
        while self._heap and self._heap[0][0] <= self.now:
            heappop(self._heap)[2]()

    def _settle(self) -> None:
        """Let both sides send, and put what they send on the path."""
        for node, peer in ((self.client, self.server), (self.server, self.client)):
            node.stack.flush(self.now)
            while node.stack.outgoing:
                frame = b"".join(node.stack.outgoing.popleft())
                for packet in gso.packets(frame) if self._offload else (frame,):
                    self._put(node, peer, packet)

    def _put(self, node: Node, peer: Node, packet: bytes) -> None:
        """Put a packet of `node` on the path to its peer."""
        if self.middlebox is not None:
            onward, answer = self.middlebox(packet)
            if answer is not None:
                self.at(self.now, partial(self._arrive, node, answer))
            if onward is None:
                return
            packet = onward
        self._wire.update(b"%.9f" % self.now + packet)
        for arrival in self._arrivals(node, packet):
            self.at(arrival, partial(self._arrive, peer, node.impairer.spoil(packet)))

    def _arrivals(self, node: Node, packet: bytes) -> Iterator[float]:
        """When the copies of a packet arrive at the other side."""
        late: float | None = 0.0
        if self._script is not None:
            late = self._script("client" if node is self.client else "server", packet, self.now)
        out = node.bottleneck
        passed = self.now if out is None else out.passes(self.now, len(packet))
        if late is not None and passed is not None:
            for arrival in node.impairer.admit(passed, len(packet)):
                yield arrival + late

    def _arrive(self, node: Node, packet: Buffer) -> None:
        if self._offload:
            packet = gso.COMPLETE + packet
        node.stack.handle_packet(packet, self.now)
