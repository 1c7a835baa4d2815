"""Detect spurious recoveries, and keep what undoing them needs (Linux's undo_marker, undo_retrans).

A recovery was spurious if the peer echoes a timestamp from before the first retransmission (Eifel,
RFC 3522); if D-SACKs report every retransmission as a duplicate (RFC 3708); or, after a timeout, by
F-RTO (RFC 5682: see :mod:`.frto`).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.recovery.sent import Sent

_ROUNDING: Final = 1e-6
"""Seconds: far below a tick of the timestamp clock, far above the rounding of sums."""

_MAX_STALE: Final = 64
"""Edges without a difference between them that are tolerated before they are removed."""


class Undo:
    """The state before a recovery, and which of its retransmissions were duplicates.

    Attributes:
        cwnd: The congestion window before it, in octets (Linux's prior_cwnd).
        ssthresh: The slow start threshold before it, in octets (prior_ssthresh).
        timed_out: Whether the retransmission timer fired during it.
    """

    __slots__ = (
        "_counts",
        "_edges",
        "_first",
        "_live",
        "_unreported",
        "cwnd",
        "ssthresh",
        "timed_out",
    )

    def __init__(self, cwnd: int, ssthresh: int) -> None:
        self.cwnd = cwnd
        self.ssthresh = ssthresh
        self.timed_out = False
        self._first: float | None = None
        # Between two edges: retransmissions that no D-SACK has reported yet.
        self._edges: list[int] = []
        self._counts: list[int] = []  # 0 for the last edge.
        self._live = 0  # Counts that are not 0.
        self._unreported = 0  # Octets, times their count (Linux's undo_retrans, in segments).

    def on_retransmit(self, start: int, end: int, now: float) -> None:
        """Record that [start, end) was retransmitted."""
        if self._first is None:
            self._first = now
        first = self._change(start, end, 1)
        edges, counts = self._edges, self._counts
        if first and first + 2 == len(edges) and counts[first - 1] == counts[first]:
            del edges[first], counts[first]  # Adjacent to the previous retransmission.
            self._live -= 1

    def on_dsack(self, start: int, end: int) -> bool:
        """Record a D-SACK; returns whether all retransmissions are reported now (RFC 3708).

        A block that was not retransmitted was duplicated by the network, and is ignored. A
        retransmission that was lost draws no D-SACK, so recovery was needed. Data that was
        retransmitted twice needs two reports. The cost is in proportion to what is reported.
        """
        if not self._unreported:
            return False
        start, end = max(start, self._edges[0]), min(end, self._edges[-1])
        if start < end:
            self._change(start, end, -1)
            if len(self._edges) > 4 * self._live + _MAX_STALE:
                self._compact()
        return not self._unreported

    def _change(self, start: int, end: int, change: int) -> int:
        """Add `change`, 1 or -1, to the counts of [start, end); returns its first edge's index."""
        first, last = self._cut(start), self._cut(end)
        edges, counts = self._edges, self._counts
        for index in range(first, last):
            before = counts[index]
            if not before and change < 0:
                continue
            counts[index] = after = before + change
            self._live += (not before) - (not after)
            self._unreported += change * (edges[index + 1] - edges[index])
        return first

    def _cut(self, position: int) -> int:
        """Return the index of the edge at `position`, which is inserted if need be."""
        edges, counts = self._edges, self._counts
        index = bisect_left(edges, position)
        if index == len(edges) or edges[index] != position:
            count = counts[index - 1] if index else 0
            edges.insert(index, position)
            counts.insert(index, count)
            self._live += count > 0
        return index

    def _compact(self) -> None:
        """Remove the edges on both sides of which the count is the same."""
        counts, before = self._counts, 0
        kept = []
        for index, count in enumerate(counts):
            if count != before:
                kept.append(index)
            before = count
        self._edges = [self._edges[index] for index in kept]
        self._counts = [counts[index] for index in kept]
        self._live = sum(1 for count in self._counts if count)

    def is_spurious_by_echo(self, echoed_at: float | None, first: Sent) -> bool:
        """Whether the ACK is of the original of `first`, not of its retransmission (Eifel).

        RFC 3522 section 3.2: TSecr is older than the first retransmission. Timestamps tick in
        milliseconds; within the same one they do not tell. TSecr is of the segment that moves
        SND.UNA (RFC 7323 section 4.3), so `first` must begin there.
        """
        since = self._first
        if since is None or echoed_at is None or not first.retransmitted or first.time < since:
            return False
        return echoed_at + _ROUNDING < int(since * 1000) / 1000
