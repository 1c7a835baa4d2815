"""A wait queue of one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Waiter:
    """A wait queue of one task: two tasks that read the same socket would share its data."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        """The task that waits here."""

    def __bool__(self) -> bool:
        return self.task is not None

    def check_free(self) -> None:
        """Raise `trio.BusyResourceError` if a task waits."""
        if self.task is not None:
            raise trio.BusyResourceError("another task is already using this socket")

    def wait(self) -> Coroutine[Any, Any, Any]:
        """Wait for :meth:`wake`; a checkpoint. To be awaited at once.

        Raises:
            trio.BusyResourceError: another task waits here.
        """
        if self.task is not None:
            self.check_free()
        self.task = current_task()
        return wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - The caller awaits it.

    def _abort(self, _: object) -> Abort:
        self.task = None
        return Abort.SUCCEEDED

    def wake(self) -> None:
        """Wake the waiting task, if any."""
        task = self.task
        if task is not None:
            self.task = None
            reschedule(task)
