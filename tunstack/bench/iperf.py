"""The server's side of iperf3's protocol, as far as the benchmark's client needs it.

A control connection carries states of one octet and length-prefixed JSON documents; each stream is
a connection of its own. All begin with the same cookie. A test, in iperf3's own terms:

    client                                   server
    cookie                              ->
                                        <-   PARAM_EXCHANGE
    parameters                          ->
                                        <-   CREATE_STREAMS
    N connections, cookie on each       ->
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
_MAX_JSON_SIZE: Final = 1 << 20
_WRITE_SIZE: Final = 1 << 18


class IperfError(Exception):
    """The client violates the protocol."""


@dataclass(slots=True, eq=False)
class _Test:
    """A running test.

    Attributes:
        streams: The number of streams.
        reverse: Whether the server sends.
        octets: Octets of each stream so far.
        complete: Set when all streams are connected.
        start: Set when data may be sent.
        scopes: Cancel scopes of the streams.
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
    """An iperf3 server; several tests may run at a time."""

    def __init__(self) -> None:
        self._tests: dict[bytes, _Test] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection: a test's control connection or one of its streams.

        Raises:
            IperfError: the client violates the protocol.
        """
        reader = _Reader(stream)
        cookie = await reader.exactly(_COOKIE)
        test = self._tests.get(cookie)
        if test is not None:
            await _transfer(test, stream)
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
        await stream.send_all(_encode(_results(test)))
        await stream.send_all(bytes([_DISPLAY_RESULTS]))
        with suppress(IperfError, trio.BrokenResourceError):
            await reader.exactly(1)


async def _transfer(test: _Test, stream: trio.SocketStream) -> None:
    """Send or receive on one stream of a test, until the test ends."""
    number = len(test.octets)
    test.octets.append(0)
    if len(test.octets) == test.streams:
        test.complete.set()
    with trio.CancelScope() as scope:
        test.scopes.append(scope)
        await test.start.wait()
        if test.reverse:
            piece = bytes(_WRITE_SIZE)
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


def _encode(document: dict[str, Any]) -> bytes:
    text = json.dumps(document).encode()
    return len(text).to_bytes(4, "big") + text


class _Reader:
    """Reads exact numbers of octets."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def exactly(self, size: int) -> bytes:
        """Read exactly `size` octets."""
        data = bytearray()
        while len(data) < size:
            some = await self._stream.receive_some(size - len(data))
            if not some:
                raise IperfError("the client ended too early")
            data += some
        return bytes(data)

    async def document(self) -> dict[str, Any]:
        """Read a length-prefixed JSON document."""
        size = int.from_bytes(await self.exactly(4), "big")
        if size > _MAX_JSON_SIZE:
            raise IperfError(f"{size} octets of JSON are too many")
        return dict(json.loads(await self.exactly(size)))
