"""Running a script in a Python of its own: one that may be killed, or that has no privileges."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = 65534


def python(script: str) -> list[str]:
    """The command that runs a script with the interpreter, and the warnings, of the tests."""
    return [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]


def run(script: str) -> str:
    """Run a script to its end, and return what it printed; it must succeed."""
    return subprocess.run(
        python(script), cwd=PROJECT, check=True, stdout=subprocess.PIPE
    ).stdout.decode()


@contextmanager
def started(script: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start a script, and give its process and its standard output; it is killed in the end."""
    with subprocess.Popen(python(script), cwd=PROJECT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout
        finally:
            child.kill()


def run_as_nobody(script: str, *, node_mode: str = "666") -> str:
    """Run a script without any privilege, with a device node that everybody may open.

    Whoever is no root already is asked to be nobody else. Root becomes user 65534, who may have no
    way to the interpreter or to the project (below /root, say): so this happens in a mount
    namespace of its own, in which the closed folders are replaced by empty ones that hold nothing
    but what is needed.

    Args:
        script: What to run; it must succeed.
        node_mode: The mode of the device node, which root owns.
    """
    if os.geteuid() != 0:
        return run(script)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        setup = [
            "set -e",
            *_opened_to_everybody(Path(folder), node_mode),
            f"cd {shlex.quote(str(PROJECT))}",
            'exec "$@"',
        ]
        become = [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *("env", f"TUNSTACK_TUN_DEVICE={folder}/tun", "PYTHONDONTWRITEBYTECODE=1"),
        ]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", "\n".join(setup), "sh", *become, *python(script)],
            check=True,
            stdout=subprocess.PIPE,
        )
    return done.stdout.decode()


def _opened_to_everybody(folder: Path, node_mode: str) -> Iterator[str]:
    """Shell commands that make a device node in `folder`, and a way to what Python needs."""
    yield f"mount -t tmpfs -o mode=755 tmpfs {folder}"
    yield f"mknod {folder}/tun c 10 200"
    yield f"chmod {node_mode} {folder}/tun"
    needed = {PROJECT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    stages = {
        path: folder / f"stage{number}"
        for number, path in enumerate(sorted(needed))
        if _closed_parent(path)
    }
    for path, stage in stages.items():
        yield f"mkdir {stage}"
        yield f"mount --bind {shlex.quote(str(path))} {stage}"
    for parent in {_closed_parent(path) for path in stages}:
        yield f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(parent))}"
    for path, stage in stages.items():
        yield f"mkdir -p {shlex.quote(str(path))}"
        yield f"mount --bind {stage} {shlex.quote(str(path))}"
    yield f"cd {shlex.quote(str(PROJECT))}"


def _closed_parent(path: Path) -> Path | None:
    """The topmost folder on the way to `path` that is closed to others; None if there is none."""
    for parent in reversed(path.parents):
        if not parent.stat().st_mode & 0o001:
            return parent
    return None
