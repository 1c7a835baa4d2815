"""Loss recovery without SACK: fast retransmit and fast recovery (RFC 5681, RFC 6582), and timeouts.

This decides *what* is to be sent again; when, and how much new data may go beside it, follows from
the windows, in :mod:`~tunstack.tcp.sender`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .sequence import MASK, ge, gt, lt

if TYPE_CHECKING:
    from .congestion import CongestionControl

DUPLICATE_THRESHOLD: Final = 3
"""Duplicate ACKs that stand for a loss (RFC 5681 section 3.2)."""


class Recovery:
    """NewReno (RFC 6582), and go-back-N after a timeout.

    Attributes:
        recover: RFC 6582's *recover*: SND.NXT as it was when the last recovery began.
        fast: Whether fast recovery is under way.
        duplicates: Duplicate ACKs since the last that acknowledged something new.
        resend_from: The next octet to send again after a timeout; None when none is.
        resend_one: Whether the segment at SND.UNA is to be sent again, at once.
        inflation: What duplicate ACKs add to cwnd in fast recovery, octets (it may be negative).
    """

    __slots__ = (
        "_congestion",
        "_partial_seen",
        "_timed_out",
        "duplicates",
        "fast",
        "inflation",
        "recover",
        "resend_from",
        "resend_one",
    )

    def __init__(self, congestion: CongestionControl, iss: int) -> None:
        self._congestion = congestion
        self.recover = (iss - 1) & MASK  # So that the very first segment can be recovered, too.
        self.fast = False
        self.duplicates = 0
        self.resend_from: int | None = None
        self.resend_one = False
        self.inflation = 0
        self._partial_seen = False
        self._timed_out: int | None = None

    @property
    def active(self) -> bool:
        """Whether a loss is being repaired."""
        return self.fast or self.resend_from is not None

    def duplicate_ack(self, una: int, nxt: int, mss: int, now: float) -> bool:
        """Take a duplicate ACK; returns whether it begins a fast recovery."""
        self.duplicates += 1
        if self.fast:
            self.inflation += mss
            return False
        if self.duplicates != DUPLICATE_THRESHOLD or self.resend_from is not None:
            return False
        # RFC 6582 section 3.2 step 2: those that echo our own retransmissions mean nothing.
        if not gt((una - 1) & MASK, self.recover):
            return False
        self.fast = True
        self.recover = nxt
        self.resend_one = True
        self._partial_seen = False
        self._congestion.loss((nxt - una) & MASK, now)
        self._congestion.cwnd = self._congestion.ssthresh
        self.inflation = DUPLICATE_THRESHOLD * mss
        return True

    def acknowledged(self, una: int, nxt: int, octets: int, mss: int) -> bool:
        """Take an ACK of `octets` new octets; returns whether the timer should start anew."""
        self.duplicates = 0
        self._timed_out = None
        if self.resend_from is not None:
            if ge(una, self.recover):
                self.resend_from = None
            elif lt(self.resend_from, una):
                self.resend_from = una
            return True
        if not self.fast:
            return True
        if ge(una, self.recover):  # Full: RFC 6582 section 3.2 step 3, the first choice.
            self.fast = self.resend_one = False
            flight = (nxt - una) & MASK
            self._congestion.cwnd = min(self._congestion.ssthresh, max(flight, mss) + mss)
            self.inflation = 0
            return True
        # Partial: the next hole begins at una. Deflate by what left, and add one segment back.
        self.resend_one = True
        self.inflation = max(self.inflation - octets, -self._congestion.cwnd)
        if octets >= mss:
            self.inflation += mss
        first = not self._partial_seen
        self._partial_seen = True
        return first

    def timeout(self, una: int, nxt: int, now: float) -> None:
        """The retransmission timer fired: all that is outstanding is taken for lost."""
        # ssthresh is held where the timer has sent this very segment again before (RFC 5681 3.1).
        self._congestion.timeout((nxt - una) & MASK, now, repeated=self._timed_out == una)
        self._timed_out = una
        self.fast = False
        self.inflation = 0
        self.duplicates = 0
        self.resend_one = False
        self.resend_from = una
        self.recover = nxt
