"""Charts as SVG: panels one above the other, over one axis of time.

A chart is a value; :func:`svg` renders it without a library, and the same value as the same text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Point: TypeAlias = tuple[float, float]

BLUE: Final = "#0072b2"
ORANGE: Final = "#d55e00"
GREEN: Final = "#009e73"
PURPLE: Final = "#cc79a7"
SKY: Final = "#56b4e9"
YELLOW: Final = "#e69f00"
GREY: Final = "#888888"
"""Colors that most people tell apart (Okabe and Ito)."""

_LEFT: Final = 72
_RIGHT: Final = 16
_TOP: Final = 34
_ABOVE: Final = 26
"""Pixels above each panel, for its legend."""
_BETWEEN: Final = 14
_BELOW: Final = 44
_FONT: Final = 12
_MOMENTS: Final = 90
"""Pixels between the labels of the time axis, approximately."""
_HEIGHTS: Final = 45
"""Pixels between the labels of a vertical axis, approximately."""


@dataclass(frozen=True)
class Line:
    """A line of values over time.

    Attributes:
        name: For the legend.
        color: An SVG color.
        points: Ascending in time; NaN for no value.
        steps: Whether to connect points by steps.
        dashed: Whether the line is dashed.
    """

    name: str
    color: str
    points: Sequence[Point]
    steps: bool = True
    dashed: bool = False

    @property
    def corners(self) -> Iterable[Point]:
        """The points that determine the range of the axes."""
        return [(x, y) for x, y in self.points if not math.isnan(y)]


@dataclass(frozen=True)
class Bars:
    """Ranges at moments, drawn as upright bars: (time, from, to).

    Attributes:
        name: For the legend.
        color: An SVG color.
        bars: In any order.
        width: Of a bar, in pixels.
        least: The minimum height in pixels, so that small segments are visible.
    """

    name: str
    color: str
    bars: Sequence[tuple[float, float, float]]
    width: float = 1.6
    least: float = 0.0

    @property
    def corners(self) -> Iterable[Point]:
        """The points that determine the range of the axes."""
        return [(x, y) for x, low, high in self.bars for y in (low, high)]


@dataclass(frozen=True)
class Crosses:
    """Points marked with a cross.

    Attributes:
        name: For the legend.
        color: An SVG color.
        points: In any order.
    """

    name: str
    color: str
    points: Sequence[Point]

    @property
    def corners(self) -> Iterable[Point]:
        """The points that determine the range of the axes."""
        return self.points


Series: TypeAlias = Line | Bars | Crosses


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        label: Of the vertical axis, with its unit.
        series: Drawn in this order; empty ones are left out.
        height: Of the axes, in pixels.
        top: The upper end of the vertical axis; None to include all points.
        scale: The factor from values to the labels of the axis.
    """

    label: str
    series: Sequence[Series]
    height: int = 240
    top: float | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Chart:
    """Panels over one axis of time.

    Attributes:
        title: The chart's title.
        panels: From top to bottom.
        width: In pixels.
        label: Of the common time axis, with its unit.
        scale: As of a panel.
    """

    title: str
    panels: Sequence[Panel]
    width: int = 860
    label: str = "time, s"
    scale: float = 1.0

    @property
    def axis(self) -> Axis:
        """The time axis, which includes all points."""
        times = [x for panel in self.panels for each in panel.series for x, _ in each.corners]
        low, high = min(times, default=0.0), max(times, default=1.0)
        margin = (high - low) * 0.02 or 0.5
        return Axis(low - margin, high + margin, _LEFT, self.width - _RIGHT)


