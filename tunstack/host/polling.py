"""Busy polling: how often to read an idle device before sleeping."""

from __future__ import annotations

from typing import Final, final

_POLLS: Final = 15
"""Polls before sleeping; each takes a turn of the event loop, about 9 µs when idle."""
_SHORT_SLEEP: Final = 150e-6
"""Seconds of sleep that polling would have avoided."""
_MIN_SHORT_SLEEPS: Final = 2
"""Consecutive short sleeps after which polling starts."""
_BACKOFF: Final = 64
"""Short sleeps before polling starts again after it found nothing."""


@final
class Polling:
    """Decides whether to busy-poll for packets, as Linux does for sockets (net.core.busy_poll).

    Sleeping and waking takes tens of microseconds where the CPU enters an idle state, as on most
    virtual machines: as long as a small request and its reply. Polling starts when packets arrive
    within `_SHORT_SLEEP`; when they are further apart there are no extra polls, and an idle host
    uses no CPU time.

    When polls find nothing although packets arrive soon, the peer may be waiting for the CPU that
    polls. Then polling backs off for `_BACKOFF` short sleeps.
    """

    __slots__ = ("_short_sleeps",)

    def __init__(self) -> None:
        self._short_sleeps = 0  # Consecutive; negative while backing off.

    @property
    def polls(self) -> int:
        """How many consecutive polls may find nothing before sleeping."""
        return _POLLS if self._short_sleeps >= _MIN_SHORT_SLEEPS else 0

    def slept(self, seconds: float) -> None:
        """Record that a packet arrived after `seconds` of sleep."""
        is_short = seconds < _SHORT_SLEEP
        if self._short_sleeps >= _MIN_SHORT_SLEEPS:
            self._short_sleeps = -_BACKOFF if is_short else 0
        elif is_short:
            self._short_sleeps += 1
        else:
            self._short_sleeps = min(self._short_sleeps, 0)


__all__ = ["Polling"]
