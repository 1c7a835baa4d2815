"""One queue for the timers of all connections."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, Protocol, TypeVar


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

    Deadlines mostly move away: each ACK starts the retransmission timer anew. So a later deadline
    changes nothing here; the entry is looked at when its old time comes, and put back. That makes
    the common case a comparison, and leaves an idle connection no work at all.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, timed: T) -> None:
        """Take note of its deadline, which may have moved."""
        deadline = timed.deadline()
        if deadline is not None and (timed.scheduled is None or deadline < timed.scheduled):
            timed.scheduled = deadline
            heappush(self._heap, (deadline, next(self._order), timed))

    def forget(self, timed: T) -> None:
        """It is over, and will have no deadline again.

        Its entry goes as soon as half of all are like it: else what lived for a moment would be
        kept until a time at which it once might have had something to do.
        """
        if timed.scheduled is None:
            return
        timed.scheduled = None
        self._forgotten += 1
        if self._forgotten * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].scheduled == entry[0]]
            heapify(self._heap)
            self._forgotten = 0

    def deadline(self) -> float | None:
        """When to call :meth:`due`, in seconds; it may find nothing then."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[T]:
        """Remove and return those whose deadline has come."""
        heap = self._heap
        due: list[T] = []
        while heap and heap[0][0] <= now:
            at, _, timed = heappop(heap)
            if timed.scheduled != at:
                continue  # It was scheduled for an earlier time since, and has been looked at.
            timed.scheduled = None
            deadline = timed.deadline()
            if deadline is not None and deadline <= now:
                due.append(timed)
            else:
                self.schedule(timed)
        return due
