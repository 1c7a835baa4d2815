"""One queue for the timers of all connections."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Generic, Protocol, TypeVar

_FEW: Final = 8
"""Stale entries that are not worth removing."""


class Timed(Protocol):
    """Something with a deadline that moves.

    Attributes:
        scheduled: The queue's own note: for when it stands there, or None. Begins as None.
    """

    scheduled: float | None

    def deadline(self) -> float | None:
        """When it wants to be called, in seconds; None if never."""
        ...


T = TypeVar("T", bound=Timed)


class TimerQueue(Generic[T]):
    """A heap in which an entry may be too early, but never too late.

    Deadlines mostly move away: each ACK restarts the retransmission timer. So a later deadline
    changes nothing here; the entry is put back when its old time comes. That makes the common case
    a comparison, and an idle connection costs nothing.

    An earlier deadline makes one more entry, and what has ended has a stale one. Stale entries are
    removed when they are more than half of all: else they would stay until their old deadline, two
    hours away with keep-alive. Those of ended connections hold memory that is in no account: they
    are removed when they are a quarter as many as the valid ones.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()
        self.hurried = False
        """Whether something was put in since :meth:`deadline` was last asked."""
        self._scheduled = 0
        """How many of the entries are the one that counts of what they are for."""
        self._forgotten = 0
        """How many of the entries may be for what is over."""

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, timed: T) -> None:
        """Enter its deadline, if it is earlier than the one that is entered."""
        deadline = timed.deadline()
        if deadline is not None and (timed.scheduled is None or deadline < timed.scheduled):
            if timed.scheduled is None:
                self._scheduled += 1
            timed.scheduled = deadline
            self.hurried = True
            heappush(self._heap, (deadline, next(self._order), timed))
            self._clear_up()

    def forget(self, timed: T) -> None:
        """Remove what will have no deadline again."""
        if timed.scheduled is not None:
            timed.scheduled = None
            self._scheduled -= 1
            self._forgotten += 1
            if self._forgotten > (self._scheduled >> 2) + _FEW:
                self._remove_stale()
            else:
                self._clear_up()

    def _clear_up(self) -> None:
        if self._scheduled and len(self._heap) <= 2 * self._scheduled + _FEW:
            return
        self._remove_stale()

    def _remove_stale(self) -> None:
        self._forgotten = 0
        # One that came back to a deadline that it had before has two entries that look alike.
        entries = {entry[2]: entry for entry in self._heap if entry[2].scheduled == entry[0]}
        self._heap = [*entries.values()]
        heapify(self._heap)

    def deadline(self) -> float | None:
        """When to call :meth:`due`, in seconds; it may find nothing then."""
        self.hurried = False
        return self._heap[0][0] if self._heap else None

    def is_due(self, now: float) -> bool:
        """Whether a deadline has come; entries that are too early are put back."""
        while self._heap and self._heap[0][0] <= now:
            at, _, timed = self._heap[0]
            if timed.scheduled != at:
                heappop(self._heap)  # It was scheduled for an earlier time since.
                continue
            deadline = timed.deadline()
            if deadline is not None and deadline <= now:
                return True
            self._pop()
            self.schedule(timed)
        return False

    def due(self, now: float) -> list[T]:
        """Remove and return those whose deadline has come."""
        due: list[T] = []
        while self.is_due(now):
            due.append(self._pop())
        return due

    def _pop(self) -> T:
        _, _, timed = heappop(self._heap)
        timed.scheduled = None
        self._scheduled -= 1
        return timed
