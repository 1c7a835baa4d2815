"""What is outstanding, and what is known of each part of it: the sender's scoreboard.

Not old packets: ranges of octets, and when each was last sent. One that went out as a segment of
64 KiB, and was lost in part, is split where the SACK blocks say so; neighbours of which there is
nothing different to say become one, so that an ACK costs as much as there are holes. Positions do
not wrap: they count sequence numbers from the initial one on.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from tunstack.tcp.recovery.departures import Departures

if TYPE_CHECKING:
    from collections.abc import Iterator

_START: Final = attrgetter("start")
_MANY: Final = 1024


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

    def is_like(self, other: Sent) -> bool:
        """Whether all is the same but the numbers; it matters no more when SACKed ones went out."""
        if self.sacked or other.sacked:
            return self.sacked and other.sacked
        return (
            self.time == other.time
            and self.retransmitted == other.retransmitted
            and self.lost == other.lost
        )


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

    __slots__ = (
        "_departures",
        "_departures_until",
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
        # A heap: in each range that is lost there is one of these positions, or more.
        self._lost_at: list[int] = []
        self._departures: Departures | None = None
        self._departures_until = 0

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def pipe(self) -> int:
        """Octets on their way: neither held by the peer nor lost (RFC 6675 section 4)."""
        return self.nxt - self.una - self.sacked - self.lost

    @property
    def departures(self) -> Departures:
        """What is on its way, by when it was sent.

        Nobody asks for it while nothing is missing, so it is made when someone asks, and then kept
        for a window: a peer that leaves gaps and fills them does not have it made each time.
        """
        if self._departures is None:
            self._departures = Departures(sent for sent in self if not (sent.sacked or sent.lost))
            self._departures_until = self.nxt
        return self._departures

    def forget(self) -> None:
        """Let go of all ranges; the numbers stay what they were."""
        self._ranges.clear()
        self._departures = None

    # Transmission

    def sent(self, size: int, now: float) -> None:
        """`size` new numbers went out."""
        sent = Sent(self.nxt, self.nxt + size, now)
        if self._ranges and self._ranges[-1].is_like(sent):
            self._ranges[-1].end = sent.end
        else:
            self._ranges.append(sent)
            if self._departures is not None:
                self._departures.add(sent)
        self.nxt = sent.end

    def leaves_late(self, now: float) -> None:
        """What was sent last, when nothing else was outstanding, leaves only now."""
        self._ranges[-1].time = now

    def sent_again(self, start: int, end: int, now: float) -> None:
        """[start, end), not SACKed, went out again."""
        first, last = self._cut(start, end)
        departures = self._departures
        for sent in self._ranges[first:last]:
            size = sent.end - sent.start
            if sent.lost:
                sent.lost = False
                self.lost -= size
                self.resent += size
            else:
                if not sent.retransmitted:
                    self.resent += size
                if departures is not None:
                    departures.remove(sent)
            sent.retransmitted = True
            sent.time = now
            if departures is not None:
                departures.add(sent)
        self._join(first, last)

    def first_lost(self, most: int) -> tuple[int, int] | None:
        """What waits to be sent again first: as much as lies together, `most` octets of it."""
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
        """The ranges of the first `size` octets, or of as many as there are."""
        return self.within(self.una, self.una + size)

    def within(self, start: int, end: int) -> list[Sent]:
        """The ranges of [start, end), or of what is outstanding of that."""
        start, end = max(start, self.una), min(end, self.nxt)
        if start >= end:
            return []
        first, last = self._cut(start, end)
        return self._ranges[first:last]

    def last(self) -> Sent | None:
        """The last range that the peer is not known to hold; None when there is none."""
        return next((sent for sent in reversed(self._ranges) if not sent.sacked), None)

    # What is heard

    def acknowledge(self, position: int) -> list[Sent]:
        """All before `position` is acknowledged; returns what is new of that, as it was."""
        self.una = position
        if position > self.highest:
            self.highest = position
        ranges = self._ranges
        if position >= self._departures_until:
            self._departures = None
        departures = self._departures
        count = 0
        for sent in ranges:
            if sent.end > position:
                break
            count += 1
        gone = ranges[:count]
        if departures is not None:
            for sent in ranges[:count]:
                if not (sent.sacked or sent.lost):
                    departures.remove(sent)
        del ranges[:count]
        if ranges and ranges[0].start < position:
            gone.append(ranges[0].cut(position))
            if ranges[0].lost:
                heappush(self._lost_at, position)
        delivered = []
        for sent in gone:
            if sent.sacked:
                self.sacked -= sent.end - sent.start
            else:
                self._no_longer_missing(sent)
                delivered.append(sent)
        return delivered

    def acknowledge_in_order(self, position: int) -> Sent:
        """As :meth:`acknowledge`, where nothing is SACKed, lost or sent again; returns the last."""
        ranges = self._ranges
        last = ranges[0]
        if last.end != position or self._departures is not None:
            return self.acknowledge(position)[-1]
        del ranges[0]
        self.una = position
        if position > self.highest:
            self.highest = position
        return last

    def sack(self, start: int, end: int, grain: int = 1) -> list[Sent]:
        """The peer holds [start, end); returns what is new of that, as it was.

        When there are many ranges, they are cut into multiples of `grain` only, in octets: a peer
        that holds segments holds whole ones, and one that lies must not make us count octets. What
        is left of a block by that may not be all of it; it is advice, and the rest will be
        acknowledged.
        """
        if len(self._ranges) < _MANY:
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
            return []  # Nothing new: each ACK repeats what others have said.
        first, last = self._cut(start, end)
        delivered = [sent for sent in ranges[first:last] if not sent.sacked]
        if not delivered:
            return []
        for sent in delivered:
            self._no_longer_missing(sent)
            if self._departures is not None and not sent.lost:
                self._departures.remove(sent)
        whole = Sent(start, end, max(sent.time for sent in delivered))
        whole.sacked = True
        self.sacked += sum(sent.end - sent.start for sent in delivered)
        ranges[first:last] = [whole]
        self._join(first, first + 1)
        return delivered

    def lose(self, sent: Sent) -> None:
        """Take `sent`, which is not SACKed, for lost."""
        if not sent.lost:
            size = sent.end - sent.start
            if self._departures is not None:
                self._departures.remove(sent)
            sent.lost = True
            self.lost += size
            heappush(self._lost_at, sent.start)
            if sent.retransmitted:
                self.resent -= size

    def find_again(self) -> None:
        """Nothing was lost after all: what waits to be sent again is on its way."""
        for position in self._lost_at:
            if position < self.una:
                continue
            sent = self._ranges[self._index(position)]
            if sent.lost:
                sent.lost = False
                if sent.retransmitted:
                    self.resent += sent.end - sent.start
                if self._departures is not None:
                    self._departures.add(sent)
        self._lost_at.clear()
        self.lost = 0

    def forget_sacks(self) -> None:
        """The peer has dropped what it held, as it may (RFC 2018 section 8).

        Whether that had been sent more than once, and when, nobody remembers: Karn's rule holds.
        """
        self._departures = None
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
        """How many octets of [start, end) are lost."""
        ranges, index, lost = self._ranges, max(0, self._index(start)), 0
        while index < len(ranges) and ranges[index].start < end:
            sent = ranges[index]
            if sent.lost:
                lost += max(0, min(sent.end, end) - max(sent.start, start))
            index += 1
        return lost

    def _no_longer_missing(self, sent: Sent) -> None:
        size = sent.end - sent.start
        if sent.lost:
            self.lost -= size
        elif sent.retransmitted:
            self.resent -= size

    # Ranges

    def _index(self, position: int) -> int:
        return bisect_right(self._ranges, position, key=_START) - 1

    def _cut(self, start: int, end: int) -> tuple[int, int]:
        """Cut at both edges; returns which ranges [start, end) is now, as indices for a slice."""
        ranges = self._ranges
        first = self._index(start)
        if ranges[first].start < start:
            self._cut_one(first, start)
            first += 1
        last = self._index(end - 1)
        if ranges[last].end > end:
            self._cut_one(last, end)
        return first, last + 1

    def _cut_one(self, index: int, position: int) -> None:
        before = self._ranges[index].cut(position)
        if before.lost:
            heappush(self._lost_at, position)
        self._ranges.insert(index, before)
        if self._departures is not None and not (before.sacked or before.lost):
            self._departures.add(before)

    def _join(self, first: int, last: int) -> None:
        """Make those of ranges[first:last] one, and with their neighbours, that are alike."""
        ranges = self._ranges
        for index in range(min(last, len(ranges) - 1), max(first, 1) - 1, -1):
            left, right = ranges[index - 1], ranges[index]
            if left.is_like(right):
                left.end = right.end
                left.time = max(left.time, right.time)
                if self._departures is not None and not (right.sacked or right.lost):
                    self._departures.remove(right)
                del ranges[index]
