"""Finding out that nothing was lost after all, and going back to where we were.

Three ways to know: the peer echoes a timestamp from before the first retransmission (Eifel, RFC
3522); it reports by D-SACK that every retransmission came twice (RFC 3708); or, after a timeout,
something arrives that was sent only once, before it (F-RTO, RFC 5682: see :mod:`.frto`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .scoreboard import Sent

_ROUNDING: Final = 1e-6
"""Seconds: far less than a tick of the timestamp clock, far more than what sums are off by."""


class Undo:
    """One recovery, and what it would take to undo it.

    Attributes:
        cwnd: The congestion window before it, in octets.
        ssthresh: The slow start threshold before it.
        timed_out: Whether a timeout was part of it.
    """

    __slots__ = ("_first", "_needed", "cwnd", "ssthresh", "timed_out")

    def __init__(self, cwnd: int, ssthresh: int) -> None:
        self.cwnd = cwnd
        self.ssthresh = ssthresh
        self.timed_out = False
        self._first: float | None = None
        self._needed: list[tuple[int, int]] = []  # Sent again, and not reported as a duplicate.

    def resent(self, start: int, end: int, now: float) -> None:
        """[start, end) was sent again."""
        if self._first is None:
            self._first = now
        if self._needed and self._needed[-1][1] == start:
            start = self._needed.pop()[0]
        self._needed.append((start, end))

    def duplicate_sack(self, start: int, end: int) -> bool:
        """[start, end) came twice; returns whether all that was sent again has now done so.

        What the network duplicated is not ours, and a retransmission that was lost is not in vain.
        """
        needed = []
        for ours in self._needed:
            low, high = max(start, ours[0]), min(end, ours[1])
            if low >= high:
                needed.append(ours)
                continue
            needed += [left for left in ((ours[0], low), (high, ours[1])) if left[0] < left[1]]
            start = high  # Sent again twice, it has to come three times.
        in_vain = bool(self._needed) and not needed
        self._needed = needed
        return in_vain

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
