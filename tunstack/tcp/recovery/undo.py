"""Finding out that nothing was lost after all, and going back to where we were.

Three ways to know: the peer echoes a timestamp from before the first retransmission (Eifel, RFC
3522); it reports by D-SACK that every retransmission came twice (RFC 3708); or, after a timeout,
something arrives that was sent only once, before it (F-RTO, RFC 5682: see :mod:`.frto`).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.recovery.scoreboard import Sent

_ROUNDING: Final = 1e-6
"""Seconds: far less than a tick of the timestamp clock, far more than what sums are off by."""

_FEW: Final = 64
"""So many edges may be of no use any more before anyone clears them up."""


class Undo:
    """One recovery, and what it would take to undo it.

    Attributes:
        cwnd: The congestion window before it, in octets.
        ssthresh: The slow start threshold before it.
        timed_out: Whether a timeout was part of it.
    """

    __slots__ = (
        "_counts",
        "_edges",
        "_first",
        "_live",
        "_missing",
        "cwnd",
        "ssthresh",
        "timed_out",
    )

    def __init__(self, cwnd: int, ssthresh: int) -> None:
        self.cwnd = cwnd
        self.ssthresh = ssthresh
        self.timed_out = False
        self._first: float | None = None
        # How often what lies between two edges was sent again, and not reported as a duplicate.
        self._edges: list[int] = []
        self._counts: list[int] = []  # Of the last edge, behind which there is nothing, 0.
        self._live = 0  # How many of them are not 0.
        self._missing = 0  # Octets, times their count.

    def resent(self, start: int, end: int, now: float) -> None:
        """[start, end) was sent again."""
        if self._first is None:
            self._first = now
        first = self._change(start, end, 1)
        edges, counts = self._edges, self._counts
        if first and first + 2 == len(edges) and counts[first - 1] == counts[first]:
            del edges[first], counts[first]  # It follows what was sent again before it.
            self._live -= 1

    def duplicate_sack(self, start: int, end: int) -> bool:
        """[start, end) came twice; returns whether all that was sent again has now done so.

        What the network duplicated is not ours, and a retransmission that was lost is not in vain.
        What was sent again twice has to come three times. A report costs as much as it settles.
        """
        if not self._missing:
            return False
        start, end = max(start, self._edges[0]), min(end, self._edges[-1])
        if start < end:
            self._change(start, end, -1)
            if len(self._edges) > 4 * self._live + _FEW:
                self._clear_up()
        return not self._missing

    def _change(self, start: int, end: int, change: int) -> int:
        """Count [start, end) once more, or once less; returns the index of its first edge."""
        first, last = self._cut(start), self._cut(end)
        edges, counts = self._edges, self._counts
        for index in range(first, last):
            before = counts[index]
            if not before and change < 0:
                continue
            counts[index] = after = before + change
            self._live += (not before) - (not after)
            self._missing += change * (edges[index + 1] - edges[index])
        return first

    def _cut(self, position: int) -> int:
        """The index of the edge at `position`, which is one from now on."""
        edges, counts = self._edges, self._counts
        index = bisect_left(edges, position)
        if index == len(edges) or edges[index] != position:
            count = counts[index - 1] if index else 0
            edges.insert(index, position)
            counts.insert(index, count)
            self._live += count > 0
        return index

    def _clear_up(self) -> None:
        """Forget the edges between which there is no difference any more."""
        counts, before = self._counts, 0
        kept = []
        for index, count in enumerate(counts):
            if count != before:
                kept.append(index)
            before = count
        self._edges = [self._edges[index] for index in kept]
        self._counts = [counts[index] for index in kept]
        self._live = sum(1 for count in self._counts if count)

    def echo_is_older(self, echoed_at: float | None, first: Sent) -> bool:
        """Whether the peer answers the original of `first`, which we have sent again.

        Its echo is from before we sent anything again. Timestamps tick in milliseconds: within the
        same one nobody can tell. The echo is of what moves SND.UNA (RFC 7323 section 4.3), so
        `first` must begin there.
        """
        since = self._first
        if since is None or echoed_at is None or not first.retransmitted or first.time < since:
            return False
        return echoed_at + _ROUNDING < int(since * 1000) / 1000
