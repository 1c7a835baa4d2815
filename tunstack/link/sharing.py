"""Several hosts on one network of a namespace: the kernel's routes to each.

The first host on a network has its device: the kernel has an address of the network there, and with
it a route to the whole of it. A further one, ``198.51.100.3/24`` beside ``198.51.100.2/24``, gets a
device to which the kernel has a route for the host's own address alone (as of `ip address add
198.51.100.1 peer 198.51.100.3/32`), which as the longest prefix precedes the other. The kernel's
address is the same on both. The hosts reach each other through the kernel, if it forwards.

An address is one host's: a whole network and a host in it are refused, and so is an address twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tunstack.link.device import AddressRequest, TunRequest, packed, shares
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Prefix = tuple[str, int]
"""An address or a network, and the length of its prefix in bits."""


class Sharing(NamedTuple):
    """What is known of a host whose networks may be those of others.

    Attributes:
        own: Its addresses, with all bits; and its whole networks.
        peers: The kernel's addresses that were asked for; the others are defaults.
    """

    own: tuple[Prefix, ...]
    peers: tuple[str, ...]

    @classmethod
    def from_plain(cls, fields: tuple[tuple[Prefix, ...], tuple[str, ...]]) -> Sharing:
        """Return it of what `marshal` made."""
        return cls(*fields)

    def singles(self, network: str, prefix: int) -> list[str]:
        """Its single addresses in a network."""
        return [
            each for each, bits in self.own if bits == _bits(each) and _in(each, network, prefix)
        ]

    def has_all_of(self, address: str) -> bool:
        """Whether it has a whole network in which an address is."""
        return any(bits < _bits(each) and _in(address, each, bits) for each, bits in self.own)


class Neighbour(NamedTuple):
    """A host that is there."""

    sharing: Sharing
    request: TunRequest

    def networks(self) -> Iterator[Prefix]:
        """The networks that the kernel reaches through its device, but for single addresses."""
        for each in self.request.held:
            if each.prefix < _bits(each.address):
                yield each.address, each.prefix
        for network, prefix in self.request.routes:
            if prefix < _bits(network):
                yield network, prefix

    def kernel_address(self, like: str) -> str | None:
        """The kernel's address on its device, of the family of `like`."""
        held = [each.address for each in self.request.held if _bits(each.address) == _bits(like)]
        return held[0] if held else None


def beside(request: TunRequest, sharing: Sharing, others: Sequence[Neighbour]) -> TunRequest:
    """Return the parameters of a device for a host beside others, with routes of its own.

    Raises:
        SetupError: an address is another host's, or the kernel's.
    """
    _check_own(sharing, others)
    held: list[AddressRequest] = []
    routes: list[Prefix] = []
    for each in request.held:
        kernel = _kernel_address(each.address, sharing, others)
        other = _in_the_way(each.address, each.prefix, sharing, others)
        if other is None:
            held.append(each._replace(address=kernel))
            continue
        if kernel not in sharing.peers:
            kernel = other.kernel_address(kernel) or kernel
        first, *more = sharing.singles(each.address, each.prefix)
        held.append(AddressRequest(kernel, _bits(first), first))
        routes += [(address, _bits(address)) for address in more]
    for network, prefix in request.routes:
        if _in_the_way(network, prefix, sharing, others) is None:
            routes.append((network, prefix))
        else:
            own = sharing.singles(network, prefix)
            routes += [(address, _bits(address)) for address in own]
    return request._replace(held=tuple(held), routes=tuple(routes))


def _check_own(sharing: Sharing, others: Sequence[Neighbour]) -> None:
    for address, bits in sharing.own:
        for other in others:
            if any(_same(address, each.address) for each in other.request.held):
                raise SetupError(f"{address} is the kernel's address: choose another one")
            theirs = other.sharing.singles(address, bits)
            # Networks that are longer are refused as those of any interface are.
            if theirs and (bits == _bits(address) or not _has_within(other, address, bits)):
                raise SetupError(f"{theirs[0]} is another host's address: choose another one")


def _has_within(other: Neighbour, network: str, prefix: int) -> bool:
    """Whether the kernel reaches a part of a network, or the same, through another's device."""
    return any(bits >= prefix and _in(each, network, prefix) for each, bits in other.networks())


def _kernel_address(address: str, sharing: Sharing, others: Sequence[Neighbour]) -> str:
    """Return the kernel's address; a default one that is another host's gives way to the kernel's.

    Raises:
        SetupError: one that was asked for is another host's.
    """
    for other in others:
        if other.sharing.singles(address, _bits(address)) or other.sharing.has_all_of(address):
            if address in other.request.kernel_addresses:
                continue
            if address in sharing.peers:
                raise SetupError(f"{address} is another host's address: choose another peer")
            return other.kernel_address(address) or address
    return address


def _in_the_way(
    network: str, prefix: int, sharing: Sharing, others: Sequence[Neighbour]
) -> Neighbour | None:
    """Return a host for which the kernel cannot have a route to the network: its own would fail.

    None as well for a host that has all of the network, or is in a network that another has all of:
    that is refused as with any interface.
    """
    mine = sharing.singles(network, prefix)
    if not mine or prefix == _bits(network):
        return None
    if any(other.sharing.has_all_of(each) for each in mine for other in others):
        return None
    for other in others:
        for theirs, bits in other.networks():
            same = bits == prefix and _in(theirs, network, prefix)
            within = bits > prefix and any(_in(each, theirs, bits) for each in mine)
            around = bits < prefix and _in(network, theirs, bits)
            if same or within or (around and other.sharing.singles(network, prefix)):
                return other
    return None


def _bits(address: str) -> int:
    return 128 if ":" in address else 32


def _same(one: str, other: str) -> bool:
    return _in(one, other, _bits(other))


def _in(address: str, network: str, prefix: int) -> bool:
    return _bits(address) == _bits(network) and shares(packed(address), packed(network), prefix)
