"""Packets as a ladder to be drawn as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.ladder import drawing
from tunstack.ladder.fold import Row
from tunstack.ladder.layout import TIME_UNIT, UNICODE, Layout
from tunstack.ladder.rows import Rows

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterable

    from tunstack.ladder.rows import Item
    from tunstack.ladder.step import Step

_WIDTH: Final = 77
"""Characters: so that the lines below an arrow are not longer than it."""


class Picture:
    """Collects packets for a drawing, as :class:`~tunstack.ladder.Ladder` formats them.

    Args:
        states: As of the ladder.
        names: As of the ladder.
        full: As of the ladder.
        only: As of the ladder.
    """

    def __init__(
        self,
        *,
        states: bool = True,
        names: tuple[str, str] = ("", ""),
        full: bool = False,
        only: Collection[int] = (),
    ) -> None:
        self._states = states
        self._layout = Layout(_WIDTH, UNICODE, states=False, names=names)
        self._rows = Rows(UNICODE, full=full, only=only)
        self._rungs: list[drawing.Rung] = []

    @property
    def left_out(self) -> Counter[str]:
        """As of the ladder."""
        return self._rows.left_out

    @property
    def empty(self) -> bool:
        """Whether no packet was added that is shown."""
        return self._rows.empty

    def add(self, step: Step) -> None:
        """Add the next packet."""
        self._collect(self._rows.add(step))

    def drawn(self, title: str) -> drawing.Ladder:
        """The ladder of the packets added so far."""
        self._collect(self._rows.flush())
        return drawing.Ladder(title, TIME_UNIT, tuple(self._rungs), self._states)

    def _collect(self, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, Row):
                parts = self._layout.parts(item)
                rung: drawing.Rung = drawing.Arrow(
                    parts.time.strip(),
                    item.number,
                    item.toward,
                    parts.text,
                    parts.below,
                    parts.note,
                    parts.state if self._states else "",
                    item.changed,
                )
            else:
                left, right = self._layout.named_ends(item)
                rung = drawing.Heading(item.number, left, right)
            self._rungs.append(rung)
