"""The virtio-net header, for segmentation and checksum offload.

It is struct virtio_net_hdr (linux/virtio_net.h; virtio 1.2 section 5.1.6), ten octets in the
processor's order: what the kernel left undone in the packet that it hands over, and what we leave
to it in one that we hand over.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from sys import byteorder
from typing import TYPE_CHECKING, Final

from tunstack.wire.checksum import ones_sum
from tunstack.wire.discard import Discard, Reason

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer

HEADER: Final = Struct("=BBHHHH")
"""flags, gso_type, hdr_len, gso_size, csum_start, csum_offset."""
SIZE: Final = HEADER.size
"""Octets of the header: `tunstack.link.base.VNET_HEADER_SIZE`, for those who parse it."""

# flags (VIRTIO_NET_HDR_F_*)
NEEDS_CHECKSUM: Final = 1
DATA_VALID: Final = 2

# gso_type (VIRTIO_NET_HDR_GSO_*)
GSO_TCPV4: Final = 1
GSO_UDP: Final = 3
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5
GSO_ECN: Final = 0x80
"""A flag besides the type: only the first segment keeps CWR."""
_GSO_TYPES: Final = frozenset({GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4})

# csum_offset
TCP_CHECKSUM: Final = 16
UDP_CHECKSUM: Final = 6

_IPV4_HEADER: Final = 20
_IPV6_HEADER: Final = 40
_UDP_HEADER: Final = 8

NO_OFFLOAD: Final = bytes(SIZE)
"""The header of a packet of one segment with its checksum."""
NEEDS_TCP_CHECKSUM: Final = HEADER.pack(NEEDS_CHECKSUM, 0, 0, 0, _IPV4_HEADER, TCP_CHECKSUM)
"""The header of one TCP segment in an IPv4 packet without options, with a partial checksum."""
NEEDS_UDP_CHECKSUM: Final = HEADER.pack(NEEDS_CHECKSUM, 0, 0, 0, _IPV4_HEADER, UDP_CHECKSUM)
"""That of one UDP datagram in an IPv4 packet without options, whose checksum is left out."""
NEEDS_TCP_CHECKSUM_IPV6: Final = HEADER.pack(NEEDS_CHECKSUM, 0, 0, 0, _IPV6_HEADER, TCP_CHECKSUM)
"""That of one TCP segment in an IPv6 packet without extension headers."""
NEEDS_UDP_CHECKSUM_IPV6: Final = HEADER.pack(NEEDS_CHECKSUM, 0, 0, 0, _IPV6_HEADER, UDP_CHECKSUM)
"""The same of one UDP datagram."""

_CHECKSUM_FIELD: Final = NEEDS_TCP_CHECKSUM[6:]
_CHECKSUM_FIELD_IPV6: Final = NEEDS_TCP_CHECKSUM_IPV6[6:]
_UDP_CHECKSUM_FIELDS: Final = frozenset({NEEDS_UDP_CHECKSUM[6:], NEEDS_UDP_CHECKSUM_IPV6[6:]})


def decode_vnet(frame: Buffer) -> tuple[memoryview, bool, int]:
    """Parse and remove the header of a frame.

    Returns:
        The packet, a view; whether its transport checksum need not be verified, as it never was on
        a wire; and the octets of data in each of the segments that it stands for, 0 if it is one.

    Raises:
        Discard: The header is truncated or invalid.
    """
    view = memoryview(frame)
    packet = view[SIZE:]
    if view[:SIZE] == NEEDS_TCP_CHECKSUM and len(packet) >= _IPV4_HEADER + 20:
        return packet, True, 0
    if len(view) < SIZE:
        raise Discard(Reason.TRUNCATED)
    flags, kind, _, gso_size, start, offset = HEADER.unpack_from(view)
    needs_checksum = flags & NEEDS_CHECKSUM != 0
    if needs_checksum and start + offset + 2 > len(packet):
        raise Discard(Reason.BAD_VNET_HEADER)
    if kind:
        if kind & ~GSO_ECN not in _GSO_TYPES or not gso_size:
            raise Discard(Reason.BAD_VNET_HEADER)
    else:
        gso_size = 0
    return packet, needs_checksum or flags & DATA_VALID != 0, gso_size


def is_large_segment(frame: Buffer) -> bool:
    """Whether the header is that of a large TCP segment over IPv4 (GSO)."""
    return (
        len(frame) > SIZE
        and frame[0] == NEEDS_CHECKSUM
        and frame[1] & ~GSO_ECN == GSO_TCPV4
        and frame[6:SIZE] == _CHECKSUM_FIELD
        and frame[4:6] != b"\0\0"
    )


def is_large_segment_ipv6(frame: Buffer) -> bool:
    """Tell whether the header is that of many segments of TCP over IPv6 in one."""
    return (
        len(frame) > SIZE
        and frame[0] == NEEDS_CHECKSUM
        and frame[1] & ~GSO_ECN == GSO_TCPV6
        and frame[6:SIZE] == _CHECKSUM_FIELD_IPV6
        and frame[4:6] != b"\0\0"
    )


def is_large_udp(frame: Buffer) -> bool:
    """Tell whether the header is that of many datagrams of UDP in one (USO)."""
    return (
        len(frame) > SIZE
        and frame[0] == NEEDS_CHECKSUM
        and frame[1] == GSO_UDP_L4
        and bytes(frame[6:SIZE]) in _UDP_CHECKSUM_FIELDS
        and frame[4:6] != b"\0\0"
    )


def read_gso_size(frame: Buffer) -> int:
    """Return gso_size, the octets of data per segment of a large frame; else 0."""
    return int.from_bytes(frame[4:6], byteorder) if frame[1] else 0


@lru_cache(maxsize=256)
def large_segment(header_length: int, gso_size: int, *, cwr: bool) -> bytes:
    """Encode the header of a large TCP segment in an IPv4 packet without options.

    Args:
        header_length: Octets before the data, those of IP and TCP.
        gso_size: How much data goes into each segment that it is cut into.
        cwr: Whether it has CWR, which is for the first of them alone (RFC 3168 section 6.1.2).
    """
    kind = GSO_TCPV4 | (GSO_ECN if cwr else 0)
    return HEADER.pack(NEEDS_CHECKSUM, kind, header_length, gso_size, _IPV4_HEADER, TCP_CHECKSUM)


@lru_cache(maxsize=256)
def large_segment_ipv6(header_length: int, gso_size: int, *, cwr: bool) -> bytes:
    """Make the header of a large TCP segment in an IPv6 packet without extension headers."""
    kind = GSO_TCPV6 | (GSO_ECN if cwr else 0)
    return HEADER.pack(NEEDS_CHECKSUM, kind, header_length, gso_size, _IPV6_HEADER, TCP_CHECKSUM)


@lru_cache(maxsize=256)
def large_udp(header_length: int, gso_size: int) -> bytes:
    """Make the header of many UDP datagrams in one packet without options (USO).

    Args:
        header_length: Octets before the data, those of IP and UDP.
        gso_size: Octets of data in each of them, but the last.
    """
    start = header_length - _UDP_HEADER
    return HEADER.pack(NEEDS_CHECKSUM, GSO_UDP_L4, header_length, gso_size, start, UDP_CHECKSUM)


def completed(frame: Buffer) -> bytes:
    """Return the packet of a frame with its checksum, not segmented; for taps and captures."""
    view = memoryview(frame)
    packet = bytearray(view[SIZE:])
    if len(view) < SIZE:
        return bytes(packet)
    flags, _, _, _, start, offset = HEADER.unpack_from(view)
    if flags & NEEDS_CHECKSUM and start + offset + 2 <= len(packet):
        # As without offload: a checksum of 0 is written as 0xFFFF in UDP only (RFC 768).
        fill_in_checksum(packet, start, offset, zero=0 if offset == TCP_CHECKSUM else 0xFFFF)
    return bytes(packet)


def fill_in_checksum(packet: bytearray, start: int, offset: int, *, zero: int = 0xFFFF) -> None:
    """Complete a partial transport checksum, as Linux's skb_checksum_help does.

    Args:
        packet: The packet, whose checksum field holds the sum of the pseudo-header.
        start: csum_start: where the transport header begins.
        offset: csum_offset: where the field is in that header.
        zero: The value for a checksum of 0, which in UDP would mean that there is none (RFC 768);
            Linux writes 0xFFFF for every protocol (CSUM_MANGLED_0).
    """
    value = -ones_sum(packet[start:]) % 0xFFFF or zero
    packet[start + offset : start + offset + 2] = value.to_bytes(2, "big")
