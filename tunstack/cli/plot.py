"""``tunstack plot``: plot a connection of a capture as a time-sequence diagram."""

from __future__ import annotations

from collections import Counter
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tunstack.cli.files import input_title, read_packets, refuse_to_overwrite, write_output
from tunstack.cli.parameters import INPUT, OUTPUT, STANDARD
from tunstack.cli.status import USAGE, Failure, print_error
from tunstack.cli.terminal import report_left_out
from tunstack.ladder import step_from_capture, write_end
from tunstack.plot import Chart, Line, Panel, TimeSequence, svg
from tunstack.plot.chart import BLUE, GREY, ORANGE
from tunstack.tcp.segment import ACK, SYN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.ladder.packets import Endpoint, Pair
    from tunstack.ladder.step import Step
    from tunstack.stack.observation import Windows
    from tunstack.tcp.segment import Segment

_MILLISECOND_AXIS: Final = 1.0
"""Seconds: shorter connections have a time axis in milliseconds."""

_EPILOG = """\b
Examples:
  tunstack run --pcap x.pcapng -- ab -n 1 http://198.51.100.2/bytes/1000000
  tunstack plot x.pcapng -o x.svg
  tunstack plot --connection 3 --reverse -o - any.pcap | rsvg-convert >x.png

Captures written by tunstack have the reasons of retransmissions and the congestion window. A
capture at the sender of the data shows most.
"""


@click.command(epilog=_EPILOG)
@click.argument("file", type=INPUT)
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="FILE",
    help="Write the plot to FILE; - is standard output. By default beside the capture, as .svg.",
)
@click.option(
    "--connection",
    type=click.IntRange(1),
    metavar="N",
    help="The connection's number in tunstack trace; by default the one with the most data.",
)
@click.option("--reverse", is_flag=True, help="Plot the direction with less data.")
def plot(file: str, output: str | None, connection: int | None, reverse: bool) -> int:
    """Plot sequence numbers over time: segments sent, retransmitted and acknowledged.

    FILE is a pcap or pcapng; - is standard input, and then the plot is on standard output. Only TCP
    is plotted, of IPv4 and IPv6: other packets, and fragments, are counted on standard error.
    """
    if output is None:
        output = STANDARD if file == STANDARD else str(Path(file).with_suffix(".svg"))
    capture = _Capture(file)
    try:
        chosen = capture.choose(connection)
        refuse_to_overwrite(file, output, "-o")
        write_output(output, svg(chosen.chart(reverse=reverse)))
    except (ValueError, Failure) as error:
        message = str(error)
    except OSError as error:
        message = f"cannot read {input_title(file)}: {error.strerror}"
    else:
        if output != STANDARD:
            print(output)
        report_left_out("tunstack plot", capture.left_out)
        if capture.damage is None:
            return 0
        message = str(capture.damage)
    print_error("tunstack plot", message)
    return USAGE


