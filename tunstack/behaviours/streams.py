"""A stream around a connection's, through which a behaviour acts on what its program does."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tunstack.behaviours.base import Handler
    from tunstack.socket import TcpStream

_READ_SIZE: Final = 65536

Afterwards: TypeAlias = Literal["broken", "ended", "half-ended", "hung", "as before"]
"""What the program finds when the behaviour has acted.

broken: errors, as of a reset; ended: nothing is sent any more, and what comes is discarded;
half-ended: nothing is sent any more; hung: its calls never return; as before: no difference.
"""


async def run_beside(
    background: Callable[[], Awaitable[None]], handler: Handler, stream: WrappedStream
) -> None:
    """Run a handler, and something beside it that ends with it; raises what the handler raises."""
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(background)
        try:
            await handler(stream)  # type: ignore[arg-type]
        except Exception as error:
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed


class WrappedStream(trio.abc.HalfCloseableStream):
    """A stream that does as another; for `isinstance` and in its other attributes it is that one.

    A program that uses ``stream.socket`` itself goes round it.
    """

    def __init__(self, stream: TcpStream) -> None:
        self._stream = stream

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self._stream.__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As of the wrapped stream."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As of the wrapped stream."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As of the wrapped stream."""
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """As of the wrapped stream."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As of the wrapped stream."""
        await self._stream.aclose()


class ActingStream(WrappedStream):
    """A stream on which something happens after so many octets.

    Args:
        stream: The connection's.
        act: Called once when the octets were sent and acknowledged, or received by the program.
        afterwards: What the program finds then.
        reason: The text of errors.
        way: Whether octets sent or received are counted.
        octets: How many; None to act only when `act_now` is called.

    Attributes:
        acted: Whether it has happened.
        last_use: When octets were last sent or received.
    """

    def __init__(
        self,
        stream: TcpStream,
        act: Callable[[], Awaitable[None]],
        afterwards: Afterwards,
        reason: str,
        way: str = "out",
        octets: int | None = None,
    ) -> None:
        super().__init__(stream)
        self._act = act
        self._afterwards = afterwards
        self._reason = reason
        self._left = {way: octets}
        self.acted = False
        self.last_use = trio.current_time()

    async def act_now(self) -> None:
        """Act, unless it has happened."""
        if not self.acted:
            self.acted = True
            await self._act()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send so much that the octets are complete, act, and do with the rest as `afterwards`."""
        left = self._left.get("out")
        if not self.acted and left is not None and len(data) >= left:
            view = memoryview(data)
            with self._converted():
                await self._stream.send_all(view[:left])
            with suppress(OSError):  # The peer has reset it.
                await self._stream.socket.wait_acknowledged()
            await self.act_now()
            data = view[left:]
            if not data:
                return
        if not await self._is_over():
            with self._converted():
                await self._stream.send_all(data)
            self.last_use = trio.current_time()
            if not self.acted and left is not None:
                self._left["out"] = left - len(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive no more than makes the octets complete, and act when they are."""
        if self.acted and self._afterwards == "ended":
            await self.discard()
            return b""
        if self._afterwards != "half-ended":
            await self._is_over()
        left = None if self.acted else self._left.get("in")
        most = max_bytes if left is None else min(left, max_bytes or _READ_SIZE)
        with self._converted():
            data = await self._stream.receive_some(most)
        if left is not None and not self.acted:
            self._left["in"] = left - len(data)
            if left == len(data):
                await self.act_now()
        self.last_use = trio.current_time()
        return data

    async def send_eof(self) -> None:
        """As of the wrapped stream, unless it has ended already."""
        if not await self._is_over():
            await self._stream.send_eof()

    async def discard(self) -> None:
        """Read until the peer has ended or the connection is broken."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._stream.receive_some(_READ_SIZE):
                pass

    @contextmanager
    def _converted(self) -> Iterator[None]:
        """For a program that waits meanwhile, a reset of ours is one of the peer's."""
        try:
            yield
        except trio.ClosedResourceError as error:
            if self.acted and self._afterwards == "broken":
                raise trio.BrokenResourceError(self._reason) from error
            raise

    async def _is_over(self) -> bool:
        """Return whether nothing is sent any more; raises where the connection is broken."""
        if not self.acted or self._afterwards == "as before":
            return False
        if self._afterwards == "broken":
            raise trio.BrokenResourceError(self._reason)
        if self._afterwards == "hung":
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return True
