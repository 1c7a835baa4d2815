"""What is written on the terminal while the view has it: collected, and written at its end.

That is what a command writes, and what this program does: the lines of a log, an error. Standard
output and standard error become a pipe, where they are the terminal; a thread reads it, so that
whoever writes never waits for the event loop. Standard input, where it is the terminal, becomes
/dev/null, as the keys are the view's.
"""

from __future__ import annotations

import os
import re
import select
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT: Final = 1 << 20
"""Octets that are kept for the end."""
_LINES: Final = 50
"""Lines that are kept for the view."""
_LONGEST: Final = 1000
"""Characters of such a line."""
_CONTROL: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""A control sequence of a terminal: CSI, OSC, or of two characters (ECMA-48)."""
_CHUNK: Final = 1 << 16
_CHUNKS_LEFT: Final = 16
"""That are read at the end, at most: somebody in the background may write on for ever."""


class Output:
    """What was written: all of it up to a bound, and the last lines.

    Attributes:
        lost: Octets that are not kept any more, the earliest.
        count: Octets ever written.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._rest = ""
        self.lost = 0
        self.count = 0

    def add(self, data: bytes) -> None:
        """Append octets."""
        self.count += len(data)
        self._size += len(data)
        self._chunks.append(data)
        while self._size > self._most:
            excess, first = self._size - self._most, self._chunks.popleft()
            if len(first) > excess:
                self._chunks.appendleft(first[excess:])
            gone = min(len(first), excess)
            self._size -= gone
            self.lost += gone
        *lines, rest = (self._rest + data.decode(errors="replace")).split("\n")
        self._lines.extend(line[-_LONGEST:] for line in lines[-_LINES:])
        self._rest = rest[-_LONGEST:]

    def tail(self) -> list[str]:
        """The last lines, as a terminal would show them without colours."""
        lines = [*self._lines, self._rest] if self._rest else [*self._lines]
        return [_shown(line) for line in lines]

    def kept(self) -> bytes:
        """What is kept."""
        return b"".join(self._chunks)


def _shown(line: str) -> str:
    """A line without control sequences; of what was overwritten, as a progress bar is, the last."""
    line = _CONTROL.sub("", line).rstrip("\r")
    return line.rpartition("\r")[2].expandtabs()


@contextmanager
def collected(output: Output) -> Iterator[None]:
    """Within the block, what is written on the terminal goes to `output`; then it is written."""
    terminals = [each for each in (1, 2) if os.isatty(each)]
    saved = {each: os.dup(each) for each in (0, *terminals) if os.isatty(each)}
    reading, writing = os.pipe()
    stop, stopping = os.pipe()
    reader = threading.Thread(target=_read, args=(reading, stop, output), daemon=True)
    reader.start()
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for each in saved:
            os.dup2(writing if each else nothing, each)
        os.close(nothing)
        yield
    finally:
        for each, before in saved.items():
            os.dup2(before, each)
            os.close(before)
        os.close(writing)
        os.close(stopping)
        reader.join()
        for each in (reading, stop):
            os.close(each)
        if terminals:
            _write(terminals[0], output)


def _read(reading: int, stop: int, output: Output) -> None:
    """Collect until nobody writes any more, or it is to stop; then what the pipe has still."""
    left = _CHUNKS_LEFT
    while left:
        ready, _, _ = select.select([reading, stop], [], [])
        if stop in ready:
            left -= 1
        data = os.read(reading, _CHUNK) if reading in ready else b""
        if not data:
            return
        output.add(data)


def _write(descriptor: int, output: Output) -> None:
    """Write what was collected; a terminal that is gone gets nothing."""
    data = output.kept()
    if output.lost:
        note = f"[{output.lost:,} bytes of output before these are not kept]\n"
        data = note.encode() + data
    with suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]
