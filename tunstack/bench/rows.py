"""The suite's table: rows of figures for both lanes, their medians, ratios and targets."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from tunstack.bench.running import LANES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(slots=True, frozen=True)
class Target:
    """What a row shall reach.

    Attributes:
        of: ``ratio`` for the ratio of the medians, ``ours`` for tunstack's median itself.
        sign: Whether that shall be so much at least (``>=``) or at most.
        bound: How much.
    """

    of: Literal["ratio", "ours"]
    sign: Literal[">=", "<="]
    bound: float

    def __str__(self) -> str:
        return f"{'' if self.of == 'ratio' else 'ours '}{self.sign} {self.bound:,g}"

    def met(self, row: Result) -> bool:
        """Whether a row reaches it."""
        value = row.ratio if self.of == "ratio" else row.median("tunstack")
        return value >= self.bound if self.sign == ">=" else value <= self.bound


_SPENT: Final = frozenset({"s/GB", "µs", "KiB"})


@dataclass(slots=True, frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is measured.
        unit: Of its figures.
        target: What is wanted, if anything is.
        share: The names of two other rows, the first of which is taken in units of the second,
            lane by lane and run by run, to make this one's figures.
        compared: Whether the ratio of the lanes says anything.
    """

    name: str
    unit: str
    target: Target | None = None
    share: tuple[str, str] | None = None
    compared: bool = True

    @property
    def less_is_better(self) -> bool:
        """Whether a figure counts what is spent: time or memory, and not what is achieved."""
        return self.unit in _SPENT


@dataclass(slots=True)
class Result:
    """What came out: a figure for each run, by lane."""

    row: Row
    figures: dict[str, list[float]] = field(default_factory=lambda: {lane: [] for lane in LANES})

    def median(self, lane: str) -> float:
        """The median of a lane's figures; not a number where it has none."""
        return median(self.figures[lane]) if self.figures[lane] else math.nan

    @property
    def ratio(self) -> float:
        """tunstack's median in units of the kernel's; not a number where that is zero."""
        kernel = self.median("kernel")
        return self.median("tunstack") / kernel if kernel else math.nan

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.row.target is None else self.row.target.met(self)


def make_results(rows: Iterable[Row], runs: Mapping[str, list[dict[str, float]]]) -> list[Result]:
    """Sort figures into rows.

    Args:
        rows: Those of the table.
        runs: The figures of each run by the name of their row, by lane. A figure that only some
            runs have makes a row with fewer of them; one that tunstack has not makes none.
    """
    results = []
    for row in rows:
        figures = {lane: _of(row, runs[lane]) for lane in LANES}
        if figures["tunstack"]:
            results.append(Result(row, figures))
    return results


def _of(row: Row, runs: list[dict[str, float]]) -> list[float]:
    if row.share is None:
        return [run[row.name] for run in runs if row.name in run]
    part, whole = row.share
    return [run[part] / run[whole] for run in runs if part in run and whole in run]


# What is written


def describe_machine() -> dict[str, str | int | None]:
    """Say what this ran on: figures of one machine say little about another's."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.partition(" ")[0],
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def machine_text() -> str:
    """The same in one line."""
    machine = describe_machine()
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']},"
        f" Python {machine['python']}; load average {machine['load']}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def as_json(results: Iterable[Result], conditions: Mapping[str, object]) -> str:
    """Every figure, as a JSON document.

    Args:
        results: The rows.
        conditions: How they came about; stands beside them.
    """
    rows = [
        {
            "name": result.row.name,
            "unit": result.row.unit,
            "figures": result.figures,
            "medians": {lane: _finite(result.median(lane)) for lane in LANES},
            "ratio": _finite(result.ratio) if result.row.compared else None,
            "target": None if result.row.target is None else str(result.row.target),
            "met": result.met,
        }
        for result in results
    ]
    document = {"machine": describe_machine(), **conditions, "results": rows}
    return json.dumps(document, indent=2) + "\n"


def _finite(value: float) -> float | None:
    """JSON has nothing else."""
    return value if math.isfinite(value) else None


_HEAD: Final = ("measured", "tunstack", "kernel sockets", "ratio", "target", "")


def as_table(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """The table's cells, the head first."""
    return [_HEAD, *(_cells(result) for result in results)]


def _cells(result: Result) -> tuple[str, ...]:
    row = result.row
    return (
        row.name,
        *(_with_unit(result.median(lane), row.unit) for lane in LANES),
        f"{result.ratio:.2f}" if row.compared and math.isfinite(result.ratio) else "",
        "" if row.target is None else str(row.target),
        {None: "", True: "met", False: "missed"}[result.met],
    )


def _with_unit(value: float, unit: str) -> str:
    """Three digits at least."""
    if not math.isfinite(value):
        return "-"
    rounded = f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
    return f"{rounded} {unit}".strip()
