"""``tunstack bench``: the same program over tunstack and over kernel sockets, side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from tunstack.bench.suite import run_suite
from tunstack.cli.running import Failure, execute

if TYPE_CHECKING:
    from tunstack.bench.suite import Result

_EPILOG = """\b
Examples:
  tunstack bench
  tunstack bench --quick --json result.json
"""


@click.command(short_help="Measure tunstack beside kernel sockets.", epilog=_EPILOG)
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write every figure to FILE.",
)
@click.option("--quick", is_flag=True, help="Take seconds, and be less exact.")
@click.option(
    "--pairs",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="How often each side is measured.",
)
def bench(file: Path | None, quick: bool, pairs: int) -> int:
    """Measure tunstack and kernel sockets side by side, in turns.

    The same trio program serves over both, in one process and in one private network; what counts
    is the ratio of the medians. Figures of one machine say little about another's.
    """

    async def main() -> int:
        console = Console(stderr=True)
        with console.status("") as status:
            results = await run_suite(pairs=pairs, quick=quick, progress=status.update)
        Console().print(_table(results))
        if file is not None:
            _write(file, results)
        return 0

    return execute("tunstack bench", main)


def _table(results: list[Result]) -> Table:
    table = Table("measured", "tunstack", "kernel sockets", "", "ratio")
    for column in table.columns[1:]:
        column.justify = "right"
    for result in results:
        measurement = result.measurement
        table.add_row(
            measurement.name,
            f"{result.median('tunstack'):,.0f}",
            f"{result.median('kernel'):,.0f}",
            measurement.unit,
            f"{result.ratio:.2f}",
        )
    return table


def _write(file: Path, results: list[Result]) -> None:
    figures = [
        {
            "name": result.measurement.name,
            "unit": result.measurement.unit,
            "rates": result.rates,
            "ratio": result.ratio,
        }
        for result in results
    ]
    try:
        file.write_text(json.dumps({"python": sys.version, "results": figures}, indent=2) + "\n")
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}") from error
