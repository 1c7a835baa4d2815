"""What differs between IPv4 and IPv6, as a value for each: look it up, do not branch on it.

An address is packed bytes, whose length tells its family: :func:`family_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tunstack.ip.datagram import ICMP, Address

_ICMPV6: Final = 58


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """An address family.

    Attributes:
        name: ``"IPv4"``.
        number: Its number in the socket API of Linux: AF_INET, AF_INET6.
        version: The version field of its header.
        address_size: Octets of an address.
        header: Octets of its header without options or extension headers.
        icmp: The protocol number of its ICMP.
        minimum_mtu: Octets that every link carries.
        default_mss: Octets: the MSS of a peer that announces none (RFC 9293 MUST-15).
        wildcard: The unspecified address.
    """

    name: str
    number: int
    version: int
    address_size: int
    header: int
    icmp: int
    minimum_mtu: int
    default_mss: int
    wildcard: Address


IPV4: Final[Family] = Family("IPv4", 2, 4, 4, 20, ICMP, 68, 536, bytes(4))

IPV6: Final[Family] = Family("IPv6", 10, 6, 16, 40, _ICMPV6, 1280, 1220, bytes(16))

FAMILIES: Final[tuple[Family, ...]] = (IPV4, IPV6)
"""All that the endpoint speaks."""

_BY_SIZE: Final[dict[int, Family]] = {family.address_size: family for family in FAMILIES}


def family_of(address: Address) -> Family:
    """Return the family of an address.

    Raises:
        KeyError: it has not the length of any.
    """
    return _BY_SIZE[len(address)]
