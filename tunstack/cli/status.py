"""Exit statuses, and the one line on standard error that goes with them.

Nothing here needs more than the standard library: it is there before a command is imported, and
whatever goes wrong with one.
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
"""The exit status for a mistake of the user's, and for what cannot be read or written."""
UNREAD: Final = 141
"""The exit status when nobody reads what is printed: a filter's, which SIGPIPE ends."""
INTERRUPTED: Final = 130
"""The exit status after SIGINT."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What writing raises where a disk is full or fails, and nothing else here does."""


class Failure(Exception):
    """The command cannot go on; the message is one line for the user.

    Attributes:
        status: The exit status.
    """

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.status = status


class Unread(Exception):
    """Nobody reads what is printed any more; not an OSError, of which click makes an exit."""


def complain(name: str, message: str) -> None:
    """Print one line on standard error; where that is full, there is nobody to tell."""
    with suppress(OSError):
        print(f"{name}: {' '.join(message.split())}", file=sys.stderr)


def unprintable(error: BaseException) -> Failure | None:
    """What to say of an error in printing; None when it is another one.

    What has a name (a capture, a plot) is written elsewhere, and its errors are caught there.
    """
    if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
        return Failure(f"cannot write standard output: {error.strerror}")
    return None


def close_streams(name: str, status: int) -> int:
    """Write what was printed and is not written yet; return the exit status, whatever that brings.

    The interpreter does the same at its exit, too late for a message of ours and a status.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            _abandon(stream)
            if isinstance(error, BrokenPipeError):
                status = status or UNREAD
            elif not status:
                status = USAGE
                complain(name, f"cannot write standard output: {error.strerror}")
    return status


def _abandon(stream: TextIO) -> None:
    """Have what cannot be written go nowhere, lest the interpreter tries it again at exit."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
