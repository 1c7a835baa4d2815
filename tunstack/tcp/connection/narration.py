"""Coroutines that wait for changes of state, and nothing else.

:mod:`~tunstack.tcp.connection.handshake` and :mod:`~tunstack.tcp.connection.teardown` read from top
to bottom like the exchanges in a textbook. They await :meth:`Narrator.until_left`, and the state
machine resumes them at the moment of the change: no scheduler, no task and no event loop stand
between, so the same lines run under trio, under a virtual clock and in a plain loop.

They wait for states to be *left*, not for particular segments; so one coroutine serves active,
passive and simultaneous opens, another the closes.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

from tunstack.tcp.connection.state import State, StateMachine

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


class Narrator(StateMachine):
    """A state machine that resumes a coroutine at each change of state."""

    __slots__ = ("_next", "_resuming", "_running")

    def __init__(self) -> None:
        super().__init__()
        self._running: Coroutine[None, None, None] | None = None
        self._next: Coroutine[None, None, None] | None = None
        self._resuming = False

    def run(self, coroutine: Coroutine[None, None, None]) -> None:
        """Start `coroutine`, now or when the one that runs has returned."""
        if self._running is None:
            self._running = coroutine
            self._state_changed()
        else:
            self._next = coroutine

    @types.coroutine
    def until_left(self, state: State) -> Generator[None, None, None]:
        """Wait until the state is another than `state`."""
        while self.state is state:
            yield

    def close_coroutines(self) -> None:
        """Close those that have not returned; idempotent."""
        for each in (self._running, self._next):
            # One that ends the connection itself is on the stack now, and returns.
            if each is not None and not (each is self._running and self._resuming):
                each.close()
        self._running = self._running if self._resuming else None
        self._next = None

    def _state_changed(self) -> None:
        # One that changes the state itself is not resumed within itself: until_left looks at
        # the state before it waits, so no change is missed.
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
