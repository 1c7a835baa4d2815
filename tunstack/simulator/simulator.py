"""The event loop of a simulation: two nodes, the path between them, one virtual clock."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from heapq import heappop, heappush
from ipaddress import ip_interface
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.family import IPV4, IPV6, Family
from tunstack.path.impair import Impairments
from tunstack.simulator.application import Application
from tunstack.simulator.bottleneck import Bottleneck
from tunstack.simulator.node import Node
from tunstack.stack.flow import Flow
from tunstack.wire import gso, virtio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tunstack.ip.address import Interface
    from tunstack.ip.datagram import Buffer
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config
    from tunstack.tcp.listen.listener import Listener

CLIENT: Final[dict[Family, Interface]] = {
    IPV4: ip_interface("198.51.100.1/24"),
    IPV6: ip_interface("2001:db8::1/64"),
}
SERVER: Final[dict[Family, Interface]] = {
    IPV4: ip_interface("198.51.100.2/24"),
    IPV6: ip_interface("2001:db8::2/64"),
}
PORT: Final = 7
"""The port on which the server listens."""

Fate: TypeAlias = "tuple[bytes | Sequence[bytes] | None, bytes | None]"
"""What becomes of a packet at a middlebox: what goes on, and what goes back."""


class StuckError(AssertionError):
    """The simulation exceeded its limit of events or of virtual time."""


class Simulator:
    """Two nodes and the path between them.

    Args:
        seed: Of everything random.
        impairments: Of the path, each way; or a pair, of the client's packets and the server's.
        mtu: Of the path.
        bottleneck: Its rate in bits per second, each way, and how many packets its queue holds.
        config: The initial configuration of connections on both sides; or a pair, the client's
            first.
        middlebox: Called with each packet, it returns the one to forward (or several, as fragments
            of it) and the one to send back, either of which may be None.
        tap: Called with ``"client"`` or ``"server"`` and each of that side's observations.
        script: Called with the side, each packet that it sends, and the time: it returns the
            packet's extra delay in seconds, or None to drop it.
        offload: Whether the stacks leave segmentation and checksums to the path, which segments and
            completes them.
        predict: Whether the stacks use header prediction.
        family: Of their addresses: `CLIENT` and `SERVER`.

    Attributes:
        now: The virtual time, in seconds.
        events: How many events were processed.
        middlebox: As given; it may be replaced at any time.
    """

    def __init__(
        self,
        *,
        seed: int,
        impairments: Impairments | tuple[Impairments, Impairments] | None = None,
        mtu: int = 1500,
        bottleneck: tuple[float, int] | None = None,
        config: Config | tuple[Config, Config] | None = None,
        middlebox: Callable[[bytes], Fate] | None = None,
        tap: Callable[[str, Observation], None] | None = None,
        script: Callable[[str, bytes, float], float | None] | None = None,
        offload: bool = False,
        predict: bool = True,
        family: Family = IPV4,
    ) -> None:
        rng = Random(seed)
        both = impairments or Impairments()
        there, back = both if isinstance(both, tuple) else (both, both)
        self.now = 0.0
        self.events = 0
        self.middlebox = middlebox
        self._offload = offload
        ours, theirs = config if isinstance(config, tuple) else (config, config)
        ways = ((CLIENT[family], there, ours), (SERVER[family], back, theirs))
        self.client, self.server = (
            Node(
                interface,
                mtu,
                Random(rng.random()),
                path,
                begins_with,
                bottleneck and Bottleneck(*bottleneck),
                self._short_sleeps,
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
        """SHA-256 of every packet sent so far and its time: equal seeds give equal digests."""
        return self._wire.hexdigest()

    @property
    def nodes(self) -> Iterable[Node]:
        """The client and the server."""
        return self.client, self.server

    def connect(
        self, config: Config | None = None, *, early: bool = False
    ) -> tuple[Application, Application]:
        """Open a connection; returns the applications of the client and of the server.

        `config` is the client's initial configuration. With `early`, what the client sends before
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
                # A duplicated SYN: with a cookie it opens a connection (RFC 7413 section 2.1).
                self.server.stack.abort(flow)

    def _short_sleeps(self, call: Callable[[], None]) -> None:
        self.at(self.now, call)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Schedule `call` at a time of the virtual clock."""
        heappush(self._heap, (when, next(self._order), call))

    def run(
        self,
        until: Callable[[], bool] = lambda: False,
        *,
        limit: float = 3600.0,
        max_events: int = 1_000_000,
    ) -> None:
        """Run until `until` is true, or no timer and no packet is left.

        Raises:
            StuckError: `limit` seconds of virtual time, or `max_events`, were exceeded.
        """
        self._transmit()
        most = self.events + max_events
        while not until():
            when = self._next_event()
            if when is None:
                return
            if when > limit or self.events >= most:
                raise StuckError(f"at {self.now:.3f} s, after {self.events} events")
            self.events += 1
            self.now = max(self.now, when)
            self._process_due()
            self._transmit()

    def _next_event(self) -> float | None:
        times = [node.stack.deadline() for node in self.nodes]
        if self._heap:
            times.append(self._heap[0][0])
        return min((time for time in times if time is not None), default=None)

    def _process_due(self) -> None:
        """Run all timers and scheduled calls that are due now."""
        for node in self.nodes:
            node.now = self.now
            node.stack.handle_timers(self.now)
        while self._heap and self._heap[0][0] <= self.now:
            heappop(self._heap)[2]()

    def _transmit(self) -> None:
        """Flush both stacks and put their packets on the path."""
        for node, peer in ((self.client, self.server), (self.server, self.client)):
            node.stack.flush(self.now)
            while node.stack.outgoing:
                frame = b"".join(node.stack.outgoing.popleft())
                for packet in gso.packets(frame) if self._offload else (frame,):
                    self._put(node, peer, packet)

    def _put(self, node: Node, peer: Node, packet: bytes) -> None:
        """Put a packet of `node` on the path to its peer."""
        if self.middlebox is not None:
            forwarded, returned = self.middlebox(packet)
            if returned is not None:
                self.at(self.now, partial(self._arrive, node, returned))
            if forwarded is None:
                return
            if not isinstance(forwarded, bytes):
                for each in forwarded:
                    self._carry(node, peer, each)
                return
            packet = forwarded
        self._carry(node, peer, packet)

    def _carry(self, node: Node, peer: Node, packet: bytes) -> None:
        """Have the copies of a packet arrive, each when it does."""
        self._wire.update(b"%.9f" % self.now + packet)
        for arrival in self._arrivals(node, packet):
            self.at(arrival, partial(self._arrive, peer, node.impairer.corrupt(packet)))

    def _arrivals(self, node: Node, packet: bytes) -> Iterator[float]:
        """Yield the arrival times of a packet's copies at the other side."""
        extra: float | None = 0.0
        if self._script is not None:
            extra = self._script("client" if node is self.client else "server", packet, self.now)
        out = node.bottleneck
        departure = self.now if out is None else out.enqueue(self.now, len(packet))
        if extra is not None and departure is not None:
            for arrival in node.impairer.admit(departure, len(packet)):
                yield arrival + extra

    def _arrive(self, node: Node, packet: Buffer) -> None:
        if self._offload:
            packet = virtio.NO_OFFLOAD + packet
        node.stack.handle_packet(packet, self.now)
