"""What is on its way, by when it was sent: so that RACK looks only at what may be overdue.

A list in order of time, as RFC 8985 section 5.2 suggests, would do if nothing were ever split. Here
the ranges that were sent at one moment are a set, and the moments are sorted. A moment of which
nothing is left stays in the list until someone comes across it: each is removed once. So it is with
the ranges of one moment, which may be thousands when what went out as one was split.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tunstack.tcp.recovery.scoreboard import Sent

_FEW: Final = 64
"""So many moments, or ends, may be stale before anyone counts."""
_MANY: Final = 16
"""With so many ranges of one moment it is worth while to have them in order."""


class _Moment(set["Sent"]):
    """The ranges that were sent at one moment, and when there are many, which end first."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        super().__init__()
        # A range may have another end by now, or be here no more.
        self._ends: list[tuple[int, int, Sent]] | None = None

    def join(self, sent: Sent) -> None:
        """Add `sent`."""
        self.add(sent)
        if self._ends is not None:
            heappush(self._ends, (sent.end, id(sent), sent))

    def ends_before(self, position: int) -> bool:
        """Whether any range ends before `position`."""
        if len(self) < _MANY and self._ends is None:
            return any(sent.end < position for sent in self)
        first = self._first()
        return first is not None and first.end < position

    def take_before(self, position: int) -> list[Sent]:
        """The ranges that end before `position`; whoever asks removes them."""
        if len(self) < _MANY and self._ends is None:
            return [sent for sent in self if sent.end < position]
        found: list[Sent] = []
        while (first := self._first()) is not None and first.end < position:
            assert self._ends is not None
            heappop(self._ends)
            found.append(first)
        return found

    def _first(self) -> Sent | None:
        """The range that ends first."""
        ends = self._ends
        if ends is None or len(ends) > 2 * len(self) + _FEW:
            ends = self._ends = [(sent.end, id(sent), sent) for sent in self]
            heapify(ends)
        while ends:
            end, _, sent = ends[0]
            if sent in self and sent.end == end:
                return sent
            heappop(ends)
            if sent in self:
                heappush(ends, (sent.end, id(sent), sent))
        return None


class Departures:
    """The ranges that are neither SACKed nor lost, in order of time.

    Args:
        ranges: Those of now, in any order.
    """

    __slots__ = ("_moments", "_sent")

    def __init__(self, ranges: Iterable[Sent]) -> None:
        self._sent: dict[float, _Moment] = {}
        for sent in ranges:
            moment = self._sent.get(sent.time)
            if moment is None:
                moment = self._sent[sent.time] = _Moment()
            moment.add(sent)
        self._moments = sorted(self._sent)

    def __iter__(self) -> Iterator[Sent]:
        """The ranges, in order of time."""
        for moment in self._moments:
            yield from self._sent.get(moment, ())

    def add(self, sent: Sent) -> None:
        """`sent` is on its way."""
        time = sent.time
        together = self._sent.get(time)
        if together is not None:
            together.join(sent)
            return
        self._sent[time] = together = _Moment()
        together.add(sent)
        moments = self._moments
        if not moments or moments[-1] < time:
            moments.append(time)
            return
        index = bisect_left(moments, time)
        if moments[index] != time:
            moments.insert(index, time)

    def remove(self, sent: Sent) -> None:
        """`sent`, as it was added, is on its way no more."""
        together = self._sent[sent.time]
        together.remove(sent)
        if not together:
            del self._sent[sent.time]
            if len(self._moments) > 2 * len(self._sent) + _FEW:
                self._moments = sorted(self._sent)

    def overdue(self, time: float, end: int, patience: float, now: float) -> list[Sent]:
        """What was sent before (`time`, `end`), and `patience` seconds ago or longer.

        It is on its way no more: whoever asks removes it.

        Args:
            time: Seconds.
            end: A position; of what was sent at `time`, it concerns what ends before.
            patience: Seconds.
            now: Seconds.
        """
        found: list[Sent] = []
        done = 0
        for moment in self._moments:
            if moment > time or moment + patience > now:
                break
            together = self._sent.get(moment)
            if together is None or moment < time:
                done += 1
                found += together or ()
            else:
                found += together.take_before(end)
        del self._moments[:done]
        return found

    def latest(self, time: float, end: int) -> float | None:
        """The latest moment before (`time`, `end`) at which anything was sent, or None."""
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
