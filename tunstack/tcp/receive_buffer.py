"""What has arrived in order and the application has not read."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .segment import Buffer

_SMALL: Final = 1024
_GATHERED: Final = 16384


def gather(chunks: deque[Buffer] | list[Buffer], data: Buffer) -> None:
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
        self._chunks: deque[Buffer] = deque()
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
        """Remove and return at most `limit` octets from the front; ``b""`` when there are none."""
        chunks = self._chunks
        if not chunks:
            return b""
        size = len(chunks[0])
        if size > limit:
            first = memoryview(chunks[0])
            chunks[0] = first[limit:]
            self.size -= limit
            return bytes(first[:limit])
        pieces = [chunks.popleft()]
        while chunks and size < limit:
            chunk = chunks[0]
            if size + len(chunk) > limit:
                view = memoryview(chunk)
                pieces.append(view[: limit - size])
                chunks[0] = view[limit - size :]
                size = limit
            else:
                pieces.append(chunks.popleft())
                size += len(chunk)
        self.size -= size
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

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
