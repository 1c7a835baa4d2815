"""Path MTU discovery: the MTU of each path.

It is told by ICMP Fragmentation Needed (RFC 1191) and ICMPv6 Packet Too Big (RFC 8201).
"""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Address
    from tunstack.ip.icmp import IcmpMessage

PLATEAUS: Final[tuple[int, ...]] = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)
"""Octets: common MTUs, for routers that report no next-hop MTU (section 7)."""

LIFETIME: Final = 600.0
"""Seconds after which a larger MTU is tried: ten minutes (section 6.3)."""

MIN_PMTU: Final = 552
"""Octets: the smallest path MTU that an ICMP message can set for IPv4, as Linux's min_pmtu.

RFC 1191 allows 68, but then a forged message would make each octet of data cost forty. A path that
is really narrower is found by the losses: see :mod:`tunstack.tcp.sender.mtu_probing`.
"""

_MIN_MTU: Final = 68
"""Octets: the smallest MTU of IPv4 (RFC 791). Messages with a smaller one are ignored."""

_MIN_IPV6_MTU: Final = 1280
"""Octets: the smallest MTU of IPv6 (RFC 8200 section 5)."""

_MAX_PATHS: Final = 4096
"""Destinations; beyond that the oldest entry is evicted."""


def reported_mtu(message: IcmpMessage) -> int | None:
    """Return the path MTU that a message reports; None if it is invalid or no change.

    It must be smaller than the packet that is quoted. An IPv6 one of less than 1280 octets is
    discarded (RFC 8201 section 4).
    """
    assert message.quoted is not None
    mtu = _READERS[len(message.quoted.src)](message)
    return mtu if mtu is not None and mtu < message.quoted_length else None


def _ipv4_mtu(message: IcmpMessage) -> int | None:
    mtu = message.next_hop_mtu or _plateau_below(message.quoted_length)
    return max(mtu, MIN_PMTU) if _MIN_MTU <= mtu < message.quoted_length else None


def _ipv6_mtu(message: IcmpMessage) -> int | None:
    return message.rest if message.rest >= _MIN_IPV6_MTU else None


_READERS: Final[dict[int, Callable[[IcmpMessage], int | None]]] = {4: _ipv4_mtu, 16: _ipv6_mtu}
"""By octets of an address."""


def _plateau_below(size: int) -> int:
    return next((plateau for plateau in PLATEAUS if plateau < size), 0)


class PathMtus:
    """Path MTUs below the link's, by destination (section 3).

    Entries expire after `LIFETIME`, since no message reports that a path MTU has increased.

    Attributes:
        link_mtu: The MTU of all other paths, in octets.
        lowered: The path MTUs, each with the time when it expires; the oldest first.
    """

    def __init__(self, link_mtu: int) -> None:
        self.link_mtu = link_mtu
        self.lowered: dict[Address, tuple[int, float]] = {}

    def get(self, remote: Address) -> int:
        """Return the path MTU of `remote`, in octets."""
        known = self.lowered.get(remote)
        return self.link_mtu if known is None else known[0]

    def lower(self, remote: Address, mtu: int, now: float) -> bool:
        """Reduce the path MTU of `remote` to `mtu`; returns False if it is not a reduction."""
        if mtu >= self.get(remote):
            return False
        self.lowered.pop(remote, None)
        self.lowered[remote] = mtu, now + LIFETIME
        if len(self.lowered) > _MAX_PATHS:
            del self.lowered[next(iter(self.lowered))]
        return True

    def deadline(self) -> float | None:
        """When to call :meth:`expired`, in seconds; None if never."""
        return next(iter(self.lowered.values()))[1] if self.lowered else None

    def expired(self, now: float) -> list[Address]:
        """Remove expired entries, and return their destinations."""
        known = self.lowered
        old = [remote for remote, _ in takewhile(lambda each: each[1][1] <= now, known.items())]
        if old:  # A new dict: finding the first entry of an old one passes all deleted ones.
            self.lowered = dict(islice(known.items(), len(old), None))
        return old
