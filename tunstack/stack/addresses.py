"""The addresses of a stack: which packets are for them, and which sources are impossible."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tunstack.ip import address as ip_address
from tunstack.ip.family import FAMILIES, IPV4, IPV6, family_of
from tunstack.ip.selection import Candidate, select_source
from tunstack.wire import Discard, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.ip.address import Interface
    from tunstack.ip.datagram import Address
    from tunstack.ip.family import Family


class Addresses:
    """The addresses of a stack, of both families.

    Attributes:
        interfaces: Each with the prefix of its network.
        local: The addresses alone.
        broadcasts: The broadcast addresses of their networks.
        families: The families that have an address.
    """

    def __init__(self, interfaces: Iterable[Interface]) -> None:
        self.interfaces = tuple(interfaces)
        packed = [interface.ip.packed for interface in self.interfaces]
        self.local = frozenset(packed)
        self.broadcasts = frozenset(
            broadcast
            for interface in self.interfaces
            if (broadcast := ip_address.subnet_broadcast(interface)) is not None
        )
        self.families: tuple[Family, ...] = tuple(
            family for family in FAMILIES if any(family_of(each) is family for each in packed)
        )
        self._candidates: dict[int, list[Candidate]] = {
            family.address_size: [
                Candidate(each, interface.network.prefixlen)
                for each, interface in zip(packed, self.interfaces, strict=True)
                if family_of(each) is family
            ]
            for family in FAMILIES
        }
        """By octets of an address."""
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
        rules of RFC 6724.

        Raises:
            OSError: ENETUNREACH: we have no address of its family.
        """
        if not self._candidates[len(remote)]:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        return self._select[len(remote)](remote)

    def _v4_source(self, remote: Address) -> Address:
        at = ip_address.ip_address(remote)
        for interface in self.interfaces:
            if at in interface.network:
                return interface.ip.packed
        return self._candidates[IPV4.address_size][0].address

    def _v6_source(self, remote: Address) -> Address:
        candidates = self._candidates[IPV6.address_size]
        if len(candidates) == 1:
            return candidates[0].address
        found = select_source(candidates, remote)
        assert found is not None
        return found
