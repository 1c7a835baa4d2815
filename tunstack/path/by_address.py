"""Impairments by a host's address: each network has a path of its own, the longest prefix first."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final, TypeAlias, final

from tunstack.ip.prefixes import PrefixMap
from tunstack.path.impair import (
    Impairer,
    Impairments,
    ImpairmentsLike,
    PacketPath,
    both_ways,
)

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
class AddressedPath(PacketPath):
    """One direction of a path whose impairments are by address; packets are in flight together.

    Args:
        general: The impairments of addresses in none of `networks`.
        networks: Those of others.
        way: 0 for packets that are sent, by their source; 1 for received ones, by their
            destination.
        rng: The only source of randomness.
    """

    __slots__ = ("_by_network", "_impairers", "_way")

    def __init__(
        self, general: Impairments, networks: ByNetwork, way: int, rng: random.Random
    ) -> None:
        super().__init__(general, random.Random(rng.random()))
        rows = [
            (network, Impairer(ways[way], random.Random(rng.random())))
            for network, ways in networks.items()
        ]
        self._by_network: PrefixMap[Impairer] = PrefixMap(rows)
        self._impairers = [self.impairer, *(impairer for _, impairer in rows)]
        self._way = way

    @property
    def counts(self) -> dict[str, int]:
        """What happened to packets, of all networks together; see `Impairer`."""
        total: Counter[str] = Counter()
        for impairer in self._impairers:
            total.update(impairer.counts)
        return dict(total)

    def _impairer_of(self, packet: Buffer) -> Impairer:
        """Return what impairs the packets of our address; of no IP packet, the general one."""
        where = _ADDRESSES.get(packet[0] >> 4) if len(packet) else None
        if where is None or len(packet) < where[1].stop:
            return self.impairer
        return self._by_network.get(bytes(packet[where[self._way]])) or self.impairer
