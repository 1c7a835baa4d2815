"""Put the octets of one direction of a TCP connection in order, with bounded memory."""

from __future__ import annotations

from typing import Final, TypeAlias

Piece: TypeAlias = bytes | int
"""Octets in order; or a number of octets that the capture does not have."""

_MOST_OCTETS: Final = 1 << 17
_MOST_SEGMENTS: Final = 128
"""Bounds of what waits for octets before it, as a capture may lack them for good."""
_MODULUS: Final = 1 << 32


class Stream:
    """Reassembles segments, which may come out of order, repeated, overlapping or truncated."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._waiting: dict[int, tuple[bytes, int]] = {}
        self._octets = 0

    def begin(self, seq: int) -> None:
        """Set the sequence number of the first octet, which follows the SYN's."""
        self._next = seq

    def add(self, seq: int, data: bytes, missing: int = 0) -> list[Piece]:
        """Add a segment's octets; returns those that are now in order.

        Args:
            seq: The sequence number of the first octet.
            data: The octets.
            missing: Octets of the segment after them that were not captured.
        """
        if self._next is None:
            self._next = seq
        if seq != self._next or self._waiting:
            known = self._waiting.get(seq, (b"", 0))
            if len(data) + missing > len(known[0]) + known[1]:
                self._waiting[seq] = data, missing
                self._octets += len(data) - len(known[0])
            return self._in_order()
        self._next = (seq + len(data) + missing) % _MODULUS
        return _pieces(data, missing)

    def _in_order(self) -> list[Piece]:
        pieces: list[Piece] = []
        while self._waiting:
            first = min(self._waiting, key=self._distance)
            gap = self._distance(first)
            too_much = self._octets > _MOST_OCTETS or len(self._waiting) > _MOST_SEGMENTS
            if gap > 0 and not too_much:
                break
            data, missing = self._waiting.pop(first)
            self._octets -= len(data)
            if gap > 0:
                pieces.append(gap)
                gap = 0
            end = len(data) + missing + gap
            if end <= 0:
                continue  # All of it was seen before.
            self._next = (first + len(data) + missing) % _MODULUS
            if -gap > len(data):
                missing, data = end, b""
            pieces += _pieces(data[-gap:] if gap else data, missing)
        return pieces

    def _distance(self, seq: int) -> int:
        """How far a sequence number is beyond the next one; negative before it."""
        distance = (seq - (self._next or 0)) % _MODULUS
        return distance - _MODULUS if distance >= _MODULUS >> 1 else distance


def _pieces(data: bytes, missing: int) -> list[Piece]:
    pieces: list[Piece] = [data] if data else []
    return [*pieces, missing] if missing else pieces
