"""Cut a large segment into the packets that a wire would carry, as a network card does.

Where segmentation is offloaded, what is behind a virtio header may be many packets in one, and
their checksums may be missing. An impaired path loses and damages packets, so it needs them as they
would be on a wire: TCP over IPv4 and IPv6, and UDP.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tunstack.wire.virtio import SIZE

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer

COMPLETE: Final = bytes(SIZE)
"""The virtio header of a packet to which nothing is left to do."""

_HEADER: Final = Struct("=BBHHHH")
_NEEDS_CHECKSUM: Final = 1
_WITH_CWR: Final = 0x80

_IP_HEADERS: Final = {4: 20, 6: 40}
"""The least of their headers, by the version of IP."""
_CWR: Final = 0x80
_PSH_AND_FIN: Final = 0x08 | 0x01
_TCP_PROTOCOL: Final = 6
_UDP_PROTOCOL: Final = 17
_PROTOCOLS: Final = {16: _TCP_PROTOCOL, 6: _UDP_PROTOCOL}
"""By where its checksum stands in its header."""
_KINDS: Final = {1: _TCP_PROTOCOL, 4: _TCP_PROTOCOL, 5: _UDP_PROTOCOL}
"""By the kind of segmentation that a virtio header asks for."""


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

    They are behind virtio headers as it is, and stand for the same packets.
    """
    count, octets = wire_size(frame)
    cut = _read_cut(frame)
    if cut is None or count == 1 or octets <= most:
        return [frame]
    data, size = cut
    each = max(most // (data + size), 1)
    view = memoryview(frame)
    flags, kind, hdr_len, _, start, offset = _HEADER.unpack_from(view)
    headers, rest = view[SIZE:][:data], view[SIZE + data :]
    pieces: list[Buffer] = []
    for first in range(0, count, each):
        payload = rest[first * size : (first + each) * size]
        single = len(payload) <= size
        vnet = (flags, 0, hdr_len, 0) if single else (flags, kind, hdr_len, size)
        piece = bytearray(headers) + payload
        ahead = first * size if _PROTOCOLS[offset] == _TCP_PROTOCOL else None
        _fit(piece, first, start, ahead, last=first + each >= count)
        field = slice(start + offset, start + offset + 2)
        total = _sum_pseudo(piece, start, offset) % 0xFFFF
        piece[field] = total.to_bytes(2, "big")
        pieces.append(_HEADER.pack(*vnet, start, offset) + piece)
    return pieces


def packets(frame: Buffer) -> list[bytes]:
    """Return the packets that `frame` stands for, complete, without virtio headers.

    What is not understood is left as it is: it is for whoever gets it to drop it.
    """
    view = memoryview(frame)
    if len(view) < SIZE:
        return [bytes(view)]
    flags, _, _, _, start, offset = _HEADER.unpack_from(view)
    packet = view[SIZE:]
    if not flags & _NEEDS_CHECKSUM or start + offset + 2 > len(packet):
        return [bytes(packet)]
    cut = _read_cut(view)
    if cut is None:
        whole = bytearray(packet)
        _fill_in(whole, start, offset)
        return [bytes(whole)]
    data, size = cut
    is_tcp = _PROTOCOLS[offset] == _TCP_PROTOCOL
    pieces = []
    for number, begin in enumerate(range(data, len(packet), size)):
        piece = bytearray(packet[:data]) + packet[begin : begin + size]
        last = begin + size >= len(packet)
        _fit(piece, number, start, number * size if is_tcp else None, last=last)
        _fill_in(piece, start, offset, pseudo=True)
        pieces.append(bytes(piece))
    return pieces or [bytes(packet)]


def _read_cut(frame: Buffer) -> tuple[int, int] | None:
    """Where the data to be cut begins in the packet, and the size of a piece; None if it is not.

    It is not where that is not asked for, and where the packet is none that can be understood.
    """
    if len(frame) < SIZE:
        return None
    flags, kind, _, size, start, offset = _HEADER.unpack_from(frame)
    end = SIZE + start
    protocol = _KINDS.get(kind & ~_WITH_CWR)
    if not (size and flags & _NEEDS_CHECKSUM) or _PROTOCOLS.get(offset) != protocol:
        return None
    if end + offset + 2 > len(frame):
        return None
    if start < _IP_HEADERS.get(frame[SIZE] >> 4, len(frame)):
        return None
    return start + ((frame[end + 12] >> 4) * 4 if protocol == _TCP_PROTOCOL else 8), size


def _fit(piece: bytearray, number: int, start: int, ahead: int | None, *, last: bool) -> None:
    """Make the headers those of the piece: lengths, identification, and of TCP seq and flags."""
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


def _fill_in(packet: bytearray, start: int, offset: int, *, pseudo: bool = False) -> None:
    """Put in the checksum; its field holds the sum of the pseudo-header, or that is taken anew."""
    field = slice(start + offset, start + offset + 2)
    total = 0
    if pseudo:
        packet[field] = b"\0\0"
        total = _sum_pseudo(packet, start, offset)
    rest = packet[start:] + bytes(len(packet) - start & 1)
    total += int.from_bytes(rest, "big")
    packet[field] = (-total % 0xFFFF or 0xFFFF).to_bytes(2, "big")


def _sum_pseudo(packet: bytearray, start: int, offset: int) -> int:
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    return int.from_bytes(addresses, "big") + _PROTOCOLS[offset] + len(packet) - start


__all__ = ["COMPLETE", "frames", "packets", "wire_size"]
