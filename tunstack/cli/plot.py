"""``tunstack plot``: plot a connection of a capture as a time-sequence diagram."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tunstack.cli.files import (
    input_title,
    plot_format,
    read_rows,
    refuse_to_overwrite,
    write_output,
)
from tunstack.cli.parameters import INPUT, OUTPUT, STANDARD
from tunstack.cli.status import USAGE, Failure, print_error
from tunstack.cli.terminal import report_left_out
from tunstack.link.errors import SetupError
from tunstack.plot.style import rendered
from tunstack.plot.traces import overview

if TYPE_CHECKING:
    from tunstack.capture import Capture

_EPILOG = """\b
Examples:
  tunstack run --pcap x.pcapng -- ab -n 1 http://198.51.100.2/bytes/1000000
  tunstack plot x.pcapng -o x.svg
  tunstack plot x.pcapng -o x.png --scheme dark
  tunstack plot --connection 3 --reverse -o - any.pcap | rsvg-convert >x.png

Captures written by tunstack have the reasons of retransmissions and the congestion window. A
capture at the sender of the data shows most. In programs and notebooks: tunstack.read_capture,
tunstack.plot.
"""


@click.command(epilog=_EPILOG)
@click.argument("file", type=INPUT)
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="FILE",
    help="Write the plot to FILE, SVG or PNG as it ends; - is standard output, in SVG. By default"
    " beside the capture, as .svg.",
)
@click.option(
    "--connection",
    type=click.IntRange(1),
    metavar="N",
    help="The connection's number in tunstack trace; by default the one with the most data.",
)
@click.option("--reverse", is_flag=True, help="Plot the direction with less data.")
@click.option(
    "--scheme",
    type=click.Choice(["light", "dark"]),
    help="The colours. By default SVG shows those that its reader prefers, and PNG the light ones.",
)
def plot(
    file: str,
    output: str | None,
    connection: int | None,
    reverse: bool,
    scheme: Literal["light", "dark"] | None,
) -> int:
    """Plot sequence numbers over time: segments sent, retransmitted and acknowledged.

    FILE is a pcap or pcapng; - is standard input, and then the plot is on standard output. Only TCP
    is plotted, of IPv4 and IPv6: other packets, and fragments, are counted on standard error.

    It needs matplotlib: pip install 'tunstack[plot]'.
    """
    if output is None:
        output = STANDARD if file == STANDARD else str(Path(file).with_suffix(".svg"))
    try:
        refuse_to_overwrite(file, output, "-o")
        kind = plot_format(output)
        capture = read_rows(file)
        chosen = capture.connection(connection)
        figure = overview(chosen, reverse=reverse, scheme=scheme)
        write_output(output, rendered(figure, kind, adaptive=scheme is None))
    except (ValueError, Failure, SetupError) as error:
        message = str(error)
    except OSError as error:
        message = f"cannot read {input_title(file)}: {error.strerror}"
    else:
        if output != STANDARD:
            print(output)
        report_left_out("tunstack plot", _left_out(capture))
        if not capture.damage:
            return 0
        message = capture.damage
    print_error("tunstack plot", message)
    return USAGE


def _left_out(capture: Capture) -> Counter[str]:
    """What is not plotted, by kind."""
    left_out = capture.skipped + Counter(
        packet.protocol for packet in capture.packets if packet.protocol != "TCP"
    )
    fragments = sum(packet.fragment and packet.protocol == "TCP" for packet in capture.packets)
    return left_out + Counter({"TCP fragment": fragments})
