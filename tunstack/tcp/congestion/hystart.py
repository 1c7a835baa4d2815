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


class HyStart:
    """Slow start in rounds, then five rounds of conservative slow start (CSS) at a quarter of it.

    RFC 9406 limits what one ACK may add to L, eight segments, against bursts. There is no limit
    here (L of infinity, for paced senders): with offload one ACK covers 44 segments all the time.

    Attributes:
        finished: Whether CSS has ended: congestion avoidance begins.
    """

    __slots__ = (
        "_css_baseline",
        "_css_rounds",
        "_in_css",
        "_last_min_rtt",
        "_min_rtt",
        "_rtt_samples",
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
        self._rtt_samples = 0

    def growth(self, ack: Acknowledgement) -> int:
        """Return the octets by which `ack` increases cwnd."""
        if self._window_end < 0:
            self._window_end = ack.nxt
        if ack.rtt is not None:
            self._min_rtt = min(self._min_rtt, ack.rtt)
            self._rtt_samples += 1
            self._check_rtt()
        growth = ack.octets // CSS_GROWTH_DIVISOR if self._in_css else ack.octets
        if ack.una >= self._window_end:
            self._next_round(ack.nxt)
        return growth

    def _check_rtt(self) -> None:
        """Enter CSS when the RTT of this round has increased; leave it when it falls again."""
        if self._rtt_samples < N_RTT_SAMPLE:
            return
        if self._in_css:
            if self._min_rtt < self._css_baseline:  # Spurious: resume slow start.
                self._in_css = False
                self._css_baseline = inf
        elif self._last_min_rtt < inf:
            threshold = max(
                MIN_RTT_THRESH, min(self._last_min_rtt / MIN_RTT_DIVISOR, MAX_RTT_THRESH)
            )
            if self._min_rtt >= self._last_min_rtt + threshold:
                self._css_baseline = self._min_rtt
                self._in_css = True
                self._css_rounds = 0

    def _next_round(self, nxt: int) -> None:
        self._window_end = nxt
        self._last_min_rtt = self._min_rtt
        self._min_rtt = inf
        self._rtt_samples = 0
        if self._in_css:
            self._css_rounds += 1
            self.finished = self._css_rounds >= CSS_ROUNDS
