"""``tunstack trace``: the ladder of a capture."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tunstack.cli.ladder import Ladder, Step, step_from_capture, symbols_for
from tunstack.cli.running import USAGE, complain
from tunstack.cli.watching import console, print_lines
from tunstack.link.pcapng import read_capture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.cli.ladder.step import Direction

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
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
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
    ours = any(step.before is not None for step in head)
    page = console()
    ladder = Ladder(
        width=page.width,
        symbols=symbols_for(page.encoding),
        states=ours,
        names=("peer", "tunstack") if ours else ("", ""),
        full=full,
        only=only,
    )
    try:
        for step in chain(head, steps):
            print_lines(page, ladder.add(step))
    finally:
        print_lines(page, ladder.flush())
    if damage is not None:
        raise damage
    return 0


def _steps(file: Path) -> Iterator[Step]:
    for packet in read_capture(file):
        # Only newer readers tell; without it, the ladder has whoever opened on the left.
        outbound: bool | None = getattr(packet, "outbound", None)
        direction: Direction | None = None
        if outbound is not None:
            direction = "out" if outbound else "in"
        yield step_from_capture(packet.time, packet.packet, direction, packet.comment)
