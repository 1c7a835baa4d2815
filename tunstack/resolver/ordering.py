"""The order in which to try the addresses of a name (RFC 6724 section 6)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from tunstack.ip.selection import GLOBAL, LINK_LOCAL, common_prefix, policy, scope, select_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunstack.ip.datagram import Address
    from tunstack.ip.selection import Candidate

_MAPPED: Final[Address] = bytes(10) + b"\xff\xff"


def ordered(addresses: Iterable[str], own: Sequence[Candidate]) -> list[str]:
    """Sort addresses: those that we have a source address for, of its scope and label, first.

    Rules 1, 2, 5, 6, 8 and 9; the others are about what a host with one link has not. What no
    rule prefers stays in its order.

    Args:
        addresses: The destinations.
        own: The addresses of the host, of both families.
    """
    return sorted(addresses, key=lambda each: _rank(ip_address(each).packed, own))


def _rank(destination: Address, own: Sequence[Candidate]) -> tuple[int, ...]:
    candidates = [each for each in own if len(each.address) == len(destination)]
    source = _source(candidates, destination)
    row = policy(_as_ipv6(destination))
    if source is None:
        return 1, 0, 0, -row.precedence, 0, 0
    common = common_prefix(source, destination) if len(destination) == 16 else 0
    return (
        0,
        _scope(source) != _scope(destination),
        policy(_as_ipv6(source)).label != row.label,
        -row.precedence,
        _scope(destination),
        -common,
    )


def _source(candidates: Sequence[Candidate], destination: Address) -> Address | None:
    if len(destination) == 16:
        return select_source(candidates, destination)
    best = max(candidates, key=lambda own: common_prefix(own.address, destination), default=None)
    return None if best is None else best.address


def _as_ipv6(address: Address) -> Address:
    return address if len(address) == 16 else _MAPPED + address


def _scope(address: Address) -> int:
    """The scope of an address; of IPv4, as section 3.2 says."""
    if len(address) == 16:
        return scope(address)
    return LINK_LOCAL if address[0] == 127 or address[:2] == b"\xa9\xfe" else GLOBAL
