"""``tunstack bench``: compare one program over tunstack and over kernel sockets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
from rich import box
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tunstack.bench.cases import DEFAULT_GROUPS, GROUPS, QUICK, Plan
from tunstack.bench.figures import draw
from tunstack.bench.generators import GeneratorError, programs
from tunstack.bench.rows import as_json, as_table, machine_text
from tunstack.bench.suite import run_suite
from tunstack.cli.files import check_outputs, plot_format, write_output
from tunstack.cli.parameters import OUTPUT, STANDARD, Number, refuse_to_share
from tunstack.cli.running import execute
from tunstack.cli.status import Failure
from tunstack.cli.terminal import console
from tunstack.plot.style import rendered

if TYPE_CHECKING:
    from tunstack.bench.rows import Result
    from tunstack.bench.suite import Progress as State

_WIDTH = 140

_EPILOG = """\b
Examples:
  tunstack bench
  tunstack bench --quick --json result.json --plot result.svg
  tunstack bench --only requests --only roundtrip --pairs 10
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--json",
    "file",
    type=OUTPUT,
    metavar="FILE",
    help="Write every figure to FILE, or to standard output: -.",
)
@click.option(
    "--plot",
    type=OUTPUT,
    metavar="FILE",
    help="Draw the ratios into FILE, SVG or PNG as it ends, or on standard output in SVG: -.",
)
@click.option("--quick", is_flag=True, help="Take a minute, with less precision.")
@click.option(
    "--pairs", type=click.IntRange(1, 100), help="Runs over tunstack, and over kernel sockets.  [5]"
)
@click.option("--seconds", type=Number(0.1, 60), help="Of each run.  [2]")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([*GROUPS]),
    metavar="NAME",
    help=f"Measure only this; may be given again: {', '.join(GROUPS)}.",
)
@click.option("--no-offload", is_flag=True, help="Run tunstack without offload.")
@click.option("--own-clients", is_flag=True, help="Do not use wrk, ab and iperf3.")
def bench(
    file: str | None,
    plot: str | None,
    quick: bool,
    pairs: int | None,
    seconds: float | None,
    only: tuple[str, ...],
    no_offload: bool,
    own_clients: bool,
) -> int:
    """Compare tunstack with kernel sockets, in alternate runs.

    The same trio program serves over both, in one private network; the result is the ratio of the
    medians. Figures of different machines are not comparable. The group crowd, one busy connection
    beside 50,000 idle ones, is measured only with --only crowd.
    """
    refuse_to_share(json=file, plot=plot)
    plan = QUICK if quick else Plan()
    plan = replace(
        plan,
        pairs=pairs or plan.pairs,
        seconds=seconds or plan.seconds,
        own=own_clients,
        offload=not no_offload,
    )

    async def main() -> int:
        if plot is not None:
            plot_format(plot)
        check_outputs(file, plot)
        try:
            results = await _run(plan, tuple(dict.fromkeys(only)) or DEFAULT_GROUPS)
        except GeneratorError as error:
            raise Failure(f"a measurement failed: {error}", 1) from error
        clients = programs(own=plan.own)
        by = ", ".join(f"{what} by {name}" for what, name in clients.items())
        made_by = f"{machine_text()}; {by}" + ("" if plan.offload else "; --no-offload")
        _print(results, made_by, stderr=STANDARD in (file, plot))
        conditions = {
            "pairs": plan.pairs,
            "seconds": plan.seconds,
            "offload": plan.offload,
            "clients": clients,
        }
        if file is not None:
            write_output(file, as_json(results, conditions))
        if plot is not None:
            write_output(plot, rendered(draw(results, made_by), plot_format(plot)))
        return 0

    return execute("tunstack bench", main)


async def _run(plan: Plan, names: tuple[str, ...]) -> list[Result]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("starting")

        def progress(state: State) -> None:
            bar.update(task, description=state.what, completed=state.done, total=state.total)

        return await run_suite(plan, names, progress)


def _print(results: list[Result], made_by: str, *, stderr: bool) -> None:
    """Print the table, in Markdown, and the conditions."""
    head, *rows = as_table(results)
    table = Table(*head, box=box.MARKDOWN)
    for column in table.columns[1:4]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    page = console(stderr=stderr, soft_wrap=False)
    if not page.is_terminal:
        page.width = _WIDTH
    page.print(table)
    page.print(made_by)
