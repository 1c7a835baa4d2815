"""Packet rules, for programs that know no trio."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, final

import tunstack
from tunstack.blocking.handle import Handle, plain
from tunstack.blocking.portal import within

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

A = TypeVar("A")
P = ParamSpec("P")


@final
class Rule(Handle[tunstack.Rule]):
    """A rule on packets; see `tunstack.Rule`. A context manager that removes it at the end."""

    remove = plain(tunstack.Rule.remove)
    release = plain(tunstack.Rule.release)

    def wait(self, n: int = 1, *, timeout: float | None = None) -> None:
        """Wait until it has matched `n` packets since it was added: return at once if it has.

        Raises:
            TimeoutError: it has not, in so many seconds.
            trio.ClosedResourceError: it was removed before, or the host has ended.
            ValueError: `n` is below 1, or more than the rule can match.
        """
        self._block.call(within(timeout, self._inner.wait), n)

    def keep(self, count: int) -> Self:
        """Keep the last `count` packets in :attr:`packets`, and return the rule; 100 by default."""
        self._block.call_sync(self._inner.keep, count)
        return self

    @property
    def matched(self) -> int:
        """How many packets it has matched."""
        return self._inner.matched

    @property
    def packets(self) -> tuple[tunstack.Packet, ...]:
        """The last 100 packets that it has matched, as they were before."""
        return self._inner.packets

    @property
    def removed(self) -> bool:
        """Whether it was removed, or its host has ended."""
        return self._inner.removed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.removed:
            self.remove()


def ruling(
    method: Callable[Concatenate[A, P], tunstack.Rule],
) -> Callable[Concatenate[Handle[A], P], Rule]:
    """Make a method that adds a rule."""

    @wraps(method)
    def add(self: Handle[A], /, *args: P.args, **kwargs: P.kwargs) -> Rule:
        rule = self._block.call_sync(method, self._inner, *args, **kwargs)
        return Rule(self._block, rule)

    return add


@final
class Rules(Handle[tunstack.Rules]):
    """The rules of a host; see `tunstack.Rules`.

    Functions that rules call run in the host's thread: they must be quick, and must not block.
    """

    drop = ruling(tunstack.Rules.drop)
    delay = ruling(tunstack.Rules.delay)
    hold = ruling(tunstack.Rules.hold)
    postpone = ruling(tunstack.Rules.postpone)
    duplicate = ruling(tunstack.Rules.duplicate)
    damage = ruling(tunstack.Rules.damage)
    change = ruling(tunstack.Rules.change)
    split = ruling(tunstack.Rules.split)
    answer = ruling(tunstack.Rules.answer)
    impair = ruling(tunstack.Rules.impair)
    call = ruling(tunstack.Rules.call)
    inject = plain(tunstack.Rules.inject)

    def __len__(self) -> int:
        return self._block.call_sync(lambda: len(self._inner))
