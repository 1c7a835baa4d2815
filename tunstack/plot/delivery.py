"""What a receiver has of a stream, as its acknowledgments and SACK blocks say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Delivery:
    """The octets that are acknowledged, or selectively (RFC 2018), of relative numbers.

    Attributes:
        octets: How many they are, from number 1 on.
    """

    def __init__(self) -> None:
        self._una = 1
        self._blocks: list[tuple[int, int]] = []
        self.octets = 0

    def add(self, ack: int, sack: Iterable[tuple[int, int]]) -> int:
        """Take an acknowledgment; returns the octets that were not delivered before it."""
        new = [block for block in sack if block not in self._blocks]
        if ack > self._una or new:
            self._una = max(self._una, ack)
            self._blocks = _merged([*self._blocks, *new], self._una)
        before = self.octets
        self.octets = self._una - 1 + sum(right - left for left, right in self._blocks)
        return self.octets - before


def _merged(blocks: list[tuple[int, int]], least: int) -> list[tuple[int, int]]:
    """The parts of blocks above a number, in order, without overlaps."""
    merged: list[tuple[int, int]] = []
    for left, right in sorted(blocks):
        left = max(left, least)
        if merged and left <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], right)
        elif left < right:
            merged.append((left, right))
    return merged
