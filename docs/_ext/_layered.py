"""A drawing of a graph in rows, whose edges lead downwards: Sugiyama's method, in SVG.

An edge that passes rows gets a place in each of them, so that it goes round the boxes there. Places
are ordered by the mean of their neighbours, which leaves few crossings, and then moved towards it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

BOX: Final = (112, 34)
"""Width and height of a box."""
ROW: Final = 66
_GAP: Final = 18
_BEND: Final = 12
"""Width of the place of an edge that passes a row."""
_SWEEPS: Final = 24


@dataclass(eq=False)
class Place:
    """A box in a row, or where an edge passes it."""

    name: str
    row: int
    x: float = 0.0
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)

    @property
    def width(self) -> float:
        """In pixels."""
        return BOX[0] if self.name else _BEND


class Drawing:
    """A graph, laid out.

    Args:
        rows: The names of the boxes, row by row.
        edges: For each name those that its edges lead to, which are in lower rows.
    """

    def __init__(self, rows: Sequence[Sequence[str]], edges: Mapping[str, Iterable[str]]) -> None:
        self._rows = [[Place(name, row) for name in names] for row, names in enumerate(rows)]
        boxes = {place.name: place for row in self._rows for place in row}
        self._paths = [
            self._path(boxes[start], boxes[end])
            for start, ends in sorted(edges.items())
            for end in sorted(ends)
        ]
        self._order()
        self._straighten()

    def _path(self, start: Place, end: Place) -> list[Place]:
        path = [start]
        for row in range(start.row + 1, end.row):
            path.append(Place("", row))
            self._rows[row].append(path[-1])
        path.append(end)
        for upper, lower in pairwise(path):
            upper.below.append(lower)
            lower.above.append(upper)
        return path

    def _order(self) -> None:
        for row in self._rows:
            self._pack(row)
        for sweep in range(_SWEEPS):
            rows = self._rows if sweep % 2 == 0 else self._rows[::-1]
            for row in rows:
                row.sort(key=lambda each: _mean(each.above if sweep % 2 == 0 else each.below, each))
                self._pack(row)

    @staticmethod
    def _pack(row: list[Place]) -> None:
        """Put a row's places beside each other, its middle at 0."""
        x = -sum(each.width + _GAP for each in row) / 2
        for each in row:
            each.x = x + (each.width + _GAP) / 2
            x += each.width + _GAP

    def _straighten(self) -> None:
        for sweep in range(20 * _SWEEPS):
            for row in self._rows if sweep % 2 == 0 else self._rows[::-1]:
                wanted = [_mean(each.above + each.below, each) for each in row]
                _spread(row, wanted)

    def svg(self, label: str) -> str:
        """The drawing as an element of a page, in the colours of its text and of its links."""
        places = [each for row in self._rows for each in row]
        left = min(each.x - each.width / 2 for each in places) - 4
        right = max(each.x + each.width / 2 for each in places) + 4
        height = len(self._rows) * ROW - (ROW - BOX[1]) + 8
        lines = [
            f'<svg class="drawing" viewBox="{left:.0f} -4 {right - left:.0f} {height}"'
            f' width="{right - left:.0f}" role="img" aria-label="{label}">'
        ]
        lines += [_curve(path) for path in self._paths]
        for each in places:
            if each.name:
                lines.append(_box(each))
        return "\n".join([*lines, "</svg>"])


def _mean(neighbours: list[Place], own: Place) -> float:
    return sum(each.x for each in neighbours) / len(neighbours) if neighbours else own.x


def _spread(row: list[Place], wanted: list[float]) -> None:
    """Move places to where they are wanted, as far as they do not overlap."""
    rightwards, leftwards = [*wanted], [*wanted]
    for at in range(1, len(row)):
        room = (row[at - 1].width + row[at].width) / 2 + _GAP
        rightwards[at] = max(rightwards[at], rightwards[at - 1] + room)
    for at in range(len(row) - 2, -1, -1):
        room = (row[at].width + row[at + 1].width) / 2 + _GAP
        leftwards[at] = min(leftwards[at], leftwards[at + 1] - room)
    for each, right, left in zip(row, rightwards, leftwards, strict=True):
        each.x = (right + left) / 2


def _curve(path: list[Place]) -> str:
    start = path[0]
    d = f"M{start.x:.0f} {start.row * ROW + BOX[1]}"
    for place in path[1:]:
        top, middle = place.row * ROW, place.row * ROW - (ROW - BOX[1]) / 2
        d += f"C{{x:.0f}} {middle:.0f} {place.x:.0f} {middle:.0f} {place.x:.0f} {top}".format(
            x=start.x
        )
        if not place.name:
            d += f"V{top + BOX[1]}"
        start = place
    return f'<path class="edge" d="{d}"/>'


def _box(place: Place) -> str:
    width, height = BOX
    top = place.row * ROW
    return (
        f'<rect class="box" x="{place.x - width / 2:.0f}" y="{top}" width="{width}"'
        f' height="{height}" rx="6"/>'
        f'<text x="{place.x:.0f}" y="{top + height / 2 + 5:.0f}">{place.name}</text>'
    )
