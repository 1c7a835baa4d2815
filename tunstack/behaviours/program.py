"""Behaviours of the program behind a port: slow, late, or talking nonsense."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from socket import IPPROTO_TCP, SO_RCVBUF, SOL_SOCKET, TCP_NODELAY
from typing import TYPE_CHECKING, Final

import trio

from tunstack.behaviours.base import Behaviour, Parameter
from tunstack.behaviours.streams import WrappedStream
from tunstack.behaviours.values import COUNT_OF_OCTETS, OCTETS, RATE, SECONDS

if TYPE_CHECKING:
    from tunstack.behaviours.base import Handler
    from tunstack.behaviours.port import Port
    from tunstack.socket import TcpStream

_SMALL_BUFFER: Final = 4096
"""Octets that a slow reader lets wait, so that its window closes."""
_PIECES_PER_SECOND: Final = 20
"""How often a slow reader reads."""
_NONSENSE: Final = 1024


@dataclass(frozen=True)
class Trickle(Behaviour):
    """What the program sends is sent in small pieces, with pauses.

    Attributes:
        octets: Of a piece.
        seconds: From one to the next.
    """

    octets: int
    seconds: float

    name = "trickle"
    summary = "the answer comes in pieces of OCTETS, one every TIME"
    example = "trickle=10/50ms"
    copes = "Assemble messages from pieces of any size; limit the time of the whole answer."
    part = "program"
    places = (
        (Parameter("octets", COUNT_OF_OCTETS, "OCTETS"),),
        (Parameter("seconds", SECONDS, "TIME"),),
    )
    needed = 2

    async def serve(self, _port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve it through a stream that trickles."""
        stream.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        await handler(_Trickling(stream, self))  # type: ignore[arg-type]


class _Trickling(WrappedStream):
    def __init__(self, stream: TcpStream, trickle: Trickle) -> None:
        super().__init__(stream)
        self._trickle = trickle
        self._next = float("-inf")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send it in pieces."""
        view = memoryview(data).cast("B")
        for at in range(0, len(view), self._trickle.octets):
            await trio.sleep_until(self._next)
            await self._stream.send_all(view[at : at + self._trickle.octets])
            self._next = trio.current_time() + self._trickle.seconds


@dataclass(frozen=True)
class SlowAnswer(Behaviour):
    """The program waits before it answers.

    Attributes:
        seconds: How long, before what it sends first and after each time that it has received.
    """

    seconds: float

    name = "slow-answer"
    summary = "each answer begins TIME late; the connection itself is fast"
    example = "slow-answer=2s"
    copes = "Limit the time until the first octet separately from that for connecting."
    part = "program"
    places = ((Parameter("seconds", SECONDS, "TIME"),),)
    needed = 1

    async def serve(self, _port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve it through a stream that waits."""
        await handler(_Late(stream, self.seconds))  # type: ignore[arg-type]


class _Late(WrappedStream):
    def __init__(self, stream: TcpStream, seconds: float) -> None:
        super().__init__(stream)
        self._seconds = seconds
        self._waits = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As of the wrapped stream."""
        data = await self._stream.receive_some(max_bytes)
        self._waits = True
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Wait if something was received since the last call, then send."""
        if self._waits:
            self._waits = False
            await trio.sleep(self._seconds)
        await self._stream.send_all(data)


@dataclass(frozen=True)
class SlowReader(Behaviour):
    """The program reads slowly, so that the window closes.

    Attributes:
        rate: Bits per second.
    """

    rate: float

    name = "slow-reader"
    summary = "data are read at RATE: the window closes, and send() blocks"
    example = "slow-reader=64kbit"
    copes = "Limit the time of a write, bound what is queued, and keep other work going."
    part = "program"
    places = ((Parameter("rate", RATE, "RATE"),),)
    needed = 1

    def options(self) -> dict[tuple[int, int], int]:
        """A small receive buffer."""
        return {(SOL_SOCKET, SO_RCVBUF): _SMALL_BUFFER}

    async def serve(self, _port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve it through a stream that reads slowly."""
        await handler(_SlowlyRead(stream, self.rate / 8))  # type: ignore[arg-type]


class _SlowlyRead(WrappedStream):
    def __init__(self, stream: TcpStream, octets_per_second: float) -> None:
        super().__init__(stream)
        self._rate = octets_per_second
        self._next = trio.current_time()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive a little, as early as the rate allows."""
        piece = max(1, min(int(self._rate / _PIECES_PER_SECOND), max_bytes or _SMALL_BUFFER))
        await trio.sleep_until(self._next)
        data = await self._stream.receive_some(piece)
        self._next = max(self._next, trio.current_time()) + len(data) / self._rate
        return data


@dataclass(frozen=True)
class Nonsense(Behaviour):
    """In the program's place, octets are sent that are of no protocol; then the connection ends.

    Attributes:
        octets: How many; the same in each run.
    """

    octets: int = _NONSENSE

    name = "nonsense"
    summary = "OCTETS of no protocol in place of the answer, then end of file"
    example = "nonsense=100"
    copes = "Report the parse error, bound what is read of it, and close the connection."
    part = "program"
    places = ((Parameter("octets", OCTETS, "OCTETS"),),)

    async def serve(self, _port: Port, stream: TcpStream, _handler: Handler) -> None:
        """Send them, and end."""
        generator, left = Random(0), self.octets
        while left:
            piece = generator.randbytes(min(left, 65536))
            await stream.send_all(piece)
            left -= len(piece)
        await stream.send_eof()
        while await stream.receive_some(65536):
            pass
