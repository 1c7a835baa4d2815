"""RACK: losses found by time, not by counting (RFC 8985 section 6)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.recovery.scoreboard import Scoreboard, Sent
    from tunstack.tcp.sender.rtt import RttEstimator

DUPLICATE_THRESHOLD: Final = 3
"""DupThresh of RFC 5681 and RFC 6675, in segments."""

_ROUNDING: Final = 1e-6
"""Seconds: what differences of times are off by, and more."""

_PERSIST: Final = 16
"""Recoveries for which a widened reordering window stays (RFC 8985 section 6.2, step 4)."""


class Rack:
    """What was sent before something that has arrived since should have arrived as well.

    Attributes:
        reordering_seen: Whether something was delivered after what had been sent later.
    """

    __slots__ = (
        "_dsack_until",
        "_end",
        "_multiplier",
        "_persist",
        "_rtt",
        "_time",
        "reordering_seen",
    )

    def __init__(self) -> None:
        self._time = -inf
        self._end = 0
        self._rtt = 0.0
        self._multiplier = 1
        self._persist = 0
        self._dsack_until: int | None = None
        self.reordering_seen = False

    def delivered(
        self, sent: Sent, highest: int, now: float, echoed_at: float | None, rtt: RttEstimator
    ) -> None:
        """`sent` has arrived; `highest` is the scoreboard's before that (steps 2 and 3)."""
        elapsed = now - sent.time
        if sent.retransmitted:
            # Was it the retransmission? Not if the echo is older, nor if it was too quick for that.
            if echoed_at is not None and echoed_at < sent.time - 0.001:
                return
            if rtt.min_rtt is not None and elapsed < rtt.min_rtt - _ROUNDING:
                return
        elif sent.end < highest:
            self.reordering_seen = True  # Step 3.
        self._rtt = elapsed
        if (sent.time, sent.end) > (self._time, self._end):
            self._time, self._end = sent.time, sent.end

    def delivered_in_order(self, sent: Sent, elapsed: float) -> None:
        """As :meth:`delivered`, of what was sent once and overtaken by nothing."""
        self._rtt = elapsed
        time, end = sent.time, sent.end
        if time > self._time or (time == self._time and end > self._end):
            self._time, self._end = time, end

    def duplicate_sack(self, una: int, nxt: int) -> None:
        """A D-SACK came: a retransmission was in vain, so be more patient (step 4)."""
        if self._dsack_until is None or una >= self._dsack_until:
            self._dsack_until = nxt
            self._multiplier += 1
            self._persist = _PERSIST

    def recovered(self) -> None:
        """A recovery has ended: after some without a D-SACK, be as impatient as before."""
        self._persist -= 1
        if self._persist <= 0:
            self._multiplier = 1

    def detect(
        self, board: Scoreboard, now: float, rtt: RttEstimator, *, certain: bool
    ) -> float | None:
        """Mark as lost what is overdue (step 5).

        Returns when to look again, in seconds, if something may be overdue then; else None.
        `certain`: enough was heard to wait no longer for what is late, if nothing ever was.
        """
        patience = self._rtt
        if self.reordering_seen or not certain:  # Step 4.
            patience += self._window(rtt)
        departures = board.departures
        for sent in departures.overdue(self._time, self._end, patience, now):
            board.lose(sent)
        latest = departures.latest(self._time, self._end)
        return None if latest is None else latest + patience

    def timed_out(self, board: Scoreboard, now: float, rtt: RttEstimator) -> list[Sent]:
        """What may be taken for lost as the retransmission timer fires (section 6.3)."""
        return board.departures.overdue(inf, 0, self._rtt + self._window(rtt), now)

    def _window(self, rtt: RttEstimator) -> float:
        """The reordering window, in seconds (step 4)."""
        return min((rtt.min_rtt or 0.0) / 4 * self._multiplier, rtt.srtt or 0.0)
