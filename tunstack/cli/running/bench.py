"""What ``tunstack bench`` does: the suite, and a table of its results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich import box
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tunstack.bench import groups
from tunstack.bench.cases import QUICK, Plan
from tunstack.bench.figures import draw
from tunstack.bench.generators import GeneratorError, programs
from tunstack.bench.rows import as_json, as_table, machine_text
from tunstack.bench.suite import run_suite
from tunstack.cli.options.parameters import STANDARD
from tunstack.cli.output.files import check_outputs, plot_format, write_output
from tunstack.cli.output.terminal import console
from tunstack.cli.running.execution import execute
from tunstack.cli.status import Failure
from tunstack.plot.style import rendered

if TYPE_CHECKING:
    from tunstack.bench.rows import Result
    from tunstack.bench.suite import Progress as State

_WIDTH = 140


def bench(
    *,
    file: str | None,
    plot: str | None,
    quick: bool,
    pairs: int | None,
    seconds: float | None,
    only: tuple[str, ...],
    offload: bool,
    own_clients: bool,
) -> int:
    """Measure; returns the exit status.

    Args:
        file: Of the figures, in JSON.
        plot: The option.
        quick: The option.
        pairs: The option.
        seconds: The option.
        only: The groups of cases; the usual ones if empty.
        offload: The option.
        own_clients: The option.
    """
    plan = QUICK if quick else Plan()
    plan = replace(
        plan,
        pairs=pairs or plan.pairs,
        seconds=seconds or plan.seconds,
        own=own_clients,
        offload=offload,
    )

    async def main() -> int:
        if plot is not None:
            plot_format(plot)
        check_outputs(file, plot)
        try:
            results = await _run(plan, tuple(dict.fromkeys(only)) or groups.DEFAULT)
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
