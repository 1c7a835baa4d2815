"""Exchanges that are recorded once, and the server's side of them played again.

    python -m tests.instructions.replay record request 1000 FILE
    python -m tests.instructions.replay play request FILE

What the server does is what a host does for its applications, in the same calls, but for trio and
the device: so the instructions that it takes are the core's, and the same in each run.
"""

from __future__ import annotations

import gc
import marshal
import sys
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tunstack.protocol import Protocol, Runner, Transport
from tunstack.protocol import Server as ProtocolServer
from tunstack.stack.flow import Flow
from tunstack.stack.stack import Stack
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

Interface: TypeAlias = IPv4Interface | IPv6Interface

SERVER: Final[dict[int, Interface]] = {
    4: IPv4Interface("198.51.100.2/24"),
    6: IPv6Interface("2001:db8::2/64"),
}
CLIENT: Final[dict[int, Interface]] = {
    4: IPv4Interface("198.51.100.1/24"),
    6: IPv6Interface("2001:db8::1/64"),
}
PORT: Final = 80
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: 198.51.100.2\r\n\r\n"
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(100)
BULK: Final = {4: bytes(45 * 1448), 6: bytes(45 * 1428)}
"""By version: 45 segments of the MSS."""

_STEP: Final = 50e-6
"""Seconds between a packet and its answer."""


class Batch(NamedTuple):
    """What reaches the server at one moment."""

    now: float
    packets: tuple[bytes, ...]


class Server:
    """A stack, and an application that answers each request; it closes after it if `closes`.

    To what is no request, but one octet, it answers with `BULK`.
    """

    def __init__(self, *, closes: bool, offload: bool, version: int) -> None:
        self.stack = Stack(
            [SERVER[version]], 1500, rng=Random(1), config=Config(nodelay=True), offload=offload
        )
        self.stack.immediate = True
        self.stack.bind(None, PORT, reuse=True)
        self._listener = self.stack.listen(None, PORT, 128)
        self._listener.changed = self._accept
        self._closes = closes
        self._bulk = BULK[version]
        self._woken: list[Flow] = []
        self.received = 0

    def play(self, batch: Batch) -> list[bytes]:
        """Take what has come, let the application act, and return what is sent."""
        stack, now = self.stack, batch.now
        for packet in batch.packets:
            stack.handle_packet(packet, now)
        stack.defer_acks = True
        stack.flush(now)
        stack.defer_acks = False
        while self._woken:
            self._act(self._woken.pop(), now)
        if stack.deferred:
            stack.resume_deferred()
        stack.flush(now)
        stack.deadline()
        sent = [b"".join(packet) for packet in stack.outgoing]
        stack.outgoing.clear()
        return sent

    def _accept(self) -> None:
        while (flow := self._listener.accept()) is not None:
            assert isinstance(flow, Flow)
            self.stack.attach(flow, self._waker(flow))
            if flow.readable:
                self._woken.append(flow)

    def _waker(self, flow: Flow) -> Callable[[], None]:
        def wake() -> None:
            if flow.readable:
                self._woken.append(flow)

        return wake

    def _act(self, flow: Flow, now: float) -> None:
        stack = self.stack
        data = stack.read(flow, 65536)
        self.received += len(data)
        if not data:
            return stack.close(flow)
        answer = self._bulk if len(data) == 1 else ANSWER
        if len(data) > 1 and not data.endswith(b"\r\n\r\n"):
            return None
        if self._closes:
            stack.hold(flow, answer, now)  # As a host does for an application that closes.
            stack.shutdown(flow)
            stack.flush(now)
        else:
            stack.send(flow, answer, now)
        return None


class Answering(Protocol):
    """Answers each request; it closes after it if `closes`."""

    def __init__(self, server: CallingServer) -> None:
        self._server = server

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._server.received += len(data)
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(ANSWER)
            if self._server.closes:
                self._transport.close()


class CallingServer:
    """A stack, and a protocol for each connection, called as a host calls it."""

    def __init__(self, *, closes: bool, offload: bool, version: int) -> None:
        self.stack = stack = Stack(
            [SERVER[version]], 1500, rng=Random(1), config=Config(nodelay=True), offload=offload
        )
        stack.immediate = True
        stack.bind(None, PORT, reuse=True)
        self._now = 0.0
        self._runner = Runner(
            stack,
            flush=lambda: None,
            write=lambda: None,
            time=lambda: self._now,
            clock=perf_counter,
            timer_changed=lambda _: None,
        )
        listener = stack.listen(None, PORT, 128)
        listener.changed = ProtocolServer(self._runner, self._make).accept_from(listener)
        self.closes = closes
        self.received = 0

    def _make(self) -> Protocol:
        return Answering(self)

    def play(self, batch: Batch) -> list[bytes]:
        """Take what has come, call the protocols, and return what is sent."""
        stack, self._now = self.stack, batch.now
        for packet in batch.packets:
            stack.handle_packet(packet, batch.now)
        stack.defer_acks = True
        stack.flush(batch.now)
        if self._runner.woken:
            self._runner.run(batch.now)
        stack.defer_acks = False
        if stack.deferred:
            stack.resume_deferred()
            stack.flush(batch.now)
        stack.deadline()
        sent = [b"".join(packet) for packet in stack.outgoing]
        stack.outgoing.clear()
        return sent


