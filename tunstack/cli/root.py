"""The group of all commands, and what becomes of their errors."""

from __future__ import annotations

import logging
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import click

from tunstack.cli.bench import bench
from tunstack.cli.bench_loss import bench_loss
from tunstack.cli.bridge import bridge
from tunstack.cli.connect import connect
from tunstack.cli.demo import demo
from tunstack.cli.plot import plot
from tunstack.cli.run import run as run_command
from tunstack.cli.running import USAGE, Unread, complain
from tunstack.cli.serve import serve
from tunstack.cli.trace import trace

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\b
Examples:
  tunstack demo
  tunstack run -- curl http://198.51.100.2/
  tunstack run --trace --serve echo -- sh -c 'echo hello | nc -N $TUNSTACK_HOST 7'
  tunstack COMMAND --help
"""


@click.group(epilog=_EPILOG, invoke_without_command=True)
@click.version_option(metadata.version("tunstack"), message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context) -> int:
    """A TCP/IP endpoint in user space, on a TUN device.

    The kernel sees a host of its own network there, and every packet of that host is this
    program's.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return 0


for command in (run_command, serve, connect, trace, plot, demo, bridge, bench, bench_loss):
    root.add_command(command)


def run(arguments: Sequence[str] | None) -> int:
    """Run a command; return the exit status. A user's mistake is one line, and 2."""
    logging.basicConfig(format="tunstack: %(message)s")
    try:
        status = root.main(arguments, prog_name="tunstack", standalone_mode=False)
    except click.UsageError as error:
        path = "tunstack" if error.ctx is None else error.ctx.command_path
        complain(path, f"{error.format_message().rstrip('.')} (see {path} --help)")
        return USAGE
    except click.ClickException as error:
        complain("tunstack", error.format_message())
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Unread:
        # Nobody reads what we print: end as a filter does, and have nothing flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status if isinstance(status, int) else 0
