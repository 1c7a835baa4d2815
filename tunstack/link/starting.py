"""Starting processes of ours that serve this one, and end with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import trio

from tunstack.link.forking import not_for_children

_FOLDER: Final = Path(__file__).resolve().parent


async def start_process(
    module: str, *arguments: str, libraries: tuple[str, ...] = (), pass_fds: tuple[int, ...] = ()
) -> tuple[trio.Process, socket.socket]:
    """Start ``main(DESCRIPTOR, *arguments)`` of a module of this package, in a process of its own.

    Args:
        module: Its name within the package, as ``"link.holder"``.
        arguments: For its `main`, behind the descriptor of its end of the socket.
        libraries: Packages that it imports beside the standard library.
        pass_fds: Descriptors that it inherits.

    Returns:
        The process, and our end of a sequential packet socket between it and us. The process is to
        end when that socket does: so it does not outlive us, whatever becomes of us.
    """
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = (not_for_children(each, socket.socket.close) for each in pair)
    with theirs:
        try:
            process = await trio.lowlevel.open_process(
                [
                    *(sys.executable, "-I", "-S", str(_FOLDER / "_start.py")),
                    *(str(_FOLDER.parent), ":".join(map(_folder_of, libraries)), module),
                    *(str(theirs.fileno()), *arguments),
                ],
                pass_fds=[theirs.fileno(), *pass_fds],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


def _folder_of(library: str) -> str:
    """The folder from which a package is imported."""
    found = find_spec(library)
    assert found is not None, library
    assert found.origin is not None, library
    folder = os.path.dirname(found.origin)
    return folder if found.submodule_search_locations is None else os.path.dirname(folder)
