"""The suite's ratios as a plot: a bar for each row, on a logarithmic scale, with its target.

An arrow behind each name shows which direction is better.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tunstack.plot.bars import Ratio, ratios_figure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.bench.rows import Result
    from tunstack.plot.style import Figure

_TITLE: Final = "tunstack beside kernel sockets"
_AXIS: Final = "tunstack's median divided by that of kernel sockets (logarithmic; 1: the same)"


def draw(results: Iterable[Result], made_by: str = "") -> Figure:
    """Draw the ratio of each row that has one; 1 is the kernel.

    Args:
        results: The rows.
        made_by: The machine and the load generators.

    Raises:
        SetupError: matplotlib is not installed.
    """
    return ratios_figure(as_ratios(results), _AXIS, _TITLE, made_by)


def as_ratios(results: Iterable[Result]) -> list[Ratio]:
    """The rows that have a ratio, for :func:`tunstack.plot.ratios`."""
    return [
        Ratio(
            result.row.name,
            result.ratio,
            _bound(result),
            result.met,
            result.row.less_is_better,
            _words(result),
        )
        for result in results
        if result.row.compared and math.isfinite(result.ratio)
    ]


def _bound(result: Result) -> float | None:
    target = result.row.target
    return target.bound if target is not None and target.of == "ratio" else None


def _words(result: Result) -> str:
    if result.row.target is None:
        return ""
    return f"(target {result.row.target}, {'met' if result.met else 'missed'})"
