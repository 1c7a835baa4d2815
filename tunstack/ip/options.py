"""The options of an IPv4 header (RFC 791 section 3.1, RFC 2113): validated, and reflected by ICMP.

Otherwise none of them is acted upon (RFC 1122 section 3.2.1.8): no source route is followed.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.ip.datagram import Address

HEADER: Final = 20
"""Octets of the header before the options."""

_END: Final = 0
_NO_OPERATION: Final = 1
_RECORD_ROUTE: Final = 7
_TIMESTAMP: Final = 68
_LOOSE_ROUTE: Final = 131
_STRICT_ROUTE: Final = 137
_ROUTER_ALERT: Final = 148

_FIXED: Final[dict[int, int]] = {
    _RECORD_ROUTE: 3,
    _LOOSE_ROUTE: 3,
    _STRICT_ROUTE: 3,
    _TIMESTAMP: 4,
    _ROUTER_ALERT: 4,
}
"""Octets before the data of each option, whose third octet is the pointer into the data."""

_ONCE: Final[dict[int, int]] = {
    _RECORD_ROUTE: _RECORD_ROUTE,
    _TIMESTAMP: _TIMESTAMP,
    _LOOSE_ROUTE: _LOOSE_ROUTE,
    _STRICT_ROUTE: _LOOSE_ROUTE,
}
"""Options that may occur once; the two source routes count as one."""

_STAMP: Final[Struct] = Struct(">I")
_WITH_ADDRESS: Final[frozenset[int]] = frozenset({1, 3})
"""Flags of a timestamp option whose entries have addresses."""
_PRESPECIFIED: Final = 3
_OVERFLOWN: Final = 15


def fault(options: bytes) -> int | None:
    """Return the pointer of a parameter problem, the first wrong octet of the header; or None.

    The checks are those of Linux's ip_options_compile; unknown options are not checked.
    """
    seen: set[int] = set()
    for at, option in _each(options):
        if len(option) < 2:
            return HEADER + at
        wrong = _fault_in(option, seen)
        if wrong is not None:
            return HEADER + at + wrong
    return None


def _each(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield options of more than one octet, with their offsets; a truncated last one is empty."""
    at, size = 0, len(options)
    while at < size and options[at] != _END:
        if options[at] == _NO_OPERATION:
            at += 1
            continue
        length = options[at + 1] if at + 1 < size else 0
        if length < 2 or at + length > size:
            yield at, b""
            return
        yield at, options[at : at + length]
        at += length


def _fault_in(option: bytes, seen: set[int]) -> int | None:
    kind, length = option[0], option[1]
    fixed = _FIXED.get(kind)
    if fixed is None:
        return None
    if length < fixed:
        return 1
    if kind == _ROUTER_ALERT:
        return None
    if option[2] <= fixed:
        return 2
    if _ONCE[kind] in seen:
        return 0
    seen.add(_ONCE[kind])
    if kind == _TIMESTAMP:
        return _fault_in_timestamp(option)
    # The data of a source route is not checked: only its routers use it.
    return 2 if kind == _RECORD_ROUTE and _has_no_room(option, 4) else None


def _fault_in_timestamp(option: bytes) -> int | None:
    overflow, flag = option[3] >> 4, option[3] & 0xF
    if option[2] > option[1]:
        return 3 if overflow == _OVERFLOWN and flag != _PRESPECIFIED else None
    return 2 if _has_no_room(option, 8 if flag in _WITH_ADDRESS else 4) else None


def _has_no_room(option: bytes, size: int) -> bool:
    """Whether the pointer is within the option, but has less than `size` octets behind it."""
    pointer, length = option[2], option[1]
    return pointer <= length < pointer + size - 1


def reflected(options: bytes, address: Address, time: int) -> bytes:
    """Return the options of the reply to an ICMP request (RFC 1122 section 3.2.2.6).

    Record Route and Timestamp return, in this order. As with Linux the host is recorded twice, as
    the request arrives and as the reply leaves, while there is room.

    Args:
        options: The request's, well-formed.
        address: The address of ours that the request came to.
        time: Milliseconds since midnight UT.
    """
    found = {option[0]: bytearray(option) for _, option in _each(options)}
    stamp = _STAMP.pack(time)
    result = b""
    for kind in (_RECORD_ROUTE, _TIMESTAMP):
        option = found.get(kind)
        if option is not None:
            _record(option, address, stamp, arrives=True)
            _record(option, address, stamp, arrives=False)
            result += option
    return result + bytes(-len(result) & 3)


def _record(option: bytearray, address: Address, stamp: bytes, *, arrives: bool) -> None:
    """Write the host into a Record Route or a Timestamp option, if there is room for it."""
    kind, length, pointer = option[0], option[1], option[2]
    flag = option[3] & 0xF if kind == _TIMESTAMP else 0
    if kind == _RECORD_ROUTE:
        entry = address
    elif flag == 0:
        entry = stamp
    else:
        entry = address + stamp
    if pointer > length:
        # Hosts that found no room are counted, once for each that the packet comes to.
        if kind == _TIMESTAMP and flag != _PRESPECIFIED and arrives:
            option[3] += 1 << 4
        return
    if pointer + len(entry) - 1 > length:
        return
    at = pointer - 1
    if kind == _TIMESTAMP and flag == _PRESPECIFIED and option[at : at + 4] != address:
        return
    option[at : at + len(entry)] = entry
    option[2] = pointer + len(entry)
