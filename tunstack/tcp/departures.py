"""What is on its way, by when it was sent: so that RACK looks only at what may be overdue.

A list in order of time, as RFC 8985 section 5.2 suggests, would do if nothing were ever split. Here
the ranges that were sent at one moment are a set, and the moments are sorted. A moment of which
nothing is left stays in the list until someone comes across it: each is removed once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .scoreboard import Sent

_FEW: Final = 64
"""So many moments may be stale before anyone counts."""


class Departures:
    """The ranges that are neither SACKed nor lost, in order of time.

    Args:
        ranges: Those of now, in any order.
    """

    __slots__ = ("_moments", "_sent")

    def __init__(self, ranges: Iterable[Sent]) -> None:
        self._sent: dict[float, set[Sent]] = {}
        for sent in ranges:
            self._sent.setdefault(sent.time, set()).add(sent)
        self._moments = sorted(self._sent)

    def add(self, sent: Sent) -> None:
        """`sent` is on its way."""
        time = sent.time
        together = self._sent.get(time)
        if together is not None:
            together.add(sent)
            return
        self._sent[time] = {sent}
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
                found += [sent for sent in together if sent.end < end]
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
            elif moment < time or any(sent.end < end for sent in together):
                return moment
        return None
