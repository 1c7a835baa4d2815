"""Impairments by a host's address: each network has a path of its own, the longest prefix first."""

from __future__ import annotations

import math
import random
from collections import Counter
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final, TypeAlias, final

from tunstack.ip.prefixes import PrefixMap
from tunstack.path.impair import Impairments, ImpairmentsLike, PacketPath, both_ways

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunstack.ip.address import Network
    from tunstack.ip.datagram import Buffer

Ways: TypeAlias = tuple[Impairments, Impairments]
"""Of packets that are sent, and of those that are received."""
ByNetwork: TypeAlias = "Mapping[Network, Ways]"

_ADDRESSES: Final[dict[int, tuple[slice, slice]]] = {
    4: (slice(12, 16), slice(16, 20)),
    6: (slice(8, 24), slice(24, 40)),
}
"""By IP version: where a packet has its source and its destination address."""


def split(
    given: ImpairmentsLike | Mapping[str, ImpairmentsLike],
) -> tuple[Ways, dict[Network, Ways]]:
    """Return the impairments of all packets, and those of networks of the host's addresses.

    Args:
        given: What `both_ways` takes, for all packets; or a mapping of that by prefix, as
            ``{"198.51.100.16/28": "loss=10%"}``; other addresses have a perfect path then.

    Raises:
        ValueError: a prefix or an impairment is malformed; a prefix is given twice.
    """
    if given is None or isinstance(given, (str, Impairments, tuple)):
        return both_ways(given), {}
    networks: dict[Network, Ways] = {}
    for prefix, impairments in given.items():
        try:
            network = ip_network(prefix)
        except ValueError as error:
            raise ValueError(f"the impairments of {prefix}: {error}") from None
        if network in networks:
            raise ValueError(f"{network} has impairments twice: leave one of them out")
        networks[network] = both_ways(impairments)
    return both_ways(None), networks


@final
class AddressedPath:
    """One direction of a path whose impairments are by address; its calls are `PacketPath`'s.

    Args:
        general: The impairments of addresses in none of `networks`.
        networks: Those of others.
        way: 0 for packets that are sent, by their source; 1 for received ones, by their
            destination.
        rng: The only source of randomness.
    """

    def __init__(
        self, general: Impairments, networks: ByNetwork, way: int, rng: random.Random
    ) -> None:
        self._general = PacketPath(general, random.Random(rng.random()))
        rows = [
            (network, PacketPath(ways[way], random.Random(rng.random())))
            for network, ways in networks.items()
        ]
        self._by_network: PrefixMap[PacketPath] = PrefixMap(rows)
        self._paths = [self._general, *(path for _, path in rows)]
        self._way = way
        self._first = self._general

    @property
    def counts(self) -> dict[str, int]:
        """What happened to packets, of all networks together."""
        total: Counter[str] = Counter()
        for path in self._paths:
            total.update(path.counts)
        return dict(total)

    @property
    def next_arrival(self) -> float:
        """The time of the next arrival, in seconds; infinite when no packet is in flight."""
        return min([path.next_arrival for path in self._paths], default=math.inf)

    def put(self, packet: Buffer, now: float) -> list[float]:
        """Put a packet on the path of its address; returns the arrival times of its copies."""
        return self._path_of(packet).put(packet, now)

    def first(self, now: float) -> Buffer | None:
        """Return the first packet that has arrived by `now`, without removing it, or None."""
        self._first = min(self._paths, key=lambda path: path.next_arrival)
        return self._first.first(now)

    def pop(self) -> None:
        """Remove the packet that :meth:`first` returned last."""
        self._first.pop()

    def _path_of(self, packet: Buffer) -> PacketPath:
        where = _ADDRESSES.get(packet[0] >> 4) if len(packet) else None
        address = b"" if where is None else bytes(packet[where[self._way]])
        if where is None or len(address) != where[0].stop - where[0].start:
            return self._general  # No IP packet: it goes by the general path.
        path = self._by_network.get(address)
        return self._general if path is None else path  # An empty path is false.