@dataclass(frozen=True)
class Axis:
    """A range of values, and the range of pixels that shows it."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """The coordinate of a value, in pixels."""
        part = (value - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self, apart: float) -> list[float]:
        """Round numbers within the range, about `apart` pixels from one another."""
        count = max(1.0, abs(self.end - self.begin) / apart)
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def svg(chart: Chart) -> str:
    """Draw a chart; returns the whole file."""
    drawn: list[str] = []
    time = chart.axis
    above = float(_TOP)
    for number, panel in enumerate(chart.panels):
        above += _ABOVE
        below = above + panel.height
        last = number == len(chart.panels) - 1
        drawn += _panel(panel, time, above, below, scale=chart.scale if last else None)
        above = below + _BETWEEN
    height = above - _BETWEEN + _BELOW
    middle = (time.begin + time.end) / 2
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {chart.width} {_n(height)}"'
            f' width="{chart.width}" height="{_n(height)}" font-size="{_FONT}"'
            ' font-family="Helvetica, Arial, DejaVu Sans, sans-serif">',
            f"<title>{escape(chart.title)}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            _text(_LEFT, 22, chart.title, size=15, weight="bold"),
            *drawn,
            _text(middle, height - 10, chart.label, anchor="middle"),
            "</svg>",
            "",
        ]
    )


def _panel(
    panel: Panel, time: Axis, above: float, below: float, *, scale: float | None
) -> Iterator[str]:
    """Render a panel; with the labels of the time axis if `scale` is given."""
    series = [each for each in panel.series if any(True for _ in each.corners)]
    values = [y for each in series for _, y in each.corners]
    low = min(0.0, *values) if values else 0.0
    high = panel.top or max(values, default=1.0) or 1.0
    upright = Axis(low, low + (high - low) * 1.04, below, above)
    yield from _grid(time, upright, above, below)
    yield from _numbers(time, upright, below, panel.scale, scale)
    middle = (above + below) / 2
    yield _text(18, middle, panel.label, anchor="middle", turned=True)
    clip = f"clip{_n(above)}"
    yield (
        f'<clipPath id="{clip}"><rect x="{_n(time.begin)}" y="{_n(above)}"'
        f' width="{_n(time.end - time.begin)}" height="{_n(below - above)}"/></clipPath>'
    )
    yield f'<g clip-path="url(#{clip})">'
    for each in series:
        yield _draw(each, time, upright)
    yield "</g>"
    yield from _legend(series, time, above - 9)


def _grid(time: Axis, upright: Axis, above: float, below: float) -> Iterator[str]:
    moments, heights = time.ticks(_MOMENTS), upright.ticks(_HEIGHTS)
    lines = "".join(f"M{_n(time.at(tick))} {_n(above)}V{_n(below)}" for tick in moments)
    lines += "".join(f"M{_n(time.begin)} {_n(upright.at(tick))}H{_n(time.end)}" for tick in heights)
    yield f'<path d="{lines}" stroke="#e4e4e4" fill="none"/>'
    yield (
        f'<rect x="{_n(time.begin)}" y="{_n(above)}" width="{_n(time.end - time.begin)}"'
        f' height="{_n(below - above)}" fill="none" stroke="#555"/>'
    )


def _numbers(
    time: Axis, upright: Axis, below: float, scale: float, time_scale: float | None
) -> Iterator[str]:
    heights = upright.ticks(_HEIGHTS)
    for tick, label in zip(heights, _labels(heights, scale), strict=True):
        yield _text(time.begin - 7, upright.at(tick) + 4, label, anchor="end")
    if time_scale is not None:
        moments = time.ticks(_MOMENTS)
        for tick, label in zip(moments, _labels(moments, time_scale), strict=True):
            yield _text(time.at(tick), below + 17, label, anchor="middle")


def _labels(values: Sequence[float], scale: float = 1.0) -> list[str]:
    """Format ticks with as many digits as distinguish them."""
    ticks = [value * scale for value in values]
    apart = min((after - before for before, after in pairwise(ticks)), default=1.0)
    digits = max(0, -math.floor(math.log10(apart) + 1e-9))
    return [f"{tick + 0.0:,.{digits}f}" if tick else "0" for tick in ticks]


def _legend(series: Sequence[Series], time: Axis, y: float) -> Iterator[str]:
    x = time.begin
    for each in series:
        mark = f'stroke="{each.color}" fill="none"'
        size = 10
        match each:
            case Line(dashed=dashed):
                size = 22
                dashes = ' stroke-dasharray="5 3"' if dashed else ""
                yield f'<path d="M{_n(x)} {_n(y)}h{size}" {mark} stroke-width="2"{dashes}/>'
            case Bars():
                yield f'<path d="M{_n(x + 5)} {_n(y - 6)}v12" {mark} stroke-width="4"/>'
            case Crosses():
                yield f'<path d="{_cross(x + 5, y)}" {mark} stroke-width="2"/>'
        yield _text(x + size + 6, y + 4, each.name)
        x += size + 6 + 0.53 * _FONT * len(each.name) + 18


def _draw(series: Series, time: Axis, upright: Axis) -> str:
    mark = f'stroke="{series.color}" fill="none"'
    match series:
        case Line(points=points, steps=steps, dashed=dashed):
            dashes = ' stroke-dasharray="5 3"' if dashed else ""
            path = _line([(time.at(x), upright.at(y)) for x, y in points], steps=steps)
            return f'<path d="{path}" {mark} stroke-width="1.6"{dashes}/>'
        case Bars(bars=bars, width=width, least=least):
            path = ""
            for x, low, high in bars:
                below, above = upright.at(low), upright.at(high)
                more = max(0.0, (least - (below - above)) / 2)
                path += f"M{_n(time.at(x))} {_n(below + more)}V{_n(above - more)}"
            return f'<path d="{path}" {mark} stroke-width="{width}"/>'
        case Crosses(points=points):
            path = "".join(_cross(time.at(x), upright.at(y)) for x, y in points)
            return f'<path d="{path}" {mark} stroke-width="1.8"/>'


def _line(points: Sequence[Point], *, steps: bool) -> str:
    """A path without redundant points."""
    path, before = "", math.nan
    for x, y in points:
        if math.isnan(y):
            path += f"H{_n(x)}" if steps and path and not math.isnan(before) else ""
        elif math.isnan(before):
            path += f"M{_n(x)} {_n(y)}"
        elif not steps:
            path += f"L{_n(x)} {_n(y)}"
        elif _n(y) != _n(before):
            path += f"H{_n(x)}V{_n(y)}"
        before = y
    return path + (f"H{_n(points[-1][0])}" if steps and not math.isnan(before) else "")


def _cross(x: float, y: float, size: int = 4) -> str:
    start = f"M{_n(x - size)} {_n(y - size)}"
    return f"{start}l{2 * size} {2 * size}m0-{2 * size}l-{2 * size} {2 * size}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int | None = None,
    weight: str = "",
    turned: bool = False,
) -> str:
    more = f' text-anchor="{anchor}"' if anchor != "start" else ""
    more += f' font-size="{size}"' if size else ""
    more += f' font-weight="{weight}"' if weight else ""
    more += f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turned else ""
    return f'<text x="{_n(x)}" y="{_n(y)}"{more} fill="#222">{escape(text)}</text>'


def _n(number: float) -> str:
    """Format a coordinate, rounded to a tenth of a pixel."""
    return f"{round(number, 1) + 0.0:g}"
