"""The server's side of iperf3's protocol, as far as iperf3 as a client of the benchmark needs it.

One control connection carries states of one octet, and documents of JSON with their length before
them; each stream is a connection of its own. All begin with the same cookie. A test goes like this,
in iperf3's own words:

    client                                   server
    cookie                              ->
                                        <-   PARAM_EXCHANGE
    parameters                          ->
                                        <-   CREATE_STREAMS
    so many connections, cookie on each ->
                                        <-   TEST_START, TEST_RUNNING
    octets                              ->   or, in reverse, <-
    TEST_END                            ->
                                        <-   EXCHANGE_RESULTS
    results                             ->   results
                                        <-   DISPLAY_RESULTS
    IPERF_DONE                          ->

See iperf3's ``iperf_api.h`` for the numbers.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, final

import trio

_COOKIE: Final = 37
_TEST_START: Final = 1
_TEST_RUNNING: Final = 2
_TEST_END: Final = 4
_PARAM_EXCHANGE: Final = 9
_CREATE_STREAMS: Final = 10
_EXCHANGE_RESULTS: Final = 13
_DISPLAY_RESULTS: Final = 14
_MOST_JSON: Final = 1 << 20
_PIECE: Final = 1 << 18


class IperfError(Exception):
    """The client says what it should not."""


@dataclass(slots=True, eq=False)
class _Test:
    """A test that goes on.

    Attributes:
        streams: How many there shall be.
        reverse: Whether we send.
        octets: What each stream has carried so far.
        complete: When all streams are there.
        start: When octets may flow.
        scopes: Cancel the streams.
    """

    streams: int
    reverse: bool
    octets: list[int] = field(default_factory=list)
    complete: trio.Event = field(default_factory=trio.Event)
    start: trio.Event = field(default_factory=trio.Event)
    scopes: list[trio.CancelScope] = field(default_factory=list)

    def end(self) -> None:
        """End all streams."""
        for scope in self.scopes:
            scope.cancel()


@final
class Iperf:
    """Serves tests, of which several may go on at a time."""

    def __init__(self) -> None:
        self._tests: dict[bytes, _Test] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """Handle one connection, be it a test's control or one of its streams.

        Raises:
            IperfError: the client is no iperf3.
        """
        reader = _Reader(stream)
        cookie = await reader.exactly(_COOKIE)
        test = self._tests.get(cookie)
        if test is not None:
            await _carry(test, stream)
            return
        try:
            await self._control(cookie, stream, reader)
        finally:
            if (ended := self._tests.pop(cookie, None)) is not None:
                ended.end()

    async def _control(self, cookie: bytes, stream: trio.SocketStream, reader: _Reader) -> None:
        await stream.send_all(bytes([_PARAM_EXCHANGE]))
        wanted = await reader.document()
        test = _Test(int(wanted.get("parallel", 1)), reverse=bool(wanted.get("reverse")))
        self._tests[cookie] = test  # where its streams find it
        await stream.send_all(bytes([_CREATE_STREAMS]))
        await test.complete.wait()
        await stream.send_all(bytes([_TEST_START, _TEST_RUNNING]))
        test.start.set()
        if await reader.exactly(1) != bytes([_TEST_END]):
            raise IperfError("the test was not ended")
        await stream.send_all(bytes([_EXCHANGE_RESULTS]))
        await reader.document()
        await stream.send_all(_packed(_results(test)))
        await stream.send_all(bytes([_DISPLAY_RESULTS]))
        with suppress(IperfError, trio.BrokenResourceError):
            await reader.exactly(1)


async def _carry(test: _Test, stream: trio.SocketStream) -> None:
    """Send or receive on one stream of a test, until the test ends."""
    number = len(test.octets)
    test.octets.append(0)
    if len(test.octets) == test.streams:
        test.complete.set()
    with trio.CancelScope() as scope:
        test.scopes.append(scope)
        await test.start.wait()
        if test.reverse:
            piece = bytes(_PIECE)
            while True:
                await stream.send_all(piece)
                test.octets[number] += len(piece)
        async for data in stream:
            test.octets[number] += len(data)


def _results(test: _Test) -> dict[str, Any]:
    streams = [
        {
            # iperf3 numbers its streams 1, 3, 4, 5...
            "id": number + 1 if number == 0 else number + 2,
            "bytes": octets,
            "retransmits": -1,
            "jitter": 0,
            "errors": 0,
            "packets": 0,
        }
        for number, octets in enumerate(test.octets)
    ]
    return {
        "cpu_util_total": 0,
        "cpu_util_user": 0,
        "cpu_util_system": 0,
        "sender_has_retransmits": -1,
        "streams": streams,
    }


def _packed(document: dict[str, Any]) -> bytes:
    text = json.dumps(document).encode()
    return len(text).to_bytes(4, "big") + text


class _Reader:
    """Reads so many octets, however they come."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def exactly(self, size: int) -> bytes:
        """So many; no more than these are taken from the stream."""
        data = bytearray()
        while len(data) < size:
            some = await self._stream.receive_some(size - len(data))
            if not some:
                raise IperfError("the client ended too early")
            data += some
        return bytes(data)

    async def document(self) -> dict[str, Any]:
        """A document of JSON."""
        size = int.from_bytes(await self.exactly(4), "big")
        if size > _MOST_JSON:
            raise IperfError(f"{size} octets of JSON are too many")
        return dict(json.loads(await self.exactly(size)))
