"""The command line: ``tunstack run``, ``serve``, ``connect``, ``trace`` and ``demo``.

One module a command, imported by `root` when it is used; what they share is in `status` (exit
statuses, errors on one line), `running` (a command in trio, signals), `options`, `files`
(captures, plots and tables, or standard input and output), `terminal` (what is drawn on it),
`watching` (captures and the live ladder), `reporting` (lines about connections) and `crew` (what
workers do). `ladder` draws packets, and knows nothing of the rest. It all needs click and rich,
which only the extra ``tunstack[cli]`` brings: nothing here but :func:`main` may be imported without
them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it, without importing typing
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; None for those of the process.

    Returns:
        The exit status.
    """
    if arguments is None:
        _die_of_interrupts()
        _fill_standard_descriptors()
    import sys
    from importlib.util import find_spec

    for package in ("click", "rich"):
        if find_spec(package) is None:
            message = f"the command line needs {package}: pip install 'tunstack[cli]'"
            print(f"tunstack: {message}", file=sys.stderr)
            return 2
    from tunstack.cli.root import run

    return run(arguments)


def _fill_standard_descriptors() -> None:
    """Put nothing where a standard stream is closed, lest a device or a capture comes to be it."""
    import os

    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _die_of_interrupts() -> None:
    """Have Ctrl-C end the process as it ends any other, until a command says what it means.

    Python's own way, an exception at any point of an import, ends in a traceback: that is why this
    module imports nothing before it.
    """
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
