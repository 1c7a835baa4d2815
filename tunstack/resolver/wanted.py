"""Arguments and errors as getaddrinfo(3) has them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import dns.name

_LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_FAMILIES: Final = (0, *_LOOPBACK)

_SAID: Final = {
    socket.EAI_NONAME: "Name or service not known",
    socket.EAI_NODATA: "No address associated with hostname",
    socket.EAI_AGAIN: "Temporary failure in name resolution",
    socket.EAI_FAMILY: "ai_family not supported",
}


@dataclass(slots=True)
class Found:
    """A name that there is.

    Attributes:
        name: Its canonical name, in lower case, without the dot at its end.
        aliases: The names with a CNAME record on the way to that.
        addresses: By family; of one that has none the list is empty.
    """

    name: str
    aliases: list[str]
    addresses: dict[int, list[str]]


def plain(name: str) -> str:
    """Return a name in lower case, without the dot at its end."""
    return name.rstrip(".").lower()


def gaierror(number: int) -> socket.gaierror:
    """Return the error with glibc's text."""
    return socket.gaierror(number, _SAID[number])


class Wanted(NamedTuple):
    """What a caller of getaddrinfo wants, but for the name."""

    port: bytes | str | int | None
    family: int
    type: int
    proto: int
    flags: int

    def check(self) -> None:
        """Raise `socket.gaierror` for what no name could satisfy, as a service that is unknown."""
        if self.family not in _FAMILIES:
            raise gaierror(socket.EAI_FAMILY)
        self.entries(_LOOPBACK[socket.AF_INET])

    def entries(self, address: str, canonical: str = "") -> list[Any]:
        """Return the entries for an address: one for each type of sockets that is wanted."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        flags = self.flags & socket.AI_NUMERICSERV | socket.AI_NUMERICHOST
        found: list[Any] = socket.getaddrinfo(
            address, self.port, family, self.type, self.proto, flags
        )
        if canonical:
            found[0] = (*found[0][:3], canonical, found[0][4])
        return found

    def all_entries(self, addresses: Iterable[str], canonical: str) -> list[Any]:
        """Return the entries for several addresses; AI_CANONNAME is for the first of them."""
        entries: list[Any] = []
        if not self.flags & socket.AI_CANONNAME:
            canonical = ""
        for address in addresses:
            mapped = self.family == socket.AF_INET6 and ":" not in address
            entries += self.entries(f"::ffff:{address}" if mapped else address, canonical)
            canonical = ""
        return entries


def numeric(host: bytes | str | None, wanted: Wanted) -> list[Any] | None:
    """Return the entries of an address, or of no host; None for a name.

    Raises:
        socket.gaierror: as getaddrinfo(3).
    """
    flags = wanted.flags | socket.AI_NUMERICHOST
    if isinstance(host, str):
        if not host.isascii():
            return None
        host = host.encode()  # Of a `str` Python would check the labels.
    try:
        return socket.getaddrinfo(
            host, wanted.port, wanted.family, wanted.type, wanted.proto, flags
        )
    except socket.gaierror as error:
        if host is None or error.errno != socket.EAI_NONAME or flags == wanted.flags:
            raise
    return None


def as_name(host: bytes | str) -> dns.name.Name:
    """Return an absolute name.

    Raises:
        socket.gaierror: EAI_NONAME, it is none.
    """
    import dns.exception  # here, as addresses need no dnspython
    import dns.name

    try:
        text = host.decode("ascii") if isinstance(host, bytes) else host
        name = dns.name.from_text(text, idna_codec=dns.name.IDNA_2008)
    except (dns.exception.DNSException, ValueError):
        raise gaierror(socket.EAI_NONAME) from None
    if name == dns.name.root:
        raise gaierror(socket.EAI_NONAME)
    return name


def loopback(name: dns.name.Name, family: int) -> str | None:
    """Return the address of ``localhost`` and of names below it (RFC 6761 section 6.3)."""
    if name.labels[-2].lower() != b"localhost":
        return None
    return _LOOPBACK[socket.AddressFamily(family)]
