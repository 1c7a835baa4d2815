"""Runs coroutines that wait for changes of state.

:mod:`~tunstack.tcp.connection.handshake` and :mod:`~tunstack.tcp.connection.teardown` are such
coroutines. They await :meth:`CoroutineRunner.until_left`, and the state machine resumes them
directly when the state changes, without an event loop: they run the same under trio, on a virtual
clock and in a plain loop.

They wait until a state is *left*, not for particular segments. So one coroutine serves active,
passive and simultaneous opens, and another all closes.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

from tunstack.compiled import mypyc_attr
from tunstack.tcp.connection.state import State, StateMachine

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


@mypyc_attr(allow_interpreted_subclasses=True)
class CoroutineRunner(StateMachine):
    """A state machine that resumes a coroutine at each change of state."""

    __slots__ = ("_next", "_resuming", "_running")

    def __init__(self) -> None:
        super().__init__()
        self._running: Coroutine[None, None, None] | None = None
        self._next: Coroutine[None, None, None] | None = None
        self._resuming = False

    def run(self, coroutine: Coroutine[None, None, None]) -> None:
        """Start `coroutine` now, or after the running one has returned."""
        if self._running is None:
            self._running = coroutine
            self._state_changed()
        else:
            self._next = coroutine

    @types.coroutine
    def until_left(self, *states: State) -> Generator[None, None, None]:
        """Wait until the state is none of `states`."""
        while self.state in states:
            yield

    def close_coroutines(self) -> None:
        """Close the coroutines that have not returned; idempotent."""
        if self._running is None:
            return
        for each in (self._running, self._next):
            # A coroutine that ends the connection itself is on the stack now, and returns.
            if each is not None and not (each is self._running and self._resuming):
                each.close()
        self._running = self._running if self._resuming else None
        self._next = None

    def _state_changed(self) -> None:
        # A coroutine that changes the state itself is not resumed recursively: until_left checks
        # the state before it waits, so it misses no change.
        while self._running is not None and not self._resuming:
            self._resuming = True
            try:
                self._running.send(None)
            except StopIteration:
                self._running, self._next = self._next, None
            else:
                return
            finally:
                self._resuming = False
