"""The option ``--keylog``."""

from __future__ import annotations

import os
from typing import Final

import click

from tunstack.cli.options.parameters import OUTPUT, STANDARD

VARIABLE: Final = "SSLKEYLOGFILE"


def _set_variable(
    context: click.Context, _parameter: click.Parameter, path: str | None
) -> str | None:
    """Set SSLKEYLOGFILE, for the command that is run as well, until the end."""
    if path is None:
        return None
    if path == STANDARD:
        raise click.BadParameter("name a file for the keys: standard output has no place for them")
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = os.path.abspath(path)

    def restore() -> None:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before

    context.call_on_close(restore)
    return path


KEYLOG: Final = click.option(
    "--keylog",
    callback=_set_variable,
    expose_value=False,
    type=OUTPUT,
    metavar="FILE",
    help="Append the keys of TLS connections to FILE, as with SSLKEYLOGFILE; a capture by --pcap"
    " has them as well, and Wireshark shows the plain text.",
)
