"""The option ``--page``: a page that shows the host at work."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from tunstack.link.errors import SetupError
from tunstack.live.port import PORT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.apps import App

NAMES: Final = ("peer.test", "*.peer.test")
"""Under which the host may be reached, if there are no others."""


def _read_port(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> int | None:
    """Read the port, and import what the page needs.

    Raises:
        click.BadParameter: it is no port, or a package is missing.
    """
    if text is None:
        return None
    port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 0 < port < 65536:
        raise click.BadParameter(
            f"{text!r} is not a port, and what follows --page is taken for one: write --page={PORT}"
        )
    try:
        import_module("tunstack.live.page.server")
    except SetupError as error:
        raise click.BadParameter(str(error)) from None
    return port


PAGE: Final = click.option(
    "--page",
    is_flag=False,
    flag_value=str(PORT),
    callback=_read_port,
    metavar="[=PORT]",
    help="Serve a page that shows the host at work, on a port of its addresses, 8000 by default:"
    " connections, packets, windows, counters. Its URL is printed on standard error. Nothing can be"
    " changed by it.",
)


def check_page(
    page: int | None, apps: Iterable[tuple[App, int]], *, workers: int | None, dns: bool = False
) -> None:
    """Refuse a page on a port of something else, and one of several processes.

    Args:
        page: The page's port, if there is one.
        apps: What else is served, and its ports.
        workers: The option.
        dns: Whether there is a DNS server on port 53.

    Raises:
        click.UsageError: it is to be refused.
    """
    if page is None:
        return
    if workers is not None:
        raise click.UsageError("--page shows the host of one process: leave out --workers")
    others = {port: app.name for app, port in apps} | ({53: "the DNS server"} if dns else {})
    if page in others:
        raise click.UsageError(
            f"{others[page]} and the page cannot both have port {page}: write --page=PORT for"
            " another"
        )
