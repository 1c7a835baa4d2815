"""Calls what a batch of packets has woken: each once, in the order in which they were woken."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, final

from tunstack.protocol.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.stack.stack import Stack

logger = logging.getLogger("tunstack")

_SLOW: Final = 0.1
"""Seconds from which a callback is named in the log."""
_HELD: Final = 0.005
"""Seconds, at most and beside one callback, for which packets wait while others are called."""


class Actor(Protocol):
    """What is woken: a connection, or what accepts some."""

    def act(self, now: float) -> None:
        """Do what can be done now."""

    def failed(self, error: Exception) -> None:
        """Called with what `act` has raised."""

    @property
    def description(self) -> str:
        """What to call it in the log."""


@final
class Runner:
    """The protocols of a stack: which of them are to be called, and their timers.

    After each :meth:`Stack.flush`, call :meth:`run` if there are some in `woken`; call
    :meth:`expire` at :meth:`Timers.deadline` of its `timers`. The packets are in `Stack.outgoing`.

    Args:
        stack: The endpoint.
        flush: Called after calls that were made outside of callbacks: it is to flush the stack, to
            call `run`, and to write the packets.
        time: The clock of the stack, in seconds.
        write: Writes the packets in `Stack.outgoing`, if callbacks take long.
        clock: Measures how long callbacks take, in seconds; one that stands still if none does.
        timer_changed: Called with the time of a timer that is due before all others.
        wake: Called with each connection that is woken; it appends to `woken` by default.

    Attributes:
        stack: The endpoint.
        woken: Those to be called.
        running: Whether some are being called.
        now: The time at which they are called, in seconds.
        timers: The timers.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        flush: Callable[[], None],
        time: Callable[[], float],
        write: Callable[[], None],
        clock: Callable[[], float],
        timer_changed: Callable[[float], None],
        wake: Callable[[Actor], None] | None = None,
    ) -> None:
        self.stack = stack
        self._pending = stack.pending
        self.woken: deque[Actor] = deque()
        self.running = False
        self.now = 0.0
        self.timers = Timers(timer_changed)
        self.wake: Callable[[Actor], None] = self.woken.append if wake is None else wake
        self.time = time
        self._flush = flush
        self._write = write
        self._clock = clock
        self._slow: set[str] = set()

    def flush(self) -> None:
        """Transmit after calls from outside of callbacks; within them it is done by :meth:`run`."""
        if not self.running:
            self._flush()

    def run(self, now: float) -> None:
        """Call all that are woken, and flush the stack."""
        if self.running:
            return
        self.running = True
        self.now = now
        try:
            while self.woken:
                self._call_all()
                if self._pending:
                    self.stack.defer_acks = False  # Those whom it has waited for have run.
                    self.stack.flush(self.now)
        finally:
            self.running = False

    def _call_all(self) -> None:
        woken, clock = self.woken, self._clock
        before = clock()
        due = before + _HELD
        while woken:
            actor = woken.popleft()
            try:
                actor.act(self.now)
            except Exception as error:
                actor.failed(error)
            after = clock()
            if after > due:
                if after - before >= _SLOW:
                    self._log_slow(actor.description, after - before)
                self.now = self.time()
                self.stack.flush(self.now)
                self._write()
                after = clock()
                due = after + _HELD
            before = after

    def _log_slow(self, who: str, seconds: float) -> None:
        if who not in self._slow:
            self._slow.add(who)
            logger.warning(
                "%s took %.3f s in a callback: all connections of the host wait meanwhile",
                *(who, seconds),
            )

    def expire(self, now: float) -> None:
        """Call the timers that are due; then flush the stack, and call :meth:`run`."""
        for timer in self.timers.due(now):
            timer.fire()


__all__ = ["Actor", "Runner"]
