"""Decode and encode UDP headers (RFC 768; RFC 8200 section 8.1)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from tunstack.ip.datagram import UDP, Address, Buffer, Datagram
from tunstack.wire.checksum import ones_sum
from tunstack.wire.discard import Discard, Reason

HEADER_SIZE: Final = 8
"""Octets of the header."""

_HEADER: Final[Struct] = Struct(">HHHH")
_WITHOUT_CHECKSUM: Final[frozenset[int]] = frozenset({4})
"""Octets of the addresses of families in which a checksum of 0 stands for none: IPv4."""
_JUMBOGRAMS: Final[frozenset[int]] = frozenset({16})
"""Of those in which a length of 0 stands for that of the packet (RFC 2675): IPv6, as on Linux."""


def decode_udp(datagram: Datagram) -> tuple[int, int, memoryview]:
    """Parse and validate the UDP datagram that is the payload of a whole IP datagram.

    Octets beyond its length field are dropped, as on Linux.

    Returns:
        The source port, the destination port, and the data, a view.

    Raises:
        Discard: It is truncated, or its length or its checksum is wrong.
    """
    view = memoryview(datagram.payload)
    if len(view) < HEADER_SIZE:
        raise Discard(Reason.TRUNCATED_UDP)
    sport, dport, length, field = _HEADER.unpack_from(view)
    size = len(datagram.src)
    if length == 0 and size in _JUMBOGRAMS:
        length = len(view)
    if length < HEADER_SIZE or length > len(view):
        raise Discard(Reason.BAD_UDP_LENGTH)
    view = view[:length]
    if not datagram.trusted and not (field == 0 and size in _WITHOUT_CHECKSUM):
        pseudo_header = int.from_bytes(datagram.src + datagram.dst, "big") + UDP + length
        if field == 0 or (pseudo_header + ones_sum(view)) % 0xFFFF:
            raise Discard(Reason.BAD_UDP_CHECKSUM)
    return sport, dport, view[HEADER_SIZE:]


def encode_udp(
    src: Address, dst: Address, sport: int, dport: int, data: Buffer, *, partial: bool = False
) -> bytes:
    """Encode the header of a datagram with `data`.

    Args:
        src: Source address.
        dst: Destination address.
        sport: Source port.
        dport: Destination port.
        data: What follows the header; with it at most 65,535 octets.
        partial: Whether the device completes the checksum, and only the pseudo-header's is made.
    """
    length = HEADER_SIZE + len(data)
    total = int.from_bytes(src + dst, "big") + UDP + length
    if partial:
        field = total % 0xFFFF
    else:
        # 0 would mean that there is none (RFC 768).
        field = -(total + sport + dport + length + ones_sum(data)) % 0xFFFF or 0xFFFF
    return _HEADER.pack(sport, dport, length, field)
