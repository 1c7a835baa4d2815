"""The option ``--watch``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import click

from tunstack.cli.top.showing import check_terminal, show

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tunstack import Host

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
    if problem := check_terminal():
        raise click.UsageError(problem)


@asynccontextmanager
async def watched(
    host: Host, watch: bool, program: str, quit: Callable[[], None], *, page: int | None = None
) -> AsyncIterator[None]:
    """Show a host while the block runs, if that is wanted.

    Args:
        host: The host.
        watch: The option.
        program: What is written in the first line.
        quit: Called when the user wants to leave.
        page: The port of the host's own page, whose connections are left out.
    """
    if not watch:
        yield
        return
    async with show(host, program, quit, without=page):
        yield
