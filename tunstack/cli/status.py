"""Exit statuses, and error lines on standard error.

It uses only the standard library, as it reports errors of importing a command too.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

USAGE: Final = 2
"""The exit status for usage errors, and for files that cannot be read or written."""
OUTPUT_CLOSED: Final = 141
"""The exit status when standard output is closed by its reader: 128 + SIGPIPE."""
INTERRUPTED: Final = 130
"""The exit status after SIGINT."""
NO_REPLY: Final = 1
"""The exit status of ``ping`` without a reply."""

# The exit statuses of ``connect``.
BROKEN: Final = 1
REFUSED: Final = 3
RESET: Final = 4
TIMED_OUT: Final = 5
UNREACHABLE: Final = 6

_WRITE_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of writing to a full or failing disk, which nothing else here raises."""


class Failure(Exception):
    """The command has failed; the message is one line for the user.

    Attributes:
        status: The exit status.
    """

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.status = status


class OutputClosed(Exception):
    """Standard output was closed by its reader; not an OSError, as click would exit on EPIPE."""


def print_error(name: str, message: str) -> None:
    """Print one line on standard error, ignoring errors."""
    with suppress(OSError):
        print(f"{name}: {' '.join(message.split())}", file=sys.stderr)


def output_failure(error: BaseException) -> Failure | None:
    """Return the failure for an error of writing to standard output; None for other errors.

    Errors of named files (captures, plots) are handled where they are written.
    """
    if isinstance(error, OSError) and error.errno in _WRITE_ERRORS and error.filename is None:
        return Failure(f"cannot write standard output: {error.strerror}")
    return None


def close_streams(name: str, status: int) -> int:
    """Flush the standard streams; returns the exit status, which an error of that changes.

    The interpreter flushes them at exit, too late for an error line and a status.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            _discard(stream)
            if isinstance(error, BrokenPipeError):
                status = status or OUTPUT_CLOSED
            elif not status:
                status = USAGE
                print_error(name, f"cannot write standard output: {error.strerror}")
    return status


def _discard(stream: TextIO) -> None:
    """Redirect a stream to /dev/null, so that the interpreter's flush at exit does not fail."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
