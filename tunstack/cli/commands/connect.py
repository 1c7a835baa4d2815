"""``tunstack connect``: copy standard input and output over TCP or UDP, as netcat does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tunstack.cli.options.host import host_options, network_options
from tunstack.cli.options.parameters import STANDARD, Number
from tunstack.cli.status import (
    BROKEN,
    OUTPUT_CLOSED,
    REFUSED,
    RESET,
    TIMED_OUT,
    UNREACHABLE,
)

if TYPE_CHECKING:
    from tunstack.path.impair import Impairments

_EPILOG = f"""\b
Examples:
  echo hello | sudo tunstack connect --address 10.9.0.2/24 10.9.0.1 7
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' |
      sudo tunstack connect --address 10.9.0.2/24 10.9.0.1 80
  echo hello | sudo tunstack connect --udp --address 10.9.0.2/24 10.9.0.1 7
  tunstack run -- sh -c 'nc -l -p 9000 & sleep 1;
      echo hello |
      tunstack connect --address 198.51.100.130/25 198.51.100.129 9000'

\b
Exit status:
  0    both sides have closed the connection
  {BROKEN}    the connection broke in another way
  2    a usage error, or the device could not be created
  {REFUSED}    refused: a RST answered the SYN
  {RESET}    reset by the other side
  {TIMED_OUT}    timed out
  {UNREACHABLE}    unreachable: an ICMP message said so
  {OUTPUT_CLOSED}  standard output was closed by its reader
"""


@click.command(epilog=_EPILOG)
@click.argument("host")
@click.argument("port", type=click.IntRange(1, 65535))
@network_options
@click.option(
    "--wait",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="Time out when the connection is not open after so long; with --udp, end when nothing has "
    "come for so long after the end of input, 1 by default.",
)
@click.option(
    "--udp",
    is_flag=True,
    help="Send datagrams: each line of input is one. It ends a second after the last answer.",
)
@host_options
def connect(
    host: str,
    port: int,
    addresses: tuple[str, ...],
    kernel_addresses: tuple[str, ...],
    device_name: str | None,
    wait: float | None,
    udp: bool,
    mtu: int | None,
    impair: tuple[Impairments, Impairments],
    offload: bool,
    pcap: str | None,
    trace: bool,
    seed: int | None,
) -> int:
    """Connect to PORT of HOST from an address of tunstack's.

    Standard input is sent, and received data is written to standard output. At the end of input our
    half of the connection is closed; the other half stays open until the peer closes it. When the
    peer closes first, input is still sent to its end, unless it is a terminal.

    tunstack is reached through a TUN device in the current network namespace, which needs root or
    the capability CAP_NET_ADMIN. The kernel is HOST, or has a route to it and forwards.
    """
    if pcap == STANDARD:
        raise click.UsageError("--pcap needs a file: standard output has the received data")

    from tunstack.cli.running import connect as running

    return running.connect(
        host,
        port,
        addresses,
        udp=udp,
        wait=wait,
        pcap=pcap,
        trace=trace,
        name=device_name,
        peer=kernel_addresses or None,
        mtu=mtu,
        seed=seed,
        impair=impair,
        offload=offload,
    )
