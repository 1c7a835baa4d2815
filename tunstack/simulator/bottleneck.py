"""The slowest hop of a simulated path, with a drop-tail queue."""

from __future__ import annotations

from collections import deque


class Bottleneck:
    """A link of limited rate with a drop-tail queue.

    Args:
        rate: Bits per second, IP headers included.
        limit: Packets that it holds, the one being sent included.
    """

    def __init__(self, rate: float, limit: int) -> None:
        self._rate = rate
        self._limit = limit
        self._departures: deque[float] = deque()

    def enqueue(self, now: float, size: int) -> float | None:
        """Enqueue `size` octets; returns their time of departure, or None if they are dropped."""
        departures = self._departures
        while departures and departures[0] <= now:
            departures.popleft()
        if len(departures) >= self._limit:
            return None
        departures.append((departures[-1] if departures else now) + size * 8 / self._rate)
        return departures[-1]
