"""Busy polling: how often to read an idle device before sleeping."""

from __future__ import annotations

from typing import Final, final

_POLLS: Final = 15
"""Turns of the event loop, of about 9 µs each when little else runs."""
_SOON: Final = 150e-6
"""Seconds of sleep below which a few polls more would have found the packet."""
_TWICE: Final = 2
"""Short sleeps in a row after which polling begins."""
_BACKOFF: Final = 64
"""Short sleeps in a row after which it begins again where it was in vain."""


@final
class Polling:
    """Whether to busy-poll for packets, as Linux does for sockets (net.core.busy_poll).

    To sleep and be woken takes tens of microseconds where a processor goes to sleep, as on most
    virtual machines; a small request and its reply take no more. So where packets follow each other
    soon, a few polls are worth it. Where they are far apart nothing is polled twice, and an idle
    host costs nothing.

    Where polls find nothing although packets come soon, there may be no other processor for the
    peer, which the polls hold up. Then polling backs off for `_BACKOFF` short sleeps.
    """

    __slots__ = ("_soon",)

    def __init__(self) -> None:
        self._soon = 0  # Short sleeps in a row; negative while backing off.

    @property
    def polls(self) -> int:
        """How often to poll in vain, one after the other, before sleeping."""
        return _POLLS if self._soon >= _TWICE else 0

    def slept(self, seconds: float) -> None:
        """Note that a packet came after so many seconds of sleep."""
        came_soon = seconds < _SOON
        if self._soon >= _TWICE:
            self._soon = -_BACKOFF if came_soon else 0
        elif came_soon:
            self._soon += 1
        else:
            self._soon = min(self._soon, 0)


__all__ = ["Polling"]
