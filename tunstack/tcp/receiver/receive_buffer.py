"""What has arrived in order and the application has not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.segment import Buffer

_SMALL: Final = 1024
_GATHERED: Final = 16384
_LARGE: Final = 32768
"""Octets of a chunk that is handed over by itself, to whoever asks for less than two of them."""
WASTE: Final = 1024
"""Octets that a connection may keep alive unaccounted, beside half of those that it holds."""


def own(data: memoryview) -> Buffer:
    """`data`, or a copy if it keeps alive much more than it shows.

    A view keeps the whole frame, up to 64 KiB with offload, and what is accounted are the octets
    that it shows: to be called with each part of a frame that is kept without the rest.
    """
    whole = data.obj
    if type(whole) is bytes and 3 * len(whole) <= 4 * len(data):
        return data
    return bytes(data)


def gather(chunks: list[Buffer], data: Buffer) -> None:
    """Append `data` to `chunks`, small pieces copied together.

    A view keeps its whole packet alive; that is no matter for a full segment, but a peer that sends
    an octet at a time would make each of them cost hundreds.
    """
    if len(data) < _SMALL and chunks:
        last = chunks[-1]
        if type(last) is bytearray and len(last) < _GATHERED:
            last += data
        else:
            chunks.append(bytearray(data))
    else:
        chunks.append(data)


class ReceiveBuffer:
    """A queue of octets in order."""

    __slots__ = ("_chunks", "size", "total")

    def __init__(self) -> None:
        # No deque: it has room for 64 from the beginning, 760 octets of each idle connection. There
        # are few, mostly, and to move thousands up takes half a microsecond.
        self._chunks: list[Buffer] = []
        self.size = 0
        """Octets in it, as `len` says; an attribute, as every segment asks."""
        self.total = 0
        """Octets that were ever appended."""

    def __len__(self) -> int:
        return self.size

    def append(self, data: Buffer) -> None:
        """Add `data` at the end, without a copy where it is large."""
        size = len(data)
        if self._chunks:
            gather(self._chunks, data)
        else:
            self._chunks.append(data)
        self.size += size
        self.total += size

    def take(self, limit: int) -> bytes:
        """Remove and return at most `limit` octets from the front; ``b""`` when there are none.

        It is less than there is where that spares a second copy of a large segment: the next call
        takes as much again.
        """
        chunks = self._chunks
        if not chunks:
            return b""
        if self.size <= limit:
            self._chunks = []
            self.size = 0
            return bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)
        if _LARGE <= (size := len(chunks[0])) <= limit < 2 * size:
            self.size -= size
            return bytes(chunks.pop(0))
        whole, left = 0, limit
        while (size := len(chunks[whole])) <= left:
            left -= size
            whole += 1
        pieces = chunks[:whole]
        del chunks[:whole]
        self.size -= limit
        if left:
            view = memoryview(chunks[0])
            pieces.append(view[:left])
            rest = view[left:]
            waste = len(view.obj) - len(rest)  # type: ignore[arg-type]  # Bytes, or a bytearray.
            chunks[0] = rest if 2 * waste <= self.size + 2 * WASTE else bytes(rest)
        return b"".join(pieces)

    def peek(self, offset: int, size: int) -> bytes:
        """At most `size` octets from `offset` on, which stay where they are."""
        found = bytearray()
        for chunk in self._chunks:
            if offset < len(chunk):
                found += memoryview(chunk)[offset : offset + size - len(found)]
                if len(found) == size:
                    break
            offset = max(0, offset - len(chunk))
        return bytes(found)

    def clear(self) -> None:
        """Drop everything."""
        self._chunks.clear()
        self.size = 0
