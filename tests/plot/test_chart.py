"""Charts: what is drawn where, and that it is SVG."""

from __future__ import annotations

import math
import re
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from tunstack.plot.chart import Axis, Bars, Chart, Crosses, Line, Panel, Series, _labels, svg

RED: Final = "#ff0000"
GREEN: Final = "#00ff00"


def drawn(*panels: Panel, title: str = "a chart") -> ET.Element:
    return ET.fromstring(svg(Chart(title, panels)))


def of(root: ET.Element, name: str) -> list[ET.Element]:
    return [*root.iter(f"{{http://www.w3.org/2000/svg}}{name}")]


def texts(root: ET.Element) -> list[str]:
    return [each.text or "" for each in of(root, "text")]


def paths(root: ET.Element, color: str) -> list[str]:
    """What is drawn in a color within the axes; the last is the legend's."""
    return [each.attrib["d"] for each in of(root, "path") if each.get("stroke") == color]


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]


def test_it_has_a_title_and_labels_that_are_escaped() -> None:
    root = drawn(Panel("<label>", [Line("a & b", RED, [(0, 0), (1, 1)])]), title="<&>")
    assert texts(root)[0] == "<&>"
    assert {"<label>", "a & b", "time, s"} <= {*texts(root)}


def test_a_line_by_steps_holds_its_value() -> None:
    line, _ = paths(drawn(Panel("y", [Line("", RED, [(0, 0), (1, 5), (2, 5), (3, 10)])])), RED)
    assert re.fullmatch(r"M\S+ \S+H\S+V\S+H\S+V\S+H\S+", line)
    x0, y0, x1, y1, x3, y3, end = numbers(line)
    assert x0 < x1 < x3 == end
    assert y0 > y1 > y3  # Upwards is less, in SVG.
    assert y0 - y1 == pytest.approx(y1 - y3, abs=0.2)
    assert (x3 - x1) == pytest.approx(2 * (x1 - x0), abs=0.2)


def test_a_line_without_steps_joins_its_points() -> None:
    line, _ = paths(drawn(Panel("y", [Line("", RED, [(0, 0), (1, 5), (2, 5)], steps=False)])), RED)
    assert re.fullmatch(r"M\S+ \S+L\S+ \S+L\S+ \S+", line)


def test_a_line_has_gaps_where_there_is_no_value() -> None:
    points = [(0, math.nan), (1, 1), (2, math.nan), (3, math.nan), (4, 2), (5, 2)]
    line, _ = paths(drawn(Panel("y", [Line("", RED, points)])), RED)
    assert re.fullmatch(r"M\S+ \S+H\S+M\S+ \S+H\S+", line)


def test_bars_are_upright_and_never_too_small_to_be_seen() -> None:
    panel = Panel("y", [Bars("", RED, [(1, 0, 500)]), Bars("", GREEN, [(1, 500, 501)], least=7.0)])
    root = drawn(panel)
    _, low, high = numbers(paths(root, RED)[0])
    _, small_low, small_high = numbers(paths(root, GREEN)[0])
    assert low - high > 200
    assert small_low - small_high == pytest.approx(7.0, abs=0.11)
    assert (small_low + small_high) / 2 == pytest.approx(high, abs=0.6)


def test_crosses_are_where_they_should_be() -> None:
    root = drawn(Panel("y", [Line("", RED, [(0, 0), (2, 2)]), Crosses("", GREEN, [(1, 1)])]))
    x, y, *_ = numbers(paths(root, GREEN)[0])
    box = of(root, "rect")[1].attrib
    assert x + 4 == pytest.approx(float(box["x"]) + float(box["width"]) / 2, abs=0.2)
    assert float(box["y"]) < y + 4 < float(box["y"]) + float(box["height"])


def test_what_is_empty_is_not_in_the_legend() -> None:
    series: list[Series] = [
        Line("there", RED, [(0, 1)]),
        Line("not there", GREEN, []),
        Bars("nor this", RED, []),
    ]
    root = drawn(Panel("y", series))
    assert "there" in texts(root)
    assert not {"not there", "nor this"} & {*texts(root)}


def test_all_is_within_the_axes() -> None:
    points = [(x / 10, (x * 37) % 101) for x in range(100)]
    root = drawn(Panel("y", [Line("", RED, points, steps=False)], height=100))
    box = {name: float(of(root, "rect")[1].attrib[name]) for name in ("x", "y", "width", "height")}
    coordinates = numbers(paths(root, RED)[0])
    assert all(box["x"] <= x <= box["x"] + box["width"] for x in coordinates[::2])
    assert all(box["y"] <= y <= box["y"] + box["height"] for y in coordinates[1::2])


def test_an_axis_that_ends_early_cuts_what_is_beyond() -> None:
    root = drawn(Panel("y", [Line("", RED, [(0, 0), (1, 1000)])], top=10.0))
    assert min(numbers(paths(root, RED)[0])[1:]) < 0
    (clip,) = of(root, "clipPath")
    (group,) = of(root, "g")
    assert group.attrib["clip-path"] == f"url(#{clip.attrib['id']})"
    assert "10" in texts(root)
    assert "1,000" not in texts(root)


def test_panels_share_the_axis_of_time() -> None:
    first = Panel("a", [Line("", RED, [(0, 1), (1, 2)])])
    second = Panel("b", [Line("", GREEN, [(1, 1), (4, 2)])])
    root = drawn(first, second)
    red, green = numbers(paths(root, RED)[0]), numbers(paths(root, GREEN)[0])
    assert red[2] == green[0]
    assert red[1] < green[1]
    assert texts(root).count("4.0") == 1  # Below the last one alone.


def test_a_chart_of_nothing_is_drawn_as_well() -> None:
    assert texts(drawn(Panel("y", [])))[0] == "a chart"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.3, 0.5, [0.3, 0.35, 0.4, 0.45, 0.5]),
        (-7, 1234, [0, 500, 1000]),
        (1e-4, 5e-4, [1e-4, 2e-4, 3e-4, 4e-4, 5e-4]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high, 0, 500).ticks(100) == pytest.approx(ticks)


def test_ticks_have_enough_digits() -> None:
    assert _labels([0.0, 0.5, 1.0]) == ["0", "0.5", "1.0"]
    assert _labels([0.0, 500.0, 1000.0]) == ["0", "500", "1,000"]
    assert _labels([0.30, 0.35]) == ["0.30", "0.35"]
    assert _labels([2.0]) == ["2"]
