"""In-flight ranges sorted by transmission time (RFC 8985 section 5.2; Linux's tsorted_sent_queue).

RACK then looks only at ranges that may be overdue. RFC 8985 suggests a sorted list, but ranges are
split here, so those that were sent at the same time form a set, and the times are sorted. Removal
is lazy: a time whose set is empty stays in the list until a search meets it. The same holds for the
ranges of one time, which may be thousands after a large segment was split.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tunstack.tcp.recovery.sent import Sent

_MAX_STALE: Final = 64
"""Stale entries (times, or ends) that are tolerated before a rebuild."""
_HEAP_THRESHOLD: Final = 16
"""Ranges of one time from which on a heap of their ends is kept."""


class _Moment:
    """The ranges that were sent at the same time; when they are many, with a heap of their ends."""

    __slots__ = ("_ends", "ranges")

    def __init__(self, first: Sent) -> None:
        self.ranges = {first}
        # Entries may be stale: the range was removed, or has another end by now.
        self._ends: list[tuple[int, int, Sent]] | None = None

    def add(self, sent: Sent) -> None:
        """Add `sent` to the set, and to the heap if there is one."""
        self.ranges.add(sent)
        if self._ends is not None:
            heappush(self._ends, (sent.end, id(sent), sent))

    def ends_before(self, position: int) -> bool:
        """Whether any range ends before `position`."""
        if len(self.ranges) < _HEAP_THRESHOLD and self._ends is None:
            return any(sent.end < position for sent in self.ranges)
        first = self._first()
        return first is not None and first.end < position

    def take_before(self, position: int) -> list[Sent]:
        """Return the ranges that end before `position`; the caller removes them."""
        if len(self.ranges) < _HEAP_THRESHOLD and self._ends is None:
            return [sent for sent in self.ranges if sent.end < position]
        found: list[Sent] = []
        while (first := self._first()) is not None and first.end < position:
            assert self._ends is not None
            heappop(self._ends)
            found.append(first)
        return found

    def _first(self) -> Sent | None:
        """Return the range with the lowest end; skips stale entries of the heap."""
        ends = self._ends
        ranges = self.ranges
        if ends is None or len(ends) > 2 * len(ranges) + _MAX_STALE:
            ends = self._ends = [(sent.end, id(sent), sent) for sent in ranges]
            heapify(ends)
        while ends:
            end, _, sent = ends[0]
            if sent in ranges and sent.end == end:
                return sent
            heappop(ends)
            if sent in ranges:
                heappush(ends, (sent.end, id(sent), sent))
        return None


class SentByTime:
    """The ranges in flight, neither SACKed nor lost, sorted by transmission time.

    Args:
        ranges: The ranges now in flight, in any order.
    """

    __slots__ = ("_moments", "_sent")

    def __init__(self, ranges: Iterable[Sent]) -> None:
        self._sent: dict[float, _Moment] = {}
        for sent in ranges:
            moment = self._sent.get(sent.time)
            if moment is None:
                self._sent[sent.time] = _Moment(sent)
            else:
                moment.add(sent)
        self._moments = sorted(self._sent)

    def __iter__(self) -> Iterator[Sent]:
        """The ranges, in order of time."""
        for time in self._moments:
            moment = self._sent.get(time)
            if moment is not None:
                yield from moment.ranges

    def add(self, sent: Sent) -> None:
        """Add a range that is in flight."""
        time = sent.time
        together = self._sent.get(time)
        if together is not None:
            together.add(sent)
            return
        self._sent[time] = _Moment(sent)
        moments = self._moments
        if not moments or moments[-1] < time:
            moments.append(time)
            return
        index = bisect_left(moments, time)
        if moments[index] != time:
            moments.insert(index, time)

    def remove(self, sent: Sent) -> None:
        """Remove a range, unchanged since it was added: it was SACKed, ACKed or marked lost."""
        ranges = self._sent[sent.time].ranges
        ranges.remove(sent)
        if not ranges:
            del self._sent[sent.time]
            if len(self._moments) > 2 * len(self._sent) + _MAX_STALE:
                self._moments = sorted(self._sent)

    def overdue(self, time: float, end: int, timeout: float, now: float) -> list[Sent]:
        """Return the ranges sent before (`time`, `end`) at least `timeout` seconds ago.

        RFC 8985 section 6.2, step 5: RACK_sent_after orders by time, then by the end. The caller
        marks them lost, which removes them.

        Args:
            time: RACK.xmit_ts, in seconds.
            end: RACK.end_seq, as a position; of what was sent at `time`, only ranges that end
                before it count.
            timeout: RACK.rtt + RACK.reo_wnd, in seconds.
            now: Seconds.
        """
        found: list[Sent] = []
        done = 0
        for moment in self._moments:
            if moment > time or moment + timeout > now:
                break
            together = self._sent.get(moment)
            if together is None or moment < time:
                done += 1
                if together is not None:
                    found += together.ranges
            else:
                found += together.take_before(end)
        del self._moments[:done]
        return found

    def latest(self, time: float, end: int) -> float | None:
        """Return the latest transmission time of a range sent before (`time`, `end`), or None."""
        moments = self._moments
        index = bisect_right(moments, time)
        while index:
            index -= 1
            moment = moments[index]
            together = self._sent.get(moment)
            if together is None:
                del moments[index]
            elif moment < time or together.ends_before(end):
                return moment
        return None
