"""``tunstack trace``: the ladder of a capture."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tunstack.cli.ladder import Ladder, Step, step_from_capture, symbols_for
from tunstack.cli.running import USAGE, Unread, complain
from tunstack.cli.watching import console, print_lines
from tunstack.link.pcapng import read_capture

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ENOUGH_TO_JUDGE: Final = 1000  # packets, to tell whether tunstack wrote the capture

_EPILOG = """\b
Examples:
  tunstack run --pcap x.pcapng -- curl http://198.51.100.2/ && tunstack trace x.pcapng
  tunstack trace --full --only 80 x.pcapng | less -R
  tcpdump -w other.pcap -i eth0 tcp   (any capture of IP packets will do)

The states of our side, and what it decided, are in captures that tunstack wrote. In others, whoever
opened a connection stands on the left.
"""


@click.command(short_help="Draw a capture as a ladder.", epilog=_EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Show every packet, also of long runs of data.")
@click.option(
    "--only",
    type=click.IntRange(1, 65535),
    multiple=True,
    metavar="PORT",
    help="Show only TCP from or to PORT; may be repeated.",
)
def trace(file: Path, full: bool, only: tuple[int, ...]) -> int:
    """Draw the packets of FILE (pcap or pcapng) as a ladder."""
    try:
        return _draw(file, full=full, only=only)
    except BrokenPipeError:  # rich before 13.9 does not tell us in another way
        raise Unread from None
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
    except ValueError as error:
        message = str(error)
    complain("tunstack trace", message)
    return USAGE


def _draw(file: Path, *, full: bool, only: tuple[int, ...]) -> int:
    steps = _steps(file)
    head, damage = [], None
    try:
        for step in islice(steps, _ENOUGH_TO_JUDGE):
            head.append(step)
    except ValueError as error:
        damage = error
    if not head:
        raise damage or ValueError(f"{file} has no IP packets")
    states = any(step.before is not None for step in head)
    # Only what arrives is accepted, so where it went to is one of our addresses.
    ours = frozenset(step.destination[0] for step in head if step.verdict == "accepted")
    page = console()
    ladder = Ladder(
        width=page.width,
        symbols=symbols_for(page.encoding),
        states=states,
        names=("peer", "tunstack") if ours else ("", ""),
        full=full,
        only=only,
    )
    try:
        for step in chain(head, steps):
            print_lines(page, ladder.add(_directed(step, ours)))
    finally:
        print_lines(page, ladder.flush())
    if damage is not None:
        raise damage
    return 0


def _steps(file: Path) -> Iterator[Step]:
    for packet in read_capture(file):
        yield step_from_capture(packet.time, packet.packet, packet.comment)


def _directed(step: Step, ours: Collection[str]) -> Step:
    """The step with its direction, if it is from or to one of our addresses."""
    if step.destination[0] in ours:
        return replace(step, direction="in")
    if step.source[0] in ours:
        return replace(step, direction="out")
    return step
