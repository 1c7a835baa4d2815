"""Validate the parameters of a TUN device before it is created: every error is one line."""

from __future__ import annotations

import os
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tunstack.link.device import AddressRequest, TunRequest
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPInterface: TypeAlias = IPv4Interface | IPv6Interface
IPNetwork: TypeAlias = IPv4Network | IPv6Network

AddressLike: TypeAlias = str | IPInterface | IPNetwork
"""An address with its network, ``"198.51.100.2/24"``; or a whole network, ``"198.51.100.0/24"``."""
PeerLike: TypeAlias = str | IPAddress | IPInterface

DEVICE_NODE: Final = "/dev/net/tun"
MTU_RANGE: Final = range(68, 65536)
"""Octets: the least MTU of RFC 791 section 3.2, and the largest IPv4 packet."""
IPV6_MTU: Final = 1280
"""Octets: the least MTU of IPv6 (RFC 8200 section 5)."""


class Place(NamedTuple):
    """What a host has on a network: one address of it, or all.

    Attributes:
        network: The network.
        address: The host's address; None for every address that is not the kernel's.
    """

    network: IPNetwork
    address: IPAddress | None

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.network.version

    @property
    def interface(self) -> IPInterface | IPNetwork:
        """The host's address with the network's prefix length, or the whole network."""
        if self.address is None:
            return self.network
        return ip_interface(f"{self.address}/{self.network.prefixlen}")

    def __str__(self) -> str:
        if self.address is None:
            return str(self.network)
        return f"{self.address}/{self.network.prefixlen}"


def plan_tun(
    *addresses: AddressLike,
    name: str | None = None,
    peer: PeerLike | Sequence[PeerLike] | None = None,
    mtu: int | None = None,
    device_node: str | None = None,
    offload: bool = False,
) -> TunRequest:
    """Validate the parameters of a TUN device, and fill in defaults.

    The kernel gets an address on the device for each family: in the first network of that family,
    or where `peer` says. It reaches further networks of the family by a route.

    Args:
        addresses: Ours, each with its network, as ``"198.51.100.2/24"`` or ``"2001:db8::2/64"``; or
            whole networks, ``"198.51.100.0/24"``: then every address of it but the kernel's is
            ours, for IPv4 without the network's own and its broadcast address.
        name: The device's name; None to let the kernel choose.
        peer: The kernel's address on the device, or several; None for the first of the network
            that is not ours. A prefix length is ignored: it is that of the network.
        mtu: 68 to 65535 octets, with IPv6 at least 1280; None for the device's own, which is 1500
            when it is new.
        device_node: Path of the device node; None for the environment's ``TUNSTACK_TUN_DEVICE``,
            or ``/dev/net/tun``.
        offload: Whether to enable segmentation and checksum offload, where the kernel supports it.

    Raises:
        SetupError: a parameter is invalid.
    """
    if not addresses:
        raise SetupError("no address: give one as 198.51.100.2/24 or 2001:db8::2/64")
    places = [parse_place(address) for address in addresses]
    check_places(places)
    held, routes = _kernel_side(places, _parse_peers(peer))
    if mtu is not None and mtu not in MTU_RANGE:
        raise SetupError(f"MTU {mtu} is out of range: choose one from 68 to 65535")
    check_mtu(places, mtu)
    _check_name(name)
    node = device_node or os.environ.get("TUNSTACK_TUN_DEVICE") or DEVICE_NODE
    return TunRequest(name or "", held, routes, mtu, os.path.abspath(node), offload)


