"""What ``tunstack bench-loss`` does: transfers across impaired bridges, and tables of them."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tunstack.bench import fast
from tunstack.bench.fast import FastPlan, run_fast
from tunstack.bench.loss import CONTENDERS, QUICK, Plan, as_json, ratio, run_plan
from tunstack.bench.plot import draw
from tunstack.bench.pool import TransferError
from tunstack.bench.rows import machine_text
from tunstack.cli.options.parameters import STANDARD
from tunstack.cli.output.files import check_outputs, plot_format, write_output
from tunstack.cli.output.terminal import console
from tunstack.cli.running.execution import execute
from tunstack.cli.status import Failure
from tunstack.plot.style import rendered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import TypeVar

    from rich.console import Console

    from tunstack.bench.fast import FastResult
    from tunstack.bench.loss import Contender, Result
    from tunstack.bench.transfer import Outcome

    T = TypeVar("T")

_REPAIR = "retransmitted/lost (spurious, timeouts)"


def bench_loss(
    *,
    quick: bool,
    only: str | None,
    seconds: float | None,
    repeats: int | None,
    rate: float | None,
    file: str | None,
    plot: str | None,
) -> int:
    """Measure; returns the exit status.

    Args:
        quick: The option.
        only: The option.
        seconds: The option.
        repeats: The option.
        rate: The option.
        file: Of the figures, in JSON.
        plot: The option.
    """
    plan = QUICK if quick else Plan()
    plan = replace(
        plan,
        seconds=seconds or plan.seconds,
        repeats=repeats or plan.repeats,
        rate=plan.rate if rate is None else rate * 1e6,
    )

    fast_plan = fast.QUICK if quick else FastPlan()
    fast_plan = replace(fast_plan, seconds=seconds or fast_plan.seconds)

    async def main() -> int:
        if plot is not None:
            plot_format(plot)
        check_outputs(file, plot)
        results: list[Result] = []
        fast_results: list[FastResult] = []
        try:
            if only != "fast":
                results = await _run("lossy paths", partial(run_plan, plan))
            if only != "lossy":
                fast_results = await _run("fast paths", partial(run_fast, fast_plan))
        except TransferError as error:
            raise Failure(f"a transfer failed: {error}", 1) from error
        page = console(stderr=STANDARD in (file, plot), soft_wrap=False)
        if results:
            _report(page, plan, results)
        if fast_results:
            _report_fast(page, fast_plan, fast_results)
        _report_load(page)
        if file is not None:
            write_output(file, as_json(plan, results, fast.figures(fast_plan, fast_results)))
        if plot is not None:
            figure = draw(results, machine_text(), fast_results)
            write_output(plot, rendered(figure, plot_format(plot)))
        return 0

    return execute("tunstack bench-loss", main)


async def _run(what: str, run: Callable[[Callable[[float], None]], Awaitable[T]]) -> T:
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0)
        return await run(lambda done: bar.update(task, completed=done))


def _report(page: Console, plan: Plan, results: list[Result]) -> None:
    columns = ["loss", *(f"{loss * 100:g} %" for loss in plan.losses)]
    describe: dict[str, Callable[[Result], str]] = {
        "goodput in Mbit/s (in kernel Reno's)": partial(_goodput, results),
        _REPAIR: lambda result: _repair(result.outcomes),
    }
    for what, cell in describe.items():
        for rtt in plan.rtts:
            cells = [(each.contender, cell(each)) for each in results if each.cell.rtt == rtt]
            page.print(_table(f"RTT {rtt * 1000:g} ms: {what}", columns, cells))
    _report_missing(page, CONTENDERS, {result.contender for result in results})


def _report_fast(page: Console, plan: FastPlan, results: list[FastResult]) -> None:
    columns = ["RTT", *(f"{rtt * 1000:g} ms" for rtt in plan.rtts)]
    describe: dict[str, Callable[[FastResult], str]] = {
        "goodput in %": lambda result: f"{result.share * 100:.1f}",
        _REPAIR: lambda result: _repair(result.outcomes),
    }
    for what, cell in describe.items():
        for rate in plan.rates:
            cells = [(each.contender, cell(each)) for each in results if each.cell.rate == rate]
            page.print(_table(f"{_rate(rate)}: {what}", columns, cells))
    for line in _bounds(results):
        page.print(line)
    _report_missing(page, fast.CONTENDERS, {result.contender for result in results})


def _bounds(results: list[FastResult]) -> list[str]:
    """The paths that the buffers' limits keep from being filled."""
    lines: dict[str, None] = {}
    for result in results:
        if result.bound < 1.0:
            contender = result.contender
            sizes = f"{contender.sender} to {contender.receiver}: {result.window / 2**20:.3g} MiB"
            path = f"{_rate(result.cell.rate)} and {result.cell.rtt * 1000:g} ms"
            lines[f"  {sizes}, at {path} at most {result.bound * 100:.0f} %"] = None
    if not lines:
        return []
    return [
        "Buffers bound what is under way (the kernel's net.ipv4.tcp_wmem and tcp_rmem, our"
        " Config's send_buffer_max and receive_buffer_max):",
        *lines,
    ]


def _report_load(page: Console) -> None:
    load, cores = os.getloadavg()[1], os.cpu_count() or 1
    if load > 2 * cores:
        page.print(f"The machine was busy (load {load:.1f}, {cores} cores): run it again.")


def _report_missing(page: Console, contenders: Iterable[Contender], ran: set[Contender]) -> None:
    for contender in contenders:
        if contender not in ran:
            text = f"This kernel offers us no {contender.congestion}: no {contender.name}."
            page.print(text)


def _rate(rate: float) -> str:
    return f"{rate / 1e9:g} Gbit/s" if rate >= 1e9 else f"{rate / 1e6:g} Mbit/s"


def _table(title: str, columns: list[str], cells: Iterable[tuple[Contender, str]]) -> Table:
    """Build a table with a row for each contender, of cells given column by column."""
    table = Table(*columns, title=title, title_justify="left", box=SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    rows: dict[Contender, list[str]] = {}
    for contender, cell in cells:
        rows.setdefault(contender, []).append(cell)
    for contender, row in rows.items():
        table.add_row(contender.name, *row)
    return table


def _goodput(results: list[Result], result: Result) -> str:
    share = ratio(results, result)
    return f"{result.goodput / 1e6:.2f}" + ("" if share is None else f" ({share:.2f})")


def _repair(outcomes: list[Outcome]) -> str:
    again, lost, twice, timeouts = (
        sum(getattr(outcome, what) for outcome in outcomes)
        for what in ("retransmitted", "lost", "spurious", "timeouts")
    )
    return f"{again}/{lost} ({twice}, {timeouts})"
