"""Whether ACKs and replies may be deferred until the applications have had a turn."""

from __future__ import annotations

from typing import Final, final

_LONG: Final = 0.01
"""Seconds for the turns of all applications together, in each of which one reads a piece or sends a
reply."""
_BACKOFF: Final = 64
"""Batches for which nothing is deferred after turns that were long."""


@final
class Turns:
    """How long the turns of the applications take that follow a batch of packets.

    Some things are better sent when the applications have had a turn: an ACK that then advertises a
    wider window, the rest of large segments, replies that are written together. The turn ends the
    wait. But an application that computes in its turn holds up the event loop, and with it all that
    is deferred, and no timer can end that. So nothing is deferred where turns have lately been
    long: such an application delays one batch in `_BACKOFF`, beside its own replies.
    """

    __slots__ = ("_wary",)

    def __init__(self) -> None:
        self._wary = 0  # For how many batches more nothing is deferred.

    @property
    def are_short(self) -> bool:
        """Whether something may be deferred until they are over."""
        return not self._wary

    def took(self, seconds: float) -> None:
        """Note how long they took after a batch."""
        if seconds > _LONG:
            self._wary = _BACKOFF
        elif self._wary:
            self._wary -= 1


__all__ = ["Turns"]
