"""``tunstack ping``: send echo requests from an address of tunstack's, as ping does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tunstack.cli.options.host import host_options, network_options
from tunstack.cli.options.parameters import STANDARD, Number
from tunstack.cli.status import NO_REPLY

if TYPE_CHECKING:
    from tunstack.path.impair import Impairments

_LONGEST: Final = 65507
"""Octets of data that fit in an IPv4 packet, in fragments."""

_EPILOG = f"""\b
Examples:
  sudo tunstack ping --address 10.9.0.2/24 10.9.0.1
  tunstack run -- tunstack ping --address 198.51.100.130/25 -c 3 198.51.100.129

\b
Exit status:
  0    at least one reply came
  {NO_REPLY}    none did
  2    a usage error, or the device could not be created
"""


@click.command(epilog=_EPILOG)
@click.argument("host")
@network_options
@click.option("-c", "--count", type=click.IntRange(1), metavar="N", help="Stop after N requests.")
@click.option(
    "-i",
    "--interval",
    type=Number(min=0.001),
    default=1.0,
    metavar="SECONDS",
    help="The time between requests; 1 s by default.",
)
@click.option(
    "-s",
    "--size",
    type=click.IntRange(0, _LONGEST),
    default=56,
    metavar="N",
    help="Bytes of data in each request; 56 by default. What is too large for a packet is"
    " fragmented.",
)
@click.option(
    "-W",
    "--wait",
    type=Number(min=0, min_open=True),
    default=10.0,
    metavar="SECONDS",
    help="How long to wait for replies after the last request; 10 s by default.",
)
@host_options
def ping(
    host: str,
    addresses: tuple[str, ...],
    kernel_addresses: tuple[str, ...],
    device_name: str | None,
    count: int | None,
    interval: float,
    size: int,
    wait: float,
    mtu: int | None,
    impair: tuple[Impairments, Impairments],
    offload: bool,
    pcap: str | None,
    trace: bool,
    seed: int | None,
) -> int:
    """Send ICMP echo requests to HOST from an address of tunstack's.

    Each reply is a line; at the end, or after Ctrl-C, come the statistics.

    tunstack is reached through a TUN device in the current network namespace, which needs root or
    the capability CAP_NET_ADMIN. The kernel is HOST, or has a route to it and forwards.
    """
    if pcap == STANDARD:
        raise click.UsageError("--pcap needs a file: standard output has the replies")
    from tunstack.cli.running import ping as running

    return running.ping(
        host,
        addresses,
        count=count,
        interval=interval,
        size=size,
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
