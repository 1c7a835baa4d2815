"""Ratios of two programs' figures as bars on a logarithmic scale, each with its target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tunstack.plot.drawing import legend_above, own_axes, set_title
from tunstack.plot.style import library, new_figure, palette_of, palette_on, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tunstack.plot.series import Color
    from tunstack.plot.style import Scheme

LEAST: Final = 0.01
"""The lowest ratio on the scale."""
_MORE, _LESS = "→", "←"
"""The direction that is better."""
_WIDTH: Final = 980
_ROW: Final = 26
_MARGINS: Final = 160
_COLORS: Final[dict[bool | None, Color]] = {True: "green", False: "orange", None: "sky"}
_WORDS: Final = {True: "target met", False: "target missed", None: "without a target"}


@dataclass(frozen=True, slots=True)
class Ratio:
    """A row: how one program's figure compares with another's.

    Attributes:
        name: What was measured.
        value: The ratio.
        target: The bound of the ratio, if there is one.
        met: Whether the target is met; None without one.
        less_is_better: Whether the figure is a cost.
        note: Stands behind the ratio.
    """

    name: str
    value: float
    target: float | None = None
    met: bool | None = None
    less_is_better: bool = False
    note: str = ""

    @property
    def label(self) -> str:
        """The name, and an arrow to the side that is better."""
        return f"{self.name} {_LESS if self.less_is_better else _MORE}"


def ratios(
    rows: Sequence[Ratio],
    ax: Axes | None = None,
    *,
    label: str = "ratio (logarithmic; 1: the same)",
    title: str | None = None,
    scheme: Scheme | None = None,
) -> Axes:
    """Draw ratios as bars from 1, on a logarithmic scale, the first one on top.

    Args:
        rows: From top to bottom; ratios below 0.01 are drawn there.
        ax: Where to draw; by default the axes of a new figure.
        label: Of the horizontal axis; below it stands what the arrows behind the names mean.
        title: Stands above the legend, which is above the axes.
        scheme: ``"light"`` or ``"dark"``; by default what is readable on the axes' background.

    Returns:
        The axes.

    Raises:
        ValueError: a ratio is negative, infinite or NaN; a target is not above 0.
        SetupError: matplotlib is not installed.
    """
    for row in rows:
        _check(row)
    ax = own_axes(scheme, _WIDTH, _height(rows)) if ax is None else ax
    palette = palette_on(ax, scheme)
    low, high = limits(rows)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_ylim(len(rows) - 0.5 if rows else 0.5, -0.5)
    for number, row in enumerate(rows):
        value = min(max(row.value, low), high)
        ax.barh(number, value - 1, 0.7, 1.0, color=getattr(palette, _COLORS[row.met]))
        if row.target is not None:
            ax.plot(
                [row.target] * 2,
                [number - 0.5, number + 0.5],
                color=palette.ink,
                linewidth=1.5,
                linestyle=(0, (2, 1.3)),
            )
        ax.annotate(
            f"{row.value:.2f} {row.note}".rstrip(),
            (1.0, number),
            xycoords=ax.get_yaxis_transform(),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=palette.ink,
            annotation_clip=False,
        )
    ax.axvline(1.0, color=palette.dim, linewidth=0.9)
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.grid(visible=False, axis="y")
    ticker = library("ticker")
    ax.xaxis.set_major_locator(ticker.FixedLocator(ticks(low, high)))
    ax.xaxis.set_minor_locator(ticker.NullLocator())
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.set_xlabel(f"{label}\n{_MORE} more is better, {_LESS} less is better")
    _legend(ax, rows, palette)
    set_title(ax, title, palette)
    return ax


def _check(row: Ratio) -> None:
    if not 0 <= row.value < math.inf:
        raise ValueError(f"the ratio of {row.name!r} must be 0 or more, not {row.value}")
    if row.target is not None and not 0 < row.target < math.inf:
        raise ValueError(f"the target of {row.name!r} must be positive, not {row.target}")


def _legend(ax: Axes, rows: Sequence[Ratio], palette: Any) -> None:
    patch, line = library("patches").Patch, library("lines").Line2D
    handles: list[Any] = [patch(color=getattr(palette, color)) for color in _COLORS.values()]
    names = [*_WORDS.values(), "target"]
    handles.append(line([], [], color=palette.ink, linewidth=1.5, linestyle=(0, (2, 1.3))))
    legend_above(ax, handles if rows else [], names, palette)


def ratios_figure(
    rows: Sequence[Ratio], label: str, title: str, footer: str, scheme: Scheme | None = None
) -> Figure:
    """The same as a figure, with a line below it."""
    with styled(palette_of(scheme)):
        figure = new_figure(_WIDTH, _height(rows), scheme)
        ratios(rows, figure.add_subplot(), label=label, title=title, scheme=scheme)
        figure.supxlabel(footer, x=0.01, ha="left", fontsize=8)
    return figure


def limits(rows: Sequence[Ratio]) -> tuple[float, float]:
    """The range of the scale: all ratios, targets and 1, as far as they are not below 0.01."""
    values = [1.0, *(row.value for row in rows)]
    values += [row.target for row in rows if row.target is not None]
    return max(min(values), LEAST) / 1.3, max(values) * 1.3


def ticks(low: float, high: float) -> list[float]:
    """The values 0.1, 0.2, 0.5, 1, 2... of a scale."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [round(digit * 10.0**power, 9) for power in powers for digit in (1, 2, 5)]
    return [value for value in values if low <= value <= high]


def _height(rows: Sequence[Ratio]) -> float:
    return _MARGINS + _ROW * max(len(rows), 1)
