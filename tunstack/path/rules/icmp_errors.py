"""ICMP errors by name, in both families (RFC 792, RFC 1812; RFC 4443)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tunstack.ip import icmp, icmpv6
from tunstack.ip.icmp import IcmpMessage

if TYPE_CHECKING:
    from tunstack.ip.datagram import Datagram

_FRAGMENTATION_NEEDED: Final = "fragmentation-needed"
_CODES: Final[dict[str, dict[int, tuple[int, int]]]] = {
    "network-unreachable": {4: (3, 0), 16: (1, 0)},
    "host-unreachable": {4: (3, 1), 16: (1, 3)},
    "port-unreachable": {4: (3, 3), 16: (1, 4)},
    "prohibited": {4: (3, 13), 16: (1, 1)},
    _FRAGMENTATION_NEEDED: {4: (3, 4), 16: (2, 0)},
    "time-exceeded": {4: (11, 0), 16: (3, 0)},
}
"""Type and code by name and octets of an address."""
NAMES: Final = tuple(_CODES)
_LARGEST_MTU: Final = {4: 0xFFFF, 16: 0xFFFFFFFF}
_ERRORS: Final = {icmp.PROTOCOL: icmp.ERRORS, icmpv6.PROTOCOL: icmpv6.ERRORS}


def parse_kind(
    kind: str, mtu: int | None = None, *, others: tuple[str, ...] = ()
) -> tuple[str, int | None]:
    """Return the name of an error, and its MTU, of ``"fragmentation-needed(1280)"`` as well.

    `others` are what else could have been meant.

    Raises:
        ValueError: there is no such error; an MTU is missing, or is given to another error.
    """
    found = re.fullmatch(r"([a-z-]+)\((\d+)\)", kind)
    if found is not None:
        kind, mtu = found[1], int(found[2])
    if kind not in _CODES:
        what = "answer" if others else "ICMP error"
        raise ValueError(f"there is no {what} {kind!r}; there are {', '.join(others + NAMES)}")
    if kind == _FRAGMENTATION_NEEDED and mtu is None:
        raise ValueError(f"{kind} needs an MTU, as in {kind}(1280)")
    if kind != _FRAGMENTATION_NEEDED and mtu is not None:
        raise ValueError(f"{kind} has no MTU")
    return kind, mtu


def is_answered(datagram: Datagram) -> bool:
    """Whether an ICMP error may be sent about a datagram (RFC 1122 section 3.2.2, RFC 4443 2.4)."""
    errors = _ERRORS.get(datagram.protocol)
    if errors is not None and (not len(datagram.payload) or datagram.payload[0] in errors):
        return False
    multicast = datagram.dst[0] >> 4 == 0xE if len(datagram.dst) == 4 else datagram.dst[0] == 0xFF
    return not (datagram.fragment_offset or multicast)


def error_message(datagram: Datagram, kind: str, mtu: int | None) -> IcmpMessage:
    """Return the error about a datagram.

    Raises:
        ValueError: as :func:`parse_kind`; no error may be sent about it.
    """
    kind, mtu = parse_kind(kind, mtu)
    if not is_answered(datagram):
        raise ValueError("no ICMP error is sent about this packet (RFC 1122 section 3.2.2)")
    size = len(datagram.src)
    if mtu is not None and mtu > _LARGEST_MTU[size]:
        raise ValueError(f"no packet has an MTU of {mtu}")
    return IcmpMessage(*_CODES[kind][size], mtu or 0, quoted=datagram)