class _Connection:
    """One TCP connection of a capture, in both directions."""

    def __init__(self, first: Step, segment: Segment) -> None:
        self._ends = first.source, first.destination
        self._begin = self._end = first.time
        self._diagrams = {end: TimeSequence() for end in self._ends}
        self._syns = {first.source: segment.seq} if segment.flags & SYN else {}
        self._ours: Endpoint | None = None
        self._windows: list[tuple[float, Windows]] = []

    def is_over(self, step: Step, segment: Segment) -> bool:
        """Whether this SYN opens another connection of the same four-tuple."""
        return (
            segment.flags & (SYN | ACK) == SYN
            and self._syns.get(step.source, segment.seq) != segment.seq
        )

    def add(self, step: Step, segment: Segment) -> None:
        """Add a segment."""
        if segment.flags & SYN:
            self._syns.setdefault(step.source, segment.seq)
        self._end = step.time
        time = step.time - self._begin
        self._diagrams[step.source].sent(time, segment, step.verdict)
        self._diagrams[step.destination].answered(time, segment)
        if step.verdict == "accepted":  # only of arriving segments
            self._ours = step.destination
        if step.windows is not None:
            self._windows.append((time, step.windows))

    @property
    def octets(self) -> int:
        """Octets sent in both directions."""
        return sum(diagram.octets for diagram in self._diagrams.values())

    def chart(self, *, reverse: bool) -> Chart:
        """The chart of the direction with more data, or of the other one."""
        less, more = sorted(self._ends, key=lambda end: self._diagrams[end].octets)
        sender, receiver = (less, more) if reverse else (more, less)
        diagram = self._diagrams[sender]
        title = (
            f"{write_end(sender, 'TCP')} to {write_end(receiver, 'TCP')}: {_size(diagram.octets)}"
            f" in {self._end - self._begin:.3g} s, {diagram.retransmissions} segments retransmitted"
        )
        panels = [diagram.panel(420)]
        if sender == self._ours and self._windows:
            panels.append(self._congestion(diagram))
        if self._end - self._begin < _MILLISECOND_AXIS:
            return Chart(title, panels, label="time, ms", scale=1000)
        return Chart(title, panels)

    def _congestion(self, diagram: TimeSequence) -> Panel:
        """The panel of our side's congestion window and its unacknowledged segments."""
        mss = self._windows[-1][1].mss
        return Panel(
            "segments",
            [
                Line("not acknowledged", GREY, [(x, y / mss) for x, y in diagram.outstanding]),
                Line(
                    "threshold",
                    ORANGE,
                    [
                        (time, nan if each.ssthresh is None else each.ssthresh / each.mss)
                        for time, each in self._windows
                    ],
                    dashed=True,
                ),
                Line(
                    "congestion window",
                    BLUE,
                    [(time, each.cwnd / each.mss) for time, each in self._windows],
                ),
            ],
            160,
        )


class _Capture:
    """The connections of a file.

    Attributes:
        left_out: Other packets, counted by kind.
        damage: The error at which reading stopped, or None.
    """

    def __init__(self, file: str) -> None:
        self.left_out: Counter[str] = Counter()
        self.damage: ValueError | None = None
        self._file = file
        self._numbers = 0
        self._others: dict[int, str] = {}

    def choose(self, number: int | None) -> _Connection:
        """The connection of that number, or the one with the most data.

        Raises:
            OSError: the file cannot be read.
            ValueError: there is none.
        """
        found: dict[int, _Connection] = {}
        try:
            for connection in self._connections():
                found[self._numbers] = connection
        except ValueError as error:
            self.damage = error
        title = input_title(self._file)
        if not found:
            raise self.damage or ValueError(f"{title} has no TCP connection")
        if number is None:
            return max(found.values(), key=lambda connection: connection.octets)
        if number in found:
            return found[number]
        if number in self._others:
            raise ValueError(f"number {number} in {title} is {self._others[number]}, not TCP")
        raise ValueError(f"{title} has {len(found)} TCP connections, and none is number {number}")

    def _connections(self) -> Iterator[_Connection]:
        """Yield each connection at its first segment."""
        current: dict[Pair, _Connection] = {}
        others: set[Pair] = set()
        for packet in read_packets(self._file, self.left_out):
            step = step_from_capture(packet.time, packet.packet, packet.comment)
            pair = step.pair
            if step.segment is None:
                self.left_out[step.kind] += 1
                if step.protocol and pair not in others:
                    others.add(pair)
                    self._numbers += 1
                    self._others[self._numbers] = "UDP" if step.protocol == "UDP" else "a ping"
                continue
            connection = current.get(pair)
            if connection is None or connection.is_over(step, step.segment):
                connection = current[pair] = _Connection(step, step.segment)
                self._numbers += 1
                yield connection
            if step.fragment is None:
                connection.add(step, step.segment)
            else:
                self.left_out["TCP fragment"] += 1


def _size(octets: int) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if octets >= size:
            return f"{octets / size:.3g} {unit}"
    return f"{octets} B"
