"""Sequence number arithmetic, modulo 2**32 (RFC 9293 section 3.4).

Comparisons are valid while the two numbers are less than 2**31 apart, as those within a window are.
The fast path computes ``(a - b) & MASK`` inline where the order is known.
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFF_FFFF
_HALF: Final = 0x8000_0000


def add(seq: int, octets: int) -> int:
    """Return the number `octets` after `seq` (before it, when negative)."""
    return (seq + octets) & MASK


def diff(left: int, right: int) -> int:
    """Return the signed distance from `right` to `left`, in [-2**31, 2**31)."""
    return ((left - right + _HALF) & MASK) - _HALF


def lt(left: int, right: int) -> bool:
    """Whether `left` precedes `right`."""
    return (left - right) & _HALF != 0


def le(left: int, right: int) -> bool:
    """Whether `left` precedes or equals `right`."""
    return (right - left) & _HALF == 0


def gt(left: int, right: int) -> bool:
    """Whether `left` follows `right`."""
    return (right - left) & _HALF != 0


def ge(left: int, right: int) -> bool:
    """Whether `left` follows or equals `right`."""
    return (left - right) & _HALF == 0


def latest(left: int, right: int) -> int:
    """Return the later of the two."""
    return left if (left - right) & _HALF == 0 else right


def within(seq: int, start: int, size: int) -> bool:
    """Whether `seq` is in [start, start + size)."""
    return (seq - start) & MASK < size
