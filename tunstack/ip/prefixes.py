"""Addresses by prefix: values of networks, and sets of addresses that have whole networks.

A look-up takes one step for each prefix length there is, however large the networks are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from tunstack.ip.family import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ip.address import Network
    from tunstack.ip.datagram import Address

V = TypeVar("V")

_POINT_TO_POINT: Final = 31
"""Bits of the prefix from which on an IPv4 network has no broadcast address (RFC 3021)."""


class PrefixMap(Generic[V]):
    """Values by network; of several networks with an address, the longest prefix counts."""

    __slots__ = ("_tables",)

    def __init__(self, values: Iterable[tuple[Network, V]]) -> None:
        """Make it of networks, each with its value."""
        lengths: dict[int, dict[int, dict[int, V]]] = {
            family.address_size: {} for family in FAMILIES
        }
        for network, value in values:
            address = network.network_address.packed
            shift = network.max_prefixlen - network.prefixlen
            table = lengths[len(address)].setdefault(shift, {})
            table[int.from_bytes(address, "big") >> shift] = value
        self._tables = {size: sorted(lengths[size].items()) for size in lengths}
        """By octets of an address: bits after the prefix, and the values by prefix."""

    def get(self, address: Address) -> V | None:
        """Return the value of the longest prefix of `address`; None if there is none."""
        number = int.from_bytes(address, "big")
        for shift, values in self._tables[len(address)]:
            found = values.get(number >> shift)
            if found is not None:
                return found
        return None


class AddressSet:
    """Single addresses, and whole networks without some addresses; asked by ``in``."""

    __slots__ = ("_excluded", "_networks", "_single")

    def __init__(
        self, single: Iterable[Address], networks: Iterable[Network], excluded: Iterable[Address]
    ) -> None:
        """Make it; `excluded` has addresses of `networks` that are not in it."""
        self._single = frozenset(single)
        self._excluded = frozenset(excluded)
        self._networks: PrefixMap[bool] = PrefixMap([(each, True) for each in networks])

    def __contains__(self, address: object) -> bool:
        """Whether `address`, packed, is in it."""
        if address in self._single:
            return True
        return (
            isinstance(address, bytes)
            and self._networks.get(address) is not None
            and address not in self._excluded
        )


def no_hosts(network: Network) -> tuple[Address, ...]:
    """Return the addresses of `network` that no host has: IPv4's own address and broadcast."""
    if network.version != 4 or network.prefixlen >= _POINT_TO_POINT:
        return ()
    return network.network_address.packed, network.broadcast_address.packed


def first_host(network: Network, excluded: Iterable[Address]) -> Address:
    """Return the first address of `network` that a host can send from.

    Its lowest address is none in either family: of IPv6 it is the routers' anycast address (RFC
    4291 section 2.6.1).

    Args:
        network: The network.
        excluded: Others that are not to be chosen.

    Raises:
        ValueError: none is left.
    """
    taken = {*excluded, *no_hosts(network)}
    size = network.max_prefixlen // 8
    first = int.from_bytes(network.network_address.packed, "big")
    start = first + (network.prefixlen < network.max_prefixlen - 1)
    last = int.from_bytes(network.broadcast_address.packed, "big")
    for number in range(start, min(last, start + len(taken)) + 1):
        address = number.to_bytes(size, "big")
        if address not in taken:
            return address
    raise ValueError(f"no address of {network} is left for the host")
