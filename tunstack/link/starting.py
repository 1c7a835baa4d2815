"""Start helper processes, which serve this one and end with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import trio

from tunstack.link.forking import close_in_children

_FOLDER: Final = Path(__file__).resolve().parent


async def start_process(
    module: str, *arguments: str, libraries: tuple[str, ...] = (), pass_fds: tuple[int, ...] = ()
) -> tuple[trio.Process, socket.socket]:
    """Run ``main(DESCRIPTOR, *arguments)`` of a module of this package in a child process.

    Args:
        module: Its name within the package, as ``"link.holder"``.
        arguments: For its `main`, after the descriptor of its end of the socket.
        libraries: Packages that it imports beside the standard library.
        pass_fds: Descriptors that it inherits.

    Returns:
        The process, and our end of the SOCK_SEQPACKET socket between both. The process must exit
        when that socket ends: so it does not outlive us, even if we are killed.
    """
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = (close_in_children(each, socket.socket.close) for each in pair)
    with theirs:
        try:
            process = await trio.lowlevel.open_process(
                module_command(module, str(theirs.fileno()), *arguments, libraries=libraries),
                pass_fds=[theirs.fileno(), *pass_fds],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


def module_command(module: str, *arguments: str, libraries: tuple[str, ...] = ()) -> list[str]:
    """Return the command that runs ``main(*arguments)`` of a module of this package.

    Args:
        module: Its name within the package, as ``"link.holder"``.
        arguments: For its `main`.
        libraries: Packages that it imports beside the standard library.
    """
    return [
        *(sys.executable, "-I", "-S", str(_FOLDER / "_start.py")),
        *(str(_FOLDER.parent), ":".join(map(_path_of, libraries)), module),
        *arguments,
    ]


def _path_of(library: str) -> str:
    """The `sys.path` entry from which a package is imported."""
    found = find_spec(library)
    assert found is not None, library
    assert found.origin is not None, library
    folder = os.path.dirname(found.origin)
    return folder if found.submodule_search_locations is None else os.path.dirname(folder)
