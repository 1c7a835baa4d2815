"""Timers of connections: `Transport.call_later`."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable

_MIN_CANCELLED: Final = 64
"""Cancelled timers up to which the heap is not rebuilt."""


@final
class TimerHandle:
    """A call that is due at a time; made by :meth:`Transport.call_later`."""

    __slots__ = ("_cancelled", "_run", "_timers", "_when")

    def __init__(self, timers: Timers, when: float, run: Callable[[TimerHandle], None]) -> None:
        self._timers = timers
        self._when = when
        self._run = run
        self._cancelled = False

    def when(self) -> float:
        """When it is due, in seconds of the host's clock."""
        return self._when

    def cancel(self) -> None:
        """Do not call; without effect after the call."""
        if not self._cancelled:
            self._cancelled = True
            self._timers.count_cancelled()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled

    def fire(self) -> None:
        """Call, if it was not cancelled meanwhile."""
        if not self._cancelled:
            self._run(self)


@final
class Timers:
    """All timers, by time; of equal times the one that was started first is the first.

    Args:
        changed: Called with the time of a timer that is due before all others.
    """

    def __init__(self, changed: Callable[[float], None]) -> None:
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._order = count()
        self._changed = changed
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap)

    def start(self, when: float, run: Callable[[TimerHandle], None]) -> TimerHandle:
        """Call `run` at a time."""
        timer = TimerHandle(self, when, run)
        heappush(self._heap, (when, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._changed(when)
        return timer

    def count_cancelled(self) -> None:
        """Remove cancelled timers once they are most of all."""
        self._cancelled += 1
        if self._cancelled > _MIN_CANCELLED and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].cancelled()]
            heapify(self._heap)
            self._cancelled = 0

    def deadline(self) -> float | None:
        """When the first is due, in seconds; None without any."""
        heap = self._heap
        while heap and heap[0][2].cancelled():
            heappop(heap)
            self._cancelled = max(0, self._cancelled - 1)
        return heap[0][0] if heap else None

    def due(self, now: float) -> list[TimerHandle]:
        """Remove and return those that are due."""
        due: list[Any] = []
        while (at := self.deadline()) is not None and at <= now:
            due.append(heappop(self._heap)[2])
        return due


__all__ = ["TimerHandle", "Timers"]