def plan_sharing(
    addresses: Sequence[AddressLike], peer: PeerLike | Sequence[PeerLike] | None
) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Return the fields of a :class:`tunstack.link.sharing.Sharing`, of valid parameters."""
    places = [parse_place(address) for address in addresses]
    own = tuple(
        (str(place.network.network_address), place.network.prefixlen)
        if place.address is None
        else (str(place.address), place.network.max_prefixlen)
        for place in places
    )
    return own, tuple(map(str, _parse_peers(peer)))


def check_mtu(places: Sequence[Place], mtu: int | None) -> None:
    """Refuse an MTU that IPv6 does not allow.

    Raises:
        SetupError: it is below 1280 octets, and one of the addresses is of IPv6.
    """
    if mtu is not None and mtu < IPV6_MTU and any(place.version == 6 for place in places):
        raise SetupError(
            f"an MTU of {mtu} is too small for IPv6, which needs 1280 (RFC 8200): "
            "choose a larger one, or no IPv6 address"
        )


def parse_place(address: AddressLike) -> Place:
    """Parse ``"198.51.100.2/24"``, or a whole network, ``"198.51.100.0/24"``.

    An address whose host bits are all 0 stands for the whole network, but for the networks of one
    or two addresses (RFC 3021, RFC 6164), where it is one of them.

    Raises:
        SetupError: no address that a host can have, or without a prefix length.
    """
    if isinstance(address, (IPv4Network, IPv6Network)):
        if address.num_addresses == 1:
            return _checked(Place(address, address.network_address))
        return _checked(Place(address, None))
    if isinstance(address, str):
        if "/" not in address:
            example = "2001:db8::2/64" if ":" in address else "A.B.C.D/24"
            raise SetupError(f"the address {address!r} has no prefix length: write it as {example}")
        try:
            address = ip_interface(address)
        except ValueError as error:
            raise SetupError(
                f"{address!r} is no IP address with a prefix length: "
                "write it as 198.51.100.2/24 or 2001:db8::2/64"
            ) from error
    network = address.network
    if address.ip == network.network_address and network.prefixlen < network.max_prefixlen - 1:
        return _checked(Place(network, None))
    return _checked(Place(network, address.ip))


def _checked(place: Place) -> Place:
    if place.network.prefixlen == 0:
        raise SetupError(f"{place} is every address there is: choose a smaller network")
    _check_host(place.address or place.network[1], place.network)
    return place


def check_places(places: Sequence[Place]) -> None:
    """Refuse places that overlap: an address twice, or a whole network beside a part of it.

    Raises:
        SetupError: two of them do.
    """
    seen: list[Place] = []
    for place in places:
        for other in seen:
            if place == other or (
                place.version == other.version
                and None in (place.address, other.address)
                and place.network.overlaps(other.network)
            ):
                raise SetupError(f"{place} overlaps with {other}: leave one of them out")
        seen.append(place)


def _kernel_side(
    places: list[Place], peers: list[IPAddress]
) -> tuple[tuple[AddressRequest, ...], tuple[tuple[str, int], ...]]:
    """Return the kernel's addresses on the device, and the networks that it needs a route to."""
    held: list[AddressRequest] = []
    routes: list[tuple[str, int]] = []
    for version in (4, 6):
        own = [place for place in places if place.version == version]
        given = [peer for peer in peers if peer.version == version]
        if given and not own:
            raise _not_in(given[0], " or ".join(str(place.network) for place in places))
        if own and not given:
            given = [_default_peer(own[0], places)]
        networks: dict[IPNetwork, Place] = {}
        for place in own:
            networks.setdefault(place.network, place)
        for peer in given:
            network = next((each for each in networks if _fits(peer, each)), None)
            if network is None:
                raise _not_in(peer, " or ".join(map(str, networks)))
            _check_host(peer, network)
            if any(place.address == peer for place in own):
                raise SetupError(
                    f"{peer} cannot be both tunstack's address and the kernel's: change one"
                )
            ours = networks.pop(network).address or network.network_address
            held.append(AddressRequest(str(peer), network.prefixlen, str(ours)))
        routes += [(str(each.network_address), each.prefixlen) for each in networks]
    return tuple(held), tuple(routes)


def _fits(peer: IPAddress, network: IPNetwork) -> bool:
    """Whether the kernel can have the address where ours is in `network`; any for a single one."""
    return network.prefixlen == network.max_prefixlen or peer in network


def _not_in(peer: IPAddress, network: str) -> SetupError:
    return SetupError(f"the kernel's address {peer} is not in {network}: choose from it")


def _parse_peers(peer: PeerLike | Sequence[PeerLike] | None) -> list[IPAddress]:
    if peer is None:
        return []
    given = [peer] if isinstance(peer, PeerLike) else peer
    return [_parse_peer(each) for each in given]


def _parse_peer(peer: PeerLike) -> IPAddress:
    try:
        return ip_interface(peer).ip
    except ValueError as error:
        raise SetupError(
            f"{peer!r} is no IP address for the kernel's side: write it as 198.51.100.1"
        ) from error


def _default_peer(place: Place, places: list[Place]) -> IPAddress:
    network = place.network
    if network.prefixlen == network.max_prefixlen:
        raise SetupError(
            f"{place} leaves no address for the kernel: give a peer, or a shorter prefix"
        )
    taken = {other.address for other in places}
    start = int(network.network_address) + (network.prefixlen < network.max_prefixlen - 1)
    for number in range(start, start + len(taken) + 1):
        candidate = ip_address(number) if place.version == 4 else IPv6Address(number)
        if candidate not in taken:
            return candidate
    raise AssertionError("one of n + 1 addresses is none of n")


def _check_host(address: IPAddress, network: IPNetwork) -> None:
    """Refuse an address that no host can have."""
    edges = {network.network_address: "network"}
    if network.version == 4:
        edges[network.broadcast_address] = "broadcast"
    if network.prefixlen < network.max_prefixlen - 1 and address in edges:
        raise SetupError(
            f"{address} is the {edges[address]} address of {network}: choose another one of it"
        )
    if (
        address.is_multicast
        or address.is_loopback
        or address.is_unspecified
        or (address.is_reserved and address.version == 4)
        or (isinstance(address, IPv6Address) and address.ipv4_mapped is not None)
        or address in IPv4Network("0.0.0.0/8")
    ):
        example = "198.51.100.2/24" if address.version == 4 else "2001:db8::2/64"
        raise SetupError(f"{address} cannot be a host's address: choose one as {example}")


def _check_name(name: str | None) -> None:
    """Refuse names that the kernel's dev_valid_name refuses, or expands (%d)."""
    if name is None:
        return
    if not 1 <= len(os.fsencode(name)) <= 15:
        raise SetupError(f"the device name {name!r} must have 1 to 15 bytes: choose another one")
    if name in (".", "..") or any(letter in "/:%" or letter.isspace() for letter in name):
        raise SetupError(
            f"the device name {name!r} must have no '/', ':', '%' or space: choose another one"
        )
