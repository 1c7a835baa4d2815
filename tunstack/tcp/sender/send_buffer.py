"""The send buffer: data not acknowledged, in chunks, by sequence number.

No sent packets are kept: a retransmission slices the data again, in segments of any
size.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from tunstack.tcp.receiver.receive_buffer import WASTE
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.tcp.segment import Buffer

_SMALL: Final = 2048
"""Smaller chunks are coalesced into larger ones, in octets."""


def _is_constant(view: memoryview) -> bool:
    """Whether a view need not be copied: it is immutable, and keeps little else alive."""
    whole = view.obj
    return type(whole) is bytes and 3 * len(whole) <= 4 * len(view) and view.contiguous


class SendBuffer:
    """A queue of octets whose front is SND.UNA (or the first octet of data, before the SYN is)."""

    __slots__ = ("_chunks", "_first", "_starts", "_written", "acknowledged", "size", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        """Sequence number of the first octet held."""
        # Stream positions do not wrap: those of chunks, of the front, and of the end.
        self._chunks: list[Buffer] = []
        self._starts: list[int] = []
        self._first = 0  # Index of the first chunk that is still needed.
        self.acknowledged = 0
        """Octets acknowledged, in total."""
        self._written = 0
        self.size = 0
        """Octets in it, as `len` says; an attribute, as every segment asks."""

    def __len__(self) -> int:
        return self.size

    @property
    def end(self) -> int:
        """Sequence number after the last octet."""
        return (self.start + self.size) & MASK

    def append(self, data: Buffer) -> None:
        """Append `data`, not empty; copied if it is mutable."""
        size = len(data)
        self.size += size
        chunks = self._chunks
        if size < _SMALL and chunks:
            last = chunks[-1]
            if type(last) is bytearray and len(last) < _SMALL:
                last += data
                self._written += size
                return
            chunks.append(bytearray(data))
        elif size >= _SMALL and type(data) is memoryview and _is_constant(data):
            chunks.append(data[:])  # Its owner may release the one that it has.
        else:  # The lone small write of a request or an answer stays as it is: it goes out now.
            chunks.append(data if type(data) is bytes else bytes(data))
        self._starts.append(self._written)
        self._written += size

    def put(self, data: Buffer) -> bytes:
        """Append a copy of `data` to the empty buffer, and return the copy."""
        chunk = data if type(data) is bytes else bytes(data)
        self._chunks.append(chunk)
        self._starts.append(self._written)
        self.size = size = len(chunk)
        self._written += size
        return chunk

    def drop_until(self, seq: int) -> None:
        """Drop the octets before `seq`, which lies between `start` and `end`."""
        size = (seq - self.start) & MASK
        self.start = seq
        self.acknowledged += size
        self.size = left = self.size - size
        if not left:
            self._chunks.clear()
            self._starts.clear()
            self._first = 0
            return
        first, starts, count = self._first, self._starts, len(self._starts)
        while first + 1 < count and starts[first + 1] <= self.acknowledged:
            first += 1
        if first > 64 and first * 2 > count:  # Seldom enough to cost nothing per chunk.
            del self._chunks[:first], self._starts[:first]
            first = 0
        elif first > self._first:
            self._chunks[self._first : first] = [b""] * (first - self._first)
        self._first = first
        waste = self.acknowledged - starts[first]
        if waste > 8 * left + WASTE:
            self._shrink(first, waste)

    @property
    def held(self) -> int:
        """Octets of memory in use: the first chunk counts whole, though partly acknowledged."""
        return self.size + (self.acknowledged - self._starts[self._first] if self._starts else 0)

    def _shrink(self, index: int, waste: int) -> None:
        """Copy the rest of a chunk, to free its `waste` acknowledged octets.

        A peer could keep them in memory by acknowledging all but an octet. While much is
        queued, nothing is copied.
        """
        chunk = self._chunks[index]
        self._chunks[index] = chunk[waste:] if type(chunk) is bytearray else bytes(chunk[waste:])
        self._starts[index] = self.acknowledged

    def forget(self) -> None:
        """Free all data; `size` and `end` stay."""
        self._chunks.clear()
        self._starts.clear()

    def slice(self, seq: int, size: int) -> Buffer:
        """Return `size` octets from `seq`: a view if one chunk has them all, else a copy."""
        position = self.acknowledged + ((seq - self.start) & MASK)
        index = bisect_right(self._starts, position, self._first) - 1
        chunk = self._chunks[index]
        offset = position - self._starts[index]
        if offset + size <= len(chunk):
            if offset == 0 and size == len(chunk) and type(chunk) is bytes:
                return chunk
            view = memoryview(chunk)[offset : offset + size]
            # A view of one that may still grow would keep it from growing; those are small.
            return bytes(view) if type(chunk) is bytearray else view
        pieces: list[Buffer] = [memoryview(chunk)[offset:]]
        missing = size - len(pieces[0])
        while missing:
            index += 1
            chunk = self._chunks[index]
            pieces.append(chunk if len(chunk) <= missing else memoryview(chunk)[:missing])
            missing -= len(pieces[-1])
        return b"".join(pieces)
