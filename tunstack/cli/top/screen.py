"""A terminal that is drawn on: the alternate screen, without echo, and left as it was found."""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import trio
from rich.color import ColorSystem
from rich.style import Style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.ladder import Line

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"
"""The alternate screen, no cursor, and nothing on it."""
_LEAVE: Final = "\x1b[0m\x1b[?25h\x1b[?1049l"
_CLEAR: Final = "\x1b[0m\x1b[2J"
_PATIENCE: Final = 1.0
"""Seconds to wait, at the end, for a terminal that takes nothing."""
_INPUT, _OUTPUT, _LOCAL, _CHARACTERS = 0, 1, 3, 6


class Screen:
    """A terminal, while it is drawn on.

    It is opened anew, so that it does not block here and is not changed for others; the event loop
    of a host never waits for it. Lines that have not changed are not drawn again.

    Args:
        descriptor: Of a terminal.
        colors: Whether to draw in colours; without, there are bold, dim and reverse still.
    """

    def __init__(self, descriptor: int, *, colors: bool = True) -> None:
        self._descriptor, self._shared = _reopened(descriptor)
        self._colors = colors
        self._before: list[Any] | None = None
        self._drawn: list[Line | None] = []
        self._size = (0, 0)

    def close(self) -> None:
        """Leave it, and close it."""
        self.leave()
        os.close(self._descriptor)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            return self._size
        return (columns or 80, rows or 24)

    def enter(self) -> None:
        """Begin to draw on it."""
        if self._shared:
            os.set_blocking(self._descriptor, False)
        self._before = termios.tcgetattr(self._descriptor)
        changed = termios.tcgetattr(self._descriptor)
        changed[_INPUT] &= ~(termios.IXON | termios.ICRNL)
        changed[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
        characters = [*changed[_CHARACTERS]]
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        characters[termios.VQUIT] = b"\0"  # Ctrl-\ would leave it as it is.
        changed[_CHARACTERS] = characters
        termios.tcsetattr(self._descriptor, termios.TCSANOW, changed)
        self._write_now(_ENTER)
        self._drawn = []

    def leave(self) -> None:
        """Restore it; it may be called again."""
        if self._before is None:
            return
        before, self._before = self._before, None
        self._write_now(_LEAVE)
        try:
            termios.tcflush(self._descriptor, termios.TCIFLUSH)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, before)
        except termios.error:
            pass  # It is gone.
        if self._shared:
            os.set_blocking(self._descriptor, True)

    def suspend(self) -> None:
        """Leave it, stop this process until somebody continues it, and enter it again.

        Where nobody could, as there is no shell with job control, the kernel does not stop it.
        """
        self.leave()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self.enter()

    def forget(self) -> None:
        """Draw all of it the next time."""
        self._drawn = []

    async def read(self) -> bytes:
        """Return what was typed; ``b""`` when the terminal is gone."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                return os.read(self._descriptor, 1024)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    async def draw(self, lines: Sequence[Line], size: tuple[int, int]) -> None:
        """Draw a frame for a terminal of a size."""
        text = self.encode(lines, size)
        data = text.encode(errors="replace")
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._descriptor)
            except OSError:
                return  # It is gone, and `read` says so.
        await trio.lowlevel.checkpoint()

    def encode(self, lines: Sequence[Line], size: tuple[int, int]) -> str:
        """What makes the terminal show a frame after the last one."""
        parts: list[str] = []
        if size != self._size or not self._drawn:
            parts.append(_CLEAR)
            self._size, self._drawn = size, [None] * len(lines)
        for number, line in enumerate(lines):
            if line != self._drawn[number]:
                # Erased first: behind a full line the cursor is still on its last character.
                parts.append(f"\x1b[{number + 1};1H\x1b[2K{self._encoded(line)}")
        self._drawn = [*lines]
        return "".join(parts)

    def _encoded(self, line: Line) -> str:
        return "".join(
            _style(style, self._colors).render(text, color_system=ColorSystem.STANDARD)
            for text, style in line
        )

    def _write_now(self, text: str) -> None:
        """Write without the event loop, which may have ended."""
        data = text.encode()
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                if not select.select([], [self._descriptor], [], _PATIENCE)[1]:
                    return
            except OSError:
                return


@lru_cache(256)
def _style(name: str, colors: bool) -> Style:
    style = Style.parse(name)
    return style if colors else style.without_color


def _reopened(descriptor: int) -> tuple[int, bool]:
    """Open a terminal once more; or share it, where that is not allowed, and tell so."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(f"/proc/self/fd/{descriptor}", flags), False
    except OSError:  # It is another user's, as after su.
        return os.dup(descriptor), True
