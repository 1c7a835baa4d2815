"""The suite's table: rows of figures for both backends, their medians, ratios and targets."""

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

from tunstack.bench.running import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(slots=True, frozen=True)
class Target:
    """A row's target.

    Attributes:
        of: ``ratio`` for the ratio of the medians, ``ours`` for tunstack's median itself.
        sign: Whether `bound` is a lower (``>=``) or an upper bound.
        bound: The bound, in the row's unit.
    """

    of: Literal["ratio", "ours"]
    sign: Literal[">=", "<="]
    bound: float

    def __str__(self) -> str:
        return f"{'' if self.of == 'ratio' else 'ours '}{self.sign} {self.bound:,g}"

    def met(self, row: Result) -> bool:
        """Whether a row meets the target."""
        value = row.ratio if self.of == "ratio" else row.median("tunstack")
        return value >= self.bound if self.sign == ">=" else value <= self.bound


_COST_UNITS: Final = frozenset({"s/GB", "µs", "KiB"})


@dataclass(slots=True, frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is measured.
        unit: Of its figures.
        target: The target, if there is one.
        share: The names of two other rows, the first of which is taken in units of the second,
            backend by backend and run by run, to make this one's figures.
        compared: Whether the ratio of the backends says anything.
    """

    name: str
    unit: str
    target: Target | None = None
    share: tuple[str, str] | None = None
    compared: bool = True

    @property
    def less_is_better(self) -> bool:
        """Whether the figure is a cost, as time or memory, rather than a rate."""
        return self.unit in _COST_UNITS


@dataclass(slots=True)
class Result:
    """A row's figures: one for each run, by backend."""

    row: Row
    figures: dict[str, list[float]] = field(
        default_factory=lambda: {backend: [] for backend in BACKENDS}
    )

    def median(self, backend: str) -> float:
        """The median of a backend's figures; NaN if there are none."""
        return median(self.figures[backend]) if self.figures[backend] else math.nan

    @property
    def ratio(self) -> float:
        """tunstack's median divided by the kernel's; NaN if that is zero."""
        kernel = self.median("kernel")
        return self.median("tunstack") / kernel if kernel else math.nan

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        return None if self.row.target is None else self.row.target.met(self)


def make_results(rows: Iterable[Row], runs: Mapping[str, list[dict[str, float]]]) -> list[Result]:
    """Sort figures into rows.

    Args:
        rows: Those of the table.
        runs: The figures of each run by the name of their row, by backend. A figure that only some
            runs have makes a row with fewer of them; one that tunstack has not makes none.
    """
    results = []
    for row in rows:
        figures = {backend: _of(row, runs[backend]) for backend in BACKENDS}
        if figures["tunstack"]:
            results.append(Result(row, figures))
    return results


def _of(row: Row, runs: list[dict[str, float]]) -> list[float]:
    if row.share is None:
        return [run[row.name] for run in runs if row.name in run]
    part, whole = row.share
    return [run[part] / run[whole] for run in runs if part in run and whole in run]


# Output


def describe_machine() -> dict[str, str | int | None]:
    """Describe the machine: figures of different machines are not comparable."""
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
            "medians": {backend: _finite(result.median(backend)) for backend in BACKENDS},
            "ratio": _finite(result.ratio) if result.row.compared else None,
            "target": None if result.row.target is None else str(result.row.target),
            "met": result.met,
        }
        for result in results
    ]
    document = {"machine": describe_machine(), **conditions, "results": rows}
    return json.dumps(document, indent=2) + "\n"


def _finite(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None


_HEAD: Final = ("measured", "tunstack", "kernel sockets", "ratio", "target", "")


def as_table(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """The table's cells, the head first."""
    return [_HEAD, *(_cells(result) for result in results)]


def _cells(result: Result) -> tuple[str, ...]:
    row = result.row
    return (
        row.name,
        *(_with_unit(result.median(backend), row.unit) for backend in BACKENDS),
        f"{result.ratio:.2f}" if row.compared and math.isfinite(result.ratio) else "",
        "" if row.target is None else str(row.target),
        {None: "", True: "met", False: "missed"}[result.met],
    )


def _with_unit(value: float, unit: str) -> str:
    """Format a value with at least three digits, and its unit."""
    if not math.isfinite(value):
        return "-"
    rounded = f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
    return f"{rounded} {unit}".strip()
