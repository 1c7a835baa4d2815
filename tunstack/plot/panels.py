"""Panels of lines over named columns: as goodput over loss, a line for each contender."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tunstack.plot.bars import ticks
from tunstack.plot.drawing import own_axes
from tunstack.plot.style import library, new_figure, palette_of, palette_on, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tunstack.plot.series import Color
    from tunstack.plot.style import Scheme

_WIDTH: Final = 420
_HEIGHT: Final = 366
_LEGEND: Final = 210
_COLORS: Final[tuple[Color, ...]] = ("ink", "yellow", "sky", "orange", "purple", "green")


@dataclass(frozen=True, slots=True)
class Curves:
    """The contents of a panel.

    Attributes:
        title: Above it.
        columns: The labels of the positions on the horizontal axis.
        label: Of the horizontal axis.
        unit: Of the vertical axis.
        lines: The points of each line, by its name: the index of a column, and a value.
        dashed: The names of dashed lines.
        limits: The ends of the vertical axis; values beyond are drawn at the end.
        logarithmic: Whether the vertical axis is.
    """

    title: str
    columns: Sequence[str]
    label: str
    unit: str
    lines: Mapping[str, Sequence[tuple[int, float]]]
    dashed: frozenset[str] = field(default_factory=frozenset)
    limits: tuple[float, float] = (0.0, 105.0)
    logarithmic: bool = False


def curves(
    panel: Curves, ax: Axes | None = None, *, legend: bool = True, scheme: Scheme | None = None
) -> Axes:
    """Draw lines over named columns.

    Args:
        panel: What to draw.
        ax: Where to draw; by default the axes of a new figure.
        legend: Whether to draw a legend, to the right of the axes.
        scheme: ``"light"`` or ``"dark"``; by default what is readable on the axes' background.

    Returns:
        The axes.

    Raises:
        SetupError: matplotlib is not installed.
    """
    ax = own_axes(scheme, _WIDTH + _LEGEND, _HEIGHT) if ax is None else ax
    palette = palette_on(ax, scheme)
    low, high = panel.limits
    ticker = library("ticker")
    if panel.logarithmic:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(ticker.FixedLocator(ticks(low, high)))
        ax.yaxis.set_minor_locator(ticker.NullLocator())
    ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_ylim(low, high)
    for number, (name, points) in enumerate(panel.lines.items()):
        ax.plot(
            [column for column, _ in points],
            [min(max(value, low), high) for _, value in points],
            label=name,
            color=getattr(palette, _COLORS[number % len(_COLORS)]),
            linestyle=(0, (4, 2)) if name in panel.dashed else "-",
            linewidth=1.5,
            marker="o",
            markersize=5,
            clip_on=False,
            zorder=3,
        )
    ax.set_xlim(-0.5, max(len(panel.columns), 1) - 0.5)
    ax.set_xticks(range(len(panel.columns)), panel.columns)
    ax.grid(visible=False, axis="x")
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.set_xlabel(panel.label)
    ax.set_ylabel(panel.unit)
    ax.set_title(panel.title, loc="left", fontsize=9, color=palette.ink)
    if legend and panel.lines:
        ax.legend(
            loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, labelcolor=palette.ink
        )
    return ax


def curves_figure(
    rows: Sequence[tuple[str, Sequence[Curves]]], footer: str, scheme: Scheme | None = None
) -> Figure:
    """Rows of panels, each with a title above and a legend at its end; and a line below all."""
    most = max((len(panels) for _, panels in rows), default=1)
    palette = palette_of(scheme)
    with styled(palette):
        figure = new_figure(_WIDTH * most + _LEGEND, _HEIGHT * max(len(rows), 1), scheme)
        parts = figure.subfigures(max(len(rows), 1), 1, squeeze=False)[:, 0]
        for part, (title, panels) in zip(parts, rows, strict=False):
            part.set_facecolor(palette.paper)
            part.suptitle(title, x=0.01, ha="left", fontsize=10, weight="bold")
            axes = part.subplots(1, most, squeeze=False)[0]
            for number, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
                curves(panel, ax, legend=number == len(panels) - 1, scheme=scheme)
            for ax in axes[len(panels) :]:
                ax.remove()
        parts[-1].supxlabel(footer, x=0.01, ha="left", fontsize=8)
    return figure
