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
        self._stale = 0
        """Entries that stand for nothing any more."""

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, timed: T) -> None:
        """Take note of its deadline, which may have moved."""
        deadline = timed.deadline()
        if deadline is None:
            return
        scheduled = timed.scheduled
        if scheduled is None or deadline < scheduled:
            timed.scheduled = deadline
            heappush(self._heap, (deadline, next(self._order), timed))
            if scheduled is not None:
                self._one_more_is_stale()

    def forget(self, timed: T) -> None:
        """It is over, and will have no deadline again."""
        if timed.scheduled is not None:
            timed.scheduled = None
            self._one_more_is_stale()

    def _one_more_is_stale(self) -> None:
        """Stale entries go as soon as they are more than half of all.

        Else what lived for a moment would be kept until a time at which it once might have had
        something to do; and one whose timers are short and long by turns, as with delayed ACKs and
        keep-alive, would leave an entry for each turn.
        """
        self._stale += 1
        heap = self._heap
        if self._stale * 2 > len(heap):
            heap[:] = [entry for entry in heap if entry[2].scheduled == entry[0]]
            heapify(heap)
            self._stale = 0

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
                self._stale = max(0, self._stale - 1)
                continue  # It was scheduled for an earlier time since, and has been looked at.
            timed.scheduled = None
            deadline = timed.deadline()
            if deadline is not None and deadline <= now:
                due.append(timed)
            else:
                self.schedule(timed)
        return due
