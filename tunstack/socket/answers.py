"""Answers that wait for the FIN of an application that closes, to go out with it in one segment."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Buffer
    from tunstack.stack.flow import Flow
    from tunstack.stack.stack import Stack

_TURNS: Final = 3
"""Turns of the event loop, at most, for which an answer waits for a FIN."""
_BACKOFF: Final = 8
"""Connections that close right after an answer, before another is held, once one did not."""


@final
class Habit:
    """What the applications of a listener's connections do after they have sent an answer.

    Those of some close at once: HTTP/1.0, DNS and the like. The close comes by a call of its own,
    in the application's next turn, and would send a FIN in a packet of its own. So where the
    connections before did that, an answer is held for it (:class:`Answers`).

    Attributes:
        closes: Whether the next answer is likely to be followed by a close.
    """

    __slots__ = ("_score", "closes")

    def __init__(self) -> None:
        self._score = 0
        self.closes = False

    def closed(self) -> None:
        """Record that a connection was closed right after an answer."""
        if self._score < 1:
            self._score += 1
            self.closes = self._score > 0

    def went_on(self) -> None:
        """Record that an answer was held in vain."""
        self._score = -_BACKOFF
        self.closes = False


@final
class Answers:
    """The answers of a host that are held, each until the close that is likely to follow it.

    The wait ends with that close, with any other call, segment or timer of the connection, and
    after a few turns of the event loop at the latest: the host calls :meth:`turn_passed` in each.
    While it does not, nothing is held.

    Args:
        stack: The endpoint.
        flush: Transmits after calls to it.

    Attributes:
        open: Whether the host counts the coming turns, so that answers may be held.
        held: Whether there are any.
        expected: Turns in which an answer is likely that is to be held: the host is not to sleep.
    """

    __slots__ = ("_flush", "_stack", "_turn", "expected", "held", "open")

    def __init__(self, stack: Stack, flush: Callable[[], None]) -> None:
        self._stack = stack
        self._flush = flush
        self._turn = 0
        self.held: deque[tuple[int, Flow, Habit]] = deque()
        self.open = False
        self.expected = 0

    # Of sockets

    def expect(self, turns: int) -> None:
        """Expect, within so many turns of the event loop, an answer that is to be held."""
        if turns > self.expected:
            self.expected = turns

    def hold(self, flow: Flow, data: Buffer, habit: Habit) -> int:
        """Queue an answer that is likely to be followed by a close; returns how many octets.

        Returns 0 if it is not to be held: it is no single segment, applications are slow, or the
        host has not just received a packet, so that no turn would end the wait.

        Raises:
            OSError: as :meth:`tunstack.stack.stack.Stack.send` does.
        """
        sender = flow.sender
        if not self.open or flow.pending or sender.buffer.size or len(data) > sender.mss:
            return 0
        sent = self._stack.hold(flow, data, trio.current_time())
        if sent:
            self.expected = 0
            self.held.append((self._turn, flow, habit))
        return sent

    def release(self, flow: Flow, habit: Habit) -> None:
        """Send what is held of `flow`, as no FIN follows."""
        if not flow.pending and self._stack.release(flow):
            habit.went_on()
            self._flush()

    # Of the host

    def turn_passed(self) -> None:
        """Count a turn of the event loop; what has waited for too many is sent."""
        self._turn += 1
        if self.held:
            self._release_until(self._turn - _TURNS)

    def release_all(self) -> None:
        """Send what is held."""
        if self.held:
            self._release_until(self._turn)

    def pause(self) -> None:
        """Send what is held, and hold nothing: the coming turns are not counted."""
        self.open = False
        self.release_all()

    def _release_until(self, turn: int) -> None:
        """Send what was held until a turn."""
        held, found = self.held, False
        while held and held[0][0] <= turn:
            _, flow, habit = held.popleft()
            if not flow.pending and self._stack.release(flow):
                found = True
                if flow.changed is not None:
                    habit.went_on()
        if found:
            self._flush()


__all__ = ["Answers", "Habit"]
