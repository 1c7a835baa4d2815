"""Whether the connections of a listener are closed right after an answer."""

from __future__ import annotations

from typing import Final, final

_BACKOFF: Final = 8
"""Connections that close right after an answer, before another is held, once one did not."""


@final
class Habit:
    """What the applications of a listener's connections do after they have sent an answer.

    Those of some close at once: HTTP/1.0, DNS and the like. The close comes by a call of its own,
    in the application's next turn, and would send a FIN in a packet of its own. So where the
    connections before did that, an answer is held for it (:meth:`tunstack.host.loop.Loop.hold`),
    and goes out with the FIN.

    Attributes:
        closes: Whether the next answer is likely to be followed by a close.
    """

    __slots__ = ("_score", "closes")

    def __init__(self) -> None:
        self._score = 0
        self.closes = False

    def closed(self) -> None:
        """Record that a connection was closed right after an answer."""
        if self._score < 1:
            self._score += 1
            self.closes = self._score > 0

    def went_on(self) -> None:
        """Record that an answer was held in vain."""
        self._score = -_BACKOFF
        self.closes = False


__all__ = ["Habit"]
