"""RTT estimation and the retransmission timeout (RFC 6298)."""

from __future__ import annotations

from typing import Final

ALPHA: Final = 1 / 8
BETA: Final = 1 / 4
CLOCK_GRANULARITY: Final = 0.001
"""G of RFC 6298, seconds: that of the timestamp clock."""


class RttEstimator:
    """SRTT, RTTVAR and RTO.

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
        """Process an RTT sample (RFC 6298 section 2), which also ends a back-off (section 5.7).

        Args:
            rtt: Seconds; the caller applies Karn's rule.
            window: Octets that were outstanding.
            interval: Octets per sample: with several samples in a window, the gains are divided by
                their number (RFC 7323 appendix G).
        """
        least, srtt, rttvar = self.min_rtt, self.srtt, self.rttvar
        if least is None or rtt < least:
            self.min_rtt = rtt
        if srtt is None:
            srtt = rtt
            rttvar = rtt / 2
        else:
            change = rtt - srtt
            deviation = (change if change > 0 else -change) - rttvar
            if window > interval:
                samples = -(-window // interval)
                srtt += ALPHA / samples * change
                rttvar += BETA / samples * deviation
            else:
                srtt += ALPHA * change
                rttvar += BETA * deviation
        self.srtt = srtt
        self.rttvar = rttvar
        # As in Linux, the minimum of 200 ms applies to 4 * RTTVAR: applied to the sum, the timer
        # would fire during a delayed ACK on paths with an RTT above 160 ms.
        variation = 4 * rttvar
        if variation < self._least:
            variation = self._least
        base = srtt + variation
        self._base = self.rto = base if base < self._maximum else self._maximum

    def back_off(self) -> None:
        """Double the timeout, up to the maximum (RFC 6298 section 5.5)."""
        self.rto = min(self.rto * 2, self._maximum)

    def end_back_off(self) -> None:
        """Restore RTO as computed from SRTT and RTTVAR (RFC 6298 section 5, last paragraph)."""
        self.rto = self._base

    def restart_after_syn_loss(self, rto: float) -> None:
        """Set RTO to `rto` for data, as the SYN was retransmitted (RFC 6298 section 5.7)."""
        if self.srtt is None:
            self._base = self.rto = rto
