"""Decides whether ACKs and replies may be deferred until the applications have run."""

from __future__ import annotations

from typing import Final, final

_LONG: Final = 0.01
"""Seconds for the applications' turns after a batch, all together, above which they are long."""
_BACKOFF: Final = 64
"""Batches for which nothing is deferred after turns that were long."""


@final
class Turns:
    """Measures how long the applications run after a batch of packets.

    Some segments are better sent after the applications have run: an ACK with a wider window, the
    rest of large segments, coalesced replies, an answer with its FIN. An application that computes
    blocks the event loop, and what is deferred waits for it; no timer can end that wait. So nothing
    is deferred for `_BACKOFF` batches after a long turn: such an application delays one batch in
    `_BACKOFF`, beside its own replies.
    """

    __slots__ = ("_backoff",)

    def __init__(self) -> None:
        self._backoff = 0  # Batches for which nothing is deferred.

    @property
    def are_short(self) -> bool:
        """Whether ACKs and replies may be deferred."""
        return not self._backoff

    def took(self, seconds: float) -> None:
        """Record that the applications ran for `seconds` after a batch."""
        if seconds > _LONG:
            self._backoff = _BACKOFF
        elif self._backoff:
            self._backoff -= 1


__all__ = ["Turns"]
