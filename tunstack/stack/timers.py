"""One queue for the timers of all connections."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Generic, Protocol, TypeVar

_MIN_STALE: Final = 8
"""Stale entries up to which the heap is not rebuilt."""


class Timed(Protocol):
    """An object with a deadline that changes.

    Attributes:
        scheduled: The time of its valid entry in the queue, or None; the queue sets it.
    """

    scheduled: float | None

    def deadline(self) -> float | None:
        """When its timer expires, in seconds; None if no timer runs."""
        ...


T = TypeVar("T", bound=Timed)


class TimerQueue(Generic[T]):
    """A heap of deadlines, with lazy rescheduling: an entry may be early, but is never late.

    Most deadlines move later, as each ACK restarts the retransmission timer. A later deadline does
    not change the heap: the entry is rescheduled when its old time has come. So restarting a timer
    is one comparison, and an idle connection costs nothing.

    An earlier deadline adds an entry, and the old one is stale; so is that of an ended connection.
    Stale entries are removed when they are more than half of all, as they may expire only two hours
    later (keep-alive). Those of ended connections hold memory that is not accounted: they are
    removed when they exceed a quarter of the valid ones.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()
        self.deadline_changed = False
        """Whether an entry was added since the last call of :meth:`deadline`."""
        self._scheduled = 0
        """Number of valid entries."""
        self._ended = 0
        """Number of entries, at most, of ended connections."""

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, timed: T) -> None:
        """Add an entry, if its deadline is earlier than the one scheduled."""
        deadline, scheduled = timed.deadline(), timed.scheduled
        if deadline is None or (scheduled is not None and scheduled <= deadline):
            return
        if scheduled is None:
            self._scheduled += 1
        timed.scheduled = deadline
        self.deadline_changed = True
        heap = self._heap
        heappush(heap, (deadline, next(self._order), timed))
        if len(heap) > 2 * self._scheduled + _MIN_STALE:
            self._remove_stale()

    def forget(self, timed: T) -> None:
        """Remove an object that has ended."""
        if timed.scheduled is not None:
            timed.scheduled = None
            self._scheduled -= 1
            self._ended += 1
            if not self._scheduled:
                self._heap.clear()
                self._ended = 0
            elif (
                self._ended > (self._scheduled >> 2) + _MIN_STALE
                or len(self._heap) > 2 * self._scheduled + _MIN_STALE
            ):
                self._remove_stale()

    def _remove_stale(self) -> None:
        self._ended = 0
        # An object that was rescheduled to a deadline that it had before has two equal entries.
        entries = {entry[2]: entry for entry in self._heap if entry[2].scheduled == entry[0]}
        self._heap = [*entries.values()]
        heapify(self._heap)

    def deadline(self) -> float | None:
        """When to call :meth:`due`, in seconds; it may return nothing then."""
        self.deadline_changed = False
        return self._heap[0][0] if self._heap else None

    def is_due(self, now: float) -> bool:
        """Whether a timer has expired; early entries are rescheduled."""
        while self._heap and self._heap[0][0] <= now:
            at, _, timed = self._heap[0]
            if timed.scheduled != at:
                heappop(self._heap)  # Stale: since rescheduled to an earlier time.
                continue
            deadline = timed.deadline()
            if deadline is not None and deadline <= now:
                return True
            self._pop()
            self.schedule(timed)
        return False

    def due(self, now: float) -> list[T]:
        """Remove and return the objects whose timers have expired."""
        due: list[T] = []
        while self.is_due(now):
            due.append(self._pop())
        return due

    def _pop(self) -> T:
        _, _, timed = heappop(self._heap)
        timed.scheduled = None
        self._scheduled -= 1
        return timed
