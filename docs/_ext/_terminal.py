"""A command on a terminal of its own, and what it prints there as text or HTML."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_COLOURS: Final = re.compile(r"\x1b\[([\d;]*)m")
_OTHER_SEQUENCES: Final = re.compile(r"\x1b(?:\[[\d;?]*[A-Za-ln-z]|\][^\x07]*\x07|[()].)")
_ERASED: Final = re.compile(r"^.*(?:\r\x1b\[0?K|\x1b\[2K)", re.M)
"""What is erased of a line: all before it."""
_LINES: Final = 100
_AS_ROOT: Final = 'Running as user "root" and group "root". This could be dangerous.'
"""What tshark says to root only; a reader is not."""


def run_on_terminal(
    command: str, folder: Path, environment: dict[str, str], *, columns: int, timeout: float
) -> tuple[int | None, str]:
    """Run a command of the shell; returns its exit status, and what it printed.

    The status is 128 + N if signal N ended it, and None if it took more than `timeout` seconds and
    was killed. Standard input is empty.
    """
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    deadline = time.monotonic() + timeout
    octets = bytearray()
    try:
        while _is_readable(ours, deadline):
            data = _read(ours)
            if not data:
                break
            octets += data
        status: int | None = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        status = None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)
    if status is not None and status < 0:
        status = 128 - status
    return status, as_shown(octets.decode(errors="replace"))


def _is_readable(descriptor: int, deadline: float) -> bool:
    return bool(select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0])


def _read(descriptor: int) -> bytes:
    """Read what there is; nothing at the end, at which Linux has an error."""
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""


def as_shown(text: str) -> str:
    """What remains on the screen of what was printed: colours stay, overwritten lines do not."""
    text = _ERASED.sub("", text.replace("\r\n", "\n"))
    lines = _OTHER_SEQUENCES.sub("", text).split("\n")
    lines = [line for line in lines if line.strip() != _AS_ROOT]
    # A return at the end overwrites nothing: HTTP's lines end so, before the terminal's own.
    return "\n".join(line.rstrip().rpartition("\r")[2] for line in lines).strip("\n")


def plain(text: str) -> str:
    """Without colours."""
    return _COLOURS.sub("", text)


def as_html(text: str) -> str:
    """With a span, and a class for each attribute, in place of the sequences of colours."""
    parts = []
    active: set[str] = set()
    for number, part in enumerate(_COLOURS.split(text)):
        if number % 2:
            active = _changed(active, part)
        elif part:
            names = " ".join(f"ansi-{each}" for each in sorted(active))
            parts.append(f'<span class="{names}">{escape(part)}</span>' if names else escape(part))
    return "".join(parts)


def _changed(active: set[str], codes: str) -> set[str]:
    """Apply a sequence: colours of text, bold, dim; others are not shown."""
    for code in codes.split(";"):
        if code in ("", "0"):
            active = set()
        elif code == "39":
            active = {each for each in active if not _is_colour(each)}
        elif code == "22":
            active = active - {"1", "2"}
        elif _is_colour(code):
            active = {each for each in active if not _is_colour(each)} | {code}
        elif code in ("1", "2"):
            active = active | {code}
    return active


def _is_colour(code: str) -> bool:
    return re.fullmatch(r"[39][0-7]", code) is not None
