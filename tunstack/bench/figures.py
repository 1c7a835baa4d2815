"""The suite's ratios as an SVG: a bar for each row, on a logarithmic scale, with its target.

An arrow before each name shows which direction is better.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tunstack.bench.rows import Result

_NAMES: Final = 290
_WIDTH: Final = 420
_FIGURES: Final = 190
_ROW: Final = 26
_TOP: Final = 82
_BOTTOM: Final = 82
_LEAST: Final = 0.01
"""The lowest ratio on the scale."""
_AXIS: Final = "tunstack's median divided by that of kernel sockets (logarithmic; 1: the same)"
_MORE, _LESS = "→", "←"
"""The direction that is better."""
_MET, _MISSED, _PLAIN = "#009E73", "#D55E00", "#56B4E9"  # after Okabe and Ito


def draw(results: Iterable[Result], made_by: str = "") -> str:
    """Draw the ratio of each row that has one; 1 is the kernel.

    Args:
        results: The rows.
        made_by: The machine and the load generators.
    """
    rows = [result for result in results if result.row.compared and math.isfinite(result.ratio)]
    values = [1.0, *(result.ratio for result in rows), *_bounds(rows)]
    scale = _Scale(max(min(values), _LEAST) / 1.3, max(values) * 1.3)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    width = _NAMES + _WIDTH + _FIGURES
    bottom = height - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">\n',
        f'<rect width="{width}" height="{height}" fill="white"/>\n',
        _text(12, 22, "tunstack beside kernel sockets", "start", size=15),
        *_legend(),
        _text(_NAMES + _WIDTH / 2, bottom + 40, _AXIS, "middle"),
        _text(12, height - 12, made_by, "start"),
    ]
    for tick in scale.ticks():
        x = scale.x(tick)
        colour = "#000000" if tick == 1 else "#dddddd"
        parts.append(f'<path d="M{x:.1f} {_TOP - 8}V{bottom}" stroke="{colour}"/>\n')
        parts.append(_text(x, bottom + 18, f"{tick:g}", "middle"))
    for number, result in enumerate(rows):
        parts.append(_bar(result, _TOP + _ROW * number, scale))
    return "".join([*parts, "</svg>\n"])


def _legend() -> Iterator[str]:
    """The legend: colours, the target's mark, arrows."""
    x = 12.0
    for colour, words in (
        (_MET, "target met"),
        (_MISSED, "target missed"),
        (_PLAIN, "without a target"),
    ):
        yield f'<rect x="{x:.1f}" y="38" width="14" height="12" fill="{colour}"/>\n'
        yield _text(x + 20, 49, words, "start")
        x += 20 + 6.6 * len(words) + 22
    yield (
        f'<path d="M{x + 7:.1f} 36v16" stroke="#000000" stroke-width="2" stroke-dasharray="3 2"/>\n'
    )
    yield _text(x + 20, 49, "target", "start")
    yield _text(x + 84, 49, f"{_MORE} more is better, {_LESS} less is better", "start")


def _bounds(rows: list[Result]) -> list[float]:
    targets = [result.row.target for result in rows]
    return [target.bound for target in targets if target is not None and target.of == "ratio"]


class _Scale:
    """A logarithmic scale of ratios, on which bars begin at 1."""

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high

    def x(self, value: float) -> float:
        """The x coordinate of `value`."""
        value = min(max(value, self._low), self._high)
        return _NAMES + _WIDTH * math.log(value / self._low) / math.log(self._high / self._low)

    def ticks(self) -> list[float]:
        """The values 0.1, 0.2, 0.5, 1, 2... within the scale."""
        first, last = math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))
        values = [
            round(digit * 10.0**power, 9) for power in range(first, last + 1) for digit in (1, 2, 5)
        ]
        return [value for value in values if self._low <= value <= self._high]


def _bar(result: Result, y: float, scale: _Scale) -> str:
    begin, end = sorted((scale.x(1.0), scale.x(result.ratio)))
    colour = {True: _MET, False: _MISSED, None: _PLAIN}[result.met]
    middle = y + _ROW / 2
    parts = [
        _text(_NAMES - 26, middle + 4, result.row.name, "end"),
        _text(_NAMES - 14, middle + 4, _LESS if result.row.less_is_better else _MORE, "middle"),
        f'<rect class="ratio" x="{begin:.1f}" y="{y + 4:.1f}" width="{end - begin:.1f}"'
        f' height="{_ROW - 8}" fill="{colour}"/>\n',
        _text(_NAMES + _WIDTH + 10, middle + 4, _words(result), "start"),
    ]
    for bound in _bounds([result]):
        mark = f'<path class="target" d="M{scale.x(bound):.1f} {y}v{_ROW}"'
        parts.append(f'{mark} stroke="#000000" stroke-width="2" stroke-dasharray="3 2"/>\n')
    return "".join(parts)


def _words(result: Result) -> str:
    met = {True: ", met", False: ", missed", None: ""}[result.met]
    target = "" if result.row.target is None else f" (target {result.row.target}{met})"
    return f"{result.ratio:.2f}{target}"


def _text(x: float, y: float, text: str, anchor: str, *, size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f' fill="#222222">{escape(text)}</text>\n'
    )
