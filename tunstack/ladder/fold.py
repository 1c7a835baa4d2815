"""Fold long runs of data and acknowledgments, of datagrams and of pings into one row."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

Side: TypeAlias = Literal["left", "right"]

ACK: Final = "ACK"
"""The unit of a TCP segment without data."""
HEAD: Final = 3
"""Rows of a run that are shown before it is folded."""
TAIL: Final = 2
"""Rows of a run that are shown at its end."""
LEAST: Final = 4
"""The least number of rows between them that is folded."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ladder, before it is laid out.

    Attributes:
        order: The packet's number.
        time: Seconds since the first packet.
        number: The conversation's number, or None.
        toward: The column that the arrow points to; None for no arrow.
        words: The text on the arrow, the most important first.
        details: The text below it.
        messages: What the layers above say in it, each in lines of its own.
        state: Our side's state, or its transition.
        changed: Whether it is a transition.
        note: A remark on a line of its own.
        size: Octets of data.
        unit: What it counts as where rows are folded.
    """

    order: int
    time: float
    number: int | None
    toward: Side | None
    words: tuple[str, ...]
    details: tuple[str, ...] = ()
    state: str = ""
    changed: bool = False
    note: str = ""
    size: int = 0
    unit: str = "packet"
    messages: tuple[tuple[str, ...], ...] = ()

    @property
    def separator(self) -> str:
        """The separator of the words."""
        return ", " if self.toward is None else " "


@dataclass(slots=True)
class _Traffic:
    units: Counter[str] = field(default_factory=Counter)
    octets: int = 0

    def count(self, row: Row) -> None:
        self.units[row.unit] += 1
        self.octets += row.size

    def data(self, arrow: str) -> list[str]:
        units = [_number(count, unit) for unit, count in self.units.items() if unit != ACK]
        return [f"{', '.join(units)}, {self.octets} bytes {arrow}"] if units else []

    def acknowledgments(self, arrow: str) -> list[str]:
        return [f"{_number(self.units[ACK], ACK)} {arrow}"] if self.units[ACK] else []


@dataclass(slots=True)
class _Run:
    """A run of plain rows of one conversation: those shown, pending and folded."""

    shown: int = 0
    waiting: deque[Row] = field(default_factory=deque)
    folded: dict[Side | None, _Traffic] = field(default_factory=lambda: defaultdict(_Traffic))
    last: Row | None = None

    def wait(self, row: Row) -> None:
        self.waiting.append(row)
        if len(self.waiting) > LEAST + TAIL:
            self._fold_one()

    def _fold_one(self) -> None:
        self.last = self.waiting.popleft()
        self.folded[self.last.toward].count(self.last)

    def take(self, arrows: dict[Side, str], ellipsis: str) -> list[Row]:
        """Return the pending rows in order, and reset the run."""
        rows: list[Row] = []
        if self.last is not None:
            while len(self.waiting) > TAIL:
                self._fold_one()
            words = self._words(arrows)
            text = f"{ellipsis} {words[0]}"
            rows = [
                replace(self.last, toward=None, words=(text, *words[1:]), details=(), messages=())
            ]
            self.last = None
            self.folded.clear()
        rows.extend(self.waiting)
        self.waiting.clear()
        return rows

    def _words(self, arrows: dict[Side, str]) -> list[str]:
        """Summarise the folded rows, the data first."""
        ways = [(self.folded[side], arrow) for side, arrow in arrows.items()]
        data = [text for traffic, arrow in ways for text in traffic.data(arrow)]
        return data + [text for traffic, arrow in ways for text in traffic.acknowledgments(arrow)]


def _number(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'}"


class Folder:
    """Returns rows in order, with runs folded.

    A run belongs to one conversation, and is not ended by others; but each row that is shown first
    flushes all runs, so that times are ascending.

    Args:
        arrows: The symbols of the directions in a folded row.
        ellipsis: The beginning of a folded row.
    """

    def __init__(self, arrows: dict[Side, str], ellipsis: str) -> None:
        self._arrows = arrows
        self._ellipsis = ellipsis
        self._runs: dict[int | None, _Run] = {}
        self._waiting: dict[int | None, _Run] = {}

    def add(self, row: Row, *, plain: bool) -> list[Row]:
        """Add a row, and return those to show; `plain` ones may be folded."""
        if not plain:
            rows = self.flush()
            self._runs.pop(row.number, None)
            return [*rows, row]
        run = self._runs.setdefault(row.number, _Run())
        if run.shown < HEAD:
            run.shown += 1
            return [*self.flush(), row]
        run.wait(row)
        self._waiting[row.number] = run
        return []

    def flush(self) -> list[Row]:
        """Return all pending rows."""
        rows: list[Row] = []
        for run in self._waiting.values():
            rows += run.take(self._arrows, self._ellipsis)
        self._waiting.clear()
        return sorted(rows, key=lambda row: row.order)
