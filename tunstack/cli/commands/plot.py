"""``tunstack plot``: plot a connection of a capture as a time-sequence diagram."""

from __future__ import annotations

from typing import Literal

import click

from tunstack.cli.options.parameters import INPUT, OUTPUT

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
    from tunstack.cli.running import plot as running

    return running.plot(file, output, connection=connection, reverse=reverse, scheme=scheme)
