"""Drawing: the data that is on the axes, their units, the legend, and whose axes they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tunstack.ladder.palette import DARK, LIGHT
from tunstack.plot import Curves, Ratio, curves, ratios
from tunstack.plot.drawing import draw_panel, figure_of
from tunstack.plot.series import Bars, Crosses, Line, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tunstack.ladder.palette import Palette


def axes(color: str = "white") -> Axes:
    return Figure().add_subplot(facecolor=color)


def values(ax: Axes, number: int = 0) -> list[tuple[float, float]]:
    """The points of a line of the axes; NaN is where a bar ends."""
    points = ax.lines[number].get_xydata().tolist()  # type: ignore[union-attr]
    return [(x, y) for x, y in points if not math.isnan(y)]


def names(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def ticks(ax: Axes, which: str = "y") -> list[str]:
    """What is printed at the ticks within an axis."""
    axis = ax.yaxis if which == "y" else ax.xaxis
    low, high = axis.get_view_interval()
    locs = axis.get_majorticklocs().tolist()
    texts = axis.get_major_formatter().format_ticks(locs)
    return [text for at, text in zip(locs, texts, strict=True) if low <= at <= high]


def test_each_series_is_drawn_with_its_values_and_named_in_order() -> None:
    ax = axes()
    line = Line("line", "green", [(0, 0), (1, 5), (2, math.nan), (3, 10)])
    panel = Panel(
        "y",
        "segments",
        [
            line,
            Bars("bars", "blue", [(1, 0, 500)]),
            Crosses("crosses", "bad", [(1, 1), (2, 3)]),
            Line("empty", "dim", []),
        ],
    )
    assert draw_panel(panel, ax) is ax
    assert names(ax) == ["line", "bars", "crosses"]
    assert ax.lines[0].get_drawstyle() == "steps-post"
    assert values(ax, 0)[:2] == [(0, 0), (1, 5)]
    assert values(ax, 1) == [(1, 0), (1, 500)]
    assert values(ax, 2) == [(1, 1), (2, 3)]
    assert ax.get_ylabel() == "y, segments"


def test_small_bars_have_a_mark_of_a_least_height() -> None:
    ax = axes()
    draw_panel(Panel("y", "segments", [Bars("bars", "orange", [(1, 10, 12)], least=7.0)]), ax)
    assert values(ax, 1) == [(1, 11)]
    assert ax.lines[1].get_markersize() == pytest.approx(7 * 0.72)


@pytest.mark.parametrize(
    ("highest", "label", "some"),
    [
        (2_000, "sequence number, octets", "1,500"),
        (400_000, "sequence number, kB", "300"),
        (50_000_000, "sequence number, MB", "40"),
    ],
)
def test_octets_are_printed_in_the_unit_that_fits(highest: int, label: str, some: str) -> None:
    ax = axes()
    draw_panel(Panel("sequence number", "octets", [Line("", "blue", [(0, 0), (1, highest)])]), ax)
    assert ax.get_ylabel() == label
    assert some in ticks(ax)
    assert values(ax)[1] == (1, highest)  # the data are octets


@pytest.mark.parametrize(
    ("end", "label", "printed"),
    [(20.0, "time, s", "10.0"), (0.4, "time, ms", "300"), (0.0004, "time, µs", "300")],
)
def test_time_is_printed_in_the_unit_that_fits(end: float, label: str, printed: str) -> None:
    ax = axes()
    draw_panel(Panel("", "segments", [Line("", "blue", [(0, 0), (end, 1)])]), ax)
    assert ax.get_xlabel() == label
    assert ax.get_ylabel() == "segments"
    assert printed in ticks(ax, "x")


def test_two_traces_on_the_same_axes_are_printed_in_one_unit() -> None:
    ax = axes()
    for end in (0.2, 20.0):
        draw_panel(Panel("", "octets", [Line("", "blue", [(0, 0), (end, 1e6 * end)])]), ax)
    assert ax.get_xlabel() == "time, s"
    assert ax.get_ylabel() == "MB"


def test_an_axis_that_ends_early_does_so() -> None:
    ax = axes()
    draw_panel(Panel("y", "segments", [Line("", "blue", [(0, 0), (1, 1000)])], top=10.0), ax)
    assert ax.get_ylim() == pytest.approx((0.0, 10.4))


def test_a_panel_of_nothing_is_drawn_as_well() -> None:
    ax = axes()
    draw_panel(Panel("y", "octets", []), ax, title="nothing")
    assert (names(ax), ax.get_title("left")) == ([], "nothing")


@pytest.mark.parametrize(("color", "palette"), [("white", LIGHT), ("#222222", DARK)])
def test_colours_are_readable_on_the_axes_that_are_given(color: str, palette: Palette) -> None:
    ax = axes(color)
    draw_panel(Panel("y", "segments", [Line("", "blue", [(0, 1)])]), ax)
    assert ax.lines[0].get_color() == palette.blue
    draw_panel(Panel("y", "segments", [Line("", "blue", [(0, 1)])]), ax, scheme="dark")
    assert ax.lines[1].get_color() == DARK.blue


def test_panels_of_a_figure_share_the_axis_of_time() -> None:
    first = Panel("a", "segments", [Line("", "blue", [(0, 1), (1, 2)])])
    second = Panel("b", "segments", [Line("", "green", [(1, 1), (4, 2)])])
    upper, lower = figure_of([first, second], "a title").axes
    assert upper.get_xlim() == lower.get_xlim()
    assert (upper.get_xlabel(), lower.get_xlabel()) == ("", "time, s")
    assert (upper.get_title("left"), lower.get_title("left")) == ("a title", "")


class TestRatios:
    """Bars of ratios."""

    def test_a_bar_goes_from_1_to_the_ratio_and_the_target_is_marked(self) -> None:
        rows = [
            Ratio("requests", 0.35, 0.7, False, note="(target >= 0.7, missed)"),
            Ratio("round trip", 1.2, 1.5, True, less_is_better=True),
            Ratio("bulk", 2.0),
        ]
        ax = ratios(rows, axes())
        bars = [bar for bar in ax.patches if isinstance(bar, Rectangle)]
        assert [bar.get_x() for bar in bars] == [1.0] * 3
        ends = [bar.get_x() + bar.get_width() for bar in bars]
        assert ends == pytest.approx([row.value for row in rows])
        assert [values(ax, number)[0][0] for number in (0, 1)] == [0.7, 1.5]
        texts = [text.get_text() for text in ax.texts]
        assert texts == ["0.35 (target >= 0.7, missed)", "1.20", "2.00"]
        labels = [text.get_text() for text in ax.get_yticklabels()]
        assert labels == ["requests →", "round trip ←", "bulk →"]
        colors = {bar.get_facecolor() for bar in ax.patches}
        assert len(colors) == 3  # missed, met, and neither
        assert names(ax) == ["target met", "target missed", "without a target", "target"]

    @pytest.mark.parametrize("ratio", [1e-9, 1.0, 1e6])
    def test_extreme_ratios_stay_in_the_picture(self, ratio: float) -> None:
        ax = ratios([Ratio("bulk", ratio)], axes())
        low, high = ax.get_xlim()
        (bar,) = ax.patches
        assert isinstance(bar, Rectangle)
        ends = sorted((bar.get_x(), bar.get_x() + bar.get_width()))
        assert low * 0.999 <= ends[0] <= ends[1] <= high

    @pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
    def test_a_ratio_or_a_target_that_is_none_is_refused(self, wrong: float) -> None:
        with pytest.raises(ValueError, match="the ratio of 'bulk' must be 0 or more"):
            ratios([Ratio("bulk", wrong)], axes())
        with pytest.raises(ValueError, match="the target of 'bulk' must be positive"):
            ratios([Ratio("bulk", 1.0, wrong)], axes())

    def test_nothing_to_draw_is_an_empty_picture(self) -> None:
        ax = ratios([], axes())
        assert not ax.patches


class TestCurves:
    """Lines over named columns."""

    def panel(self, **more: bool) -> Curves:
        lines = {"kernel": [(0, 20.0), (1, 0.0)], "ours": [(0, 10.0), (1, 4.0)]}
        return Curves(
            "20 ms", ["0 %", "1 %"], "loss", "Mbit/s", lines, frozenset({"ours"}), (0.1, 26), **more
        )

    @pytest.mark.parametrize("logarithmic", [True, False])
    def test_lines_are_drawn_within_the_limits(self, logarithmic: bool) -> None:
        ax = curves(self.panel(logarithmic=logarithmic), axes())
        assert values(ax, 0) == [(0, 20.0), (1, 0.1)]
        assert values(ax, 1) == [(0, 10.0), (1, 4.0)]
        assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
        assert [text.get_text() for text in ax.get_xticklabels()] == ["0 %", "1 %"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("loss", "Mbit/s")
        assert names(ax) == ["kernel", "ours"]

    def test_a_logarithmic_axis_has_round_numbers(self) -> None:
        ax = curves(self.panel(logarithmic=True), axes(), legend=False)
        assert ticks(ax) == ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]
        assert ax.get_legend() is None
