"""The command group, and the conversion of errors to exit statuses."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

import tunstack
from tunstack.cli.status import (
    INTERRUPTED,
    OUTPUT_CLOSED,
    USAGE,
    OutputClosed,
    close_streams,
    output_failure,
    print_error,
)
from tunstack.deploy.build import build

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS: Final = {
    "run": "Run a command in a private network.",
    "serve": "Serve small services on an address.",
    "connect": "Connect from an address, as netcat does.",
    "ping": "Ping from an address, as ping does.",
    "behaviours": "List how a peer can misbehave.",
    "trace": "Draw a capture as a ladder.",
    "stats": "Print where the time of connections went.",
    "plot": "Plot a connection of a capture, as SVG or PNG.",
    "demo": "Show a connection, and explain it.",
    "doctor": "Tell what this machine allows, and what to do.",
    "bridge": "Run a command across an impaired path to another kernel.",
    "bench": "Compare tunstack with kernel sockets.",
    "bench-loss": "Measure goodput across lossy paths.",
}
"""The commands: each is a module of `commands`, imported when it is used."""

_EPILOG = """\b
Examples:
  tunstack demo
  tunstack run -- curl http://198.51.100.2/
  tunstack run --trace -- ping -c 3 198.51.100.2
  tunstack COMMAND --help

\b
Completion in bash; likewise zsh_source and fish_source:
  eval "$(_TUNSTACK_COMPLETE=bash_source tunstack)"
"""

_COMPLETION: Final = "_TUNSTACK_COMPLETE"
"""The environment variable by which a shell asks click for completions."""


def summaries() -> dict[str, str]:
    """The commands, with a sentence on each, in the order of their names."""
    return {name: _COMMANDS[name] for name in sorted(_COMMANDS)}


class _Commands(click.Group):
    """A command group that imports a command when it is used, and none for `--help`."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        attribute = name.replace("-", "_")
        command: click.Command = getattr(
            import_module(f"tunstack.cli.commands.{attribute}"), attribute
        )
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name]) for name in self.list_commands(context)])

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=summary)
            for name, summary in summaries().items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, context, incomplete)]


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(tunstack.__version__, message=f"%(prog)s %(version)s ({build()})")
@click.pass_context
def root(context: click.Context) -> int:
    """A TCP/IP endpoint in user space, on a TUN device.

    The kernel sees a remote host there, and every packet of that host is sent by this program.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return 0


def run(arguments: Sequence[str] | None) -> int:
    """Run a command; returns the exit status. A usage error is one line, and status 2."""
    name = _name(sys.argv[1:] if arguments is None else arguments)
    return close_streams(name, _run(name, arguments))


def _name(arguments: Sequence[str]) -> str:
    """The prefix of messages: the program, and the command if there is one."""
    command = next((each for each in arguments if not each.startswith("-")), "")
    return f"tunstack {command}" if command in _COMMANDS else "tunstack"


def _run(name: str, arguments: Sequence[str] | None) -> int:
    try:
        status = root.main(arguments, prog_name="tunstack", standalone_mode=False)
    except click.UsageError as error:
        path = "tunstack" if error.ctx is None else error.ctx.command_path
        print_error(path, f"{error.format_message().rstrip('.')} (see {path} --help)")
        return USAGE
    except click.ClickException as error:
        print_error(name, error.format_message())
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit as ending:  # click's, after completions and for EPIPE
        if _COMPLETION in os.environ:
            return ending.code if isinstance(ending.code, int) else 0
        return OUTPUT_CLOSED
    except OutputClosed:
        return OUTPUT_CLOSED
    except OSError as error:
        failure = output_failure(error)
        if failure is None:
            raise
        print_error(name, str(failure))
        return failure.status
    return status if isinstance(status, int) else 0
