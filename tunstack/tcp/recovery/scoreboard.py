"""The sender's scoreboard: which outstanding octets are SACKed, lost, retransmitted (RFC 6675).

It keeps no packets but ranges of octets, with the time when each was last sent. A segment of 64 KiB
of which a part is lost is split at the edges of the SACK blocks; neighbours in the same state are
merged, so that an ACK costs as much as there are holes. Positions do not wrap: they count sequence
numbers from the ISS on.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from tunstack.tcp.recovery.sent import Sent
from tunstack.tcp.recovery.sent_by_time import SentByTime

if TYPE_CHECKING:
    from collections.abc import Iterator

_START: Final[attrgetter[Any]] = attrgetter("start")
_MAX_FINE_RANGES: Final = 1024
"""Ranges up to which SACK blocks are taken to the octet; beyond it, to whole segments."""


class Scoreboard:
    """The ranges from SND.UNA to SND.NXT, in order and without a gap (RFC 6675 section 3).

    Attributes:
        una: Position of SND.UNA.
        nxt: Position of SND.NXT.
        sacked: Octets SACKed (Linux counts segments: sacked_out).
        lost: Octets marked lost and not retransmitted since (lost_out, less what was resent).
        resent: Octets retransmitted, neither acknowledged, SACKed nor lost again (retrans_out).
        highest: Position behind the highest octet acknowledged or SACKed (HighACK, RACK.fack).
    """

    __slots__ = (
        "_by_time",
        "_by_time_until",
        "_lost_at",
        "_ranges",
        "highest",
        "lost",
        "nxt",
        "resent",
        "sacked",
        "una",
    )

    def __init__(self) -> None:
        self._ranges: list[Sent] = []
        self.una = 0
        self.nxt = 0
        self.sacked = 0
        self.lost = 0
        self.resent = 0
        self.highest = 0
        # A heap; each lost range contains at least one of these positions.
        self._lost_at: list[int] = []
        self._by_time: SentByTime | None = None
        self._by_time_until = 0

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def pipe(self) -> int:
        """Pipe: octets in flight, neither SACKed nor lost (RFC 6675 section 4)."""
        return self.nxt - self.una - self.sacked - self.lost

    @property
    def by_time(self) -> SentByTime:
        """The ranges in flight, by transmission time.

        It is needed only while something is SACKed or lost, so it is built on demand, and then kept
        for a window: a peer that opens and fills gaps does not cause it to be rebuilt each time.
        """
        if self._by_time is None:
            self._by_time = SentByTime([sent for sent in self if not (sent.sacked or sent.lost)])
            self._by_time_until = self.nxt
        return self._by_time

    def forget(self) -> None:
        """Drop all ranges; `una` and `nxt` stay."""
        self._ranges.clear()
        self._by_time = None

    # Transmission

    def on_sent(self, size: int, now: float) -> None:
        """Append `size` new sequence numbers, sent `now`."""
        start = self.nxt
        self.nxt = end = start + size
        ranges = self._ranges
        if ranges and ranges[-1].is_new(now):
            ranges[-1].end = end
            return
        sent = Sent(start, end, now)
        ranges.append(sent)
        if self._by_time is not None:
            self._by_time.add(sent)

    def restamp_last(self, now: float) -> None:
        """Set the send time of the last range, the only one outstanding, to `now`."""
        self._ranges[-1].time = now

    def on_retransmit(self, start: int, end: int, now: float) -> None:
        """Record that [start, end), not SACKed, was retransmitted `now`."""
        first, last = self._split(start, end)
        by_time = self._by_time
        for sent in self._ranges[first:last]:
            size = sent.end - sent.start
            if sent.lost:
                sent.lost = False
                self.lost -= size
                self.resent += size
            else:
                if not sent.retransmitted:
                    self.resent += size
                if by_time is not None:
                    by_time.remove(sent)
            sent.retransmitted = True
            sent.time = now
            if by_time is not None:
                by_time.add(sent)
        self._merge(first, last)

    def next_lost(self, most: int) -> tuple[int, int] | None:
        """Return the first lost octets, contiguous, at most `most` (NextSeg rule 1 of RFC 6675)."""
        if not self.lost:
            self._lost_at.clear()
            return None
        ranges, at = self._ranges, self._lost_at
        while at[0] < self.una or not ranges[self._index(at[0])].lost:
            heappop(at)
        index = self._index(at[0])
        start = end = ranges[index].start
        while index < len(ranges) and ranges[index].lost and end - start < most:
            end = min(ranges[index].end, start + most)
            index += 1
        return start, end

    def head(self, size: int) -> list[Sent]:
        """Return the ranges of the first `size` octets outstanding, split at the edge."""
        return self.within(self.una, self.una + size)

    def within(self, start: int, end: int) -> list[Sent]:
        """Return the outstanding ranges within [start, end), split at the edges."""
        start, end = max(start, self.una), min(end, self.nxt)
        if start >= end:
            return []
        first, last = self._split(start, end)
        return self._ranges[first:last]

    def last_unsacked(self) -> Sent | None:
        """Return the last range that is not SACKed; None when there is none."""
        return next((sent for sent in reversed(self._ranges) if not sent.sacked), None)

    # Acknowledgements and losses

    def acknowledge(self, position: int) -> list[Sent]:
        """Advance SND.UNA to `position`; returns the ranges newly delivered, as they were."""
        self.una = position
        if position > self.highest:
            self.highest = position
        ranges = self._ranges
        if position >= self._by_time_until:
            self._by_time = None
        by_time = self._by_time
        count = 0
        for sent in ranges:
            if sent.end > position:
                break
            count += 1
        gone = ranges[:count]
        if by_time is not None:
            for sent in ranges[:count]:
                if not (sent.sacked or sent.lost):
                    by_time.remove(sent)
        del ranges[:count]
        if ranges and ranges[0].start < position:
            gone.append(ranges[0].split(position))
            if ranges[0].lost:
                heappush(self._lost_at, position)
        delivered = []
        for sent in gone:
            if sent.sacked:
                self.sacked -= sent.end - sent.start
            else:
                self._count_delivered(sent)
                delivered.append(sent)
        return delivered

    def acknowledge_in_order(self, position: int) -> Sent:
        """As :meth:`acknowledge`, with nothing SACKed, lost or retransmitted; returns the last."""
        ranges = self._ranges
        last = ranges[0]
        if last.end != position or self._by_time is not None:
            return self.acknowledge(position)[-1]
        del ranges[0]
        self.una = position
        if position > self.highest:
            self.highest = position
        return last

    def mark_sacked(self, start: int, end: int, grain: int = 1) -> list[Sent]:
        """Mark [start, end) SACKed; returns the ranges newly delivered, as they were.

        With `_MAX_FINE_RANGES` or more, ranges are split at multiples of `grain` octets only: an
        honest peer SACKs whole segments, and a hostile one must not make us keep state per octet.
        The block may be split down by that; SACK is advisory, and an ACK will cover the rest.
        """
        if len(self._ranges) < _MAX_FINE_RANGES:
            grain = 1
        start, end = max(start, self.una), min(end, self.nxt)
        if start >= end:
            return []
        left = self._ranges[self._index(start)]
        start = min(left.end, left.start - (left.start - start) // grain * grain)
        right = self._ranges[self._index(end - 1)]
        if end < right.end:
            end = right.start + (end - right.start) // grain * grain
        if start >= end:
            return []
        if end > self.highest:
            self.highest = end
        ranges = self._ranges
        held = ranges[self._index(start)]
        if held.sacked and held.end >= end:
            return []  # Known already: each ACK repeats earlier blocks.
        first, last = self._split(start, end)
        delivered = [sent for sent in ranges[first:last] if not sent.sacked]
        if not delivered:
            return []
        for sent in delivered:
            self._count_delivered(sent)
            if self._by_time is not None and not sent.lost:
                self._by_time.remove(sent)
        whole = Sent(start, end, max(sent.time for sent in delivered))
        whole.sacked = True
        self.sacked += sum(sent.end - sent.start for sent in delivered)
        ranges[first:last] = [whole]
        self._merge(first, first + 1)
        return delivered

    def mark_lost(self, sent: Sent) -> None:
        """Mark `sent`, which is not SACKed, lost."""
        if not sent.lost:
            size = sent.end - sent.start
            if self._by_time is not None:
                self._by_time.remove(sent)
            sent.lost = True
            self.lost += size
            heappush(self._lost_at, sent.start)
            if sent.retransmitted:
                self.resent -= size

    def unmark_lost(self) -> None:
        """Clear all loss marks, as a spurious recovery is undone: those ranges are in flight."""
        for position in self._lost_at:
            if position < self.una:
                continue
            sent = self._ranges[self._index(position)]
            if sent.lost:
                sent.lost = False
                if sent.retransmitted:
                    self.resent += sent.end - sent.start
                if self._by_time is not None:
                    self._by_time.add(sent)
        self._lost_at.clear()
        self.lost = 0

    def clear_sacked(self) -> None:
        """Clear all SACK marks: the peer has reneged (RFC 2018 section 8).

        Merged ranges do not say which were retransmitted, or when: by Karn's rule all count as
        retransmitted, and give no RTT sample.
        """
        self._by_time = None
        left = self.sacked
        for sent in self._ranges:
            if sent.sacked:
                sent.sacked = False
                sent.retransmitted = True
                left -= sent.end - sent.start
                if not left:
                    break
        self.resent += self.sacked
        self.sacked = 0
        self.highest = self.una

    def lost_within(self, start: int, end: int) -> int:
        """Return how many octets of [start, end) are marked lost."""
        ranges, index, lost = self._ranges, max(0, self._index(start)), 0
        while index < len(ranges) and ranges[index].start < end:
            sent = ranges[index]
            if sent.lost:
                lost += max(0, min(sent.end, end) - max(sent.start, start))
            index += 1
        return lost

    def _count_delivered(self, sent: Sent) -> None:
        size = sent.end - sent.start
        if sent.lost:
            self.lost -= size
        elif sent.retransmitted:
            self.resent -= size

    # Ranges

    def _index(self, position: int) -> int:
        return bisect_right(self._ranges, position, key=_START) - 1

    def _split(self, start: int, end: int) -> tuple[int, int]:
        """Split at both edges; returns the slice of the ranges that make up [start, end)."""
        ranges = self._ranges
        first = self._index(start)
        if ranges[first].start < start:
            self._split_one(first, start)
            first += 1
        last = self._index(end - 1)
        if ranges[last].end > end:
            self._split_one(last, end)
        return first, last + 1

    def _split_one(self, index: int, position: int) -> None:
        before = self._ranges[index].split(position)
        if before.lost:
            heappush(self._lost_at, position)
        self._ranges.insert(index, before)
        if self._by_time is not None and not (before.sacked or before.lost):
            self._by_time.add(before)

    def _merge(self, first: int, last: int) -> None:
        """Merge ranges[first:last] with each other and with their neighbours where alike."""
        ranges = self._ranges
        for index in range(min(last, len(ranges) - 1), max(first, 1) - 1, -1):
            left, right = ranges[index - 1], ranges[index]
            if left.is_like(right):
                left.end = right.end
                left.time = max(left.time, right.time)
                if self._by_time is not None and not (right.sacked or right.lost):
                    self._by_time.remove(right)
                del ranges[index]
