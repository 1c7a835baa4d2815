"""The suite's table: what it makes of figures, and how it tells them."""

from __future__ import annotations

import json
import math

import pytest

from tunstack.bench.cases import GROUPS, Plan
from tunstack.bench.figures import as_ratios, draw
from tunstack.bench.rows import Result, Row, Target, as_json, as_table, make_results
from tunstack.plot import Ratio

RATE = Row("requests", "/s", Target("ratio", ">=", 0.7))
TIME = Row("round trip", "µs", Target("ratio", "<=", 1.5))
SIZE = Row("memory", "KiB", Target("ours", "<=", 8.0), compared=False)
PLAIN = Row("bulk", "Mbit/s")


def result(row: Row, ours: list[float], kernel: list[float]) -> Result:
    return Result(row, {"tunstack": ours, "kernel": kernel})


def test_medians_count_and_the_ratio_is_theirs_in_units_of_the_kernels() -> None:
    row = result(RATE, [9.0, 1.0, 8.0], [4.0, 100.0, 16.0])
    assert (row.median("tunstack"), row.median("kernel")) == (8.0, 16.0)
    assert row.ratio == 0.5


@pytest.mark.parametrize(
    ("row", "ours", "kernel", "met"),
    [
        (RATE, 70.0, 100.0, True),
        (RATE, 69.0, 100.0, False),
        (TIME, 150.0, 100.0, True),
        (TIME, 151.0, 100.0, False),
        (SIZE, 8.0, 0.1, True),
        (SIZE, 8.1, 100.0, False),
        (PLAIN, 1.0, 2.0, None),
    ],
)
def test_a_target_is_met_or_missed(row: Row, ours: float, kernel: float, met: bool | None) -> None:
    assert result(row, [ours], [kernel]).met is met


def test_a_target_that_wants_a_ratio_is_missed_where_there_is_none() -> None:
    alone = result(RATE, [5.0], [])
    assert math.isnan(alone.ratio)
    assert alone.met is False


class TestRowsOfRuns:
    """How figures become rows."""

    def test_each_run_has_its_place(self) -> None:
        runs = {
            "tunstack": [{"requests": 1.0, "bulk": 5.0}, {"requests": 2.0}],
            "kernel": [{"requests": 3.0, "bulk": 6.0}, {"requests": 4.0}],
        }
        first, second = make_results([RATE, PLAIN], runs)
        assert first.figures == {"tunstack": [1.0, 2.0], "kernel": [3.0, 4.0]}
        assert second.figures == {"tunstack": [5.0], "kernel": [6.0]}

    def test_a_share_is_taken_run_by_run_and_not_of_the_medians(self) -> None:
        share = Row("left", "", share=("many", "few"))
        runs = {
            "tunstack": [{"few": 10.0, "many": 9.0}, {"few": 100.0, "many": 50.0}],
            "kernel": [{"few": 10.0, "many": 10.0}, {"few": 1.0}],
        }
        [row] = make_results([share], runs)
        assert row.figures == {"tunstack": [0.9, 0.5], "kernel": [1.0]}

    def test_what_tunstack_has_no_figure_of_makes_no_row(self) -> None:
        assert make_results([RATE], {"tunstack": [{}], "kernel": [{"requests": 1.0}]}) == []


def test_the_table_rounds_and_shows_targets() -> None:
    head, *rows = as_table(
        [
            result(RATE, [12345.6], [24000.0]),
            result(TIME, [149.0], [100.0]),
            result(SIZE, [4.567], [0.25]),
            result(PLAIN, [1.0], []),
        ]
    )
    assert head == ("measured", "tunstack", "kernel sockets", "ratio", "target", "")
    assert rows == [
        ("requests", "12,346 /s", "24,000 /s", "0.51", ">= 0.7", "missed"),
        ("round trip", "149 µs", "100 µs", "1.49", "<= 1.5", "met"),
        ("memory", "4.57 KiB", "0.250 KiB", "", "ours <= 8", "met"),
        ("bulk", "1.00 Mbit/s", "-", "", "", ""),
    ]


def test_every_figure_is_in_the_json_and_what_is_no_number_is_null() -> None:
    rows = [result(RATE, [1.0, 3.0], [4.0]), result(PLAIN, [1.0], [])]
    document = json.loads(as_json(rows, {"pairs": 2}), parse_constant=pytest.fail)
    assert document["pairs"] == 2
    assert document["machine"]["cores"] >= 1
    first, second = document["results"]
    assert first == {
        "name": "requests",
        "unit": "/s",
        "figures": {"tunstack": [1.0, 3.0], "kernel": [4.0]},
        "medians": {"tunstack": 2.0, "kernel": 4.0},
        "ratio": 0.5,
        "target": ">= 0.7",
        "met": False,
    }
    assert (second["medians"]["kernel"], second["ratio"], second["met"]) == (None, None, None)


def test_the_plot_has_a_bar_for_each_ratio_and_a_mark_for_each_target() -> None:
    rows = [
        result(RATE, [35.0], [100.0]),
        result(TIME, [120.0], [100.0]),
        result(PLAIN, [200.0], [100.0]),
        result(SIZE, [4.0], [1.0]),  # has no ratio
    ]
    assert as_ratios(rows) == [
        Ratio("requests", 0.35, 0.7, False, note="(target >= 0.7, missed)"),
        Ratio("round trip", 1.2, 1.5, True, less_is_better=True, note="(target <= 1.5, met)"),
        Ratio("bulk", 2.0),
    ]


def test_the_plot_says_what_is_on_its_axis_and_who_made_it() -> None:
    figure = draw([result(RATE, [35.0], [100.0])], "a machine, 2 cores; requests by wrk")
    (ax,) = figure.axes
    assert ax.get_title("left") == "tunstack beside kernel sockets"
    assert "divided by that of kernel sockets (logarithmic" in ax.get_xlabel()
    assert figure.get_supxlabel() == "a machine, 2 cores; requests by wrk"


def test_less_is_better_of_what_is_spent() -> None:
    rows = [row for group in GROUPS.values() for row in group(Plan()).rows]
    assert {row.unit for row in rows if row.less_is_better} == {"s/GB", "µs", "KiB"}
    for row in rows:
        if row.target is not None:
            assert (row.target.sign == "<=") == row.less_is_better