class Client:
    """A stack whose packets are recorded."""

    def __init__(self, *, offload: bool, version: int) -> None:
        self._version = version
        self.stack = Stack(
            [CLIENT[version]], 1500, rng=Random(2), config=Config(nodelay=True), offload=offload
        )

    def connect(self, now: float) -> Flow:
        """Begin a connection."""
        return self.stack.connect(SERVER[self._version].ip.packed, PORT, now)


class Recording:
    """Client and server in lockstep: what the client sends is what will be played."""

    def __init__(self, *, closes: bool, offload: bool, version: int, called: bool = False) -> None:
        self.batches: list[Batch] = []
        self.now = 1.0
        self.client = Client(offload=offload, version=version)
        kind = CallingServer if called else Server
        self.server = kind(closes=closes, offload=offload, version=version)

    def settle(self, closing: Flow | None = None) -> None:
        """Carry packets until nobody has any.

        The client's application closes `closing` at the server's FIN, before that is acknowledged:
        Linux delays the ACK, and it goes out with the client's FIN.
        """
        stack = self.client.stack
        while True:
            stack.flush(self.now)
            if not stack.outgoing:
                return
            self.now += _STEP
            batch = Batch(self.now, tuple(b"".join(packet) for packet in stack.outgoing))
            stack.outgoing.clear()
            self.batches.append(batch)
            self.now += _STEP
            for packet in self.server.play(batch):
                stack.handle_packet(packet, self.now)
            if closing is not None and closing.receiver.finished and not closing.orphaned:
                assert stack.read(closing, 65536) == ANSWER
                stack.close(closing)

    def give(self, flow: Flow, data: bytes) -> None:
        """Have the client send `data`."""
        self.client.stack.send(flow, data, self.now)
        self.settle()


def requests(count: int, version: int = 4, *, called: bool = False) -> list[Batch]:
    """One connection with so many small requests, each with its answer."""
    recording = Recording(closes=False, offload=True, version=version, called=called)
    flow = recording.client.connect(recording.now)
    recording.settle()
    for _ in range(count):
        recording.give(flow, REQUEST)
        assert flow.receive(65536) == ANSWER
    return recording.batches


def connections(count: int, version: int = 4, *, called: bool = False) -> list[Batch]:
    """So many connections, each with one request; the server closes first."""
    recording = Recording(closes=True, offload=True, version=version, called=called)
    for _ in range(count):
        flow = recording.client.connect(recording.now)
        recording.settle()
        recording.client.stack.send(flow, REQUEST, recording.now)
        recording.settle(closing=flow)
        assert flow.orphaned
    return recording.batches


def segments(count: int, version: int = 4) -> list[Batch]:
    """So many large segments to the server."""
    recording = Recording(closes=False, offload=True, version=version)
    flow = recording.client.connect(recording.now)
    recording.settle()
    for _ in range(count):
        recording.give(flow, BULK[version])
    return recording.batches


def answers(count: int, version: int = 4) -> list[Batch]:
    """So many large segments from the server, each for an octet that asks for it."""
    recording = Recording(closes=False, offload=True, version=version)
    flow = recording.client.connect(recording.now)
    recording.settle()
    for _ in range(count):
        recording.give(flow, b"?")
        received = 0
        while received < len(BULK[version]):
            data = flow.receive(1 << 20)
            assert data
            received += len(data)
            recording.client.stack.mark_pending(flow)
            recording.settle()
    return recording.batches


KINDS: Final[dict[str, Callable[[int], list[Batch]]]] = {
    "request": requests,
    "connection": connections,
    "segment": segments,
    "answer": answers,
    "protocol request": partial(requests, called=True),
    "protocol connection": partial(connections, called=True),
    "request6": partial(requests, version=6),
    "connection6": partial(connections, version=6),
    "segment6": partial(segments, version=6),
    "answer6": partial(answers, version=6),
    "protocol request6": partial(requests, version=6, called=True),
    "protocol connection6": partial(connections, version=6, called=True),
}


def play(kind: str, batches: list[Batch]) -> int:
    """Play a recording to a new server; returns how many octets its application has read."""
    version = 6 if kind.endswith("6") else 4
    make = CallingServer if kind.startswith("protocol") else Server
    server = make(closes="connection" in kind, offload=True, version=version)
    for batch in batches:
        server.play(batch)
    return server.received


def main() -> None:
    """Record into a file, or play what is in it."""
    what, kind, *rest = sys.argv[1:]
    if what == "record":
        count, file = rest
        Path(file).write_bytes(marshal.dumps([tuple(each) for each in KINDS[kind](int(count))]))
    else:
        gc.disable()  # How often it runs while this is loaded depends on how much it is.
        batches = [Batch(*each) for each in marshal.loads(Path(rest[0]).read_bytes())]
        gc.freeze()
        gc.enable()
        print(play(kind, batches))


if __name__ == "__main__":
    main()
