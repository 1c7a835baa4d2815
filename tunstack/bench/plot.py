"""Plots of the loss benchmark's goodput."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tunstack.plot.panels import Curves, curves_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.bench.fast import FastResult
    from tunstack.bench.loss import Result
    from tunstack.plot.style import Figure

_LEAST: Final = 1e4
"""Bits per second: the lowest goodput on the logarithmic scale."""
_TITLE: Final = (
    "Goodput in Mbit/s over loss (logarithmic): more is better. Dashed: tunstack at one end"
)
_FAST_TITLE: Final = (
    "Goodput in % of what the path can bring: more is better. Dashed: tunstack at one end"
)


def draw(results: Sequence[Result], made_by: str = "", fast: Sequence[FastResult] = ()) -> Figure:
    """Draw goodput over loss, a panel for each round-trip time, a line for each contender.

    Below, goodput on fast paths over the round-trip time, a panel for each rate.

    Args:
        results: Of lossy paths.
        made_by: The machine.
        fast: Of fast paths.

    Raises:
        SetupError: matplotlib is not installed.
    """
    rows = ((_TITLE, lossy_panels(results)), (_FAST_TITLE, fast_panels(fast)))
    return curves_figure([row for row in rows if row[1]], made_by)


def lossy_panels(results: Sequence[Result]) -> list[Curves]:
    """Goodput in Mbit/s over loss: a panel for each round-trip time, all on one scale."""
    if not results:
        return []
    goodputs = [result.goodput for result in results]
    low = 10 ** math.floor(math.log10(max(min(goodputs), _LEAST)))
    limits = low / 1e6, max(*goodputs, low * 2) * 1.3 / 1e6
    losses = list(dict.fromkeys(result.cell.loss for result in results))
    panels = []
    for rtt in dict.fromkeys(result.cell.rtt for result in results):
        lines: dict[str, list[tuple[int, float]]] = {}
        for each in results:
            if each.cell.rtt == rtt:
                point = losses.index(each.cell.loss), each.goodput / 1e6
                lines.setdefault(each.contender.name, []).append(point)
        panels.append(
            Curves(
                f"round-trip time {rtt * 1000:g} ms",
                [f"{loss * 100:g} %" for loss in losses],
                "loss in each direction",
                "Mbit/s",
                lines,
                _ours(lines),
                limits,
                logarithmic=True,
            )
        )
    return panels


def fast_panels(results: Sequence[FastResult]) -> list[Curves]:
    """Goodput in per cent of the capacity over the round-trip time: a panel for each rate."""
    rtts = list(dict.fromkeys(result.cell.rtt for result in results))
    panels = []
    for rate in dict.fromkeys(result.cell.rate for result in results):
        lines: dict[str, list[tuple[int, float]]] = {}
        for each in results:
            if each.cell.rate == rate:
                point = rtts.index(each.cell.rtt), each.share * 100
                lines.setdefault(each.contender.name, []).append(point)
        panels.append(
            Curves(
                f"{rate / 1e6:g} Mbit/s, no loss",
                [f"{rtt * 1000:g} ms" for rtt in rtts],
                "round-trip time",
                "%",
                lines,
                _ours(lines),
            )
        )
    return panels


def _ours(lines: dict[str, list[tuple[int, float]]]) -> frozenset[str]:
    return frozenset(name for name in lines if "tunstack" in name)
