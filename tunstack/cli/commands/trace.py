"""``tunstack trace``: print a capture as a ladder."""

from __future__ import annotations

import click

from tunstack.cli.options.parameters import COLOR, INPUT, OUTPUT

_EPILOG = """\b
Examples:
  tunstack run --pcap x.pcapng -- curl http://198.51.100.2/
  tunstack trace x.pcapng
  tunstack trace --color --full --only 80 x.pcapng | less -R
  tunstack trace x.pcapng --svg x.svg
  tunstack run --pcap - -- curl http://198.51.100.2/ | tunstack trace -
  tcpdump -w other.pcap -i eth0 tcp   (any capture of IP packets will do)

Captures written by tunstack have our side's states and verdicts. In others, the client of a
connection is on the left. Times are in milliseconds since the first packet. If a line is too short,
an ack or a win that has not changed is left out, and groups in the middle of an IPv6 address.
TCP connections, UDP between two ports, and pings have a number each. Of DNS and TLS messages the
gist is shown, and of what is encrypted the length. An ICMP error is shown with
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
@click.option(
    "--svg",
    type=OUTPUT,
    metavar="OUT",
    help="Draw the ladder as SVG, in the file OUT; - is standard output.",
)
@COLOR
def trace(file: str, full: bool, only: tuple[int, ...], svg: str | None, color: bool | None) -> int:
    """Draw the packets of FILE (pcap or pcapng) as a ladder; - is standard input."""
    from tunstack.cli.running import trace as running

    return running.trace(file, full=full, only=only, svg=svg, color=color)
