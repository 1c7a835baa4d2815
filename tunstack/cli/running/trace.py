"""What ``tunstack trace`` does: a capture as a ladder."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from tunstack.cli.options.parameters import STANDARD
from tunstack.cli.output.files import input_title, read_packets, refuse_to_overwrite, write_output
from tunstack.cli.output.terminal import console, print_lines, report_left_out
from tunstack.cli.status import USAGE, Failure, OutputClosed, output_failure, print_error
from tunstack.ladder import Ladder, Step, step_from_capture, symbols_for
from tunstack.ladder.drawing import ladder_svg
from tunstack.ladder.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PACKETS_TO_DETECT_FORMAT: Final = 1000
"""Packets to read before deciding whether tunstack wrote the capture."""


def trace(
    file: str, *, full: bool, only: tuple[int, ...], svg: str | None, color: bool | None
) -> int:
    """Print or draw a capture; returns the exit status.

    Args:
        file: The capture.
        full: The option.
        only: The option.
        svg: The option.
        color: The option.
    """
    skipped: Counter[str] = Counter()
    try:
        if svg is None:
            _draw(file, skipped, full=full, only=only, color=color)
        else:
            refuse_to_overwrite(file, svg, "--svg")
            _draw_svg(file, svg, skipped, full=full, only=only)
    except BrokenPipeError:  # rich before 13.9 has no on_broken_pipe
        raise OutputClosed from None
    except (ValueError, Failure) as error:
        message = str(error)
    except OSError as error:
        if output_failure(error):
            raise
        message = f"cannot read {input_title(file)}: {error.strerror}"
    else:
        return 0
    print_error("tunstack trace", message)
    return USAGE


class _Capture:
    """The packets of a file.

    Args:
        file: Its name.
        skipped: Counts the packets that are not IP.

    Attributes:
        states: Whether tunstack wrote it, so that our side's states are known.
        names: Of the columns.
        damage: The error at which reading stopped, or None.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no capture, or has no IP packets.
    """

    def __init__(self, file: str, skipped: Counter[str]) -> None:
        self._title = input_title(file)
        self._rest = _steps(file, skipped)
        self._head: list[Step] = []
        self.damage: ValueError | None = None
        try:
            for step in islice(self._rest, _PACKETS_TO_DETECT_FORMAT):
                self._head.append(step)
        except ValueError as error:
            self.damage = error
        if not self._head:
            raise self.damage or ValueError(f"{self._title} has no IP packets")
        self.states = any(step.before is not None for step in self._head)
        # Only arriving segments are accepted: their destinations are our addresses.
        self._ours = frozenset(
            step.destination[0] for step in self._head if step.verdict == "accepted"
        )
        self.names = ("peer", "tunstack") if self._ours else ("", "")

    def steps(self) -> Iterator[Step]:
        """Its packets up to the damage, with their direction if our side is known."""
        try:
            for step in chain(self._head, self._rest):
                yield _directed(step, self._ours)
        except ValueError as error:
            self.damage = error

    def check(self, only: tuple[int, ...], *, empty: bool) -> None:
        """Report at the end what was wrong.

        Raises:
            ValueError: the file is damaged, or nothing was shown.
        """
        if self.damage is not None:
            raise self.damage
        if empty:
            ports = f" from or to port {' or '.join(map(str, only))}" if only else ""
            raise ValueError(f"{self._title} has no packets{ports or ' to show without --full'}")


def _draw(
    file: str, skipped: Counter[str], *, full: bool, only: tuple[int, ...], color: bool | None
) -> None:
    """Print the ladder, and report what is left out.

    Raises:
        OSError: the file cannot be read, or standard output cannot be written.
        ValueError: the file is damaged, or there is nothing to draw.
    """
    capture = _Capture(file, skipped)
    page = console(color=color)
    ladder = Ladder(
        width=page.width,
        symbols=symbols_for(page.encoding),
        states=capture.states,
        names=capture.names,
        full=full,
        only=only,
    )
    try:
        for step in capture.steps():
            print_lines(page, ladder.add(step))
    finally:
        print_lines(page, ladder.flush())
        report_left_out("tunstack trace", ladder.left_out + skipped)
    capture.check(only, empty=ladder.empty)


def _draw_svg(
    file: str, output: str, skipped: Counter[str], *, full: bool, only: tuple[int, ...]
) -> None:
    """Write the ladder as SVG, and print the name of the file.

    Raises:
        Failure: the output cannot be written.
        OSError: the file cannot be read.
        ValueError: the file is damaged, or there is nothing to draw.
    """
    capture = _Capture(file, skipped)
    picture = Picture(states=capture.states, names=capture.names, full=full, only=only)
    for step in capture.steps():
        picture.add(step)
    report_left_out("tunstack trace", picture.left_out + skipped)
    if not picture.empty:
        write_output(output, ladder_svg(picture.drawn(os.path.basename(input_title(file)))))
        if output != STANDARD:
            print(output)
    capture.check(only, empty=picture.empty)


def _steps(file: str, skipped: Counter[str]) -> Iterator[Step]:
    for packet in read_packets(file, skipped):
        yield step_from_capture(packet.time, packet.packet, packet.comment)


def _directed(step: Step, ours: Collection[str]) -> Step:
    """Return the step with its direction, if it is from or to one of our addresses."""
    if step.destination[0] in ours:
        return replace(step, direction="in")
    if step.source[0] in ours:
        return replace(step, direction="out")
    return step
