"""A stream wrapper that counts octets, and records the first error."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTES_ACKED: Final = 120
"""The offset of tcpi_bytes_acked in Linux's ``struct tcp_info``."""

_REASONS: Final = {
    errno.ECONNRESET: "reset by peer",
    errno.EPIPE: "reset by peer",
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
}


def error_number(error: BaseException) -> int | None:
    """The errno of an exception, or of the `OSError` in its chain of causes."""
    behind = _os_error(error)
    return None if behind is None else behind.errno


def describe(error: BaseException) -> str:
    """Describe briefly what broke a connection."""
    behind = _os_error(error)
    if behind is not None and behind.strerror:
        return _REASONS.get(behind.errno or 0, behind.strerror)
    return str(error) or type(error).__name__


def _os_error(error: BaseException) -> OSError | None:
    return next((each for each in _chain(error) if isinstance(each, OSError)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _acknowledged(stream: trio.abc.Stream) -> int | None:
    """The octets that the peer has acknowledged: tcpi_bytes_acked of our stack or the kernel."""
    if not isinstance(stream, trio.SocketStream):
        return None
    try:
        info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
    except OSError:
        return None
    assert isinstance(info, bytes)
    if len(info) < _BYTES_ACKED + 8:
        return None
    octets: int = struct.unpack_from("=Q", info, _BYTES_ACKED)[0]
    return octets


class CountedStream(trio.abc.HalfCloseableStream):
    """A stream wrapper that counts octets.

    Attributes:
        socket: The wrapped stream's, if it has one.
        received: Octets received.
        sent: Octets sent. Once the connection is broken, octets acknowledged by the peer; without
            TCP_INFO, those of the calls of `send_all` that succeeded.
        broken: The first error, or None. Later ones, of another task or of `send_eof`, only say
            that there is no connection.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self.socket: trio.socket.SocketType | None = getattr(stream, "socket", None)
        self.received = 0
        self.sent = 0
        self.broken: trio.BrokenResourceError | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As of the wrapped stream."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self._record_failure(error)
            raise
        self.received += len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As of the wrapped stream."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            self._record_failure(error)
            raise
        self.sent += len(data)

    def _record_failure(self, error: trio.BrokenResourceError) -> None:
        if self.broken is None:
            self.broken = error
            acknowledged = _acknowledged(self._stream)
            self.sent = self.sent if acknowledged is None else acknowledged

    async def wait_send_all_might_not_block(self) -> None:
        """As of the wrapped stream."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """As of the wrapped stream."""
        try:
            await self._stream.send_eof()
        except trio.BrokenResourceError as error:
            self._record_failure(error)
            raise

    async def aclose(self) -> None:
        """As of the wrapped stream."""
        await self._stream.aclose()
