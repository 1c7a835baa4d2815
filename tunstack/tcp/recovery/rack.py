"""RACK: loss detection by time instead of by counting duplicate ACKs (RFC 8985 section 6)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.recovery.scoreboard import Scoreboard
    from tunstack.tcp.recovery.sent import Sent
    from tunstack.tcp.sender.rtt import RttEstimator

DUPLICATE_THRESHOLD: Final = 3
"""DupThresh of RFC 5681 and RFC 6675, in segments."""

_ROUNDING: Final = 1e-6
"""Seconds: tolerance for rounding in differences of times."""

_REO_WND_PERSIST: Final = 16
"""RACK.reo_wnd_persist: recoveries until a widened window is reset (section 6.2, step 4)."""


class Rack:
    """RACK's state: a range sent RTT + reo_wnd before the latest delivered one was sent is lost.

    Attributes:
        reordering_seen: RACK.reordering_seen: whether an original transmission was delivered after
            one that was sent later.
    """

    __slots__ = (
        "_dsack_round",
        "_end_seq",
        "_reo_wnd_mult",
        "_reo_wnd_persist",
        "_rtt",
        "_xmit_ts",
        "reordering_seen",
    )

    def __init__(self) -> None:
        self._xmit_ts = -inf
        self._end_seq = 0
        self._rtt = 0.0
        self._reo_wnd_mult = 1
        self._reo_wnd_persist = 0
        self._dsack_round: int | None = None
        self.reordering_seen = False

    def on_delivered(
        self, sent: Sent, highest: int, now: float, echoed_at: float | None, rtt: RttEstimator
    ) -> None:
        """Update RACK.rtt, xmit_ts, end_seq and reordering_seen for a delivered range (steps 2, 3).

        `highest` is the scoreboard's before this ACK: RACK.fack.
        """
        elapsed = now - sent.time
        if sent.retransmitted:
            # Ignore it if the ACK is of the original: an older echo, or an RTT below the minimum.
            if echoed_at is not None and echoed_at < sent.time - 0.001:
                return
            if rtt.min_rtt is not None and elapsed < rtt.min_rtt - _ROUNDING:
                return
        elif sent.end < highest:
            self.reordering_seen = True  # Step 3.
        self._rtt = elapsed
        if (sent.time, sent.end) > (self._xmit_ts, self._end_seq):
            self._xmit_ts, self._end_seq = sent.time, sent.end

    def on_delivered_in_order(self, sent: Sent, elapsed: float) -> None:
        """As :meth:`on_delivered`, of a range that was sent once and delivered in order."""
        self._rtt = elapsed
        time, end = sent.time, sent.end
        if time > self._xmit_ts or (time == self._xmit_ts and end > self._end_seq):
            self._xmit_ts, self._end_seq = time, end

    def on_dsack(self, una: int, nxt: int) -> None:
        """Widen the reordering window after a D-SACK, at most once per round trip (step 4)."""
        if self._dsack_round is None or una >= self._dsack_round:
            self._dsack_round = nxt
            self._reo_wnd_mult += 1
            self._reo_wnd_persist = _REO_WND_PERSIST

    def on_recovery_end(self) -> None:
        """Reset the reordering window after 16 recoveries without a D-SACK (step 4)."""
        self._reo_wnd_persist -= 1
        if self._reo_wnd_persist <= 0:
            self._reo_wnd_mult = 1

    def detect_loss(
        self, board: Scoreboard, now: float, rtt: RttEstimator, *, without_reordering: bool
    ) -> float | None:
        """Mark overdue ranges lost (step 5, RACK_detect_loss).

        Returns when the reordering timer is to fire, in seconds; None if nothing waits for it.

        Args:
            board: The scoreboard.
            now: Seconds.
            rtt: For the reordering window.
            without_reordering: Use a reordering window of 0 while no reordering was seen: in
                recovery, or with DupThresh segments SACKed (step 4).
        """
        timeout = self._rtt
        if self.reordering_seen or not without_reordering:
            timeout += self._reo_wnd(rtt)
        by_time = board.by_time
        for sent in by_time.overdue(self._xmit_ts, self._end_seq, timeout, now):
            board.mark_lost(sent)
        latest = by_time.latest(self._xmit_ts, self._end_seq)
        return None if latest is None else latest + timeout

    def overdue_on_timeout(self, board: Scoreboard, now: float, rtt: RttEstimator) -> list[Sent]:
        """Return the ranges to mark lost when the retransmission timer fires (section 6.3)."""
        return board.by_time.overdue(inf, 0, self._rtt + self._reo_wnd(rtt), now)

    def _reo_wnd(self, rtt: RttEstimator) -> float:
        """Return the reordering window, RACK.reo_wnd, in seconds (step 4)."""
        return min((rtt.min_rtt or 0.0) / 4 * self._reo_wnd_mult, rtt.srtt or 0.0)
