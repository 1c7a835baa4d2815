"""A rule, as its user holds it: what it has matched, waiting for that, and its end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, final

import trio

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tunstack.path.rules.actions import Action
    from tunstack.path.rules.packet import Packet
    from tunstack.path.rules.selection import Matcher

_KEPT: Final = 100
"""Packets that a rule remembers."""


class Gate(Protocol):
    """What a rule asks of the gate that it is in."""

    def remove(self, rule: Rule) -> None:
        """Remove it."""

    def release(self, rule: Rule, count: int | None) -> int:
        """Let packets go that it holds."""


@final
class Rule:
    """A rule on packets: which it matches, and what it does to them. `Rules` makes it.

    A context manager that removes it at the end of the block.

    Attributes:
        number: Its place: rules apply in the order in which they were added.
        matched: How many packets it has matched.
    """

    def __init__(self, number: int, matcher: Matcher, action: Action, gate: Gate) -> None:
        self.number = number
        self.matched = 0
        self._matcher = matcher
        self._action = action
        self._gate = gate
        self._packets: deque[Packet] = deque(maxlen=_KEPT)
        self._removed = False
        self._waiting: list[tuple[int, trio.Event]] = []

    def __repr__(self) -> str:
        selection = self._matcher.selection
        words = [str(self._action), *(f"{name}={value!r}" for name, value in selection.items())]
        ended = ", removed" if self._removed else ""
        return f"<tunstack.Rule {' '.join(words)}: matched {self.matched}{ended}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def keep(self, count: int) -> Rule:
        """Keep the last `count` packets in :attr:`packets`, and return the rule; 100 by default."""
        self._packets = deque(self._packets, maxlen=count)
        return self

    @property
    def matcher(self) -> Matcher:
        """Its selection, as it is asked."""
        return self._matcher

    @property
    def action(self) -> Action:
        """What it does."""
        return self._action

    @property
    def packets(self) -> tuple[Packet, ...]:
        """The last packets that it has matched, as they were before; see :meth:`keep`."""
        return tuple(self._packets)

    @property
    def removed(self) -> bool:
        """Whether it was removed, or its host has ended."""
        return self._removed

    def remove(self) -> None:
        """Remove it; idempotent. What it holds or postpones is let go."""
        self._gate.remove(self)

    def release(self, n: int | None = None) -> int:
        """Let the first `n` packets go that it holds, or all; returns how many that were.

        Raises:
            ValueError: the rule is none of `Rules.hold`; a negative number.
        """
        return self._gate.release(self, n)

    async def wait(self, n: int = 1) -> None:
        """Wait until it has matched `n` packets since it was added: return at once if it has.

        Raises:
            trio.ClosedResourceError: it was removed before.
            ValueError: `n` is below 1, or more than the rule can match.
        """
        most = self._matcher.most
        if n < 1 or (most is not None and n > most):
            raise ValueError(f"{self!r} never matches {n} packets")
        await trio.lowlevel.checkpoint()
        while self.matched < n:
            if self._removed:
                raise trio.ClosedResourceError(f"{self!r} matches no more packets")
            event = trio.Event()
            self._waiting.append((n, event))
            try:
                await event.wait()
            finally:
                self._waiting = [each for each in self._waiting if each[1] is not event]

    # For the gate

    def count(self, packet: Packet) -> None:
        """Record a packet that it has matched, and wake who waits for that."""
        self.matched += 1
        self._packets.append(packet)
        for n, event in self._waiting:
            if self.matched >= n:
                event.set()

    def end(self) -> None:
        """Mark it as removed, and wake all who wait."""
        self._removed = True
        for _, event in self._waiting:
            event.set()
