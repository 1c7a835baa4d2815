"""Rules that end with their connection."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from tunstack.ip.demux import FourTuple
    from tunstack.path.rules.known import Lookup
    from tunstack.path.rules.rule import Rule

_LOOKED_AT: Final = 2
"""Rules that each new one looks at: one more than is added."""


@final
class BoundRules:
    """Rules on one connection each, removed when the host has it no more.

    No connection tells of its end: each new rule looks at some of the others, in turn, so that
    those of former connections are never many more than those of present ones.

    Args:
        lookup: Finds the host's connection of a four-tuple.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._rules: deque[tuple[Rule, FourTuple, int]] = deque()

    def add(self, rule: Rule, ends: FourTuple, number: int) -> None:
        """Remove `rule` when the connection with this `Known.number` is gone."""
        for _ in range(min(_LOOKED_AT, len(self._rules))):
            each = self._rules.popleft()
            if not each[0].removed and not self._removed(*each):
                self._rules.append(each)
        self._rules.append((rule, ends, number))

    def _removed(self, rule: Rule, ends: FourTuple, number: int) -> bool:
        """Remove a rule if its connection is gone; returns whether it is."""
        known = self._lookup(ends)
        if known is not None and known.number == number:
            return False
        rule.remove()
        return True


__all__ = ["BoundRules"]
