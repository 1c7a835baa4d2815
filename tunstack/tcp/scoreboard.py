"""What is outstanding, and what is known of each part of it: the sender's scoreboard.

Not old packets: ranges of octets, and when each was last sent. One that went out as a segment of
64 KiB, and was lost in part, is split where the SACK blocks say so. Positions do not wrap: they
count sequence numbers from the initial one on.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_START: Final = attrgetter("start")


class Sent:
    """The numbers [start, end), sent together.

    Attributes:
        start: Position of the first.
        end: Position behind the last.
        time: When they were last sent, in seconds.
        retransmitted: Whether that was not the first time.
        sacked: Whether the peer holds them.
        lost: Whether they are taken for lost, and were not sent again since.
    """

    __slots__ = ("end", "lost", "retransmitted", "sacked", "start", "time")

    def __init__(self, start: int, end: int, time: float) -> None:
        self.start = start
        self.end = end
        self.time = time
        self.retransmitted = False
        self.sacked = False
        self.lost = False

    def cut(self, position: int) -> Sent:
        """Cut what lies before `position` off, and return it."""
        before = Sent(self.start, position, self.time)
        before.retransmitted = self.retransmitted
        before.sacked = self.sacked
        before.lost = self.lost
        self.start = position
        return before


class Scoreboard:
    """The ranges from SND.UNA to SND.NXT, in order and without a gap (RFC 6675 section 3).

    Attributes:
        una: Position of SND.UNA.
        nxt: Position of SND.NXT.
        sacked: Octets that the peer holds beyond a gap.
        lost: Octets that are taken for lost, and wait to be sent again.
        resent: Octets that were sent again, and of which nothing was heard since.
        highest: Position behind the highest octet known to have arrived.
    """

    __slots__ = ("_ranges", "highest", "lost", "nxt", "resent", "sacked", "una")

    def __init__(self) -> None:
        self._ranges: list[Sent] = []
        self.una = 0
        self.nxt = 0
        self.sacked = 0
        self.lost = 0
        self.resent = 0
        self.highest = 0

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._ranges)

    @property
    def pipe(self) -> int:
        """Octets on their way: neither held by the peer nor lost (RFC 6675 section 4)."""
        return self.nxt - self.una - self.sacked - self.lost

    # Transmission

    def sent(self, size: int, now: float) -> None:
        """`size` new numbers went out."""
        end = self.nxt + size
        self._ranges.append(Sent(self.nxt, end, now))
        self.nxt = end

    def sent_again(self, start: int, end: int, now: float) -> None:
        """[start, end) went out again."""
        for sent in self._exactly(start, end):
            size = sent.end - sent.start
            if sent.lost:
                sent.lost = False
                self.lost -= size
                self.resent += size
            elif not sent.sacked and not sent.retransmitted:
                self.resent += size
            sent.retransmitted = True
            sent.time = now

    def first_lost(self) -> Sent | None:
        """The first range that waits to be sent again; None when there is none."""
        return next(sent for sent in self._ranges if sent.lost) if self.lost else None

    def head(self, size: int) -> list[Sent]:
        """The ranges of the first `size` octets, or of as many as there are."""
        return self._exactly(self.una, min(self.una + size, self.nxt)) if self._ranges else []

    def last(self) -> Sent | None:
        """The last range that the peer is not known to hold; None when there is none."""
        return next((sent for sent in reversed(self._ranges) if not sent.sacked), None)

    # What is heard

    def acknowledge(self, position: int) -> list[Sent]:
        """All before `position` is acknowledged; returns what had not been SACKed of it."""
        self.una = position
        if position > self.highest:
            self.highest = position
        ranges = self._ranges
        count = 0
        for sent in ranges:
            if sent.end > position:
                break
            count += 1
        gone = ranges[:count]
        del ranges[:count]
        if ranges and ranges[0].start < position:
            gone.append(ranges[0].cut(position))
        delivered = []
        for sent in gone:
            if sent.sacked:
                self.sacked -= sent.end - sent.start
            else:
                self._no_longer_missing(sent)
                delivered.append(sent)
        return delivered

    def sack(self, start: int, end: int, grain: int = 1) -> list[Sent]:
        """The peer holds [start, end); returns what is new of that.

        Ranges are cut into multiples of `grain` only, in octets: a peer that holds segments holds
        whole ones, and one that lies must not make us count octets. What is left of a block by that
        may not be all of it; it is advice, and the rest will be acknowledged.
        """
        start, end = max(start, self.una), min(end, self.nxt)
        if start >= end:
            return []
        first = self._ranges[self._index(start)]
        start = min(first.end, first.start - (first.start - start) // grain * grain)
        last = self._ranges[self._index(end - 1)]
        if end < last.end:
            end = last.start + (end - last.start) // grain * grain
        if start >= end:
            return []
        if end > self.highest:
            self.highest = end
        delivered = [sent for sent in self._overlapping(start, end) if not sent.sacked]
        if delivered:
            delivered = [sent for sent in self._exactly(start, end) if not sent.sacked]
        for sent in delivered:
            self._no_longer_missing(sent)
            sent.sacked = True
            self.sacked += sent.end - sent.start
        return delivered

    def lose(self, sent: Sent) -> None:
        """Take `sent`, which is not SACKed, for lost."""
        if not sent.lost:
            size = sent.end - sent.start
            sent.lost = True
            self.lost += size
            if sent.retransmitted:
                self.resent -= size

    def find_again(self) -> None:
        """Nothing was lost after all: what waits to be sent again is on its way."""
        for sent in self._ranges:
            if sent.lost:
                sent.lost = False
                if sent.retransmitted:
                    self.resent += sent.end - sent.start
        self.lost = 0

    def forget_sacks(self) -> None:
        """The peer has dropped what it held, as it may (RFC 2018 section 8)."""
        for sent in self._ranges:
            if sent.sacked:
                sent.sacked = False
                if sent.retransmitted:
                    self.resent += sent.end - sent.start
        self.sacked = 0
        self.highest = self.una

    def _no_longer_missing(self, sent: Sent) -> None:
        size = sent.end - sent.start
        if sent.lost:
            sent.lost = False
            self.lost -= size
        elif sent.retransmitted:
            self.resent -= size

    # Ranges

    def _index(self, position: int) -> int:
        return bisect_right(self._ranges, position, key=_START) - 1

    def _overlapping(self, start: int, end: int) -> Iterator[Sent]:
        index = max(0, self._index(start))
        ranges = self._ranges
        while index < len(ranges) and ranges[index].start < end:
            if ranges[index].end > start:
                yield ranges[index]
            index += 1

    def _exactly(self, start: int, end: int) -> list[Sent]:
        """The ranges that make up [start, end), cut at both edges."""
        ranges = self._ranges
        first = self._index(start)
        if ranges[first].start < start:
            ranges.insert(first, ranges[first].cut(start))
            first += 1
        last = first
        while last < len(ranges) and ranges[last].end <= end:
            last += 1
        if last < len(ranges) and ranges[last].start < end:
            ranges.insert(last, ranges[last].cut(end))
            last += 1
        return ranges[first:last]
