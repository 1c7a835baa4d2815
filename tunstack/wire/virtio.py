"""The header before each packet where segmentation and checksums are offloaded.

It is struct virtio_net_hdr (linux/virtio_net.h; virtio 1.2 section 5.1.6), ten octets in the
processor's order: what the kernel left undone in the packet that it hands over, and what we leave
to it in one that we hand over.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from sys import byteorder
from typing import TYPE_CHECKING, Final

from tunstack.wire.discard import Discard, Reason

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer

HEADER: Final = Struct("=BBHHHH")
"""flags, gso_type, hdr_len, gso_size, csum_start, csum_offset."""
SIZE: Final = HEADER.size

_NEEDS_CHECKSUM: Final = 1
_DATA_VALID: Final = 2
_TCP_V4: Final = 1
_KINDS: Final = frozenset({_TCP_V4, 3, 4, 5})
"""TCP over IPv4, UDP that is to be fragmented, TCP over IPv6, UDP that is to be segmented."""
_WITH_CWR: Final = 0x80
_IP_HEADER: Final = 20
_TCP_CHECKSUM: Final = 16

NOTHING: Final = bytes(SIZE)
"""The header of a packet that is complete, as one that a wire brought."""
NEEDS_TCP_CHECKSUM: Final = HEADER.pack(_NEEDS_CHECKSUM, 0, 0, 0, _IP_HEADER, _TCP_CHECKSUM)
"""That of one TCP segment in an IPv4 packet without options, whose checksum is left out."""

_CHECKSUM_FIELD: Final = NEEDS_TCP_CHECKSUM[6:]


def decode_vnet(frame: Buffer) -> tuple[memoryview, bool, int]:
    """Take the header off a frame.

    Returns:
        The packet, a view; whether its transport checksum need not be verified, as it never was on
        a wire; and the octets of data in each of the segments that it stands for, 0 if it is one.

    Raises:
        Discard: the header is cut short, or says what cannot be.
    """
    view = memoryview(frame)
    packet = view[SIZE:]
    if view[:SIZE] == NEEDS_TCP_CHECKSUM and len(packet) >= _IP_HEADER + 20:
        return packet, True, 0
    if len(view) < SIZE:
        raise Discard(Reason.TRUNCATED)
    flags, kind, _, gso_size, start, offset = HEADER.unpack_from(view)
    needs_checksum = flags & _NEEDS_CHECKSUM != 0
    if needs_checksum and start + offset + 2 > len(packet):
        raise Discard(Reason.BAD_VNET_HEADER)
    if kind:
        if kind & ~_WITH_CWR not in _KINDS or not gso_size:
            raise Discard(Reason.BAD_VNET_HEADER)
    else:
        gso_size = 0
    return packet, needs_checksum or flags & _DATA_VALID != 0, gso_size


def is_large_segment(frame: Buffer) -> bool:
    """Tell whether the header is that of many segments of TCP over IPv4 in one."""
    return (
        len(frame) > SIZE
        and frame[0] == _NEEDS_CHECKSUM
        and frame[1] & ~_WITH_CWR == _TCP_V4
        and frame[6:SIZE] == _CHECKSUM_FIELD
        and frame[4:6] != b"\0\0"
    )


def read_gso_size(frame: Buffer) -> int:
    """Return the octets of data in each of the segments that a frame stands for; 0 if it is one."""
    return int.from_bytes(frame[4:6], byteorder) if frame[1] else 0


@lru_cache(maxsize=256)
def large_segment(header_length: int, gso_size: int, *, cwr: bool) -> bytes:
    """Make the header of a large TCP segment in an IPv4 packet without options.

    Args:
        header_length: Octets before the data, those of IP and TCP.
        gso_size: How much data goes into each segment that it is cut into.
        cwr: Whether it has CWR, which is for the first of them alone (RFC 3168 section 6.1.2).
    """
    kind = _TCP_V4 | (_WITH_CWR if cwr else 0)
    return HEADER.pack(_NEEDS_CHECKSUM, kind, header_length, gso_size, _IP_HEADER, _TCP_CHECKSUM)


def completed(frame: Buffer) -> bytes:
    """Return the packet behind the header with its checksum filled in, for those who look at it."""
    view = memoryview(frame)
    packet = bytearray(view[SIZE:])
    if len(view) < SIZE:
        return bytes(packet)
    flags, _, _, _, start, offset = HEADER.unpack_from(view)
    if flags & _NEEDS_CHECKSUM and start + offset + 2 <= len(packet):
        # What stands in the field is the sum of the pseudo-header.
        rest = packet[start:] + bytes(len(packet) - start & 1)
        field = -int.from_bytes(rest, "big") % 0xFFFF
        if not field and offset != _TCP_CHECKSUM:
            field = 0xFFFF  # In UDP alone a 0 says that there is none (RFC 768).
        packet[start + offset : start + offset + 2] = field.to_bytes(2, "big")
    return bytes(packet)
