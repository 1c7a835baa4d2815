"""The addresses of a network: which it gives out, and which hosts may name."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Final, final

from tunstack.ip.prefixes import PrefixMap
from tunstack.link.errors import SetupError
from tunstack.link.plan import check_mtu, parse_place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ip.address import Network
    from tunstack.ip.datagram import Address
    from tunstack.link.plan import Place

DEFAULT: Final = ("198.51.100.0/24", "2001:db8::/64")
_FIRST: Final = 1
"""The number of the first address that is given out; 0 is the network's, or any router's."""


@final
class Plan:
    """The networks, and who has which addresses.

    Args:
        prefixes: The networks; of several of a family the first is the one of addresses that are
            given out.
        mtu: In octets.

    Raises:
        ValueError: A prefix is malformed, or one is a part of another; the MTU is too small.
    """

    def __init__(self, prefixes: Iterable[str], mtu: int) -> None:
        self._networks: list[Network] = []
        for prefix in prefixes:
            try:
                network = ip_network(prefix)
            except ValueError as error:
                raise ValueError(f"the network {prefix}: {error}") from None
            for other in self._networks:
                if network.version == other.version and network.overlaps(other):
                    raise ValueError(f"{network} overlaps with {other}: leave one of them out")
            self._networks.append(network)
        if not 68 <= mtu <= 65535:
            raise ValueError(f"MTU {mtu} is out of range: choose one from 68 to 65535")
        self._mtu = mtu
        self._taken: dict[str, list[Place]] = {}
        self._owners: PrefixMap[str] = PrefixMap(())

    def owner(self, address: Address) -> str | None:
        """Return the name of the host that has an address; None if nobody has."""
        return self._owners.get(address)

    def addresses(self, name: str) -> list[str]:
        """Return the addresses of a host, without those of whole networks."""
        return [str(each.address) for each in self._taken[name] if each.address is not None]

    def take(self, name: str, wanted: Iterable[str]) -> tuple[str, ...]:
        """Give a host its addresses, one of each family if it wants none; with prefix lengths.

        Raises:
            ValueError: One is malformed, or in none of the networks, or another host's; none is
                left.
        """
        try:
            places = [parse_place(self._with_prefix(each)) for each in wanted] or self._free()
            check_mtu(places, self._mtu)
        except SetupError as error:
            raise ValueError(str(error)) from None
        for place in places:
            self._check(place, [each for each in places if each is not place])
        self._taken[name] = places
        self._owners = PrefixMap(
            (_network_of(place), owner) for owner, taken in self._taken.items() for place in taken
        )
        return tuple(str(place) for place in places)

    def _with_prefix(self, wanted: str) -> str:
        if "/" in wanted:
            return wanted
        try:
            address = ip_address(wanted)
        except ValueError:
            raise ValueError(f"{wanted!r} is no IP address: write it as 198.51.100.2") from None
        network = next((each for each in self._networks if address in each), None)
        if network is None:
            raise self._outside(wanted)
        return f"{wanted}/{network.prefixlen}"

    def _outside(self, what: object) -> ValueError:
        return ValueError(f"{what} is outside {' and '.join(map(str, self._networks))}")

    def _check(self, place: Place, own: list[Place]) -> None:
        network = _network_of(place)
        if not any(_is_within(network, each) for each in self._networks):
            raise self._outside(place.address or place.network)
        for other in own:
            if _overlap(place, other):
                raise ValueError(f"{place} overlaps with {other}: leave one of them out")
        for owner, taken in self._taken.items():
            for other in taken:
                if _overlap(place, other):
                    raise ValueError(
                        f"{place.address or place.network} is in use: {owner} has "
                        f"{other.address or other.network}"
                    )

    def _free(self) -> list[Place]:
        places = []
        for version in (4, 6):
            network = next((each for each in self._networks if each.version == version), None)
            if network is not None and not (version == 6 and self._mtu < 1280):
                places.append(self._first_free(network))
        if not places:
            raise ValueError(f"with an MTU of {self._mtu} there is no network for IPv6")
        return places

    def _first_free(self, network: Network) -> Place:
        most = network.num_addresses - (1 if network.version == 4 else 0)
        tried = 1 + sum(len(taken) for taken in self._taken.values())
        for number in range(_FIRST, min(most, _FIRST + tried)):
            address = network[number]
            if self._owners.get(address.packed) is None:
                return parse_place(ip_interface(f"{address}/{network.prefixlen}"))
        raise ValueError(f"no address of {network} is free")


def _network_of(place: Place) -> Network:
    return place.network if place.address is None else ip_network(place.address)


def _is_within(network: Network, other: Network) -> bool:
    return network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]


def _overlap(place: Place, other: Place) -> bool:
    first, second = _network_of(place), _network_of(other)
    return first.version == second.version and first.overlaps(second)
