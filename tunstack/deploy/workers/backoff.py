"""Exponential backoff of restarts."""

from __future__ import annotations

from typing import Final

_INITIAL_DELAY: Final = 0.25
"""Seconds before the second restart in a row; the first one is immediate."""
_MAX_DELAY: Final = 30.0
"""Seconds."""
_STABLE_UPTIME: Final = 10.0
"""Seconds of uptime after which the backoff is reset."""


class Backoff:
    """Restart delays: none at first, then doubling from 0.25 s to 30 s while uptimes are short."""

    def __init__(self) -> None:
        self._next = 0.0

    def delay_after(self, uptime: float) -> float:
        """Return the seconds to wait before a restart, after `uptime` seconds."""
        if uptime >= _STABLE_UPTIME:
            self._next = 0.0
        delay = self._next
        self._next = min(max(_INITIAL_DELAY, 2 * delay), _MAX_DELAY)
        return delay
