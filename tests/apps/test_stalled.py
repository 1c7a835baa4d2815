"""Clients that stop in the middle: what the apps hold for them is accounted, or little."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.allocated import allocated
from tunstack import Host, Limits, memory_pair
from tunstack.apps import APPS
from tunstack.tcp.segment import ACK, PSH, SYN, Segment
from tunstack.wire import decode_datagram, decode_frame, decode_segment, encode_segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from tunstack.link.base import Buffer, Link

OURS, THEIRS = bytes([198, 51, 100, 2]), bytes([198, 51, 100, 1])
PORT: Final = 80
LIMIT: Final = 1 << 20
CONSTANT: Final = 192 << 10
"""Octets that all of them may take beside what is accounted."""
UNFINISHED: Final = 12 << 10
"""Octets that a client may take, beside what is accounted, that has not said all of its request."""
GET: Final = b"GET /bytes/100000000 HTTP/1.1\r\nHost: x\r\n\r\n"


class Clients:
    """The far end of a host's link: clients whose window is closed, each a port."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.acknowledged: dict[int, int] = {}
        self.next: dict[int, int] = {}

    async def turn(self) -> None:
        """Let the host do what it does, and take note of what it sent."""
        for _ in range(30):
            await trio.lowlevel.checkpoint()
        for packet in self.link.receive(1000):
            datagram = (decode_frame if self.link.offload else decode_datagram)(packet)
            _, port, segment = decode_segment(datagram)
            self.acknowledged[port] = (segment.seq + segment.length) % 2**32

    async def connect(self, port: int) -> bool:
        """Connect; returns whether that was answered."""
        self.put(port, Segment(1000, flags=SYN, wnd=65535, mss=1460, wscale=7, sack_permitted=True))
        self.next[port] = 1001
        await self.turn()
        if port not in self.acknowledged:
            return False
        await self.send(port, b"")
        return True

    async def send(self, port: int, data: bytes) -> None:
        """Send `data`, with an acknowledgement of all that came, and a window of 0."""
        most = 60_000 if self.link.offload else 1400
        for start in range(0, len(data) or 1, most):
            piece = data[start : start + most]
            seq, ack = self.next[port], self.acknowledged[port]
            self.put(port, Segment(seq, ack, ACK | PSH if piece else ACK, 0, payload=piece))
            self.next[port] = seq + len(piece)
        await self.turn()

    def put(self, port: int, segment: Segment) -> None:
        offload = self.link.offload
        packet: list[Buffer] = encode_segment(THEIRS, OURS, port, PORT, segment, offload=offload)
        self.link.send([b"".join(packet)])


@asynccontextmanager
async def served(app: str, form: str, *, offload: bool) -> AsyncIterator[tuple[Host, Clients]]:
    """A host with an app and little memory, and its clients."""
    near, far = memory_pair(offload=offload)
    async with (
        Host(far, ["198.51.100.2/24"], seed=1, limits=Limits(memory=LIMIT)) as host,
        trio.open_nursery() as nursery,
    ):
        if form == "protocol":
            protocol = APPS[app].protocol
            assert protocol is not None
            await nursery.start(partial(host.serve_protocol, protocol, PORT, backlog=1000))
        else:
            listeners = await host.open_tcp_listeners(PORT, backlog=1000)
            nursery.start_soon(trio.serve_listeners, APPS[app].handler, listeners)
        clients = Clients(near)
        await clients.turn()
        yield host, clients
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("form", ["handler", "protocol"])
@pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])
@pytest.mark.parametrize(
    ("app", "said", "beside"),
    [
        pytest.param("http", b"", 0, id="http, idle"),
        pytest.param("http", GET, 0, id="http, a download"),
        pytest.param("http", GET * 1000, 0, id="http, many downloads"),
        pytest.param("http", GET[:-2] + b"X: " + bytes(b"x" * 8000), UNFINISHED, id="http, a head"),
        pytest.param(
            "http",
            b"PUT /sha256 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(50_000),
            UNFINISHED,
            id="http, a body",
        ),
        pytest.param("echo", b"", 0, id="echo, idle"),
        pytest.param("echo", bytes(250_000), 0, id="echo"),
        pytest.param("chargen", b"", 0, id="chargen"),
        pytest.param("discard", bytes(50_000), 0, id="discard"),
    ],
)
async def test_what_is_accounted_bounds_what_an_app_takes(
    autojump_clock: MockClock, app: str, said: bytes, beside: int, offload: bool, form: str
) -> None:
    async with served(app, form, offload=offload) as (host, clients):
        assert await clients.connect(2000)  # What is made once is here by now.
        await clients.send(2000, said[:100])
        unmeasured = host.statistics()["memory_held"]
        before = allocated()
        count = 0
        while count < 100 and await clients.connect(3000 + count):
            for start in range(0, len(said), 50_000):
                await clients.send(3000 + count, said[start : start + 50_000])
            count += 1
        taken = allocated() - before
        held = host.statistics()["memory_held"] - unmeasured
        assert count >= 5
        assert taken < held * 1.5 + count * beside + CONSTANT
