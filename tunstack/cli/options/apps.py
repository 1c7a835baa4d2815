"""What is served: the apps, and the processes that serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tunstack.apps import parse_serve
from tunstack.link.errors import SetupError
from tunstack.link.multiqueue import MAX_QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.apps import App

WORKERS: Final = click.option(
    "--workers",
    type=click.IntRange(1, MAX_QUEUES),
    metavar="N",
    help="Serve in N processes, each with connections of its own; one that dies is restarted."
    " Not with --pcap and --trace.",
)


def read_apps(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[App, int], ...]:
    """Read everything that is to be served, and import what it needs.

    Raises:
        click.BadParameter: no such app, no such port, a port twice, a package that is missing.
    """
    apps: dict[int, App] = {}
    for text in texts:
        try:
            parsed = parse_serve(text)
            for app, _ in parsed:
                app.check()  # Missing packages are reported now, not at the first connection.
        except (ValueError, SetupError) as error:
            raise click.BadParameter(str(error)) from None
        for app, port in parsed:
            if port in apps:
                raise click.BadParameter(
                    f"{apps[port].name} and {app.name} cannot both have port {port}:"
                    f" write {app.name}:PORT for another"
                )
            apps[port] = app
    return tuple((app, port) for port, app in apps.items())


def check_workers(
    workers: int | None,
    *,
    pcap: str | None,
    trace: bool,
    stats: bool = False,
    apps: Iterable[tuple[App, int]] = (),
) -> None:
    """Refuse options that exclude workers.

    Raises:
        click.UsageError: there is one.
    """
    if workers is not None and (pcap is not None or trace or stats):
        option = "--pcap" if pcap is not None else "--trace" if trace else "--stats"
        raise click.UsageError(f"{option} sees the packets of one process: leave out --workers")
    if workers is not None:
        from tunstack.behaviours import check_one_process

        for app, _ in apps:
            try:
                check_one_process(app.behaviours)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
