"""Whether what had better wait for the applications' next turn may wait for it."""

from __future__ import annotations

from typing import Final, final

_LONG: Final = 0.01
"""Seconds, for the turns of all applications together, in each of which one reads a piece or gives
an answer."""
_NOT_FOR: Final = 64
"""Batches for which nothing waits after turns that were long."""


@final
class Turns:
    """How long the turns of the applications take that follow a batch of packets.

    Some things are better sent when the applications have had a turn: an ACK that can then tell of
    a wider window, the rest of large segments, answers that go to the device together. What ends
    the wait is the turn. But an application that computes in its turn holds up the event loop, and
    with it all that waits, and no timer can end that. So nothing waits where turns have lately been
    long: what such an application delays beside its own answers is one batch in 64.
    """

    __slots__ = ("_wary",)

    def __init__(self) -> None:
        self._wary = 0  # For how many batches more nothing waits.

    @property
    def are_short(self) -> bool:
        """Whether something may wait for them."""
        return not self._wary

    def took(self, seconds: float) -> None:
        """Note how long they took after a batch."""
        if seconds > _LONG:
            self._wary = _NOT_FOR
        elif self._wary:
            self._wary -= 1


__all__ = ["Turns"]
