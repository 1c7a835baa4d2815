"""Software GSO: segment a large TCP or UDP packet into the packets that a wire would carry.

With segmentation offloaded, a packet behind a virtio header may stand for many, with partial
checksums. An impaired path drops and corrupts single packets, so it segments them first: TCP and
UDP over IPv4 and IPv6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.wire.virtio import (
    GSO_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    HEADER,
    NEEDS_CHECKSUM,
    SIZE,
    TCP_CHECKSUM,
    UDP_CHECKSUM,
    fill_in_checksum,
)

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer

_IP_HEADERS: Final = {4: 20, 6: 40}
"""Octets of the smallest header, by the version of IP."""
_CWR: Final = 0x80
_PSH_AND_FIN: Final = 0x08 | 0x01
_TCP_PROTOCOL: Final = 6
_UDP_PROTOCOL: Final = 17
_PROTOCOLS: Final = {TCP_CHECKSUM: _TCP_PROTOCOL, UDP_CHECKSUM: _UDP_PROTOCOL}
"""The protocol by csum_offset."""
_GSO_PROTOCOLS: Final = {
    GSO_TCPV4: _TCP_PROTOCOL,
    GSO_TCPV6: _TCP_PROTOCOL,
    GSO_UDP_L4: _UDP_PROTOCOL,
}
"""The protocol by gso_type, of what can be segmented here."""


def wire_size(frame: Buffer) -> tuple[int, int]:
    """Return how many packets a wire would carry for `frame`, and how many octets they have.

    The same as cutting it by :func:`packets` and adding up, without touching the data.
    """
    whole = max(len(frame) - SIZE, 0)
    cut = _read_cut(frame)
    if cut is None:
        return 1, whole if len(frame) >= SIZE else len(frame)
    headers, size = cut
    count = max(-((headers - whole) // size), 1)
    return count, whole + (count - 1) * headers


def frames(frame: Buffer, most: int) -> list[Buffer]:
    """Cut `frame` into frames that take at most `most` octets on a wire, or are one packet each.

    Each has a virtio header of its own; together they stand for the same packets.
    """
    count, octets = wire_size(frame)
    cut = _read_cut(frame)
    if cut is None or count == 1 or octets <= most:
        return [frame]
    data, size = cut
    each = max(most // (data + size), 1)
    view = memoryview(frame)
    flags, kind, hdr_len, _, start, offset = HEADER.unpack_from(view)
    headers, rest = view[SIZE:][:data], view[SIZE + data :]
    pieces: list[Buffer] = []
    for first in range(0, count, each):
        payload = rest[first * size : (first + each) * size]
        single = len(payload) <= size
        vnet = (flags, 0, hdr_len, 0) if single else (flags, kind, hdr_len, size)
        piece = bytearray(headers) + payload
        ahead = first * size if _PROTOCOLS[offset] == _TCP_PROTOCOL else None
        _fit(piece, first, start, ahead, last=first + each >= count)
        _put_pseudo_header_sum(piece, start, offset)
        pieces.append(HEADER.pack(*vnet, start, offset) + piece)
    return pieces


def packets(frame: Buffer) -> list[bytes]:
    """Segment a frame: return its packets with checksums, without virtio headers.

    A frame that cannot be parsed is returned as one packet, unchanged, for its receiver to drop.
    """
    view = memoryview(frame)
    if len(view) < SIZE:
        return [bytes(view)]
    flags, _, _, _, start, offset = HEADER.unpack_from(view)
    packet = view[SIZE:]
    if not flags & NEEDS_CHECKSUM or start + offset + 2 > len(packet):
        return [bytes(packet)]
    cut = _read_cut(view)
    if cut is None:
        whole = bytearray(packet)
        fill_in_checksum(whole, start, offset)
        return [bytes(whole)]
    data, size = cut
    is_tcp = _PROTOCOLS[offset] == _TCP_PROTOCOL
    pieces = []
    for number, begin in enumerate(range(data, len(packet), size)):
        piece = bytearray(packet[:data]) + packet[begin : begin + size]
        last = begin + size >= len(packet)
        _fit(piece, number, start, number * size if is_tcp else None, last=last)
        _put_pseudo_header_sum(piece, start, offset)
        fill_in_checksum(piece, start, offset)
        pieces.append(bytes(piece))
    return pieces or [bytes(packet)]


def _read_cut(frame: Buffer) -> tuple[int, int] | None:
    """Return where the payload begins in the packet, and gso_size; None if it is not segmented.

    That is a frame that asks for no segmentation, and one that cannot be parsed.
    """
    if len(frame) < SIZE:
        return None
    flags, kind, _, size, start, offset = HEADER.unpack_from(frame)
    end = SIZE + start
    protocol = _GSO_PROTOCOLS.get(kind & ~GSO_ECN)
    if not (size and flags & NEEDS_CHECKSUM) or _PROTOCOLS.get(offset) != protocol:
        return None
    if end + offset + 2 > len(frame):
        return None
    if start < _IP_HEADERS.get(frame[SIZE] >> 4, len(frame)):
        return None
    return start + ((frame[end + 12] >> 4) * 4 if protocol == _TCP_PROTOCOL else 8), size


def _fit(piece: bytearray, number: int, start: int, ahead: int | None, *, last: bool) -> None:
    """Adapt the copied headers to the segment: lengths, identification, and TCP's seq and flags."""
    if piece[0] >> 4 == 4:
        piece[2:4] = len(piece).to_bytes(2, "big")
        piece[4:6] = (int.from_bytes(piece[4:6], "big") + number & 0xFFFF).to_bytes(2, "big")
        piece[10:12] = b"\0\0"
        piece[10:12] = (-int.from_bytes(piece[:start], "big") % 0xFFFF).to_bytes(2, "big")
    else:
        piece[4:6] = (len(piece) - 40).to_bytes(2, "big")
    if ahead is None:
        piece[start + 4 : start + 6] = (len(piece) - start).to_bytes(2, "big")
        return
    seq = int.from_bytes(piece[start + 4 : start + 8], "big") + ahead & 0xFFFFFFFF
    piece[start + 4 : start + 8] = seq.to_bytes(4, "big")
    if not last:
        piece[start + 13] &= ~_PSH_AND_FIN & 0xFF
    if ahead:
        piece[start + 13] &= ~_CWR & 0xFF


def _put_pseudo_header_sum(packet: bytearray, start: int, offset: int) -> None:
    """Put the sum of the pseudo-header, folded, into the checksum field (RFC 9293 section 3.1)."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    total = int.from_bytes(addresses, "big") + _PROTOCOLS[offset] + len(packet) - start
    packet[start + offset : start + offset + 2] = (total % 0xFFFF).to_bytes(2, "big")


__all__ = ["frames", "packets", "wire_size"]
