"""The names of the network: ``--name``, ``--zone``, ``--name-fault``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.dns.names import Names

_Command = TypeVar("_Command", bound="Callable[..., Any]")

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
