"""Run a program in a process's namespaces: `python -I -S enter.py PID COMMAND...`.

For systems without `nsenter`. It enters the user namespace (if it differs) and the network
namespace of process PID, and executes COMMAND.
"""

from __future__ import annotations

import os
import signal
import sys


def enter(path: str) -> None:
    """Move this process to the namespace at `path`, unless it is there already.

    Raises:
        OSError: no such namespace, or no permission.
    """
    own = f"/proc/self/ns/{os.path.basename(path)}"
    if os.stat(own).st_ino == os.stat(path).st_ino:
        return
    set_namespace(path)


def set_namespace(path: str) -> None:
    """Move this thread to the namespace at `path`: setns(2).

    Raises:
        OSError: no such namespace, or no permission.
    """
    with open(path, "rb") as namespace:
        if sys.version_info >= (3, 12):
            os.setns(namespace)
            return
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace.fileno(), 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)


def _as_started() -> dict[bytes, bytes]:
    """Undo what Python changes at its start, and the program would inherit.

    Returns:
        The environment as it was: in the C locale Python sets LC_CTYPE (PEP 538).
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Which it ignores.
        signal.signal(number, signal.SIG_DFL)
    with open("/proc/self/environ", "rb") as file:
        variables = [each.partition(b"=") for each in file.read().split(b"\0") if each]
    return {name: value for name, _, value in variables}


def main(pid: str, *command: str) -> None:
    """Enter the namespaces of `pid` and execute `command`."""
    environment = _as_started()
    for kind in ("user", "net"):
        enter(f"/proc/{pid}/ns/{kind}")
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main(*sys.argv[1:])
