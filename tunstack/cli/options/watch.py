"""The option ``--watch``."""

from __future__ import annotations

from typing import Final

import click

WATCH: Final = click.option(
    "--watch",
    is_flag=True,
    help="Show the host at work on the terminal, as top does: connections, rates, windows, and the"
    " ladder of a chosen one; ? lists the keys, q leaves. What is written on the terminal meanwhile"
    " is collected, its last lines are shown, and it is written at the end; standard input is empty"
    " where it is the terminal. Not with --trace and --workers.",
)


def check_watch(watch: bool, *, trace: bool, workers: int | None) -> None:
    """Refuse a view that is not possible.

    Raises:
        click.UsageError: there is no terminal for it, or another option excludes it.
    """
    if not watch:
        return
    if workers is not None:
        raise click.UsageError("--watch shows the host of one process: leave out --workers")
    if trace:
        raise click.UsageError("--watch and --trace both draw on standard error: choose one")
    from tunstack.cli.top.showing import check_terminal

    if problem := check_terminal():
        raise click.UsageError(problem)
