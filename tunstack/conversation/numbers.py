"""Relative sequence numbers of one side of a conversation: its SYN is 0, its first octet 1."""

from __future__ import annotations

from tunstack.tcp.segment import RST, SYN, Segment
from tunstack.tcp.sequence import MASK, diff


class Numbers:
    """The sequence numbers that one side uses.

    Args:
        start: The number of its SYN; None if that is not known yet.

    Attributes:
        next: The first relative number that it has not used: where what it sent without a gap ends.
    """

    def __init__(self, start: int | None = None) -> None:
        self.next = 0
        self._start = start
        self._guessed = False
        self._beyond: list[tuple[int, int]] = []

    def learn(self, segment: Segment) -> None:
        """Learn the start from a segment of this side: from its SYN, or as if one had preceded it.

        The RST of a closed port says nothing: its number is 0.
        """
        if segment.flags & SYN:
            # A server that was reset answers the next SYN with another number.
            if self._guessed or (self.next <= 1 and segment.seq != self._start):
                self._begin(segment.seq, 0)
        elif self._start is None and not segment.flags & RST:
            self._begin((segment.seq - 1) & MASK, 1)
            self._guessed = True

    def _begin(self, start: int, following: int) -> None:
        self._start, self.next = start, following
        self._guessed = False
        self._beyond.clear()

    def relative(self, number: int) -> int:
        """The signed distance of a number on the wire from the start; 0 if that is not known."""
        return 0 if self._start is None else diff(number, self._start)

    def absolute(self, number: int) -> int:
        """The number on the wire of a relative one."""
        return (number + (self._start or 0)) & MASK

    def use(self, seq: int, length: int) -> None:
        """Count relative numbers as used; what lies beyond a gap counts once that is filled."""
        if not length:
            return
        self._beyond.append((seq, seq + length))
        self._beyond.sort()
        while self._beyond and self._beyond[0][0] <= self.next:
            _, end = self._beyond.pop(0)
            self.next = max(self.next, end)
