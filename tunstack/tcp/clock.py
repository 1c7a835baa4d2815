"""The timestamp clock (RFC 7323 section 5.4)."""

from __future__ import annotations

from tunstack.tcp.sequence import MASK


def timestamp(now: float, offset: int) -> int:
    """Return TSval: a clock in milliseconds plus the connection's offset."""
    return (int(now * 1000) + offset) & MASK
