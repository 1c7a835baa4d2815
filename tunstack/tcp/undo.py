"""Finding out that nothing was lost after all, and going back to where we were.

Three ways to know: the peer echoes a timestamp from before the first retransmission (Eifel, RFC
3522); it reports by D-SACK that every retransmission came twice (RFC 3708); or, after a timeout,
something arrives that was sent only once, before it (F-RTO, RFC 5682).
"""

from __future__ import annotations


class Undo:
    """One recovery, and what it would take to undo it.

    Attributes:
        cwnd: The congestion window before it, in octets.
        ssthresh: The slow start threshold before it.
    """

    __slots__ = ("_first", "_in_vain", "_start", "cwnd", "ssthresh")

    def __init__(self, cwnd: int, ssthresh: int, una: int) -> None:
        self.cwnd = cwnd
        self.ssthresh = ssthresh
        self._start = una
        self._in_vain = 0
        self._first: float | None = None

    def resent(self, octets: int, now: float) -> None:
        """A retransmission went out."""
        if self._first is None:
            self._first = now
        self._in_vain += octets

    def duplicate_sack(self, start: int, end: int) -> bool:
        """A D-SACK came; returns whether all that was sent again has now come twice."""
        if self._first is None or start < self._start:
            return False
        self._in_vain -= end - start
        return self._in_vain <= 0

    def echo_is_older(self, echoed_at: float | None) -> bool:
        """Whether the peer answers the original: its echo is from before we sent anything again.

        Timestamps tick in milliseconds: within the same one nobody can tell.
        """
        return (
            self._first is not None
            and echoed_at is not None
            and echoed_at + 0.001 <= int(self._first * 1000) / 1000
        )
