"""``tunstack plot``: a connection of a capture as a time-sequence diagram."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunstack.cli.ladder import step_from_capture
from tunstack.cli.running import USAGE, Unread, complain
from tunstack.link.pcapng import read_capture
from tunstack.plot import Chart, TimeSequence, svg
from tunstack.tcp.segment import ACK, SYN

if TYPE_CHECKING:
    from tunstack.cli.ladder.step import Endpoint, Step
    from tunstack.tcp.segment import Segment

_EPILOG = """\b
Examples:
  tunstack run --pcap x.pcapng -- ab -n 1 http://198.51.100.2/bytes/1000000
  tunstack plot x.pcapng -o x.svg
  tunstack plot --connection 3 --reverse -o - any.pcap | rsvg-convert >x.png

Why a segment was sent again is told in captures that tunstack wrote. A capture tells most at the
side that sends the data.
"""


@click.command(short_help="Plot a connection of a capture, as SVG.", epilog=_EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write it; - is standard output. By default next to the capture, as .svg.",
)
@click.option(
    "--connection",
    type=click.IntRange(1),
    metavar="N",
    help="Which, as tunstack trace numbers them; by default the one with the most data.",
)
@click.option("--reverse", is_flag=True, help="Plot the direction with less data.")
def plot(file: Path, output: str | None, connection: int | None, reverse: bool) -> int:
    """Plot sequence numbers over time: what was sent, sent again, and acknowledged."""
    try:
        chosen = _choose(_read(file), connection, file)
        drawing = svg(chosen.chart(reverse=reverse))
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
    except ValueError as error:
        message = str(error)
    else:
        return _write(drawing, str(file.with_suffix(".svg")) if output is None else output)
    complain("tunstack plot", message)
    return USAGE


def _write(drawing: str, output: str) -> int:
    if output == "-":
        try:
            sys.stdout.write(drawing)
            sys.stdout.flush()
        except BrokenPipeError:
            raise Unread from None
        return 0
    try:
        Path(output).write_text(drawing)
    except OSError as error:
        complain("tunstack plot", f"cannot write {output}: {error.strerror}")
        return USAGE
    print(output)
    return 0


class _Connection:
    """One TCP connection of a capture, seen from either end."""

    def __init__(self, first: Step, segment: Segment) -> None:
        self._ends = first.source, first.destination
        self._begin = self._end = first.time
        self._diagrams = {end: TimeSequence() for end in self._ends}
        self._syns = {first.source: segment.seq} if segment.flags & SYN else {}

    def is_over(self, step: Step, segment: Segment) -> bool:
        """Whether this SYN begins another connection between the same ends."""
        return (
            segment.flags & (SYN | ACK) == SYN
            and self._syns.get(step.source, segment.seq) != segment.seq
        )

    def add(self, step: Step, segment: Segment) -> None:
        """Take a segment of one end."""
        if segment.flags & SYN:
            self._syns.setdefault(step.source, segment.seq)
        self._end = step.time
        time = step.time - self._begin
        self._diagrams[step.source].sent(time, segment, step.verdict)
        self._diagrams[step.destination].answered(time, segment)

    @property
    def octets(self) -> int:
        """How much data was sent, both ways."""
        return sum(diagram.octets for diagram in self._diagrams.values())

    def chart(self, *, reverse: bool) -> Chart:
        """The direction with more data, or the other one."""
        less, more = sorted(self._ends, key=lambda end: self._diagrams[end].octets)
        sender, receiver = (less, more) if reverse else (more, less)
        diagram = self._diagrams[sender]
        title = (
            f"{_text(sender)} to {_text(receiver)}: {_size(diagram.octets)}"
            f" in {self._end - self._begin:.3g} s, {diagram.retransmissions} segments sent again"
        )
        return Chart(title, [diagram.panel(420)])


def _read(file: Path) -> list[_Connection]:
    """All connections, in the order in which they began."""
    found: list[_Connection] = []
    current: dict[frozenset[Endpoint], _Connection] = {}
    for packet in read_capture(file):
        step = step_from_capture(packet.time, packet.packet, packet.comment)
        if step.segment is None:
            continue
        pair = frozenset((step.source, step.destination))
        connection = current.get(pair)
        if connection is None or connection.is_over(step, step.segment):
            connection = current[pair] = _Connection(step, step.segment)
            found.append(connection)
        connection.add(step, step.segment)
    return found


def _choose(found: list[_Connection], number: int | None, file: Path) -> _Connection:
    if not found:
        raise ValueError(f"{file} has no TCP connection")
    if number is None:
        return max(found, key=lambda connection: connection.octets)
    if number > len(found):
        raise ValueError(f"{file} has {len(found)} TCP connections, and none is number {number}")
    return found[number - 1]


def _text(end: Endpoint) -> str:
    return f"{end[0]}:{end[1]}"


def _size(octets: int) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if octets >= size:
            return f"{octets / size:.3g} {unit}"
    return f"{octets} B"
