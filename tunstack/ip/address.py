"""Addresses as packed bytes, whose length tells the family: conversion, and special addresses.

Of IPv4 (RFC 1122 section 3.2.1.3) and of IPv6 (RFC 4291).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tunstack.ip.datagram import Address

IPAddress: TypeAlias = IPv4Address | IPv6Address
Interface: TypeAlias = IPv4Interface | IPv6Interface
"""An address with the prefix of its network."""
Network: TypeAlias = IPv4Network | IPv6Network

LIMITED_BROADCAST: Final[Address] = b"\xff\xff\xff\xff"

_NO_HOST: Final[frozenset[int]] = frozenset({0, 127, *range(224, 256)})
"""First octets of IPv4 addresses that are no host's on a network (RFC 1122 section 3.2.1.3).

"This network" (0/8), loopback (127/8), multicast (224/4), reserved and limited broadcast (240/4).
"""

_V4_MAPPED: Final[bytes] = bytes(10) + b"\xff\xff"
"""The prefix of IPv4-mapped IPv6 addresses, ::ffff:0:0/96 (RFC 4291 section 2.5.5.2)."""
_UNSPECIFIED_AND_LOOPBACK: Final[frozenset[Address]] = frozenset({bytes(16), bytes(15) + b"\x01"})
_V6_MULTICAST: Final = 0xFF
"""The first octet (RFC 4291 section 2.7)."""


@lru_cache(maxsize=4096)
def packed(address: str | IPAddress) -> Address:
    """Return the packed bytes of an address, without its scope identifier if it has one.

    Raises:
        ValueError: it is neither an IPv4 nor an IPv6 address.
    """
    return ipaddress.ip_address(address).packed


@lru_cache(maxsize=4096)
def ip_address(address: Address) -> IPAddress:
    """Return the :mod:`ipaddress` object of packed bytes.

    Raises:
        ValueError: there are neither four nor sixteen of them.
    """
    return ipaddress.ip_address(address)


@lru_cache(maxsize=4096)
def text(address: Address) -> str:
    """Return an address as it is written: ``"198.51.100.2"``, ``"2001:db8::2"`` (RFC 5952).

    Raises:
        ValueError: it has neither four nor sixteen octets.
    """
    return str(ipaddress.ip_address(address))


def unmapped(address: Address) -> Address:
    """Return the IPv4 address in an IPv4-mapped IPv6 one; any other address as it is."""
    if len(address) == _V6_SIZE and address[:12] == _V4_MAPPED:
        return address[12:]
    return address


def network_of(place: Interface | Network) -> Network:
    """Return the network of an interface, or a network as it is."""
    return place.network if isinstance(place, (IPv4Interface, IPv6Interface)) else place


def interface_of(place: Interface | Network) -> Interface:
    """Return the interface with a network's own address, or an interface as it is."""
    if isinstance(place, (IPv4Interface, IPv6Interface)):
        return place
    return ipaddress.ip_interface((place.network_address, place.prefixlen))


def subnet_broadcast(place: Interface | Network) -> Address | None:
    """Return the directed broadcast address of an interface's subnet; None if it has none.

    A point-to-point /31 has none (RFC 3021), nor has a /32, nor any subnet of IPv6.
    """
    network = network_of(place)
    if network.version != 4 or network.prefixlen > 30:
        return None
    return network.broadcast_address.packed


def is_multicast(address: Address) -> bool:
    """Whether it is a multicast address: 224/4 (RFC 1112 section 4) or ff00::/8 (RFC 4291)."""
    return _IS_MULTICAST[len(address)](address)


def is_broadcast(address: Address, broadcasts: Collection[Address] = ()) -> bool:
    """Whether it is the limited broadcast address or one of our subnets' `broadcasts`."""
    return address == LIMITED_BROADCAST or address in broadcasts


def is_martian_source(address: Address, broadcasts: Collection[Address] = ()) -> bool:
    """Whether it is invalid as a source address, so that its packets are dropped.

    Of IPv4 these are 0/8, 127/8, 224/4, 240/4 and our subnets' `broadcasts` (RFC 1122 section
    3.2.1.3; RFC 9293 MUST-63). Of IPv6, the unspecified address, loopback, multicast (RFC 4291
    sections 2.5.2, 2.5.3, 2.7), and IPv4-mapped addresses, which are not sent on a link. Link-local
    addresses are a neighbour's.
    """
    return IS_MARTIAN[len(address)](address) or address in broadcasts


def is_valid_remote(address: Address, broadcasts: Collection[Address] = ()) -> bool:
    """Whether it is a unicast address, to which a connection may be opened.

    RFC 9293 MUST-46, and MUST-57 for the destination address of a SYN.
    """
    return not is_martian_source(address, broadcasts)


def _is_v4_multicast(address: Address) -> bool:
    return address[0] & 0xF0 == 0xE0


def _is_v6_multicast(address: Address) -> bool:
    return address[0] == _V6_MULTICAST


def _is_v4_martian(address: Address) -> bool:
    return address[0] in _NO_HOST


def _is_v6_martian(address: Address) -> bool:
    first = address[0]
    if first == 0:
        return address in _UNSPECIFIED_AND_LOOPBACK or address[:12] == _V4_MAPPED
    return first == _V6_MULTICAST


_V4_SIZE: Final = 4
_V6_SIZE: Final = 16

_IS_MULTICAST: Final[dict[int, Callable[[Address], bool]]] = {
    _V4_SIZE: _is_v4_multicast,
    _V6_SIZE: _is_v6_multicast,
}
"""By octets of an address."""

IS_MARTIAN: Final[dict[int, Callable[[Address], bool]]] = {
    _V4_SIZE: _is_v4_martian,
    _V6_SIZE: _is_v6_martian,
}
"""Whether an address is no host's in any network, by octets of the address."""
