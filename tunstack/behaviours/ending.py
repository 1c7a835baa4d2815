"""Behaviours of the end of a connection: after so many octets, so much time, or idle time."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import SHUT_WR
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import trio

from tunstack.behaviours.base import Behaviour, Parameter
from tunstack.behaviours.port import connection_of_stream, selected
from tunstack.behaviours.streams import ActingStream, WrappedStream, run_beside
from tunstack.behaviours.values import OCTETS, SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.behaviours.base import Handler, Part
    from tunstack.behaviours.port import Port
    from tunstack.behaviours.streams import Afterwards
    from tunstack.socket import TcpStream

_RST_SECONDS: Final = 1.0
"""Seconds in which a RST is dropped that no peer is to see."""
_AFTER: Final = (Parameter("octets", OCTETS, "OCTETS"), Parameter("seconds", SECONDS, "TIME"))


@dataclass(frozen=True)
class Ending(Behaviour):
    """Something that happens to an open connection, and what its program finds then.

    Attributes:
        afterwards: How the program finds its stream then.
    """

    part: ClassVar[Part] = "ending"
    afterwards: ClassVar[Afterwards] = "broken"

    async def act(self, port: Port, stream: TcpStream) -> None:
        """Do it."""
        raise NotImplementedError

    async def _in_place(self, stream: ActingStream, handler: Handler) -> None:
        """Serve a connection on which it has happened before the program began."""
        match self.afterwards:
            case "broken":
                pass
            case "ended":
                await stream.discard()
            case "hung":
                await trio.sleep_forever()
            case "half-ended" | "as before":
                await handler(stream)  # type: ignore[arg-type]


@dataclass(frozen=True)
class After(Ending):
    """An ending after so many octets of one direction, or so much time.

    Attributes:
        octets: So many that were sent and acknowledged, or received by the program; 0, the default,
            is when the connection is accepted, before the program begins.
        seconds: The time since then instead.
        way: Whether octets are counted ``"out"``, from the host to the client, or ``"in"``.
    """

    octets: int | None = None
    seconds: float | None = None
    way: Literal["in", "out"] = "out"

    places = (_AFTER,)
    ways = ("in", "out")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.octets is not None and self.seconds is not None:
            raise ValueError(f"{self.name}: give octets or seconds, not both")
        if self.way != self._usual_way() and self.octets is None:
            raise ValueError(
                f"{self.name}: with a direction give octets, as in {self.way}:{self.name}=4096"
            )

    async def serve(self, port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve until then, and as it leaves the connection."""
        octets = self.octets if self.octets or self.seconds is not None else None
        acting = ActingStream(
            stream,
            lambda: self.act(port, stream),
            self.afterwards,
            str(self),
            self.way,
            octets,
        )
        if self.seconds is not None:
            await _served_until(acting, handler, trio.current_time() + self.seconds, 0.0)
        elif not self.octets:
            await acting.act_now()
            await self._in_place(acting, handler)
        else:
            await handler(acting)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Idle(Ending):
    """An ending when nothing was sent or received for some time.

    Attributes:
        seconds: The time.
    """

    seconds: float

    places = ((Parameter("seconds", SECONDS, "TIME"),),)
    needed = 1

    async def serve(self, port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve until then, and as it leaves the connection."""
        acting = ActingStream(stream, lambda: self.act(port, stream), self.afterwards, str(self))
        await _served_until(acting, handler, 0.0, self.seconds)


async def _served_until(stream: ActingStream, handler: Handler, at: float, idle: float) -> None:
    """Run the handler; act at a time, or so long after the last use, whichever is later."""

    async def act() -> None:
        then = max(at, stream.last_use + idle)
        while then > trio.current_time():
            await trio.sleep_until(then)
            then = max(at, stream.last_use + idle)
        await stream.act_now()

    await run_beside(act, handler, stream)


async def _reset(stream: TcpStream) -> None:
    stream.socket.abort()
    await trio.lowlevel.checkpoint()


async def _close(stream: TcpStream) -> None:
    with suppress(OSError):
        stream.socket.shutdown(SHUT_WR)
    await trio.lowlevel.checkpoint()


async def _vanish(stream: TcpStream) -> None:
    with suppress(OSError):  # It is gone already.
        stream.socket.vanish()
    await trio.lowlevel.checkpoint()


@dataclass(frozen=True)
class ResetOnAccept(Ending):
    """Each connection is opened, and reset at once."""

    name = "reset-on-accept"
    summary = "connect() succeeds, then a RST: ECONNRESET"
    example = "reset-on-accept"
    copes = "Retry on a new connection: no answer has begun."

    async def serve(self, _port: Port, stream: TcpStream, _handler: Handler) -> None:
        """Reset it."""
        await _reset(stream)


@dataclass(frozen=True)
class CloseOnAccept(Ending):
    """Each connection is opened, and our half ended at once; what comes is discarded."""

    name = "close-on-accept"
    summary = "connect() succeeds, then end of file: an empty answer"
    example = "close-on-accept"
    copes = "Treat end of file before an answer as a failure, and retry."

    async def serve(self, _port: Port, stream: TcpStream, _handler: Handler) -> None:
        """End our half, and discard what comes."""
        await _close(stream)
        await ActingStream(stream, trio.lowlevel.checkpoint, "ended", self.name).discard()


@dataclass(frozen=True)
class ResetAfter(After):
    """The connection is reset in the middle of an answer, or of what the client sends."""

    name = "reset-after"
    summary = "RST after OCTETS of the answer, or after TIME: ECONNRESET in the middle"
    example = "reset-after=4096"
    copes = "Report that the answer is cut, discard the part, and retry what is idempotent."

    async def act(self, _port: Port, stream: TcpStream) -> None:
        """Reset it."""
        await _reset(stream)


@dataclass(frozen=True)
class CloseAfter(After):
    """The connection is closed in the middle of an answer; what comes then is discarded."""

    name = "close-after"
    summary = "end of file after OCTETS of the answer, or after TIME: it is cut"
    example = "close-after=4096"
    copes = "Compare with the announced length: end of file does not prove that it is whole."
    afterwards = "ended"

    async def act(self, _port: Port, stream: TcpStream) -> None:
        """End our half."""
        await _close(stream)


@dataclass(frozen=True)
class HalfClose(After):
    """Our half of the connection ends, the client's does not: its program's input is still read."""

    name = "half-close"
    summary = "end of file after OCTETS or TIME; the client's data are read still"
    example = "half-close=4096"
    copes = "Close when end of file comes; do not go on sending."
    afterwards = "half-ended"

    async def act(self, _port: Port, stream: TcpStream) -> None:
        """End our half."""
        await _close(stream)


@dataclass(frozen=True)
class VanishAfter(After):
    """The peer is gone without a FIN or a RST, as when its power or cable is pulled."""

    name = "vanish-after"
    summary = "silence after OCTETS or TIME: no ACK, no FIN, no RST, for ever"
    example = "vanish-after=4096"
    copes = "Limit each read; use TCP keep-alive while idle, TCP_USER_TIMEOUT for writes."
    afterwards = "as before"

    async def act(self, _port: Port, stream: TcpStream) -> None:
        """Let it vanish."""
        await _vanish(stream)


@dataclass(frozen=True)
class HalfOpen(After):
    """The peer has forgotten the connection, as after a reboot (RFC 9293 section 3.5.1)."""

    name = "half-open"
    summary = "after OCTETS or TIME the connection is forgotten: later data draw a RST"
    example = "half-open=4096"
    copes = "Limit each read; retry on a new connection when a pooled one is reset."

    async def act(self, port: Port, stream: TcpStream) -> None:
        """Reset it, and drop the RST."""
        connection = connection_of_stream(stream)
        if connection is None:
            return
        rule = port.rules.drop(direction="out", flags="RST", first=1, **selected(connection))
        with rule, trio.move_on_after(_RST_SECONDS), suppress(trio.ClosedResourceError):
            await _reset(stream)
            await rule.wait()


@dataclass(frozen=True)
class StallAfter(After):
    """The program hangs; its TCP goes on and acknowledges."""

    name = "stall-after"
    summary = "no data after OCTETS or TIME; ACKs and keep-alives go on"
    example = "stall-after=4096"
    copes = "Limit each read and the whole exchange: TCP keep-alive finds nothing wrong."
    afterwards = "hung"

    async def act(self, _port: Port, _stream: TcpStream) -> None:
        """Nothing more happens."""
        await trio.lowlevel.checkpoint()


@dataclass(frozen=True)
class CloseIdle(Idle):
    """A kept connection is closed when it was idle for some time, as servers do."""

    name = "close-idle"
    summary = "end of file after TIME without data"
    example = "close-idle=5s"
    copes = "Check a pooled connection for end of file before use, and retry on a new one."
    afterwards = "ended"

    async def act(self, _port: Port, stream: TcpStream) -> None:
        """End our half."""
        await _close(stream)


@dataclass(frozen=True)
class ResetIdle(Idle):
    """A kept connection is reset when it was idle for some time."""

    name = "reset-idle"
    summary = "RST after TIME without data"
    example = "reset-idle=5s"
    copes = "Retry when a pooled connection breaks before the first octet of the answer."

    async def act(self, _port: Port, stream: TcpStream) -> None:
        """Reset it."""
        await _reset(stream)


@dataclass(frozen=True)
class VanishIdle(Idle):
    """A kept connection is forgotten when it was idle for some time, as by a NAT or firewall."""

    name = "vanish-idle"
    summary = "silence after TIME without data, as of a NAT that has forgotten it"
    example = "vanish-idle=5s"
    copes = "Send keep-alives more often than that; limit the time for an answer."
    afterwards = "as before"

    async def act(self, _port: Port, stream: TcpStream) -> None:
        """Let it vanish."""
        await _vanish(stream)


@dataclass(frozen=True)
class ResetAtEnd(Ending):
    """A RST in the place of the FIN, when all was sent and acknowledged."""

    name = "reset-at-end"
    summary = "RST in place of the FIN: ECONNRESET where end of file is due"
    example = "reset-at-end"
    copes = "Keep an answer that is complete by its length, however the connection ends."

    async def serve(self, _port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve it, and reset it where it ends."""
        ended = _ResetEnd(stream)
        await handler(ended)  # type: ignore[arg-type]
        await ended.reset()


class _ResetEnd(WrappedStream):
    """A stream that is reset where its end of file is due, and is broken then."""

    def __init__(self, stream: TcpStream) -> None:
        super().__init__(stream)
        self._is_reset = False

    async def reset(self) -> None:
        """Reset it, if that was not done, when all that was sent is acknowledged."""
        if self._is_reset:
            await trio.lowlevel.checkpoint()
            return
        self._is_reset = True
        with suppress(OSError):  # The peer has reset it.
            await self._stream.socket.wait_acknowledged()
        await _reset(self._stream)

    @contextmanager
    def _broken(self) -> Iterator[None]:
        """After the reset, errors are those of a connection that was reset."""
        try:
            yield
        except trio.ClosedResourceError as error:
            if self._is_reset:
                raise trio.BrokenResourceError("reset at its end") from error
            raise

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As of the wrapped stream."""
        with self._broken():
            await self._stream.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As of the wrapped stream."""
        with self._broken():
            return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """Reset it."""
        await self.reset()

    async def aclose(self) -> None:
        """Reset it."""
        await self.reset()


@dataclass(frozen=True)
class LateFin(Ending):
    """Our FIN comes late, however early the program and the client have ended.

    Attributes:
        seconds: How late.
    """

    seconds: float

    name = "late-fin"
    summary = "the FIN comes TIME after the end: the client waits for end of file"
    example = "late-fin=500ms"
    copes = "Take the end of an answer from the protocol; do not wait for end of file."
    places = ((Parameter("seconds", SECONDS, "TIME"),),)
    needed = 1

    async def serve(self, _port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve it, and wait before its end."""
        late = _LateEnd(stream, self.seconds)
        await handler(late)  # type: ignore[arg-type]
        await late.wait()


class _LateEnd(WrappedStream):
    """A stream whose end of file is sent late."""

    def __init__(self, stream: TcpStream, seconds: float) -> None:
        super().__init__(stream)
        self._seconds: float | None = seconds

    async def wait(self) -> None:
        """Wait, if that was not done."""
        if self._seconds is not None:
            seconds, self._seconds = self._seconds, None
            await trio.sleep(seconds)

    async def send_eof(self) -> None:
        """As of the wrapped stream, late."""
        await self.wait()
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As of the wrapped stream, late."""
        await self.wait()
        await self._stream.aclose()
