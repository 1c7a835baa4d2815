"""The server's side of iperf3's protocol, octet by octet, over memory."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tunstack.bench.iperf import Iperf, IperfError

if TYPE_CHECKING:
    from trio.testing import MemoryReceiveStream, MemorySendStream

    Stream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]

COOKIE = b"x" * 36 + b"\0"


def packed(document: dict[str, Any]) -> bytes:
    text = json.dumps(document).encode()
    return len(text).to_bytes(4, "big") + text


class Client:
    """What iperf3 does."""

    def __init__(self, iperf: Iperf, nursery: trio.Nursery) -> None:
        self.iperf = iperf
        self.nursery = nursery

    async def connect(self, cookie: bytes = COOKIE) -> Stream:
        """One connection, with its cookie sent."""
        ours, theirs = memory_stream_pair()

        async def serve() -> None:
            try:
                await self.iperf.serve(theirs)  # type: ignore[arg-type]
            finally:
                await trio.aclose_forcefully(theirs)

        self.nursery.start_soon(serve)
        await ours.send_all(cookie)
        return ours

    async def begin(self, **parameters: Any) -> Stream:
        """The control connection, as far as the server wants streams."""
        control = await self.connect()
        assert await control.receive_some(1) == b"\x09"
        await control.send_all(packed(parameters))
        assert await control.receive_some(1) == b"\x0a"
        return control

    async def end(self, control: Stream) -> dict[str, Any]:
        """The results."""
        await control.send_all(b"\x04")
        assert await control.receive_some(1) == b"\x0d"
        await control.send_all(packed({"streams": []}))
        size = int.from_bytes(await exactly(control, 4), "big")
        results: dict[str, Any] = json.loads(await exactly(control, size))
        assert await exactly(control, 1) == b"\x0e"
        await control.send_all(b"\x10")
        return results


async def test_what_each_stream_brought_is_in_the_results() -> None:
    async with trio.open_nursery() as nursery:
        client = Client(Iperf(), nursery)
        control = await client.begin(tcp=True, parallel=3)
        streams = [await client.connect() for _ in range(3)]
        await wait_all_tasks_blocked()
        assert await control.receive_some(2) == b"\x01\x02"
        for number, stream in enumerate(streams):
            await stream.send_all(bytes(100 + number))
        await wait_all_tasks_blocked()
        results = await client.end(control)
        assert [(each["id"], each["bytes"]) for each in results["streams"]] == [
            (1, 100),
            (3, 101),
            (4, 102),
        ]


async def test_in_reverse_the_server_sends_until_the_test_ends() -> None:
    async with trio.open_nursery() as nursery:
        client = Client(Iperf(), nursery)
        control = await client.begin(tcp=True, reverse=True)
        stream = await client.connect()
        assert len(await stream.receive_some()) > 0
        await control.receive_some(2)
        nursery.start_soon(drain, stream)
        await client.end(control)
    # The nursery has ended, and so have the streams.


async def exactly(stream: Stream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += await stream.receive_some(size - len(data))
    return bytes(data)


async def drain(stream: Stream) -> None:
    async for _ in stream:
        pass


async def test_the_test_starts_when_all_streams_are_there() -> None:
    async with trio.open_nursery() as nursery:
        client = Client(Iperf(), nursery)
        control = await client.begin(tcp=True, parallel=2)
        await client.connect()
        with trio.move_on_after(0) as scope:
            await control.receive_some(1)
        assert scope.cancelled_caught
        await client.connect()
        await wait_all_tasks_blocked()
        assert await control.receive_some(2) == b"\x01\x02"
        await client.end(control)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "ended too early"),
        (COOKIE + b"\x7f\xff\xff\xff", "too many"),
    ],
)
async def test_who_speaks_otherwise_is_refused(said: bytes, message: str) -> None:
    ours, theirs = memory_stream_pair()
    await ours.send_all(said)
    await ours.send_eof()
    with pytest.raises(IperfError, match=message):
        await Iperf().serve(theirs)  # type: ignore[arg-type]


class Datagrams:
    """A socket whose datagrams the test plays."""

    def __init__(self) -> None:
        self.come, self._queue = trio.open_memory_channel[tuple[bytes, Any]](100)
        self.sent: list[tuple[bytes, Any]] = []

    async def recvfrom(self, _size: int) -> tuple[bytes, Any]:
        return await self._queue.receive()

    async def sendto(self, data: bytes, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append((data, address))


def datagram(number: int, size: int = 4) -> bytes:
    return bytes(8) + number.to_bytes(size, "big") + bytes(80)


@pytest.mark.parametrize("size", [4, 8])
async def test_the_datagrams_of_each_stream_are_counted_and_those_that_are_lost(size: int) -> None:
    hello, welcome = (word.to_bytes(4, sys.byteorder) for word in (0x36373839, 0x39383736))
    iperf, sock = Iperf(), Datagrams()
    async with trio.open_nursery() as nursery:
        client = Client(iperf, nursery)
        nursery.start_soon(iperf.serve_datagrams, sock)  # type: ignore[arg-type]
        parameters = {"udp_counters_64bit": 1} if size == 8 else {}
        control = await client.begin(udp=True, parallel=2, **parameters)
        sock.come.send_nowait((datagram(1, size), "stranger"))
        for source in ("a", "a", "b", "none is wanted any more"):
            sock.come.send_nowait((hello, source))
        await wait_all_tasks_blocked()
        assert sock.sent == [(welcome, "a"), (welcome, "a"), (welcome, "b")]
        assert await control.receive_some(2) == b"\x01\x02"
        for number in (1, 2, 4):
            sock.come.send_nowait((datagram(number, size), "a"))
        sock.come.send_nowait((datagram(1, size), "b"))
        sock.come.send_nowait((bytes(11), "b"))
        await wait_all_tasks_blocked()
        results = await client.end(control)
        names = ("id", "bytes", "packets", "errors")
        found = [tuple(each[name] for name in names) for each in results["streams"]]
        assert found == [(1, 3 * (88 + size), 4, 1), (3, 88 + size, 1, 0)]
        await wait_all_tasks_blocked()
        sock.come.send_nowait((hello, "a"))
        await wait_all_tasks_blocked()
        assert len(sock.sent) == 3, "the test has ended"
        nursery.cancel_scope.cancel()


async def test_with_datagrams_the_client_sends() -> None:
    ours, theirs = memory_stream_pair()
    await ours.send_all(COOKIE + packed({"udp": True, "reverse": True}))
    with pytest.raises(IperfError, match="client that sends"):
        await Iperf().serve(theirs)  # type: ignore[arg-type]
