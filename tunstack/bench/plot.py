"""The goodput of a loss benchmark as an SVG, drawn by hand: it takes lines, marks and text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from tunstack.bench.loss import Result

_WIDTH: Final = 420
_HEIGHT: Final = 366
_LEFT: Final = 60
_TOP: Final = 66
_RIGHT: Final = 20
_BOTTOM: Final = 70
_LEGEND: Final = 170
_LEAST: Final = 1e4
"""Bits per second, below which a goodput is drawn as so much: the scale has no zero."""
_TITLE: Final = (
    "Goodput in Mbit/s over loss (logarithmic): more is better. Dashed: tunstack at one end"
)
# Distinct for people with any colour vision (Okabe and Ito), and dashed where not of the kernel.
_COLOURS: Final = ("#000000", "#E69F00", "#56B4E9", "#D55E00", "#CC79A7", "#009E73")


def draw(results: list[Result], made_by: str = "") -> str:
    """Draw goodput over loss, a panel for each round-trip time, a line for each contender.

    Args:
        results: What was measured.
        made_by: On what machine.
    """
    rtts = list(dict.fromkeys(result.cell.rtt for result in results))
    goodputs = [result.goodput for result in results]
    low = 10 ** math.floor(math.log10(max(min(goodputs), _LEAST)))
    scale = _Scale(low, max(*goodputs, low * 2) * 1.3)
    losses = list(dict.fromkeys(result.cell.loss for result in results))
    parts = [
        _panel([each for each in results if each.cell.rtt == rtt], losses, scale, number)
        for number, rtt in enumerate(rtts)
    ]
    width = _WIDTH * len(rtts) + _LEGEND
    legend = _legend(results, _WIDTH * len(rtts))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}"'
        f' viewBox="0 0 {width} {_HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>\n'
        + _text(12, 22, _TITLE, "start")
        + "".join([*parts, legend])
        + _text(12, _HEIGHT - 10, made_by, "start")
        + "</svg>\n"
    )


class _Scale:
    """A logarithmic scale of goodput, in bits per second."""

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high

    def y(self, value: float) -> float:
        """How far down `value` stands."""
        share = math.log(max(value, self._low) / self._low) / math.log(self._high / self._low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    def ticks(self) -> list[float]:
        """1, 2, 5, 10, 20..., as far as they fit."""
        first, last = math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))
        values = [digit * 10**power for power in range(first, last + 1) for digit in (1, 2, 5)]
        return [value for value in values if self._low <= value <= self._high]


def _panel(results: list[Result], losses: list[float], scale: _Scale, number: int) -> str:
    right = _WIDTH - _RIGHT
    step = (right - _LEFT) / max(1, len(losses))
    places = {loss: _LEFT + (index + 0.5) * step for index, loss in enumerate(losses)}
    lines = [
        f'<g transform="translate({_WIDTH * number} 0)">\n',
        _text(_LEFT, _TOP - 16, f"round-trip time {results[0].cell.rtt * 1000:g} ms", "start"),
        _text(_LEFT - 8, _TOP - 16, "Mbit/s", "end"),
        _text((_LEFT + right) / 2, _HEIGHT - 32, "loss in each direction", "middle"),
    ]
    for tick in scale.ticks():
        y = scale.y(tick)
        lines.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dddddd"/>\n')
        lines.append(_text(_LEFT - 8, y + 4, f"{tick / 1e6:g}", "end"))
    for loss, x in places.items():
        lines.append(_text(x, _HEIGHT - _BOTTOM + 18, f"{loss * 100:g} %", "middle"))
    for index, contender in enumerate(dict.fromkeys(each.contender for each in results)):
        points = [
            (places[each.cell.loss], scale.y(each.goodput))
            for each in results
            if each.contender == contender
        ]
        lines.append(_line(points, index, dashed="tunstack" in contender.name))
    return "".join([*lines, "</g>\n"])


def _line(points: list[tuple[float, float]], index: int, *, dashed: bool) -> str:
    colour = _COLOURS[index % len(_COLOURS)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    style = ' stroke-dasharray="6 3"' if dashed else ""
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points
    )
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{style}/>{marks}\n'


def _legend(results: list[Result], left: float) -> str:
    lines = []
    for index, contender in enumerate(dict.fromkeys(each.contender for each in results)):
        y = _TOP + 20 * index
        lines.append(_line([(left, y), (left + 24, y)], index, dashed="tunstack" in contender.name))
        lines.append(_text(left + 34, y + 4, contender.name, "start"))
    return "".join(lines)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222">'
        f"{escape(text)}</text>\n"
    )
