"""How long to go on looking at a device that has nothing, before the system is to tell."""

from __future__ import annotations

from typing import Final, final

_MOST_LOOKS: Final = 15
"""Turns of the event loop: with little else to do, about as many times 9 µs."""
_SOON: Final = 150e-6
"""Seconds: what came in less than that after the last look, a few looks more might have found."""
_TWICE: Final = 2
"""So often must packets have come soon, without a pause between, to expect that of the next."""
_HOLIDAY: Final = 64
"""How often they must do so again where looking did not help."""


@final
class Polling:
    """Whether to look for packets again and again, as Linux does for sockets (net.core.busy_poll).

    To sleep until the system tells takes tens of microseconds where that puts a processor to sleep
    and wakes it again, as on most virtual machines; a small request and its answer take no more.
    So where one soon follows the other it is worth looking a few times more. Where packets are far
    apart it is not: then nobody looks more than once, and what is idle costs nothing.

    Where it is in vain although packets come soon, there may be no other processor for the peer to
    run on, and to look is just what it waits for. Then it is tried again seldom.
    """

    __slots__ = ("_soon",)

    def __init__(self) -> None:
        self._soon = 0  # How often in a row packets came soon; less than none on holiday.

    @property
    def looks(self) -> int:
        """How often to look in vain, one after the other, before sleeping."""
        return _MOST_LOOKS if self._soon >= _TWICE else 0

    def slept(self, seconds: float) -> None:
        """Take note that, after so many looks, it took so long until a packet came."""
        came_soon = seconds < _SOON
        if self._soon >= _TWICE:
            self._soon = -_HOLIDAY if came_soon else 0
        elif came_soon:
            self._soon += 1
        else:
            self._soon = min(self._soon, 0)


__all__ = ["Polling"]
