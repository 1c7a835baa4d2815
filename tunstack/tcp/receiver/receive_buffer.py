"""The receive buffer: data in order that the application has not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.segment import Buffer

_SMALL: Final = 1024
"""Octets: smaller pieces are coalesced."""
_COALESCED: Final = 16384
"""Octets: a coalesced chunk of this size is not extended."""
_LARGE: Final = 32768
"""Octets: a chunk of this size or more is returned alone where two do not fit into the limit."""
WASTE: Final = 1024
"""Octets of memory that a connection may hold unaccounted, beside half of what is accounted."""


def copy_if_wasteful(data: memoryview) -> Buffer:
    """Return `data`, or a copy if its buffer is more than a third larger.

    A view keeps its whole frame in memory, up to 64 KiB with offload, while only its own octets are
    accounted. To be called for each part of a frame that is kept without the rest.
    """
    whole = data.obj
    if type(whole) is bytes and 3 * len(whole) <= 4 * len(data):
        return data
    return bytes(data)


def append_coalescing(chunks: list[Buffer], data: Buffer) -> None:
    """Append `data` to `chunks`; small pieces are coalesced by copying (Linux's tcp_try_coalesce).

    A view keeps its whole packet in memory. That is no overhead for a full segment, but for a peer
    that sends an octet at a time each octet would cost hundreds.
    """
    if len(data) < _SMALL and chunks:
        last = chunks[-1]
        if type(last) is bytearray and len(last) < _COALESCED:
            last += data
        else:
            chunks.append(bytearray(data))
    else:
        chunks.append(data)


class ReceiveBuffer:
    """A queue of contiguous octets, whose end is RCV.NXT."""

    __slots__ = ("_chunks", "size", "total")

    def __init__(self) -> None:
        # A list, not a deque: a deque allocates 64 entries, 760 octets per idle connection. There
        # are few chunks mostly, and moving up thousands takes half a microsecond.
        self._chunks: list[Buffer] = []
        self.size = 0
        """Octets in it, as `len`; an attribute, since it is read for every segment."""
        self.total = 0
        """Octets ever appended."""

    def __len__(self) -> int:
        return self.size

    def append(self, data: Buffer) -> None:
        """Append `data`, without a copy where it is large."""
        size = len(data)
        if self._chunks:
            append_coalescing(self._chunks, data)
        else:
            self._chunks.append(data)
        self.size += size
        self.total += size

    def take(self, limit: int) -> bytes:
        """Remove and return at most `limit` octets from the front; ``b""`` when empty.

        It may return fewer than it could, to avoid a second copy of a large segment.
        """
        chunks = self._chunks
        if not chunks:
            return b""
        if self.size <= limit:
            self._chunks = []
            self.size = 0
            first = chunks[0]
            if len(chunks) > 1:
                return b"".join(chunks)
            return first if type(first) is bytes else bytes(first)
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
        """Return at most `size` octets from `offset` on without removing them."""
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
