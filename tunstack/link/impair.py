"""Loss, delay, jitter, reordering and duplication, decided packet by packet without any I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    import random

_SHORTEST_HOLD: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairments:
    """What a bad path does to packets, in one direction.

    Attributes:
        loss: Probability that a packet vanishes, all copies of it.
        delay: Seconds that every packet takes.
        jitter: Seconds; each packet takes up to so much longer, uniformly. It spaces packets out
            and bunches them up, but a later one never passes an earlier one.
        reorder: Probability that a packet (or copy) is held back so that later ones pass it.
        duplicate: Probability that a packet arrives twice.

    Raises:
        ValueError: a probability outside 0..1, a time that is negative or not finite.
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("delay", "jitter"):
                if not (value >= 0.0 and math.isfinite(value)):
                    raise ValueError(f"{field.name} must be 0 or more seconds, not {value}")
            elif not 0.0 <= value <= 1.0:
                raise ValueError(f"{field.name} must be a probability from 0 to 1, not {value}")


@final
class Impairer:
    """Decides when the copies of each packet arrive; one object for each direction of a path.

    The path is a queue, so packets arrive in the order in which they were admitted. A packet that
    is reordered leaves the queue: it takes an extra half to one and a half times the jitter (or
    the delay where there is no jitter, or a millisecond where there is neither), and nobody waits
    for it.

    Args:
        impairments: What to do to packets. It may be replaced at any time.
        rng: The only source of chance: the same seed and calls give the same answers.
    """

    def __init__(self, impairments: Impairments, rng: random.Random) -> None:
        self.impairments = impairments
        self._rng = rng
        self._last_arrival = -math.inf

    def admit(self, now: float) -> list[float]:
        """Take in one packet at `now` (seconds, not decreasing between calls).

        Returns:
            The times at which its copies arrive, ascending; empty when it is lost. Equal times
            are to be delivered in the order of admission.
        """
        rng, path = self._rng, self.impairments
        if rng.random() < path.loss:
            return []
        copies = 2 if rng.random() < path.duplicate else 1
        return sorted(self._arrival(now) for _ in range(copies))

    def _arrival(self, now: float) -> float:
        rng, path = self._rng, self.impairments
        arrival = now + path.delay + path.jitter * rng.random()
        if rng.random() < path.reorder:
            hold = path.jitter or path.delay or _SHORTEST_HOLD
            return max(arrival, self._last_arrival) + hold * (0.5 + rng.random())
        self._last_arrival = max(arrival, self._last_arrival)
        return self._last_arrival
