"""HyStart++: leave slow start when the RTT increases, before a loss (RFC 9406)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.congestion.base import Acknowledgement

MIN_RTT_THRESH: Final = 0.004
"""Seconds."""
MAX_RTT_THRESH: Final = 0.016
"""Seconds."""
MIN_RTT_DIVISOR: Final = 8
N_RTT_SAMPLE: Final = 8
CSS_GROWTH_DIVISOR: Final = 4
CSS_ROUNDS: Final = 5

MIN_TRAIN_GAP: Final = 0.002
"""Seconds between two ACKs, at most, of one train; or an eighth of the RTT, if that is more."""
TRAIN_ROUNDS: Final = 4
"""Rounds of CSS in which a train of ACKs must be confirmed by a longer RTT."""


class HyStart:
    """Slow start in rounds, then five rounds of conservative slow start (CSS) at a quarter of it.

    RFC 9406 limits what one ACK may add to L, eight segments, against bursts. There is no limit
    here (L of infinity, for paced senders): with offload one ACK covers 44 segments all the time.

    By the RTT alone the queue of a path overflows before CSS has ended: its first sign comes a
    round trip late, when cwnd has doubled once more. So there is a second sign, that of the first
    HyStart and of Linux: a round whose ACKs come in one train that is longer than half of the
    least RTT. The path carries half a window by then, and cwnd is about to exceed what it holds.
    One sign begins CSS; slow start ends after the first round of CSS in which both are there. CSS
    that only a train has begun ends without effect if the RTT stays as it was.

    Attributes:
        finished: Whether CSS has ended: congestion avoidance begins.
    """

    __slots__ = (
        "_css_baseline",
        "_css_rounds",
        "_in_css",
        "_last_min_rtt",
        "_least_rtt",
        "_min_rtt",
        "_rtt_samples",
        "_train_begin",
        "_train_counts",
        "_train_end",
        "_train_seen",
        "_window_end",
        "finished",
    )

    def __init__(self) -> None:
        self.finished = False
        self._in_css = False
        self._css_rounds = 0
        self._css_baseline = inf
        self._window_end = -1
        self._last_min_rtt = self._min_rtt = inf  # lastRoundMinRTT, currentRoundMinRTT.
        self._least_rtt = inf  # Of the connection.
        self._rtt_samples = 0
        self._train_begin = self._train_end = 0.0
        self._train_seen = False  # In this round, or in an earlier one of CSS.
        self._train_counts = True  # Until one was followed by no queue.

    def growth(self, ack: Acknowledgement) -> int:
        """Return the octets by which `ack` increases cwnd."""
        if ack.una > self._window_end:  # The octet windowEnd was not sent when the round began.
            if self._window_end >= 0:
                self._end_round()
            self._window_end = ack.nxt
            self._train_begin = self._train_end = ack.now
        if ack.rtt is not None:
            self._min_rtt = min(self._min_rtt, ack.rtt)
            self._least_rtt = min(self._least_rtt, ack.rtt)
            self._rtt_samples += 1
            self._check_rtt()
        if self._train_counts and not self._train_seen:
            self._check_train(ack.now)
        if not self._in_css:
            return ack.octets
        if self._is_confirmed():
            return 0  # Slow start ends with the round, unless a shorter RTT comes.
        return ack.octets // CSS_GROWTH_DIVISOR

    def _check_rtt(self) -> None:
        """Enter CSS when the RTT of this round has increased; leave it when it falls again."""
        if self._rtt_samples < N_RTT_SAMPLE:
            return
        if self._in_css:
            if self._min_rtt < self._css_baseline:  # Spurious: resume slow start.
                self._resume_slow_start()
        elif self._min_rtt >= self._last_min_rtt + _threshold(self._last_min_rtt):
            self._enter_css(self._min_rtt)

    def _check_train(self, now: float) -> None:
        """Enter CSS when the ACKs of this round come in a train of half the least RTT."""
        rtt = self._least_rtt
        if rtt < MIN_RTT_THRESH or now > self._train_end + max(
            MIN_TRAIN_GAP, rtt / MIN_RTT_DIVISOR
        ):
            return
        self._train_end = now
        if now > self._train_begin + rtt / 2:
            self._train_seen = True
            if not self._in_css:
                self._enter_css(0.0)

    def _is_confirmed(self) -> bool:
        """Whether both signs are there, the RTT's in this round."""
        return self._train_seen and self._rtt_samples >= N_RTT_SAMPLE and self._has_queue()

    def _has_queue(self) -> bool:
        """Whether all RTTs of this round are longer than the least one of the connection."""
        return self._min_rtt >= self._least_rtt + _threshold(self._least_rtt)

    def _enter_css(self, baseline: float) -> None:
        self._in_css = True
        self._css_rounds = 0
        self._css_baseline = baseline  # 0: no RTT is below it.

    def _resume_slow_start(self) -> None:
        self._in_css = self._train_seen = False
        self._css_baseline = inf

    def _end_round(self) -> None:
        if self._in_css:
            self._css_rounds += 1
            if self._css_rounds >= CSS_ROUNDS or self._is_confirmed():
                self.finished = True
            elif (
                self._css_rounds >= TRAIN_ROUNDS
                and not self._css_baseline
                and not self._has_queue()
            ):
                self._train_counts = False
                self._resume_slow_start()
        self._last_min_rtt = self._min_rtt
        self._min_rtt = inf
        self._rtt_samples = 0


def _threshold(rtt: float) -> float:
    """RttThresh: how much more than `rtt` tells of a queue, in seconds."""
    return max(MIN_RTT_THRESH, min(rtt / MIN_RTT_DIVISOR, MAX_RTT_THRESH))
