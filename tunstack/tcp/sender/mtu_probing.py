"""Packetization layer path MTU discovery (RFC 4821, RFC 8899): by probes, without ICMP.

Some routers drop large packets without an ICMP message, or it is filtered: a black
hole. A segment then times out repeatedly. The sender falls back to smaller segments, and
searches upwards with probes: single segments larger than the others. If only the probe is
lost, it was too large, and there was no congestion.

Sizes are those of data and TCP options, as in the MSS option.
"""

from __future__ import annotations

from typing import Final

OFF: Final = 0
AFTER_BLACK_HOLE: Final = 1
ALWAYS: Final = 2
"""The values are those of Linux's tcp_mtu_probing; Linux's own default is off."""

BASE: Final = 1024
"""A size that nearly every path carries (RFC 4821 section 7.2; Linux's tcp_base_mss)."""

SMALLEST: Final = 48
"""Below this there is no search: Linux's tcp_mtu_probe_floor."""

TIMEOUTS: Final = 3
"""Timeouts of the same segment until its size is reduced (section 7.7).

Two more for one of `BASE` or less, and for each time that it is halved.
"""

CLOSE_ENOUGH: Final = 8
"""Octets; a larger gain than this is not worth a probe (Linux's tcp_probe_threshold)."""

_RETRY_DELAY: Final = 600.0
"""Seconds after a lost probe until the search restarts (RFC 4821 section 7.3)."""


def below(size: int) -> int:
    """Return the size to fall back to when segments of `size` do not arrive (section 7.7)."""
    return BASE if size > BASE else max(SMALLEST, size // 2)


class MtuSearch:
    """The search for the largest size that arrives (RFC 4821 section 7.3).

    Attributes:
        low: The largest size that arrives, as far as is known; no segment but a probe is larger.
    """

    __slots__ = ("_failed", "_retry_at", "_start_at_high", "low")

    def __init__(self, low: int) -> None:
        self.low = low
        self._failed: int | None = None  # The smallest size that was lost, as far as is known.
        self._start_at_high = True
        self._retry_at = float("inf")

    def fall_back(self, low: int) -> None:
        """Restart the search from `low`, as larger segments do not arrive."""
        self.low = low
        self._start_at_high = True

    def next_size(self, most: int, now: float) -> int | None:
        """Return the next size to probe, at most `most`; None if the search has ended.

        The largest first: if the timeouts had another cause, one probe restores
        the full size. Then a binary search (section 7.3).
        """
        if now >= self._retry_at:
            self._failed = None
            self._start_at_high = True
            self._retry_at = float("inf")
        high = most if self._failed is None else min(most, self._failed - 1)
        if high - self.low < CLOSE_ENOUGH:
            return None
        return high if self._start_at_high else (self.low + high + 1) // 2

    def arrived(self, size: int) -> None:
        """Record that a probe of `size` has arrived (section 7.6.1)."""
        self.low = max(self.low, size)

    def was_lost(self, size: int, now: float) -> None:
        """Record that a probe of `size` alone was lost (section 7.6.2)."""
        self._failed = size
        self._start_at_high = False
        self._retry_at = now + _RETRY_DELAY
