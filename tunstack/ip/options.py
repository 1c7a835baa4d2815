"""The options in an IPv4 header: whether they are well formed (RFC 791 section 3.1, RFC 2113).

None of them is acted upon (RFC 1122 section 3.2.1.8): a route is not followed, nothing is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER: Final = 20
"""Octets before the options."""

_END: Final = 0
_NOTHING: Final = 1
_RECORD_ROUTE: Final = 7
_TIMESTAMP: Final = 68
_LOOSE_ROUTE: Final = 131
_STRICT_ROUTE: Final = 137
_ROUTER_ALERT: Final = 148

_FIXED: Final = {
    _RECORD_ROUTE: 3,
    _LOOSE_ROUTE: 3,
    _STRICT_ROUTE: 3,
    _TIMESTAMP: 4,
    _ROUTER_ALERT: 4,
}
"""How many octets each begins with; what follows them is data, to which the third points."""

_ONCE: Final = {
    _RECORD_ROUTE: _RECORD_ROUTE,
    _TIMESTAMP: _TIMESTAMP,
    _LOOSE_ROUTE: _LOOSE_ROUTE,
    _STRICT_ROUTE: _LOOSE_ROUTE,
}
"""Of which there may be one; of both kinds of source route together."""

_ADDRESS_TOO: Final = frozenset({1, 3})
"""Flags of a timestamp option whose entries have an address each."""
_PRESPECIFIED: Final = 3
_OVERFLOWN: Final = 15


def fault(options: bytes) -> int | None:
    """Return which octet of the header is wrong, as a parameter problem points to it; or None.

    What it is that is wrong is decided as on Linux, which does not look into what it does not know.
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
    """All of more than one octet, and where they begin; the last is empty if it has no end."""
    at, size = 0, len(options)
    while at < size and options[at] != _END:
        if options[at] == _NOTHING:
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
    # The data of a source route is for who follows it.
    return 2 if kind == _RECORD_ROUTE and _has_no_room(option, 4) else None


def _fault_in_timestamp(option: bytes) -> int | None:
    overflow, flag = option[3] >> 4, option[3] & 0xF
    if option[2] > option[1]:
        return 3 if overflow == _OVERFLOWN and flag != _PRESPECIFIED else None
    return 2 if _has_no_room(option, 8 if flag in _ADDRESS_TOO else 4) else None


def _has_no_room(option: bytes, size: int) -> bool:
    """Whether the pointer is within the option, but an entry of `size` octets there is not."""
    pointer, length = option[2], option[1]
    return pointer <= length < pointer + size - 1
