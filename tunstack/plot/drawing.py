"""Draw panels on matplotlib axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from tunstack.plot.series import Bars, Crosses, Line
from tunstack.plot.style import library, new_figure, palette_of, palette_on, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from tunstack.ladder.palette import Palette
    from tunstack.plot.series import Panel, Series
    from tunstack.plot.style import Scheme

_UNITS: Final[dict[str, tuple[tuple[float, str], ...]]] = {
    "octets": ((1.0, "octets"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")),
    "bit/s": ((1.0, "bit/s"), (1e3, "kbit/s"), (1e6, "Mbit/s"), (1e9, "Gbit/s")),
    "s": ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s")),
    "segments": ((1.0, "segments"),),
    "%": ((1.0, "%"),),
}
"""By base unit: what may be printed, ascending."""
_LEAST: Final = {"octets": 10.0, "bit/s": 10.0, "s": 1.0}
"""The least range of an axis in a printed unit."""

WIDTH: Final = 860
HEIGHTS: Final = (420, 230)
"""Pixels: of the first panel with its margins, and of those below."""


def own_axes(scheme: Scheme | None, width: float = WIDTH, height: float = HEIGHTS[0]) -> Axes:
    """Axes of a new figure, which a notebook shows."""
    with styled(palette_of(scheme)):
        return new_figure(width, height, scheme, shown=True).add_subplot()


def figure_of(panels: Sequence[Panel], title: str, scheme: Scheme | None = None) -> Figure:
    """A figure of panels one above the other, over one axis of time."""
    heights = [HEIGHTS[min(number, 1)] for number in range(len(panels))]
    palette = palette_of(scheme)
    with styled(palette):
        figure = new_figure(WIDTH, sum(heights), scheme)
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[
            :, 0
        ]
    for number, (panel, ax) in enumerate(zip(panels, axes, strict=True)):
        draw_panel(panel, ax, title=title if not number else None, scheme=scheme)
    for ax in axes[:-1]:
        ax.set_xlabel("")
    return figure


def draw_panel(
    panel: Panel,
    ax: Axes | None = None,
    *,
    title: str | None = None,
    scheme: Scheme | None = None,
) -> Axes:
    """Draw a panel, with its labels and a legend above the axes.

    Args:
        panel: What to draw.
        ax: Where; by default, the axes of a new figure.
        title: Above the legend.
        scheme: The colours; by default, those for the axes' background.
    """
    ax = own_axes(scheme) if ax is None else ax
    palette = palette_on(ax, scheme)
    shown = panel.shown
    handles = [_draw(each, ax, palette) for each in shown]
    low = min((y for each in shown for y in each.heights), default=0.0)
    high = max((y for each in shown for y in each.heights), default=1.0)
    low, high = min(0.0, low), (panel.top or high or 1.0)
    ax.set_ylim(low, low + (high - low) * 1.04)
    ax.margins(x=0.02)
    label_axis(ax.xaxis, "time", "s")
    label_axis(ax.yaxis, panel.label, panel.unit)
    legend_above(ax, handles, [each.name for each in shown], palette)
    set_title(ax, title, palette)
    return ax


def legend_above(
    ax: Axes, handles: Sequence[Artist], names: Sequence[str], palette: Palette
) -> None:
    """A legend in one row above the axes, from the left."""
    if not handles:
        return
    ax.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=len(handles),
        frameon=False,
        borderaxespad=0.1,
        borderpad=0.2,
        handlelength=1.7,
        handletextpad=0.5,
        columnspacing=1.4,
        labelcolor=palette.ink,
    )


def set_title(ax: Axes, title: str | None, palette: Palette) -> None:
    """A title above the legend; an empty one removes it."""
    if title is not None:
        ax.set_title(title, loc="left", pad=25, fontsize=11, weight="bold", color=palette.ink)


def label_axis(axis: Axis, label: str, unit: str) -> None:
    """Print an axis of a base unit in the unit that fits its range, with the label."""
    low, high = axis.get_view_interval()
    span = max(abs(low), abs(high)) if unit != "s" else high - low
    least = _LEAST.get(unit, 0.0)
    fitting = [each for each in _UNITS[unit] if span >= each[0] * least]
    factor, name = fitting[-1] if fitting else _UNITS[unit][0]

    def write(value: float, _: int | None = None) -> str:
        if not value:
            return "0"
        digits = _digits([tick / factor for tick in axis.get_majorticklocs()])
        return f"{value / factor + 0.0:,.{digits}f}"

    axis.set_major_formatter(library("ticker").FuncFormatter(write))
    axis.set_label_text(f"{label}, {name}" if label else name)


def _digits(ticks: Sequence[float]) -> int:
    """The digits behind the point that ticks of equal distance need."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    return next(digits for digits in range(16) if abs(round(step, digits) - step) <= 1e-6 * step)


def _draw(series: Series, ax: Axes, palette: Palette) -> Artist:
    """Draw a series; returns what stands for it in the legend."""
    color = getattr(palette, series.color)
    match series:
        case Line(points=points, steps=steps, dashed=dashed):
            style: dict[str, Any] = {
                "color": color,
                "linewidth": _points(1.6),
                "linestyle": (0, (4, 2.4)) if dashed else "-",
                "drawstyle": "steps-post" if steps else "default",
            }
            (line,) = ax.plot([x for x, _ in points], [y for _, y in points], **style)
            return line
        case Bars(bars=bars, width=width, least=least):
            xs = [at for x, _, _ in bars for at in (x, x, math.nan)]
            ys = [at for _, low, high in bars for at in (low, high, math.nan)]
            ax.plot(xs, ys, color=color, linewidth=_points(width), solid_capstyle="butt")
            if least:
                middles = [(low + high) / 2 for _, low, high in bars]
                _marks(ax, [x for x, _, _ in bars], middles, "|", least, width, color)
            return _mark("|", 12.0, 4.0, color)
        case Crosses(points=points):
            _marks(ax, [x for x, _ in points], [y for _, y in points], "x", 8.0, 1.8, color)
            return _mark("x", 8.0, 2.0, color)


def _mark(marker: str, size: float, width: float, color: str) -> Artist:
    """A marker for the legend."""
    line: Artist = library("lines").Line2D([], [], **_style(marker, size, width, color))
    return line


def _marks(
    ax: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    marker: str,
    size: float,
    width: float,
    color: str,
) -> None:
    ax.plot(xs, ys, zorder=3, **_style(marker, size, width, color))


def _style(marker: str, size: float, width: float, color: str) -> dict[str, Any]:
    """The arguments of markers without a line; sizes in pixels."""
    return {
        "color": color,
        "linestyle": "none",
        "marker": marker,
        "markersize": _points(size),
        "markeredgewidth": _points(width),
    }


def _points(pixels: float) -> float:
    """Pixels in points, of 1/72 inch."""
    return pixels * 0.72
