"""The addresses of a stack: which packets are for them, and which sources are impossible."""

from __future__ import annotations

import errno
from ipaddress import IPv4Interface, IPv6Interface, ip_network
from typing import TYPE_CHECKING

from tunstack.ip import address as ip_address
from tunstack.ip.errors import os_error
from tunstack.ip.family import FAMILIES, IPV4, IPV6, family_of
from tunstack.ip.prefixes import AddressSet, first_host, no_hosts
from tunstack.ip.selection import Candidate, common_prefix, select_source
from tunstack.wire import Discard, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from tunstack.ip.address import Interface, Network
    from tunstack.ip.datagram import Address
    from tunstack.ip.family import Family


class Addresses:
    """The addresses of a stack, of both families.

    Attributes:
        interfaces: Each with the prefix of its network. A whole network, of which every address is
            ours, has its own address: 198.51.100.0/24.
        local: All addresses, to be asked by ``in``: a frozenset where none is a whole network.
        broadcasts: The broadcast addresses of their networks.
        families: The families that have an address.
    """

    def __init__(
        self, interfaces: Iterable[Interface | Network], excluded: Iterable[Address] = ()
    ) -> None:
        """Make it.

        Args:
            interfaces: Ours.
            excluded: Addresses in whole networks that are not ours: the kernel's.

        Raises:
            ValueError: a whole network has no address left.
        """
        places = tuple(interfaces)
        excluded = frozenset(excluded)
        self.interfaces = tuple(ip_address.interface_of(each) for each in places)
        self._networks = [
            ip_network(each.ip) if isinstance(each, (IPv4Interface, IPv6Interface)) else each
            for each in places
        ]
        """All that is ours; of a single address the network that has no other."""
        networks: list[Network] = []
        single: list[Address] = []
        packed: list[Address] = []
        for each in places:
            if isinstance(each, (IPv4Interface, IPv6Interface)):
                single.append(each.ip.packed)
                packed.append(each.ip.packed)
            else:
                networks.append(each)
                packed.append(first_host(each, excluded))
        self.local: Container[Address] = frozenset(single)
        if networks:
            others = [address for network in networks for address in no_hosts(network)]
            self.local = AddressSet(single, networks, [*excluded, *others])
        self.broadcasts = frozenset(
            broadcast
            for interface in places
            if (broadcast := ip_address.subnet_broadcast(interface)) is not None
        )
        self.families: tuple[Family, ...] = tuple(
            family for family in FAMILIES if any(family_of(each) is family for each in packed)
        )
        self._candidates: dict[int, list[Candidate]] = {
            family.address_size: [
                Candidate(each, ip_address.network_of(interface).prefixlen)
                for each, interface in zip(packed, places, strict=True)
                if family_of(each) is family
            ]
            for family in FAMILIES
        }
        """By octets of an address; of a whole network its first one."""
        self._select: dict[int, Callable[[Address], Address]] = {
            IPV4.address_size: self._v4_source,
            IPV6.address_size: self._v6_source,
        }

    def check(self, src: Address, dst: Address, *, looped: bool) -> None:
        """Raise `Discard` for what is not for us, or cannot be from `src`.

        Nothing is sent to more than one of us: what comes for a broadcast, multicast or anycast
        address is not for us.

        Args:
            src: Source address.
            dst: Destination address.
            looped: Whether we sent it ourselves, so that it did not come by the link.
        """
        if dst not in self.local:
            raise Discard(Reason.NOT_OUR_ADDRESS)
        if ip_address.IS_MARTIAN[len(src)](src) or src in self.broadcasts:
            raise Discard(Reason.BAD_SOURCE)
        if src in self.local and not looped:
            raise Discard(Reason.BAD_SOURCE)  # Only what we send ourselves comes from us.

    def source_for(self, remote: Address) -> Address:
        """Return the address from which to send to `remote` (MUST-44).

        Of IPv4, ours in the network of `remote`, or the first, if there is none; of IPv6, by the
        rules of RFC 6724. Of a whole network it is the first address.

        Raises:
            OSError: ENETUNREACH: we have no address of its family.
        """
        if not self._candidates[len(remote)]:
            raise os_error(errno.ENETUNREACH)
        return self._select[len(remote)](remote)

    def _v4_source(self, remote: Address) -> Address:
        candidates = self._candidates[IPV4.address_size]
        for address, length in candidates:
            if common_prefix(address, remote) >= length:
                return address
        return candidates[0].address

    def have(self, network: Network) -> bool:
        """Whether any of our addresses is in `network`."""
        return any(
            each.version == network.version and each.overlaps(network) for each in self._networks
        )

    def _v6_source(self, remote: Address) -> Address:
        candidates = self._candidates[IPV6.address_size]
        if len(candidates) == 1:
            return candidates[0].address
        found = select_source(candidates, remote)
        assert found is not None
        return found
