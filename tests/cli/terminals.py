"""A program on a terminal of its own, and what somebody sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PATIENCE: Final = 30.0
"""Seconds to wait for what must come."""
ENTERED: Final = b"\x1b[?1049h"
LEFT: Final = b"\x1b[?1049l"

# What the terminal belongs to: the program, or a shell that can stop and continue it.
_LEADER: Final = """
import fcntl, runpy, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
"""
_SHELL: Final = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(2, os.getpid())
    for each in (signal.SIGTTOU, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(2, os.getpgrp())
    os.write(2, b"[stopped]")
    os.read(0, 1)
    os.tcsetpgrp(2, child)
    os.kill(-child, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Terminal:
    """A terminal, and the program on it.

    Attributes:
        process: The program.
        raw: All that it has written.
        screen: What is on the screen.
    """

    def __init__(self, process: subprocess.Popen[Any], ours: int, size: tuple[int, int]) -> None:
        self.process = process
        self.raw = bytearray()
        self.screen: Any = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self._ours = ours

    @property
    def lines(self) -> list[str]:
        """The screen, as text."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """The screen, as one text."""
        return "\n".join(self.lines)

    @property
    def after(self) -> str:
        """What was written after the view had left the screen."""
        return self.raw.rpartition(LEFT)[2].decode().replace("\r\n", "\n")

    @property
    def settings(self) -> list[Any]:
        """The terminal's, as of tcgetattr."""
        return termios.tcgetattr(self._ours)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size."""
        self.screen.resize(rows, columns)
        set_size(self._ours, columns, rows)

    def close(self) -> None:
        """Close our side of it; it may be called again."""
        if self._ours >= 0:
            os.close(self._ours)
        self._ours = -1

    def read(self, seconds: float) -> bool:
        """Show what is written within so many seconds; False at the end."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # Nobody has the terminal open any more.
            data = b""
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def wait(self, ready: str | Callable[[], object]) -> None:
        """Wait until there is a text on the screen, or something is true."""
        until = time.monotonic() + PATIENCE
        while not (ready in self.text if isinstance(ready, str) else ready()):
            assert time.monotonic() < until, f"{ready!r} never came:\n{self.text}"
            assert self.read(0.1) or ready_now(self, ready), f"ended before {ready!r}:\n{self.text}"

    def end(self) -> int:
        """Wait for the program's end, and return its exit status."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < until, f"it does not end:\n{self.text}"
            self.read(0.05)
        while select.select([self._ours], [], [], 0)[0] and self.read(0):
            pass
        return self.process.returncode


def ready_now(terminal: Terminal, ready: str | Callable[[], object]) -> bool:
    """Whether what is waited for is there."""
    return bool(ready in terminal.text if isinstance(ready, str) else ready())


def set_size(descriptor: int, columns: int, rows: int) -> None:
    """Set the size of a terminal."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def on_a_terminal(
    arguments: Sequence[str],
    *,
    size: tuple[int, int] = (80, 24),
    environment: Mapping[str, str] | None = None,
    shell: bool = False,
    **options: Any,
) -> Iterator[Terminal]:
    """Run Python with these arguments on a terminal, and end it with the block.

    Args:
        arguments: Of the interpreter.
        size: Columns and rows.
        environment: Variables besides ours.
        shell: Whether it is the job of a shell, which writes ``[stopped]`` when it is, and
            continues it at the next key.
        options: Of `Popen`, where standard streams are not the terminal.
    """
    ours, terminal = pty.openpty()
    set_size(terminal, *size)
    command = [sys.executable, "-c", f"{_LEADER}\n{_SHELL if shell else _EXEC}", sys.executable]
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal} | options
    variables = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    variables |= {"TERM": "xterm-256color", **(environment or {})}
    with subprocess.Popen[bytes](
        [*command, *arguments], start_new_session=True, env=variables, **streams
    ) as process:
        seen = Terminal(process, ours, size)
        try:
            yield seen
        finally:
            if process.poll() is None:
                process.kill()
            os.close(terminal)
            seen.close()


_EXEC: Final = "import os; os.execv(sys.argv[1], sys.argv[1:])"
