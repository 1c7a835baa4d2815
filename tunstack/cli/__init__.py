"""The command line: ``tunstack run``, ``serve``, ``connect``, ``trace``, ``demo`` and more.

`commands` has the arguments and the help of each, imported by `root` when it is used, `options`
what they share, `running` what they do, `output` what is printed, and `top` the view of
``--watch``. `status` has exit statuses and error lines; `manual` makes manual pages of the
commands. All but :func:`main` needs click and rich, of the extra ``tunstack[cli]``.
"""

from __future__ import annotations

TYPE_CHECKING = False  # Type checkers recognise the name; importing typing is slow.
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
        _restore_sigint()
        _open_standard_descriptors()
    import sys
    from importlib.util import find_spec

    for package in ("click", "rich"):
        if find_spec(package) is None:
            message = f"the command line needs {package}: pip install 'tunstack[cli]'"
            print(f"tunstack: {message}", file=sys.stderr)
            return 2
    from tunstack.cli.root import run

    status = run(arguments)
    if arguments is None:
        import gc

        # At its end the interpreter would visit all that was imported, several times, to collect
        # nothing: a sixth of a short command's time.
        gc.freeze()
    return status


def _open_standard_descriptors() -> None:
    """Open /dev/null for each closed standard stream, so that no device gets descriptor 0 to 2."""
    import os

    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _restore_sigint() -> None:
    """Reset SIGINT to its default action until a command handles it.

    Python's KeyboardInterrupt during an import would print a traceback: so this module imports
    nothing before it.
    """
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
