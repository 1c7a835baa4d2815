"""Names of protocols, of ICMP messages and of extension headers.

Sources: the registries "ICMP Parameters" and "ICMPv6 Parameters" (RFC 792, 1812, 2710, 3810, 4443,
4861, 7112), "Protocol Numbers".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.ip import icmpv6
from tunstack.ip.datagram import ICMP, ICMPV6, TCP, UDP
from tunstack.wire.extensions import DESTINATION, FRAGMENT, HOP_BY_HOP, NO_NEXT_HEADER, ROUTING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.ip.datagram import Datagram

_PROTOCOLS: Final = {
    ICMP: "ICMP",
    2: "IGMP",
    TCP: "TCP",
    UDP: "UDP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    ICMPV6: "ICMPv6",
    132: "SCTP",
}
_EXTENSIONS: Final = {
    HOP_BY_HOP: "hop-by-hop options",
    ROUTING: "routing header",
    FRAGMENT: "atomic fragment",
    NO_NEXT_HEADER: "no next header",
    DESTINATION: "destination options",
}

_ICMP: Final = {
    0: "echo reply",
    3: "destination unreachable",
    4: "source quench",
    5: "redirect",
    8: "echo request",
    9: "router advertisement",
    10: "router solicitation",
    11: "time exceeded",
    12: "parameter problem",
}
_ICMP_CODES: Final = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 9): "network prohibited",
    (3, 10): "host prohibited",
    (3, 13): "communication prohibited",
    (11, 0): "time exceeded in transit",
    (11, 1): "reassembly time exceeded",
}
_ICMPV6: Final = {
    1: "destination unreachable",
    2: "packet too big",
    3: "time exceeded",
    4: "parameter problem",
    128: "echo request",
    129: "echo reply",
    130: "multicast listener query",
    131: "multicast listener report",
    132: "multicast listener done",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    137: "redirect",
    143: "multicast listener report",
}
_ICMPV6_CODES: Final = {
    (1, 0): "no route to destination",
    (1, 1): "communication prohibited",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (3, 0): "time exceeded in transit",
    (3, 1): "reassembly time exceeded",
    (4, 0): "erroneous header field",
    (4, 1): "unknown next header",
    (4, 2): "unknown option",
    (4, 3): "incomplete header chain",
}
_ICMP_TABLES: Final = {4: (_ICMP, _ICMP_CODES), 16: (_ICMPV6, _ICMPV6_CODES)}
"""By octets of an address."""

HOUSEKEEPING: Final = frozenset(
    {
        icmpv6.LISTENER_QUERY,
        icmpv6.LISTENER_REPORT,
        icmpv6.LISTENER_DONE,
        icmpv6.ROUTER_SOLICITATION,
        icmpv6.ROUTER_ADVERTISEMENT,
        icmpv6.NEIGHBOR_SOLICITATION,
        icmpv6.NEIGHBOR_ADVERTISEMENT,
        icmpv6.LISTENER_REPORT_2,
    }
)
"""ICMPv6 types that a kernel sends by itself, on every device."""


def protocol_name(number: int) -> str:
    """Name a protocol, or the extension header of that number."""
    return _PROTOCOLS.get(number) or _EXTENSIONS.get(number) or f"protocol {number}"


def icmp_name(octets: int, kind: int, code: int) -> list[str]:
    """Name an ICMP message, and its code if that has no name.

    Args:
        octets: Of an address of its family.
        kind: The type.
        code: The code.
    """
    types, codes = _ICMP_TABLES[octets]
    if name := codes.get((kind, code)):
        return [name]
    name = types.get(kind) or f"type {kind}"
    return [name, f"code {code}"] if code else [name]


def extension_names(datagram: Datagram) -> Iterator[str]:
    """Name the extension headers of a datagram, in order; of IPv4, tell whether it has options."""
    headers, kind, at = datagram.options, datagram.extension, 0
    if len(datagram.src) == 4:
        if headers:
            yield f"IP options, {len(headers)} octets"
        return
    while at + 8 <= len(headers):
        name = protocol_name(kind)
        if kind == ROUTING:
            left = headers[at + 3]
            name += f" type {headers[at + 2]}" + (f" with {left} segments left" if left else "")
        yield name
        size = 8 if kind == FRAGMENT else headers[at + 1] + 1 << 3
        kind, at = headers[at], at + size
