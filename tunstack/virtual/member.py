"""A host of a network with its programs: their start and end, and the host's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, final

import trio

from tunstack.host.host import loop_of
from tunstack.socket.factory import installed
from tunstack.virtual.record import epoch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tunstack.host.host import Host


@final
class Member:
    """A host that runs in a task of its own, and its programs beside it.

    Args:
        name: Its name.
        host: The host, which is not running yet.
        fail: Called with the exception of a program, or of the host.
        cancel: Cancels the network's block.

    Attributes:
        name: Its name.
        host: The host.
        ended: Set when all has ended.
    """

    def __init__(
        self,
        name: str,
        host: Host,
        fail: Callable[[BaseException], None],
        cancel: Callable[[], None],
    ) -> None:
        self.name = name
        self.host = host
        self.ended = trio.Event()
        self._fail = fail
        self._cancel = cancel
        self._is_ending = False
        self._scope = trio.CancelScope()
        self._programs: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the host until :meth:`end` or :meth:`crash`; started when it can be used."""
        try:
            with self._scope:
                async with self.host:
                    loop_of(self.host).stack.set_epoch(epoch())
                    async with trio.open_nursery() as self._programs:
                        task_status.started()
                        await self._until_cancelled()
        except BaseException as error:
            self._failed(error)
        finally:
            self._programs = None
            self.ended.set()

    async def _until_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            # A host that fails cancels this, and then ends its sockets. The tasks that have them
            # are to be cancelled, and not to see errors for which they are not to blame.
            if not self._is_ending:
                self._cancel()

    def _failed(self, error: BaseException) -> None:
        """Tell the network; raises `trio.Cancelled` if that is in it."""
        if isinstance(error, trio.Cancelled):
            raise error
        if not isinstance(error, BaseExceptionGroup):
            self._fail(error)
            return
        cancelled, others = error.split(trio.Cancelled)
        if others is not None:
            self._fail(others)
        if cancelled is not None:
            raise cancelled

    def end(self) -> None:
        """Cancel the programs; what they closed has time for its teardown."""
        self._is_ending = True
        if self._programs is not None:
            self._programs.cancel_scope.cancel()

    def crash(self) -> None:
        """Cancel the programs, and the host."""
        self._is_ending = True
        self._scope.cancel()

    # Programs

    def start_soon(
        self, main: Callable[..., Awaitable[object]], args: tuple[Any, ...], name: object
    ) -> None:
        """Start a program."""
        self._nursery().start_soon(partial(self._run_program, main, args), name=name or main)

    async def start(
        self, main: Callable[..., Awaitable[object]], args: tuple[Any, ...], name: object
    ) -> Any:
        """Start a program, and return what it passes to ``task_status.started``."""
        program = partial(self._run_program, main, args)
        return await self._nursery().start(program, name=name or main)

    def _nursery(self) -> trio.Nursery:
        if self._programs is None:
            raise RuntimeError(f"the host {self.name} has ended")
        return self._programs

    async def _run_program(
        self,
        main: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        task_status: trio.TaskStatus[Any] | None = None,
    ) -> None:
        status = None if task_status is None else _Status(task_status)
        options = {} if status is None else {"task_status": status}
        with installed(loop_of(self.host), "refuse", for_run=False):
            try:
                await main(*args, **options)
            except BaseException as error:
                if status is not None and not status.is_started:
                    raise  # To who started it.
                self._failed(error)


@final
class _Status(trio.TaskStatus[Any]):
    """A task status that remembers whether the task has started."""

    def __init__(self, status: trio.TaskStatus[Any]) -> None:
        self.is_started = False
        self._status = status

    def started(self, value: object = None) -> None:
        self.is_started = True
        self._status.started(value)
