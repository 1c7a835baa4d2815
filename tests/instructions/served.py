"""The exchanges of :mod:`.replay` through a host, with trio and without a device.

    python -m tests.instructions.served record served-request 1000 FILE
    python -m tests.instructions.served play served-request FILE

The host's link is in memory: what it receives was recorded, and comes when the host has sent as
much as it had in the recording. So the instructions are those of the core, the host, trio and the
handler: by `Host.serve_tcp`, or by `trio.serve_tcp` on the host's socket factory.
"""

from __future__ import annotations

import gc
import marshal
import sys
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from tests.instructions.replay import ANSWER, CLIENT, PORT, REQUEST, SERVER
from tunstack import Config, Host
from tunstack.host.host import loop_of
from tunstack.stack.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from tunstack import TcpStream
    from tunstack.link.base import Buffer
    from tunstack.stack.flow import Flow

_STEP: Final = 50e-6
"""Seconds between a packet and its answer."""


class Arrival(NamedTuple):
    """Packets for the host, which come when it has sent so many; the last has none."""

    sent: int
    packets: tuple[bytes, ...]


class Clock(trio.abc.Clock):
    """A clock that the link moves."""

    def __init__(self) -> None:
        self.now = 1.0

    def start_clock(self) -> None:
        """Do nothing."""

    def current_time(self) -> float:
        """Return the time of the latest arrival."""
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return the seconds to sleep; nothing waits for a time to come."""
        return 0.0 if deadline <= self.now else 1.0


class ReplayedLink:
    """A link with what comes to a host; it ends the run after that.

    Attributes:
        clock: Moved at each arrival.
        sent: Packets that the host has sent.
        ended: Set when all is played.
    """

    name = "replay"
    mtu = 1500
    offload = udp_offload = True

    def __init__(self, clock: Clock, arrivals: Sequence[Arrival]) -> None:
        self.clock = clock
        self.sent = 0
        self.ended = trio.Event()
        self._listened_to = False
        self._arrivals = list(reversed(arrivals))
        self._waiting = trio.lowlevel.ParkingLot()

    def begin(self) -> None:
        """Begin: there is a listener now."""
        self._listened_to = True
        self._waiting.unpark_all()

    def _is_due(self) -> bool:
        if not self._listened_to or self._arrivals[-1].sent > self.sent:
            return False
        if not self._arrivals[-1].packets:
            self.ended.set()
            return False
        return True

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Receive the next arrival, if it is due."""
        if not self._is_due():
            return []
        self.clock.now += 2 * _STEP
        return [*self._take().packets]

    def _take(self) -> Arrival:
        return self._arrivals.pop()

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Count a packet."""
        self.sent += 1
        if self._is_due():
            self._waiting.unpark_all()
        return True

    async def wait_readable(self) -> None:
        """Wait until the next arrival is due."""
        await trio.lowlevel.checkpoint()
        while not self._is_due():
            await self._waiting.park()

    async def wait_writable(self) -> None:
        """Return at once."""
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Do nothing."""


