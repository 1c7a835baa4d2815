"""The addresses of a stack: which packets are for them, and which sources are impossible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.ip import address as ip_address
from tunstack.ip.family import family_of
from tunstack.wire import Discard, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Interface

    from tunstack.ip.datagram import Address


class Addresses:
    """The addresses of a stack.

    Attributes:
        interfaces: Each with the prefix of its network.
        local: The addresses alone.
        families: The families of which there are any.
        broadcasts: The broadcast addresses of their networks.
    """

    def __init__(self, interfaces: Iterable[IPv4Interface]) -> None:
        self.interfaces = tuple(interfaces)
        self._packed = [interface.ip.packed for interface in self.interfaces]
        self.local = frozenset(self._packed)
        self.families = frozenset(family_of(address) for address in self._packed)
        self.broadcasts = frozenset(
            broadcast
            for interface in self.interfaces
            if (broadcast := ip_address.subnet_broadcast(interface)) is not None
        )

    def check(self, src: Address, dst: Address, *, looped: bool) -> None:
        """Raise `Discard` for what is not for us, or cannot be from `src`.

        Args:
            src: Source address.
            dst: Destination address.
            looped: Whether we sent it ourselves, so that it did not come by the link.
        """
        if dst not in self.local:
            raise Discard(Reason.NOT_OUR_ADDRESS)
        if ip_address.is_martian_source(src, self.broadcasts):
            raise Discard(Reason.BAD_SOURCE)
        if src in self.local and not looped:
            raise Discard(Reason.BAD_SOURCE)  # Only what we send ourselves comes from us.

    def source_for(self, remote: Address) -> Address:
        """Our address in the network of `remote`; the first, if there is none (MUST-44)."""
        at = ip_address.ip_address(remote)
        for interface, packed in zip(self.interfaces, self._packed, strict=True):
            if at in interface.network:
                return packed
        return self._packed[0]
