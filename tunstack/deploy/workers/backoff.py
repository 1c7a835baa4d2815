"""When to start anew what has died."""

from __future__ import annotations

from typing import Final

_FIRST: Final = 0.25
_LONGEST: Final = 30.0
_GOOD_LIFE: Final = 10.0


class Backoff:
    """At once the first time; later and later when it dies again soon, up to half a minute."""

    def __init__(self) -> None:
        self._next = 0.0

    def delay_after(self, lived: float) -> float:
        """How many seconds to wait, after a life of `lived` seconds."""
        if lived >= _GOOD_LIFE:
            self._next = 0.0
        delay = self._next
        self._next = min(max(_FIRST, 2 * delay), _LONGEST)
        return delay
