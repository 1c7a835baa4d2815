"""Read and write files named by the user; `-` is standard input or standard output."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from tunstack.capture import read_capture
from tunstack.cli.options.parameters import STANDARD
from tunstack.cli.status import Failure, OutputClosed
from tunstack.path import pcapng
from tunstack.plot.style import FORMATS, format_of, library

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from tunstack.capture import Capture
    from tunstack.path.pcapng import CapturedPacket


def read_packets(name: str, skipped: Counter[str]) -> Iterator[CapturedPacket]:
    """Read the packets of a capture, as :func:`~tunstack.path.pcapng.read_packets` does."""
    if name != STANDARD:
        yield from pcapng.read_packets(name, skipped=skipped)
        return
    if sys.stdin is None:
        raise ValueError("cannot read standard input: it is closed")
    with os.fdopen(os.dup(0), "rb") as file:
        yield from pcapng.read_packets(file, title=input_title(name), skipped=skipped)


def read_rows(name: str) -> Capture:
    """Read a capture as rows; damage is in the result.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no capture.
    """
    if name != STANDARD:
        return read_capture(name, strict=False)
    if sys.stdin is None:
        raise ValueError("cannot read standard input: it is closed")
    with os.fdopen(os.dup(0), "rb") as file:
        return read_capture(file, title=input_title(name), strict=False)


def input_title(name: str) -> str:
    """The name of an input file in messages."""
    return "standard input" if name == STANDARD else name


def output_title(name: str) -> str:
    """The name of an output file in messages."""
    return "standard output" if name == STANDARD else name


def open_output(name: str) -> BinaryIO:
    """Open a file for writing.

    Raises:
        Failure: it cannot be opened.
    """
    if name == STANDARD and sys.stdout is None:
        raise Failure("cannot write standard output: it is closed")
    try:
        return os.fdopen(os.dup(1), "wb") if name == STANDARD else open(name, "wb")
    except OSError as error:
        raise _cannot_write(name, error) from None


def refuse_to_overwrite(file: str, output: str, option: str) -> None:
    """Refuse to write over the input.

    Raises:
        ValueError: both are the same file.
    """
    if os.path.exists(output) and os.path.exists(file) and os.path.samefile(file, output):
        raise ValueError(f"{output} is the capture: name another file with {option}")


def plot_format(name: str) -> str:
    """Check before a measurement that a plot can be drawn; returns its format by the file's end.

    Raises:
        Failure: the file is of another format.
        SetupError: matplotlib is not installed.
    """
    library()
    try:
        return FORMATS[0] if name == STANDARD else format_of(name)
    except ValueError as error:
        raise Failure(str(error)) from None


def check_outputs(*names: str | None) -> None:
    """Check before a long measurement that files can be written, without changing them.

    Raises:
        Failure: one of them cannot be written.
    """
    for name in names:
        if name is None or name == STANDARD:
            continue
        try:
            with open(name, "ab"):
                pass
        except OSError as error:
            raise _cannot_write(name, error) from None


def write_output(name: str, content: str | bytes) -> None:
    """Write a whole file.

    Raises:
        Failure: it cannot be written.
        OutputClosed: standard output was closed by its reader.
    """
    try:
        with open_output(name) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise _cannot_write(name, error) from None


def _cannot_write(name: str, error: OSError) -> Failure:
    return Failure(f"cannot write {output_title(name)}: {error.strerror}")
