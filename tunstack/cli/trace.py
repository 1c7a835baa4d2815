"""``tunstack trace``: print a capture as a ladder."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import click

from tunstack.cli.files import input_title, read_packets
from tunstack.cli.ladder import Ladder, Step, step_from_capture, symbols_for
from tunstack.cli.parameters import COLOR, INPUT
from tunstack.cli.status import USAGE, OutputClosed, output_failure, print_error
from tunstack.cli.terminal import console, print_lines, report_left_out

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PACKETS_TO_DETECT_FORMAT: Final = 1000
"""Packets to read before deciding whether tunstack wrote the capture."""

_EPILOG = """\b
Examples:
  tunstack run --pcap x.pcapng -- curl http://198.51.100.2/
  tunstack trace x.pcapng
  tunstack trace --color --full --only 80 x.pcapng | less -R
  tunstack run --pcap - -- curl http://198.51.100.2/ | tunstack trace -
  tcpdump -w other.pcap -i eth0 tcp   (any capture of IP packets will do)

Captures written by tunstack have our side's states and verdicts. In others, the client of a
connection is on the left. Times are in milliseconds since the first packet. If a line is too short,
an ack or a win that has not changed is left out, and groups in the middle of an IPv6 address.
TCP connections, UDP between two ports, and pings have a number each. An ICMP error is shown with
the conversation that it is about, and a fragment with its datagram.
"""


@click.command(epilog=_EPILOG)
@click.argument("file", type=INPUT)
@click.option(
    "--full",
    is_flag=True,
    help="Show every packet: of long runs, and those that a kernel sends by itself.",
)
@click.option(
    "--only",
    type=click.IntRange(1, 65535),
    multiple=True,
    metavar="PORT",
    help="Show only TCP and UDP from or to PORT, and ICMP errors about it; may be repeated.",
)
@COLOR
def trace(file: str, full: bool, only: tuple[int, ...], color: bool | None) -> int:
    """Draw the packets of FILE (pcap or pcapng) as a ladder; - is standard input."""
    skipped: Counter[str] = Counter()
    try:
        _draw(file, skipped, full=full, only=only, color=color)
    except BrokenPipeError:  # rich before 13.9 has no on_broken_pipe
        raise OutputClosed from None
    except ValueError as error:
        message = str(error)
    except OSError as error:
        if output_failure(error):
            raise
        message = f"cannot read {input_title(file)}: {error.strerror}"
    else:
        return 0
    print_error("tunstack trace", message)
    return USAGE


def _draw(
    file: str, skipped: Counter[str], *, full: bool, only: tuple[int, ...], color: bool | None
) -> None:
    """Print the ladder, and report what is left out.

    Raises:
        OSError: the file cannot be read, or standard output cannot be written.
        ValueError: the file is damaged, or there is nothing to draw.
    """
    steps = _steps(file, skipped)
    head, damage = [], None
    try:
        for step in islice(steps, _PACKETS_TO_DETECT_FORMAT):
            head.append(step)
    except ValueError as error:
        damage = error
    if not head:
        raise damage or ValueError(f"{input_title(file)} has no IP packets")
    states = any(step.before is not None for step in head)
    # Only arriving segments are accepted: their destinations are our addresses.
    ours = frozenset(step.destination[0] for step in head if step.verdict == "accepted")
    page = console(color=color)
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
        report_left_out("tunstack trace", ladder.left_out + skipped)
    if damage is not None:
        raise damage
    if ladder.empty:
        ports = (
            f" from or to port {' or '.join(map(str, only))}" if only else " to show without --full"
        )
        raise ValueError(f"{input_title(file)} has no packets{ports}")


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
