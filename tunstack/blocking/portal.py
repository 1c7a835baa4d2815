"""A thread with a trio loop, and what other threads do in it.

A `Block` is an async context manager that is entered and left from another thread. A task of its
own is within it, in the nursery of the block around it: leaving a block ends all that was opened
within it. What is called in a block runs in its nursery, and ends with it.

Only `trio.lowlevel.TrioToken.run_sync_soon` crosses the threads: `trio.from_thread` refuses a
thread that itself runs trio, as that of a pytest-trio test does.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NOT_HERE: Final = (
    "a blocking call in the thread that runs the host would stop it: use the async API there"
)


class Block(Generic[T]):
    """An async context manager, held open by a task for other threads: a context manager.

    What ends it early, as an exception of a host's rule, comes out of the calls that wait in it,
    and out of the ``with`` block.

    Args:
        manager: What the task enters.
        around: The block within which it does that; None starts a thread with a trio loop.
        vital: Whether an error ends the block around it too.

    Attributes:
        value: What `manager` gave; set once it is entered.
    """

    value: T

    def __init__(
        self,
        manager: AbstractAsyncContextManager[T],
        around: Block[Any] | None = None,
        *,
        vital: bool = False,
    ) -> None:
        self._manager = manager
        self._vital = vital
        self._around = around
        self._loop: _Loop = _Loop() if around is None else around._loop
        self._nursery: trio.Nursery | None = None
        self._left = trio.Event()
        self._scope = trio.CancelScope()
        self._entered: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._raised: BaseException | None = None  # By the body of the `with` statement.
        self._entered.add_done_callback(self._if_refused)

    # In another thread

    def __enter__(self) -> Self:
        """Enter it.

        Raises:
            Exception: what the manager raises.
            trio.ClosedResourceError: the block around it has ended.
        """
        try:
            if self._around is None:
                self._loop.start(self._hold, self._failed)
            else:
                self._around.start_soon(self._hold, self._entered)
            self._entered.result()
        except CancelledError:
            raise _ended() from None
        except BaseException:
            if self._around is not None or self._loop.is_started:
                self._end(cancel=True)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._raised = exc
        interrupt = self._end()
        error = self._ended.exception()
        if exc is not None:
            exc.__traceback__ = traceback  # Without the frames of the other thread.
        if error is not None and error is not exc:
            raise error
        if interrupt is not None:
            raise interrupt

    def abort(self) -> None:
        """Cancel what the task does in it, and wait until it has ended; idempotent."""
        interrupt = self._end(cancel=True)
        if interrupt is not None:
            raise interrupt

    def _end(self, *, cancel: bool = False) -> KeyboardInterrupt | None:
        """Leave it, and wait until that is done; cancel that at Ctrl-C, which is returned."""
        interrupt = None
        leave = self._cancel if cancel else self._left.set
        while True:
            try:
                self._loop.post(leave)
                self._ended.exception()
                if self._around is None:
                    self._loop.join()
            except KeyboardInterrupt as error:
                interrupt, leave = error, self._cancel
            else:
                return interrupt

    def _cancel(self) -> None:
        self._left.set()
        self._scope.cancel()

    def _why_ended(self) -> BaseException | None:
        """The error that ended it, or what is around it; waits for it."""
        error = self._ended.exception()
        if error is None and self._around is not None and not self._left.is_set():
            return self._around._why_ended()
        return error

    def _if_refused(self, entered: Future[None]) -> None:
        if entered.cancelled():
            self._ended.set_result(None)

    def call(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await an async function in the loop; Ctrl-C cancels it.

        Raises:
            Exception: what the function raises; or what ended the block meanwhile.
            trio.ClosedResourceError: the block has ended.
            RuntimeError: this is the loop's own thread.
        """
        if self._loop.is_here():
            raise RuntimeError(_NOT_HERE)
        future: Future[R] = Future()
        scope = trio.CancelScope()
        self.start_soon(partial(_answer, future, scope, partial(function, *args, **kwargs)), future)
        try:
            return future.result()
        except CancelledError:
            raise self._why_ended() or _ended() from None
        except KeyboardInterrupt:
            self._loop.post(scope.cancel)
            raise

    def call_sync(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the loop, at once if this is its thread.

        Raises:
            Exception: what the function raises.
            trio.ClosedResourceError: the block has ended.
        """
        if self._loop.is_here():
            return function(*args, **kwargs)

        async def call() -> R:
            return function(*args, **kwargs)

        return self.call(call)

    def start_soon(self, function: Callable[[], Awaitable[object]], future: Future[Any]) -> None:
        """Run a task in the block; if that has ended, cancel `future`."""

        def start() -> None:
            if self._nursery is None or self._left.is_set():
                future.cancel()
                return
            try:
                self._nursery.start_soon(function)
            except RuntimeError:  # It is closed: the block ends.
                future.cancel()

        if not self._loop.post(start):
            future.cancel()

    # In the loop

    async def _hold(self) -> None:
        """Be within the manager until the block is left."""
        try:
            with self._scope:
                async with self._manager as self.value:
                    await self._serve()
        except BaseException as error:
            failure = _alone(_without_cancelled(error))  # Those where what is around ends.
            matters = self._vital and failure is not None and self._entered.done()
            self._failed(failure)
            if matters:
                raise
        else:
            self._failed(None)

    async def _serve(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._entered.set_result(None)
            await self._left.wait()
            self._nursery.cancel_scope.cancel()
        if self._raised is not None:
            raise self._raised

    def _failed(self, error: BaseException | None) -> None:
        """Say how it ended: to who waits for its start, or else to who waits for its end."""
        if self._ended.done():  # An error of trio's own, afterwards.
            return
        if not self._entered.done():
            self._entered.set_exception(error or _ended())
            error = None
        if error is None or error is self._raised:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


class _Loop:
    """A trio loop in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._token: Future[trio.lowlevel.TrioToken] = Future()

    def start(
        self, main: Callable[[], Awaitable[None]], failed: Callable[[BaseException], None]
    ) -> None:
        """Run `main` in trio; `failed` hears what trio itself raises."""

        async def run() -> None:
            self._token.set_result(trio.lowlevel.current_trio_token())
            await main()

        def target() -> None:
            try:
                trio.run(run)
            except BaseException as error:
                if not self._token.done():
                    self._token.set_exception(error)
                failed(error)

        # A daemon: nothing that it does outlives the process, and it must not keep it.
        self._thread = threading.Thread(target=target, name="tunstack.blocking", daemon=True)
        self._thread.start()

    @property
    def is_started(self) -> bool:
        """Whether it has a thread."""
        return self._thread is not None

    def post(self, function: Callable[[], object]) -> bool:
        """Call a function in the loop, soon; returns whether the loop still runs."""
        if self._thread is None:
            return False
        with suppress(trio.RunFinishedError):
            self._token.result().run_sync_soon(function)
            return True
        return False

    def is_here(self) -> bool:
        """Whether this is its thread."""
        return self._thread is threading.current_thread()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join()


async def _answer(
    future: Future[R], scope: trio.CancelScope, function: Callable[[], Awaitable[R]]
) -> None:
    """Give a future what a function returns or raises; cancel it with the function."""
    try:
        with scope:
            future.set_result(await function())
    except BaseException as error:
        failure = _without_cancelled(error)
        if failure is not None:
            future.set_exception(failure)
    if not future.done():
        future.cancel()


def _ended() -> trio.ClosedResourceError:
    return trio.ClosedResourceError("the host or the namespace has ended")


def _without_cancelled(error: BaseException) -> BaseException | None:
    """What is left of an exception without `trio.Cancelled`."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1]
    return None if isinstance(error, trio.Cancelled) else error


def _alone(error: BaseException | None) -> BaseException | None:
    """The exception in groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def within(
    timeout: float | None, function: Callable[P, Awaitable[R]]
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return the function with a time limit in seconds, after which it raises TimeoutError."""

    async def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        if timeout is None:
            return await function(*args, **kwargs)
        with trio.move_on_after(timeout) as scope:
            return await function(*args, **kwargs)
        assert scope.cancelled_caught
        raise TimeoutError(f"not within {timeout} s")

    return limited
