"""What a plot shows, as values without matplotlib: lines, bars and crosses over time.

Times are in seconds, and heights in the panel's base unit; the axes choose a unit to print.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Point: TypeAlias = tuple[float, float]
Color: TypeAlias = Literal[
    "blue", "orange", "green", "purple", "sky", "yellow", "dim", "bad", "ink"
]
"""A colour of :class:`~tunstack.ladder.palette.Palette`, by its name there."""
Unit: TypeAlias = Literal["octets", "segments", "bit/s", "%"]


@dataclass(frozen=True)
class Line:
    """A line of values over time.

    Attributes:
        name: For the legend.
        color: Of the palette.
        points: Ascending in time; NaN for no value.
        steps: Whether to connect points by steps.
        dashed: Whether the line is dashed.
    """

    name: str
    color: Color
    points: Sequence[Point]
    steps: bool = True
    dashed: bool = False

    @property
    def heights(self) -> Iterable[float]:
        """What the vertical axis must include."""
        return [y for _, y in self.points if not math.isnan(y)]


@dataclass(frozen=True)
class Bars:
    """Ranges at moments, drawn as upright bars: (time, from, to).

    Attributes:
        name: For the legend.
        color: Of the palette.
        bars: In any order.
        width: Of a bar, in pixels.
        least: The minimum height in pixels, so that small segments are visible.
    """

    name: str
    color: Color
    bars: Sequence[tuple[float, float, float]]
    width: float = 1.6
    least: float = 0.0

    @property
    def heights(self) -> Iterable[float]:
        """What the vertical axis must include."""
        return [y for _, low, high in self.bars for y in (low, high)]


@dataclass(frozen=True)
class Crosses:
    """Points marked with a cross.

    Attributes:
        name: For the legend.
        color: Of the palette.
        points: In any order.
    """

    name: str
    color: Color
    points: Sequence[Point]

    @property
    def heights(self) -> Iterable[float]:
        """What the vertical axis must include."""
        return [y for _, y in self.points]


Series: TypeAlias = Line | Bars | Crosses


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows over time.

    Attributes:
        label: Of the vertical axis, without the unit; may be empty.
        unit: Of the heights.
        series: Drawn in this order; empty ones are left out.
        top: The upper end of the vertical axis; None to include all points.
    """

    label: str
    unit: Unit
    series: Sequence[Series]
    top: float | None = None

    @property
    def shown(self) -> list[Series]:
        """The series that are not empty."""
        return [each for each in self.series if any(True for _ in each.heights)]
