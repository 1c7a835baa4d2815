"""A wait queue of one task."""

from __future__ import annotations

import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled


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

    async def wait(self) -> None:
        """Wait for :meth:`wake`; a checkpoint.

        Raises:
            trio.BusyResourceError: another task waits here.
        """
        if self.task is not None:
            self.check_free()
        self.task = current_task()

        def abort(_: object) -> Abort:
            self.task = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def wake(self) -> None:
        """Wake the waiting task, if any."""
        task = self.task
        if task is not None:
            self.task = None
            reschedule(task)
