"""Names that are known without asking, as getaddrinfo(3) and gethostbyaddr(3) see them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import dns.rcode
import dns.rdatatype
import dns.reversename

from tunstack.resolver.wanted import Found, as_name, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.dns.names import Names

_TYPES: Final[dict[int, dns.rdatatype.RdataType]] = {
    socket.AF_INET: dns.rdatatype.A,
    socket.AF_INET6: dns.rdatatype.AAAA,
}


def known(names: Names, text: str, families: Iterable[int]) -> Found | None:
    """Look up the addresses of a name; None if there is no such name.

    Raises:
        socket.gaierror: EAI_NONAME, it can be no name.
    """
    name, exists = as_name(text), False
    result = Found(plain(text), [], {})
    for family in families:
        rdtype = _TYPES[family]
        found = names.zones.look_up(name, rdtype)
        exists = exists or found.rcode == dns.rcode.NOERROR
        result.addresses[family] = []
        aliases: list[str] = []
        for rrset in found.answer:
            owner = rrset.name.canonicalize().to_text(omit_final_dot=True)
            if rrset.rdtype == rdtype:
                result.addresses[family] = [record.to_text() for record in rrset]
                result.name, result.aliases = owner, aliases
            else:
                aliases.append(owner)
    return result if exists else None


def name_of(names: Names, address: str) -> str | None:
    """Look up the name of an address (PTR); None if it has none."""
    reverse = dns.reversename.from_address(address)
    for rrset in names.zones.look_up(reverse, dns.rdatatype.PTR).answer:
        if rrset.rdtype == dns.rdatatype.PTR:
            return str(rrset[0].to_text()).rstrip(".")
    return None
