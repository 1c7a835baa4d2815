"""IPv4 addresses as packed bytes: conversion, and special addresses (RFC 1122 section 3.2.1.3)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from tunstack.ip.datagram import Address

LIMITED_BROADCAST: Final[Address] = b"\xff\xff\xff\xff"

_NO_HOST: Final[frozenset[int]] = frozenset({0, 127, *range(224, 256)})
"""First octets of addresses that are no host's on a network (RFC 1122 section 3.2.1.3).

"This network" (0/8), loopback (127/8), multicast (224/4), reserved and limited broadcast (240/4).
"""


@lru_cache(maxsize=4096)
def packed(address: str | IPv4Address) -> Address:
    """Return the packed bytes of an address.

    Raises:
        ValueError: it is not an IPv4 address.
    """
    return IPv4Address(address).packed


@lru_cache(maxsize=4096)
def ip_address(address: Address) -> IPv4Address:
    """Return the :mod:`ipaddress` object of packed bytes.

    Raises:
        ValueError: there are not four of them.
    """
    return IPv4Address(address)


@lru_cache(maxsize=4096)
def text(address: Address) -> str:
    """Return an address in dotted-decimal notation: ``"198.51.100.2"``.

    Raises:
        ValueError: it has not four octets.
    """
    return str(IPv4Address(address))


def subnet_broadcast(interface: IPv4Interface) -> Address | None:
    """Return the directed broadcast address of an interface's subnet; None if it has none.

    A point-to-point /31 has none (RFC 3021), nor has a /32.
    """
    if interface.network.prefixlen > 30:
        return None
    return interface.network.broadcast_address.packed


def is_multicast(address: Address) -> bool:
    """Whether it is a multicast address (224/4, RFC 1112 section 4)."""
    return address[0] & 0xF0 == 0xE0


def is_broadcast(address: Address, broadcasts: Collection[Address] = ()) -> bool:
    """Whether it is the limited broadcast address or one of our subnets' `broadcasts`."""
    return address == LIMITED_BROADCAST or address in broadcasts


def is_martian_source(address: Address, broadcasts: Collection[Address] = ()) -> bool:
    """Whether it is invalid as a source address, so that its packets are dropped.

    These are 0/8, 127/8, 224/4, 240/4 and our subnets' `broadcasts` (RFC 1122 section 3.2.1.3;
    RFC 9293 MUST-63).
    """
    return address[0] in _NO_HOST or address in broadcasts


def is_valid_remote(address: Address, broadcasts: Collection[Address] = ()) -> bool:
    """Whether it is a unicast address, to which a connection may be opened.

    RFC 9293 MUST-46, and MUST-57 for the destination address of a SYN.
    """
    return not is_martian_source(address, broadcasts)
