"""Packetization layer path MTU discovery (RFC 4821, RFC 8899): by probes, without ICMP.

Some routers drop what does not fit and send no ICMP message, or it is filtered: a black
hole. It shows as a segment that times out again and again. Then we go on with smaller ones, and
search upwards from there: now and then one segment is larger than the rest. Should it alone be
lost, that was its size, and not congestion.

Sizes are as the MSS option counts them: the data and the TCP options.
"""

from __future__ import annotations

from typing import Final

OFF: Final = 0
AFTER_BLACK_HOLE: Final = 1
ALWAYS: Final = 2
"""The values are those of Linux's tcp_mtu_probing; Linux's own default is off."""

BASE: Final = 1024
"""What arrives nearly everywhere (RFC 4821 section 7.2; Linux's tcp_base_mss)."""

SMALLEST: Final = 48
"""Below this there is no search: Linux's tcp_mtu_probe_floor."""

TIMEOUTS: Final = 3
"""How often the same segment has to time out until its size is suspected (section 7.7).

Two more for one of `BASE` or less, and for each time that it is halved.
"""

CLOSE_ENOUGH: Final = 8
"""Octets; a larger gain than this is not worth a probe (Linux's tcp_probe_threshold)."""

_RETRY_DELAY: Final = 600.0
"""Seconds after a failure until all is tried anew (RFC 4821 section 7.3)."""


def below(size: int) -> int:
    """What to fall back to when segments of `size` do not arrive (RFC 4821 section 7.7)."""
    return BASE if size > BASE else max(SMALLEST, size // 2)


class MtuSearch:
    """The search: what is known to arrive, what to be too large, and what to try next.

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
        """Nothing larger than `low` arrives any more."""
        self.low = low
        self._start_at_high = True

    def next_size(self, most: int, now: float) -> int | None:
        """What size to try, at most `most`; None when the search has come to its end, for now.

        The largest first: the black hole may have been something else, and then one probe restores
        the full size. After that by halves (section 7.3).
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
        """A probe of `size` has arrived (section 7.6.1)."""
        self.low = max(self.low, size)

    def was_lost(self, size: int, now: float) -> None:
        """A probe of `size` was lost, and nothing else was (section 7.6.2)."""
        self._failed = size
        self._start_at_high = False
        self._retry_at = now + _RETRY_DELAY
