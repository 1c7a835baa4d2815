"""``tunstack stats``: where the time of each connection of a capture went."""

from __future__ import annotations

import click

from tunstack.cli.options.parameters import COLOR, INPUT

_EPILOG = """\b
Examples:
  tunstack run --stats -- curl https://peer.test/
  tunstack run --pcap x.pcapng -- curl https://peer.test/
  tunstack stats x.pcapng

The phases are those of curl's --write-out, in milliseconds, but each is of its own, and only the
total is of all: look-up of both families; connect, from the SYN to the acknowledgment of the
SYN,ACK; TLS, to the client's Finished; first octet, to the server's first after the request, which
may be of a TLS session ticket; transfer, to its last octet. The numbers are those of tunstack
trace.
"""


@click.command(epilog=_EPILOG)
@click.argument("file", type=INPUT)
@click.option("--full", is_flag=True, help="Print every connection, however many there are.")
@COLOR
def stats(file: str, full: bool, color: bool | None) -> int:
    """Print where the time of each TCP connection of FILE (pcap or pcapng) went; - is standard
    input."""
    from tunstack.cli.running import stats as running

    return running.stats(file, full=full, color=color)
