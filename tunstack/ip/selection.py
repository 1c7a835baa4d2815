"""Source address selection (RFC 6724 section 5), and the policy table that it looks at.

The rules that apply to a host with one link and static addresses: the same address, the scope, the
label, the longest prefix. No address is deprecated, temporary or a home address, and every next hop
takes any source.
"""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ip.datagram import Address

LINK_LOCAL: Final = 0x2
"""The scope of a link-local address, and of loopback (section 3.1; RFC 4291 section 2.7)."""
SITE_LOCAL: Final = 0x5
"""The scope of the deprecated fec0::/10."""
GLOBAL: Final = 0xE
"""The scope of all other unicast addresses, unique local ones (fc00::/7) included."""

_MULTICAST: Final = 0xFF
_LOOPBACK: Final[Address] = bytes(15) + b"\x01"
_LINK_LOCAL_PREFIX: Final = 0xFE80
_SITE_LOCAL_PREFIX: Final = 0xFEC0
_TEN_BITS: Final = 0xFFC0


class Candidate(NamedTuple):
    """An address of ours, and the length of its prefix in bits."""

    address: Address
    prefix_length: int


class Policy(NamedTuple):
    """A row of the policy table (section 2.1).

    Attributes:
        bits: The length of its prefix.
        prefix: The prefix as a number, without the bits after it.
        precedence: Which destination is tried first.
        label: Sources and destinations with the same label go together.
    """

    bits: int
    prefix: int
    precedence: int
    label: int


def _row(network: str, precedence: int, label: int) -> Policy:
    parsed = IPv6Network(network)
    bits = parsed.prefixlen
    return Policy(bits, int(parsed.network_address) >> (128 - bits), precedence, label)


POLICIES: Final[tuple[Policy, ...]] = (
    _row("::1/128", 50, 0),
    _row("::ffff:0:0/96", 35, 4),
    _row("::/96", 1, 3),
    _row("2001::/32", 5, 5),
    _row("2002::/16", 30, 2),
    _row("3ffe::/16", 1, 12),
    _row("fec0::/10", 1, 11),
    _row("fc00::/7", 3, 13),
    _row("::/0", 40, 1),
)
"""The default policy table (section 2.1), the longest prefix first."""


def policy(address: Address) -> Policy:
    """Return the row of the policy table for an IPv6 address: that of the longest prefix."""
    number = int.from_bytes(address, "big")
    return next(row for row in POLICIES if number >> (128 - row.bits) == row.prefix)


def scope(address: Address) -> int:
    """Return the scope of an IPv6 address (section 3.1)."""
    if address[0] == _MULTICAST:
        return address[1] & 0xF
    prefix = int.from_bytes(address[:2], "big") & _TEN_BITS
    if prefix == _LINK_LOCAL_PREFIX or address == _LOOPBACK:
        return LINK_LOCAL
    return SITE_LOCAL if prefix == _SITE_LOCAL_PREFIX else GLOBAL


def common_prefix(one: Address, other: Address) -> int:
    """Return how many bits two addresses of a family have in common at their beginning."""
    differs = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return 8 * len(one) - differs.bit_length()


def select_source(candidates: Iterable[Candidate], destination: Address) -> Address | None:
    """Return the source address for an IPv6 destination; None without candidates.

    Of several that no rule prefers it is the first.
    """
    wanted, label = scope(destination), policy(destination).label

    def rank(candidate: Candidate) -> tuple[bool, tuple[bool, int], bool, int]:
        address, length = candidate
        own = scope(address)
        # Rule 2: the smallest scope that is large enough, else the largest.
        fits = (own >= wanted, -own if own >= wanted else own)
        common = min(common_prefix(address, destination), length)
        return address == destination, fits, policy(address).label == label, common

    best = max(candidates, key=rank, default=None)
    return None if best is None else best.address
