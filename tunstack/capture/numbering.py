"""Relative sequence numbers that do not wrap, and scaled windows, of one TCP connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.tcp.segment import ACK, RST, SYN

if TYPE_CHECKING:
    from tunstack.ladder.packets import Endpoint
    from tunstack.tcp.segment import Segment

_MODULUS: Final = 1 << 32
_MAX_SHIFT: Final = 14  # RFC 7323 section 2.3


class Numbering:
    """Counts the octets of both directions."""

    def __init__(self) -> None:
        self._origins: dict[Endpoint, int] = {}
        self._highest: dict[Endpoint, int] = {}
        self._scales: dict[Endpoint, int | None] = {}

    def record(self, source: Endpoint, destination: Endpoint, segment: Segment) -> None:
        """Take note of a segment's SYN, or of the first octet seen without one."""
        if segment.flags & SYN:
            self._origins.setdefault(source, segment.seq)
            self._scales[source] = segment.wscale
        elif not segment.flags & RST:
            self._origins.setdefault(source, segment.seq - 1)
        if segment.flags & ACK:
            self._origins.setdefault(destination, segment.ack - 1)

    def position(self, sender: Endpoint, number: int) -> int:
        """The relative number of an octet of `sender`, the nearest to the highest sent."""
        origin = self._origins.get(sender)
        if origin is None:
            return 0
        highest = self._highest.get(sender, 0)
        distance = (number - origin - highest) % _MODULUS
        if distance >= _MODULUS >> 1:
            distance -= _MODULUS
        return highest + distance

    def is_new(self, sender: Endpoint, end: int) -> bool:
        """Whether the octets up to `end` are more than `sender` sent before; now they are not."""
        if end <= self._highest.get(sender, 0):
            return False
        self._highest[sender] = end
        return True

    def window(self, source: Endpoint, segment: Segment) -> int:
        """The window in octets, scaled if both SYNs were seen (RFC 7323 section 2.2)."""
        scales = self._scales.values()
        if segment.flags & SYN or len(scales) < 2 or None in scales:
            return segment.wnd
        return segment.wnd << min(self._scales[source] or 0, _MAX_SHIFT)
