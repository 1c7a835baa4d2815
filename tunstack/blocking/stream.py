"""A connection of a host, for programs that know no trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import tunstack
from tunstack.blocking.handle import Handle, plain
from tunstack.blocking.portal import within

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


@final
class Stream(Handle[tunstack.TcpStream]):
    """A TCP connection of a host, whose methods block: a context manager, which closes it."""

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        """Return octets as soon as there are some; ``b""`` at the peer's end of file.

        Args:
            max_bytes: The most to return; by default what suits.
            timeout: Seconds.

        Raises:
            TimeoutError: nothing came in time.
            trio.BrokenResourceError: the connection was reset, or has timed out.
            trio.ClosedResourceError: it is closed here, or its host has ended.
        """
        return bytes(self._block.call(within(timeout, self._inner.receive_some), max_bytes))

    def receive_exactly(self, size: int, *, timeout: float | None = None) -> bytes:
        """Return the next `size` octets.

        Raises:
            EOFError: the peer ended before.
            TimeoutError: they did not come in time.
            trio.BrokenResourceError: the connection was reset, or has timed out.
            trio.ClosedResourceError: it is closed here, or its host has ended.
        """

        async def receive() -> bytes:
            parts = bytearray()
            while len(parts) < size:
                part = await self._inner.receive_some(size - len(parts))
                if not part:
                    raise EOFError(f"end of file after {len(parts)} of {size} octets")
                parts += part
            return bytes(parts)

        return self._block.call(within(timeout, receive))

    def send_all(
        self, data: bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        """Send octets; returns when they are queued.

        Raises:
            TimeoutError: the peer did not take them in time; an unknown part of them is sent.
            trio.BrokenResourceError: the connection was reset, or has timed out.
            trio.ClosedResourceError: it is closed here, or its host has ended.
        """
        self._block.call(within(timeout, self._inner.send_all), data)

    def send_eof(self) -> None:
        """Send FIN: the end of file, after which the peer may still send."""
        self._block.call(self._inner.send_eof)

    def close(self) -> None:
        """Close it; what was queued is still sent."""
        self._block.call(self._inner.aclose)

    abort = plain(tunstack.TcpStream.abort)
    vanish = plain(tunstack.TcpStream.vanish)
    stop_acknowledging = plain(tunstack.TcpStream.stop_acknowledging)
    resume_acknowledging = plain(tunstack.TcpStream.resume_acknowledging)
    freeze = plain(tunstack.TcpStream.freeze)
    thaw = plain(tunstack.TcpStream.thaw)
    send_segment = plain(tunstack.TcpStream.send_segment)

    @property
    def local(self) -> tuple[Any, ...]:
        """Our address and port, as `getsockname` returns them."""
        return self._block.call_sync(self._inner.socket.getsockname)

    @property
    def remote(self) -> tuple[Any, ...]:
        """The peer's address and port, as `getpeername` returns them."""
        return self._block.call_sync(self._inner.socket.getpeername)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
