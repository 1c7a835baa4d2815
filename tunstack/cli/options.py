"""Options shared by several commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tunstack.apps import App, parse_serve
from tunstack.behaviours import check_one_process
from tunstack.cli.keylog import KEYLOG
from tunstack.cli.parameters import OUTPUT, STANDARD
from tunstack.link.errors import SetupError
from tunstack.link.multiqueue import MAX_QUEUES
from tunstack.path.impair import Impairments, both_ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.dns.names import Names

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def read_apps(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[App, int], ...]:
    """Read everything that is to be served, and import what it needs.

    Raises:
        click.BadParameter: no such app, no such port, a port twice, a package that is missing.
    """
    apps: dict[int, App] = {}
    for text in texts:
        try:
            parsed = parse_serve(text)
            for app, _ in parsed:
                app.check()  # Missing packages are reported now, not at the first connection.
        except (ValueError, SetupError) as error:
            raise click.BadParameter(str(error)) from None
        for app, port in parsed:
            if port in apps:
                raise click.BadParameter(
                    f"{apps[port].name} and {app.name} cannot both have port {port}:"
                    f" write {app.name}:PORT for another"
                )
            apps[port] = app
    return tuple((app, port) for port, app in apps.items())


def read_impairments(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[Impairments, Impairments]:
    """Parse the impairments of both directions.

    Raises:
        click.BadParameter: says what was expected.
    """
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
WORKERS: Final = click.option(
    "--workers",
    type=click.IntRange(1, MAX_QUEUES),
    metavar="N",
    help="Serve in N processes, each with connections of its own; one that dies is restarted."
    " Not with --pcap and --trace.",
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


def check_workers(
    workers: int | None,
    *,
    pcap: str | None,
    trace: bool,
    stats: bool = False,
    apps: Iterable[tuple[App, int]] = (),
) -> None:
    """Refuse options that exclude workers.

    Raises:
        click.UsageError: there is one.
    """
    if workers is not None and (pcap is not None or trace or stats):
        option = "--pcap" if pcap is not None else "--trace" if trace else "--stats"
        raise click.UsageError(f"{option} sees the packets of one process: leave out --workers")
    if workers is not None:
        for app, _ in apps:
            try:
                check_one_process(app.behaviours)
            except ValueError as error:
                raise click.UsageError(str(error)) from None


def host_options(command: _Command) -> _Command:
    """The options of all commands that run a host: --mtu, --offload, --impair, --pcap..."""
    for option in (SEED, TRACE, KEYLOG, PCAP, IMPAIR, OFFLOAD, MTU):
        command = option(command)
    return command


NAME: Final = click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="A name for the DNS server, and its address, or several with commas, or a record, as"
    " 'www.test=198.51.100.2', '*.a.test=2001:db8::2', 'a.test=MX 10 www.test'. Without a value it"
    " is tunstack's own address, as peer.test is. It may be given several times.",
)
ZONE: Final = click.option(
    "--zone",
    "zones",
    multiple=True,
    metavar="FILE",
    help="A zone for the DNS server, as a master file (RFC 1035); ORIGIN=FILE for one that does not"
    " say its origin. It may be given several times.",
)
NAME_FAULT: Final = click.option(
    "--name-fault",
    "faults",
    multiple=True,
    metavar="NAME=FAULT",
    help="What the DNS server does wrong for a name, or for *.NAME, or for *: no-answer,"
    " delay:SECONDS, servfail, refused, nxdomain, truncated, wrong-id; several with commas."
    " servfail:2 for the first two queries only. It may be given several times.",
)


def names_options(command: _Command) -> _Command:
    """The options of commands with a DNS server: --name, --zone, --name-fault."""
    for option in (NAME_FAULT, ZONE, NAME):
        command = option(command)
    return command


def read_names(
    names: tuple[str, ...],
    zones: tuple[str, ...],
    faults: tuple[str, ...],
    own: Iterable[str],
) -> Names:
    """Make the names of what the options say.

    Raises:
        click.BadParameter: they are malformed, or a file cannot be read.
        SetupError: dnspython is not installed.
    """
    from tunstack.dns.names import Names

    try:
        return Names(_read_values(names), zones=zones, faults=_read_faults(faults), own=own)
    except OSError as error:
        raise click.BadParameter(
            f"cannot read {error.filename}: {error.strerror}", param_hint="'--zone'"
        ) from None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--name, --zone, --name-fault") from None


def _read_values(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Read every NAME[=VALUE]; a value with a space is one record, whatever commas it has."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        values = found.setdefault(name, [])
        if equals:
            values += [value] if " " in value.strip() else value.split(",")
    return found


def _read_faults(texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, fault = text.partition("=")
        if not equals or name in found:
            raise ValueError(f"{text!r}: write it as NAME=FAULT, each name once")
        found[name] = fault
    return found


def network_options(command: _Command) -> _Command:
    """The options of commands in the current namespace: --address and those of the device."""
    for option in (DEVICE_NAME, KERNEL_ADDRESS, ADDRESS):
        command = option(command)
    return command
