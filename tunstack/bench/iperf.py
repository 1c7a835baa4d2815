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

With UDP a stream is opened by a datagram of four octets and the answer to it; the others begin with
the time and a number.

See iperf3's ``iperf_api.h`` for the numbers.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from struct import Struct
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
_WELCOMES: Final[dict[bytes, bytes]] = {
    hello.to_bytes(4, sys.byteorder): welcome.to_bytes(4, sys.byteorder)
    for hello, welcome in ((0x36373839, 0x39383736), (123456789, 987654321))
}
"""The answer to the datagram that opens a stream: iperf 3.10's and later, and those before."""
_TIME: Final = Struct(">II")
"""Seconds and microseconds by the client's clock; a number of 4 or 8 octets follows."""


class IperfError(Exception):
    """The client violates the protocol."""


@dataclass(slots=True)
class _Stream:
    """What a stream of datagrams brought.

    Attributes:
        packets: Datagrams so far.
        highest: The highest number of them; the first is 1.
        jitter: Of the time on their way, in seconds (RFC 3550 section 6.4.1).
        transit: That of the last one, by two clocks.
    """

    packets: int = 0
    highest: int = 0
    jitter: float = 0.0
    transit: float | None = None

    def take(self, data: bytes, number_size: int, now: float) -> bool:
        """Count a datagram that came at `now`; returns whether it is one of a test."""
        if len(data) < _TIME.size + number_size:
            return False
        seconds, microseconds = _TIME.unpack_from(data)
        number = int.from_bytes(data[_TIME.size : _TIME.size + number_size], "big")
        self.packets += 1
        self.highest = max(self.highest, number)
        transit = now - seconds - microseconds / 1e6
        if self.transit is not None:
            self.jitter += (abs(transit - self.transit) - self.jitter) / 16
        self.transit = transit
        return True


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
        number_size: Octets of the number in a datagram; 0 with TCP.
        datagrams: The streams of datagrams.
    """

    streams: int
    reverse: bool
    number_size: int = 0
    datagrams: list[_Stream] = field(default_factory=list)
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
        self._sources: dict[Any, tuple[_Test, int]] = {}

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
                for source, (test, _) in list(self._sources.items()):
                    if test is ended:
                        del self._sources[source]

    async def serve_datagrams(self, sock: trio.socket.SocketType) -> None:
        """Take the datagrams of tests with UDP, until cancelled, at the control connection's port.

        What belongs to no test is ignored.
        """
        while True:
            data, source = await sock.recvfrom(1 << 16)
            if data in _WELCOMES:
                if source in self._sources or self._add(source):
                    await sock.sendto(_WELCOMES[data], source)
            elif source in self._sources:
                test, number = self._sources[source]
                if test.datagrams[number].take(data, test.number_size, trio.current_time()):
                    test.octets[number] += len(data)

    def _add(self, source: Any) -> bool:
        """Make a stream of the oldest test that lacks one; returns whether there is a test."""
        for test in self._tests.values():
            number = len(test.octets)
            if test.number_size and number < test.streams:
                test.octets.append(0)
                test.datagrams.append(_Stream())
                self._sources[source] = test, number
                if number + 1 == test.streams:
                    test.complete.set()
                return True
        return False

    async def _control(self, cookie: bytes, stream: trio.SocketStream, reader: _Reader) -> None:
        await stream.send_all(bytes([_PARAM_EXCHANGE]))
        wanted = await reader.document()
        test = _Test(int(wanted.get("parallel", 1)), reverse=bool(wanted.get("reverse")))
        if wanted.get("udp"):
            test.number_size = 8 if wanted.get("udp_counters_64bit") else 4
            if test.reverse:
                raise IperfError("with UDP it is the client that sends")
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
            "jitter": datagrams.jitter,
            "errors": datagrams.highest - datagrams.packets,
            "packets": datagrams.highest,
        }
        for number, (octets, datagrams) in enumerate(
            zip(test.octets, test.datagrams or [_Stream()] * len(test.octets), strict=True)
        )
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
