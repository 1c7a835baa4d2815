"""Options of all commands that run a host: its device, its path, what is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tunstack.cli.options.keylog import KEYLOG
from tunstack.cli.options.parameters import OUTPUT, STANDARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.path.impair import Impairments

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def read_impairments(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[Impairments, Impairments]:
    """Parse the impairments of both directions.

    Raises:
        click.BadParameter: says what was expected.
    """
    from tunstack.path.impair import both_ways

    try:
        return both_ways(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


PCAP: Final = click.option(
    "--pcap",
    type=OUTPUT,
    metavar="FILE",
    help="Write all packets to FILE (pcapng), with tunstack's verdict as a comment; - is standard"
    " output.",
)
TRACE: Final = click.option(
    "--trace", is_flag=True, help="Print the packets on standard error, as a ladder."
)
SEED: Final = click.option(
    "--seed",
    type=int,
    metavar="N",
    help="Seed of all randomness in tunstack: ports, secrets, impairments.",
)
IMPAIR: Final = click.option(
    "--impair",
    callback=read_impairments,
    metavar="SPEC",
    help="Impair the path: 'loss=1%,delay=20ms' each way; also jitter, reorder, duplicate, corrupt,"
    " rate=100mbit, limit=1000. With out: or in: before an item, in one direction only.",
)
MTU: Final = click.option(
    "--mtu",
    type=click.IntRange(68, 65535),
    metavar="N",
    help="The MTU, in bytes; 1500 by default, or a persistent device's own.",
)
OFFLOAD: Final = click.option(
    "--offload/--no-offload",
    default=True,
    help="Use segmentation and checksum offload on the device (the default, where supported), or"
    " packets of at most the MTU with checksums.",
)
ADDRESS: Final = click.option(
    "--address",
    "addresses",
    required=True,
    multiple=True,
    metavar="A/LEN",
    help="tunstack's address and the length of its network's prefix, as 198.51.100.2/24 or"
    " 2001:db8::2/64; or a whole network, as 198.51.100.0/24, of which it has every address. It may"
    " be given several times.",
)
KERNEL_ADDRESS: Final = click.option(
    "--kernel-address",
    "kernel_addresses",
    multiple=True,
    metavar="A",
    help="The kernel's address on the device, one for each family; the first other one of the"
    " network by default.",
)
IPV6: Final = click.option(
    "--ipv6/--no-ipv6",
    default=True,
    help="Whether the network has IPv6 addresses beside those of IPv4; it has by default.",
)
DEVICE_NAME: Final = click.option(
    "--device-name",
    metavar="NAME",
    help="The TUN device: a persistent one, or created if there is none of that name.",
)


def stdout_beside(*outputs: str | None) -> int | None:
    """The descriptor for other output: standard error if an output is `-`, else None."""
    return 2 if STANDARD in outputs else None


def host_options(command: _Command) -> _Command:
    """The options of all commands that run a host: --mtu, --offload, --impair, --pcap..."""
    for option in (SEED, TRACE, KEYLOG, PCAP, IMPAIR, OFFLOAD, MTU):
        command = option(command)
    return command


def network_options(command: _Command) -> _Command:
    """The options of commands in the current namespace: --address and those of the device."""
    for option in (DEVICE_NAME, KERNEL_ADDRESS, ADDRESS):
        command = option(command)
    return command
