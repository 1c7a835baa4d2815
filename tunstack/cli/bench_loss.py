"""``tunstack bench-loss``: goodput across lossy paths, beside the kernel's own."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tunstack.bench.crew import LaneError
from tunstack.bench.loss import CONTENDERS, QUICK, Plan, as_json, ratio, run_plan
from tunstack.bench.plot import draw
from tunstack.bench.rows import machine_text
from tunstack.cli.files import check_outputs, write_output
from tunstack.cli.parameters import OUTPUT, STANDARD, Number, refuse_to_share
from tunstack.cli.running import execute
from tunstack.cli.status import Failure
from tunstack.cli.terminal import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.bench.loss import Contender, Result


_EPILOG = """\b
Examples:
  tunstack bench-loss
  tunstack bench-loss --quick
  tunstack bench-loss --json loss.json --plot loss.svg
"""


@click.command(epilog=_EPILOG)
@click.option("--quick", is_flag=True, help="Take a minute, a few paths, and be less exact.")
@click.option("--seconds", type=Number(1, 600), help="Of each transfer.  [6]")
@click.option("--repeats", type=click.IntRange(1, 100), help="Transfers in a lossy cell.  [3]")
@click.option("--rate", type=Number(1, 1000), help="Of the path, in Mbit/s.  [20]")
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
    help="Draw them into FILE (SVG), or on standard output: -.",
)
def bench_loss(
    quick: bool,
    seconds: float | None,
    repeats: int | None,
    rate: float | None,
    file: str | None,
    plot: str | None,
) -> int:
    """Measure goodput across lossy paths, tunstack's and the kernel's.

    Each transfer goes over a bridge of its own between two private networks, with the same losses
    for all. The tables have the median of the goodputs, in Mbit/s, and its ratio to that of the
    kernel's Reno on the same path; then, of all transfers together, how many segments were sent
    again and how many packets the path had lost, how many came twice, and how many timeouts there
    were. It all takes about five minutes.
    """
    refuse_to_share(json=file, plot=plot)
    plan = QUICK if quick else Plan()
    plan = replace(
        plan,
        seconds=seconds or plan.seconds,
        repeats=repeats or plan.repeats,
        rate=plan.rate if rate is None else rate * 1e6,
    )

    async def main() -> int:
        check_outputs(file, plot)
        try:
            results = await _run(plan)
        except LaneError as error:
            raise Failure(f"a transfer failed: {error}", 1) from error
        _report(plan, results, stderr=STANDARD in (file, plot))
        if file is not None:
            write_output(file, as_json(plan, results))
        if plot is not None:
            write_output(plot, draw(results, machine_text()))
        return 0

    return execute("tunstack bench-loss", main)


async def _run(plan: Plan) -> list[Result]:
    bar = Progress(
        TextColumn("bench-loss"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0)
        return await run_plan(plan, lambda done: bar.update(task, completed=done))


def _report(plan: Plan, results: list[Result], *, stderr: bool) -> None:
    page = console(stderr=stderr, soft_wrap=False)
    for rtt in plan.rtts:
        title = f"RTT {rtt * 1000:g} ms: goodput in Mbit/s (in kernel Reno's)"
        page.print(_table(title, plan, rtt, results, partial(_goodput, results)))
    for rtt in plan.rtts:
        title = f"RTT {rtt * 1000:g} ms: sent again/lost (twice, timeouts)"
        page.print(_table(title, plan, rtt, results, _repair))
    ran = {result.contender for result in results}
    load, cores = os.getloadavg()[1], os.cpu_count() or 1
    if load > 2 * cores:
        page.print(f"The machine was busy (load {load:.1f}, {cores} cores): run it again.")
    for contender in CONTENDERS:
        if contender not in ran:
            page.print(f"This kernel offers us no {contender.congestion}: no {contender.name}.")


def _table(
    title: str, plan: Plan, rtt: float, results: list[Result], describe: Callable[[Result], str]
) -> Table:
    losses = [f"{loss * 100:g} %" for loss in plan.losses]
    table = Table("loss", *losses, title=title, title_justify="left", box=SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    rows: dict[Contender, list[str]] = {}
    for result in results:
        if result.cell.rtt == rtt:
            rows.setdefault(result.contender, []).append(describe(result))
    for contender, cells in rows.items():
        table.add_row(contender.name, *cells)
    return table


def _goodput(results: list[Result], result: Result) -> str:
    share = ratio(results, result)
    return f"{result.goodput / 1e6:.2f}" + ("" if share is None else f" ({share:.2f})")


def _repair(result: Result) -> str:
    again, lost, twice, timeouts = (
        sum(getattr(outcome, what) for outcome in result.outcomes)
        for what in ("sent_again", "lost", "in_vain", "after_timeouts")
    )
    return f"{again}/{lost} ({twice}, {timeouts})"
