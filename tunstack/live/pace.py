"""How often to look."""

from __future__ import annotations

from typing import Final

INTERVAL: Final = 0.5
"""Seconds between two samples, at least."""
SHARE: Final = 0.02
"""Of the time, what looking may take."""


def pause_after(cost: float, *, interval: float = INTERVAL, share: float = SHARE) -> float:
    """How long to wait for the next sample, in seconds.

    Args:
        cost: Seconds that the last one took, with all that was made of it.
        interval: The least pause.
        share: Of the time, what samples may take: with ten thousand connections, or on a slow
            machine, there are fewer of them.
    """
    return max(interval, cost / share)
