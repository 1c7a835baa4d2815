"""Round-trip time and the retransmission timeout (RFC 6298)."""

from __future__ import annotations

from typing import Final

ALPHA: Final = 1 / 8
BETA: Final = 1 / 4
CLOCK_GRANULARITY: Final = 0.001
"""G of RFC 6298, seconds: that of the timestamp clock."""


class RttEstimator:
    """Smoothed round-trip time, its variation, and the timeout that follows from them.

    Attributes:
        srtt: Smoothed round-trip time, seconds; None before the first sample.
        rttvar: Its variation, seconds.
        min_rtt: The shortest sample, seconds; None before the first.
        rto: Retransmission timeout, seconds, back-off included.
    """

    __slots__ = ("_base", "_least", "_maximum", "min_rtt", "rto", "rttvar", "srtt")

    def __init__(self, initial: float, minimum: float, maximum: float) -> None:
        self._least = minimum if minimum > CLOCK_GRANULARITY else CLOCK_GRANULARITY
        self._maximum = maximum
        self.srtt: float | None = None
        self.rttvar = 0.0
        self.min_rtt: float | None = None
        self._base = initial
        self.rto = initial

    def sample(self, rtt: float, window: int = 0, interval: int = 0) -> None:
        """Take a measurement (RFC 6298 section 2), which also ends a back-off (section 5.7).

        Args:
            rtt: Seconds. The caller keeps to Karn's rule.
            window: Octets that were outstanding.
            interval: Octets after which there is another sample: where a window brings many, the
                gains are divided by their number (RFC 7323 appendix G).
        """
        least, srtt, rttvar = self.min_rtt, self.srtt, self.rttvar
        if least is None or rtt < least:
            self.min_rtt = rtt
        if srtt is None:
            srtt = rtt
            rttvar = rtt / 2
        else:
            alpha, beta = ALPHA, BETA
            if window > interval:
                samples = -(-window // interval)
                alpha, beta = alpha / samples, beta / samples
            change = rtt - srtt
            rttvar += beta * ((change if change > 0 else -change) - rttvar)
            srtt += alpha * change
        self.srtt, self.rttvar = srtt, rttvar
        # Linux keeps the variation's part at 200 ms or more, and so do we: a bare floor under the
        # sum would let the timer fire during a delayed ACK on paths of more than 160 ms.
        variation = 4 * rttvar
        if variation < self._least:
            variation = self._least
        base = srtt + variation
        self._base = self.rto = base if base < self._maximum else self._maximum

    def back_off(self) -> None:
        """Double the timeout, up to the maximum (RFC 6298 section 5.5)."""
        self.rto = min(self.rto * 2, self._maximum)

    def end_back_off(self) -> None:
        """Return to the timeout as computed (RFC 6298 section 5, last paragraph)."""
        self.rto = self._base

    def restart_after_syn_loss(self, rto: float) -> None:
        """Begin data transfer with `rto`: the SYN was retransmitted (RFC 6298 section 5.7)."""
        if self.srtt is None:
            self._base = self.rto = rto