class RecordedLink(ReplayedLink):
    """A link to a client, which acts as a generator that yields while it waits for packets.

    Attributes:
        recorded: What came to the host.
        total: Packets that the host had sent when the client was done.
    """

    def __init__(self, clock: Clock, client: Callable[[Stack, Clock], Generator[None]]) -> None:
        super().__init__(clock, [])
        self.recorded: list[Arrival] = []
        self.total = 0
        self._stack = Stack(
            [CLIENT[4]], 1500, config=Config(nodelay=True), rng=Random(2), offload=True
        )
        self._running = client(self._stack, clock)
        self._over = False

    def _run(self) -> None:
        """Let the client act until it waits, and note what it sends."""
        stack = self._stack
        if not self._over:
            self._over = next(self._running, self) is self
            self.total = self.sent
        stack.flush(self.clock.now)
        if stack.outgoing:
            packets = tuple(b"".join(packet) for packet in stack.outgoing)
            stack.outgoing.clear()
            arrival = Arrival(self.sent, packets)
            self.recorded.append(arrival)
            self._arrivals.append(arrival)

    def begin(self) -> None:
        """Begin: there is a listener now."""
        self._run()
        super().begin()

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Give a packet to the client."""
        self.sent += 1
        self._stack.handle_packet(b"".join(packet), self.clock.now)
        self._run()
        if self._arrivals:
            self._waiting.unpark_all()
        return True

    def _take(self) -> Arrival:
        return self._arrivals.pop(0)

    def _is_due(self) -> bool:
        if not self._arrivals and self._over:
            self.ended.set()
        return len(self._arrivals) > 0


def _requests(count: int) -> Callable[[Stack, Clock], Generator[None]]:
    """A client with one connection, and so many small requests on it."""

    def run(stack: Stack, clock: Clock) -> Generator[None]:
        flow = yield from _connected(stack, clock)
        for _ in range(count):
            yield from _exchange(stack, clock, flow)

    return run


def _connections(count: int) -> Callable[[Stack, Clock], Generator[None]]:
    """A client with so many connections, one after another; the server closes first."""

    def run(stack: Stack, clock: Clock) -> Generator[None]:
        for _ in range(count):
            flow = yield from _connected(stack, clock)
            yield from _exchange(stack, clock, flow)
            while not flow.readable:
                yield
            assert stack.read(flow, 65536) == b""
            stack.close(flow)
            while flow.state.value != "CLOSED":
                yield

    return run


def _connected(stack: Stack, clock: Clock) -> Generator[None, None, Flow]:
    flow = stack.connect(SERVER[4].ip.packed, PORT, clock.now)
    while flow.state.value != "ESTABLISHED":
        yield
    return flow


def _exchange(stack: Stack, clock: Clock, flow: Flow) -> Generator[None]:
    stack.send(flow, REQUEST, clock.now)
    while not flow.readable:
        yield
    assert stack.read(flow, 65536) == ANSWER


CLIENTS: Final = {"request": _requests, "connection": _connections}


async def _answer(stream: TcpStream) -> None:
    """Answer each request."""
    while (await stream.receive_some()).endswith(b"\r\n\r\n"):
        await stream.send_all(ANSWER)


async def _answer_once(stream: TcpStream) -> None:
    """Answer a request, and close."""
    await stream.receive_some()
    await stream.send_all(ANSWER)


HANDLERS: Final = {"request": _answer, "connection": _answer_once}


async def _serve(link: ReplayedLink, kind: str) -> None:
    """Serve until all is played."""
    way, _, what = kind.partition("-")
    async with (
        Host(link, [str(SERVER[4])], seed=1, config=Config(nodelay=True)) as host,
        trio.open_nursery() as nursery,
    ):
        if way == "served":
            await nursery.start(host.serve_tcp, HANDLERS[what], PORT)
        else:
            with host.socket_factory():
                await nursery.start(trio.serve_tcp, HANDLERS[what], PORT)
        link.begin()
        await link.ended.wait()
        nursery.cancel_scope.cancel()
        loop_of(host).stack.abort_all()


def record(kind: str, count: int) -> list[Arrival]:
    """Return what comes to the server in so many exchanges."""
    clock = Clock()
    link = RecordedLink(clock, CLIENTS[kind.partition("-")[2]](count))
    trio.run(_serve, link, kind, clock=clock)
    return [*link.recorded, Arrival(link.total, ())]


def play(kind: str, arrivals: Sequence[Arrival]) -> int:
    """Play a recording to a new host; returns how many packets it has sent."""
    clock = Clock()
    link = ReplayedLink(clock, arrivals)
    trio.run(_serve, link, kind, clock=clock)
    return link.sent


KINDS: Final[dict[str, Callable[[int], list[Arrival]]]] = {
    f"{way}-{what}": partial(record, f"{way}-{what}")
    for way in ("served", "factory")
    for what in CLIENTS
}


def main() -> None:
    """Record into a file, or play what is in it."""
    what, kind, *rest = sys.argv[1:]
    if what == "record":
        count, file = rest
        Path(file).write_bytes(marshal.dumps([tuple(each) for each in record(kind, int(count))]))
    else:
        gc.disable()  # How often it runs while this is loaded depends on how much it is.
        arrivals = [Arrival(*each) for each in marshal.loads(Path(rest[0]).read_bytes())]
        gc.freeze()
        gc.enable()
        print(play(kind, arrivals))


if __name__ == "__main__":
    main()
