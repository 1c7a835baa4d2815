"""What an HTTP/2 stream has left to send, while flow control holds it back.

It stands in for hypercorn's `StreamBuffer`, which lets the application go on whenever it has been
looked at: with a window of nothing a response grows in memory without bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

import trio
from hypercorn.protocol.h2 import BufferCompleteError

if TYPE_CHECKING:
    from hypercorn.protocol.h2 import StreamBuffer

HIGH_WATER: Final = 32768
"""Octets at which the application waits; one piece more may be there."""
_LOW_WATER: Final = 16384
"""Octets below which it goes on."""


@final
class Buffer:
    """The octets of one stream; its methods are those of hypercorn's."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._complete = False
        self._low, self._empty = trio.Event(), trio.Event()

    @property
    def complete(self) -> bool:
        """Whether all has been taken that will ever be there."""
        return self._complete and not self._octets

    def set_complete(self) -> None:
        """Nothing more will be put in."""
        self._complete = True

    async def push(self, data: bytes) -> None:
        """Put octets in; then wait while they are above the high-water mark."""
        if self._complete:
            raise BufferCompleteError
        self._octets += data
        self._empty = trio.Event()
        if len(self._octets) >= HIGH_WATER:
            self._low = trio.Event()
            await self._low.wait()
        else:
            await trio.lowlevel.checkpoint()

    async def pop(self, most: int) -> bytes:
        """Take up to `most` octets out."""
        data = bytes(self._octets[:most])
        del self._octets[: len(data)]
        if len(self._octets) < _LOW_WATER:
            self._low.set()
        if not self._octets:
            self._empty.set()
        await trio.lowlevel.checkpoint()
        return data

    async def drain(self) -> None:
        """Wait until all is taken."""
        await self._empty.wait()

    async def close(self) -> None:
        """Discard the octets; who waits goes on."""
        self._complete = True
        self._octets.clear()
        self._low.set()
        self._empty.set()
        await trio.lowlevel.checkpoint()


class Buffers(dict[int, Any]):
    """The buffers of a connection: one of ours for each of hypercorn's."""

    def __setitem__(self, number: int, _: StreamBuffer) -> None:
        super().__setitem__(number, Buffer())
