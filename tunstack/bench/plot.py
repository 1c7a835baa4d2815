"""Charts of the loss benchmark's goodput, as SVG, without a library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunstack.bench.fast import FastResult
    from tunstack.bench.loss import Result

_WIDTH: Final = 420
_HEIGHT: Final = 366
_LEFT: Final = 60
_TOP: Final = 66
_RIGHT: Final = 20
_BOTTOM: Final = 70
_LEGEND: Final = 210
_LEAST: Final = 1e4
"""Bits per second: the lowest goodput on the logarithmic scale."""
_TITLE: Final = (
    "Goodput in Mbit/s over loss (logarithmic): more is better. Dashed: tunstack at one end"
)
_FAST_TITLE: Final = (
    "Goodput in % of what the path can bring: more is better. Dashed: tunstack at one end"
)
# Distinct for people with any colour vision (Okabe and Ito), and dashed where not of the kernel.
_COLOURS: Final = ("#000000", "#E69F00", "#56B4E9", "#D55E00", "#CC79A7", "#009E73")


def draw(results: Sequence[Result], made_by: str = "", fast: Sequence[FastResult] = ()) -> str:
    """Draw goodput over loss, a panel for each round-trip time, a line for each contender.

    Below, goodput on fast paths over the round-trip time, a panel for each rate.

    Args:
        results: Of lossy paths.
        made_by: The machine.
        fast: Of fast paths.
    """
    made = ((_TITLE, _lossy_row(results)), (_FAST_TITLE, _fast_row(fast)))
    titles, rows = [title for title, row in made if row], [row for _, row in made if row]
    width = max((_WIDTH * len(row) for row in rows), default=0) + _LEGEND
    height = _HEIGHT * len(rows)
    parts = []
    for number, row in enumerate(rows):
        panels = [_panel(panel, index) for index, panel in enumerate(row)]
        legend = _legend(row[0].lines, _WIDTH * len(row))
        parts.append(f'<g transform="translate(0 {_HEIGHT * number})">\n')
        parts += [_text(12, 22, titles[number], "start"), *panels, legend, "</g>\n"]
    parts.append(_text(12, height - 10, made_by, "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n' + "".join(parts) + "</svg>\n"
    )


@dataclass(slots=True)
class _Panel:
    """The contents of a panel.

    Attributes:
        title: Above it.
        unit: Of the vertical axis.
        abscissa: The label of the horizontal axis.
        columns: The labels of the positions on the horizontal axis.
        ticks: The labels of the vertical axis, with their y coordinates.
        lines: The points of each contender, by its name: a column and a y coordinate.
    """

    title: str
    unit: str
    abscissa: str
    columns: list[str]
    ticks: list[tuple[str, float]]
    lines: dict[str, list[tuple[int, float]]]


def _lossy_row(results: Sequence[Result]) -> list[_Panel]:
    if not results:
        return []
    goodputs = [result.goodput for result in results]
    low = 10 ** math.floor(math.log10(max(min(goodputs), _LEAST)))
    scale = _Scale(low, max(*goodputs, low * 2) * 1.3)
    losses = list(dict.fromkeys(result.cell.loss for result in results))
    panels = []
    for rtt in dict.fromkeys(result.cell.rtt for result in results):
        lines: dict[str, list[tuple[int, float]]] = {}
        for each in results:
            if each.cell.rtt == rtt:
                point = losses.index(each.cell.loss), scale.y(each.goodput)
                lines.setdefault(each.contender.name, []).append(point)
        panels.append(
            _Panel(
                f"round-trip time {rtt * 1000:g} ms",
                "Mbit/s",
                "loss in each direction",
                [f"{loss * 100:g} %" for loss in losses],
                [(f"{tick / 1e6:g}", scale.y(tick)) for tick in scale.ticks()],
                lines,
            )
        )
    return panels


def _fast_row(results: Sequence[FastResult]) -> list[_Panel]:
    rtts = list(dict.fromkeys(result.cell.rtt for result in results))
    panels = []
    for rate in dict.fromkeys(result.cell.rate for result in results):
        lines: dict[str, list[tuple[int, float]]] = {}
        for each in results:
            if each.cell.rate == rate:
                point = rtts.index(each.cell.rtt), _y_of_share(each.share)
                lines.setdefault(each.contender.name, []).append(point)
        panels.append(
            _Panel(
                f"{rate / 1e6:g} Mbit/s, no loss",
                "%",
                "round-trip time",
                [f"{rtt * 1000:g} ms" for rtt in rtts],
                [(f"{tick}", _y_of_share(tick / 100)) for tick in range(0, 101, 20)],
                lines,
            )
        )
    return panels


def _y_of_share(share: float) -> float:
    """The y coordinate of a share of the path's capacity: a linear scale up to 105 %."""
    return _HEIGHT - _BOTTOM - share / 1.05 * (_HEIGHT - _BOTTOM - _TOP)


class _Scale:
    """A logarithmic scale of goodput, in bits per second."""

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high

    def y(self, value: float) -> float:
        """The y coordinate of `value`."""
        share = math.log(max(value, self._low) / self._low) / math.log(self._high / self._low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    def ticks(self) -> list[float]:
        """The values 1, 2, 5, 10, 20... within the scale."""
        first, last = math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))
        values = [digit * 10**power for power in range(first, last + 1) for digit in (1, 2, 5)]
        return [value for value in values if self._low <= value <= self._high]


def _panel(panel: _Panel, number: int) -> str:
    right = _WIDTH - _RIGHT
    step = (right - _LEFT) / max(1, len(panel.columns))
    places = [_LEFT + (index + 0.5) * step for index in range(len(panel.columns))]
    lines = [
        f'<g transform="translate({_WIDTH * number} 0)">\n',
        _text(_LEFT, _TOP - 16, panel.title, "start"),
        _text(_LEFT - 8, _TOP - 16, panel.unit, "end"),
        _text((_LEFT + right) / 2, _HEIGHT - 32, panel.abscissa, "middle"),
    ]
    for label, y in panel.ticks:
        lines.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dddddd"/>\n')
        lines.append(_text(_LEFT - 8, y + 4, label, "end"))
    for column, x in zip(panel.columns, places, strict=True):
        lines.append(_text(x, _HEIGHT - _BOTTOM + 18, column, "middle"))
    for index, (name, points) in enumerate(panel.lines.items()):
        placed = [(places[column], y) for column, y in points]
        lines.append(_line(placed, index, dashed="tunstack" in name))
    return "".join([*lines, "</g>\n"])


def _line(points: list[tuple[float, float]], index: int, *, dashed: bool) -> str:
    colour = _COLOURS[index % len(_COLOURS)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    style = ' stroke-dasharray="6 3"' if dashed else ""
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points
    )
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{style}/>{marks}\n'


def _legend(names: Iterable[str], left: float) -> str:
    lines = []
    for index, name in enumerate(names):
        y = _TOP + 20 * index
        lines.append(_line([(left, y), (left + 24, y)], index, dashed="tunstack" in name))
        lines.append(_text(left + 34, y + 4, name, "start"))
    return "".join(lines)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222">'
        f"{escape(text)}</text>\n"
    )
