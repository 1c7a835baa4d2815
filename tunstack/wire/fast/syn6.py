"""The fast reader of :mod:`~tunstack.wire.fast.syn` for the usual SYN, in an IPv6 packet.

The packet has traffic class 0, any flow label, and no extension headers. A stack asks IPv4's reader
first, which returns at the size of this one's packet, and this one if it returns None.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tunstack.ip.datagram import TCP
from tunstack.tcp.segment import CWR, ECE, SYN, Segment
from tunstack.wire import virtio as vnet
from tunstack.wire.checksum import ones_sum

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer
    from tunstack.wire.fast.syn import NamedSyn

SIZE: Final = 80
"""Octets of the packet: both headers with the options."""

_IP_HEADER: Final = 40
_ADDRESSES_AT: Final = 8
_PORTS_AT: Final = 32
"""Behind both addresses."""
_HEADERS: Final[Struct] = Struct(">IHBx36sIIHHxxHHHIIIHBB")
_VERSION_AND_CLASS: Final = 0x600
_OFFSET_AND_SYN: Final[int] = SIZE - _IP_HEADER << 10 | SYN
_ECN_FLAGS: Final[int] = ECE | CWR
_MSS: Final = 0x0204
_SACK_PERMITTED_TIMESTAMPS: Final = 0x0402080A
_NOP_WINDOW_SCALE: Final = 0x0103
_WINDOW_SCALE_SIZE: Final = 3
_NO_PORT: Final[bytes] = bytes(2)


def read_syn_packet(packet: Buffer) -> NamedSyn | None:
    """Read a packet and verify its checksum; None if it is not such a SYN."""
    if len(packet) != SIZE:
        return None
    if (ones_sum(packet[_ADDRESSES_AT:]) + TCP + SIZE - _IP_HEADER) % 0xFFFF:
        return None
    return _read(packet, 0)


def read_syn_frame(frame: Buffer) -> NamedSyn | None:
    """Read a packet behind a virtio header; None if it is not such a SYN."""
    if len(frame) != SIZE + vnet.SIZE:
        return None
    header = frame[: vnet.SIZE]
    if header == vnet.NEEDS_TCP_CHECKSUM_IPV6:
        return _read(frame, vnet.SIZE)
    return read_syn_packet(frame[vnet.SIZE :]) if header == vnet.NO_OFFLOAD else None


def _read(frame: Buffer, start: int) -> NamedSyn | None:
    (
        first_word,
        payload_length,
        next_header,
        four_tuple,
        seq,
        ack,
        offset_and_flags,
        wnd,
        up,
        mss_option,
        mss,
        sack_and_timestamps,
        ts_val,
        ts_ecr,
        scale_option,
        scale_size,
        wscale,
    ) = _HEADERS.unpack_from(frame, start)
    if (
        first_word >> 20 != _VERSION_AND_CLASS
        or payload_length != SIZE - _IP_HEADER
        or next_header != TCP
        or offset_and_flags & ~_ECN_FLAGS != _OFFSET_AND_SYN
        or mss_option != _MSS
        or sack_and_timestamps != _SACK_PERMITTED_TIMESTAMPS
        or scale_option != _NOP_WINDOW_SCALE
        or scale_size != _WINDOW_SCALE_SIZE
        or four_tuple[_PORTS_AT : _PORTS_AT + 2] == _NO_PORT
        or four_tuple[_PORTS_AT + 2 :] == _NO_PORT
    ):
        return None
    flags = offset_and_flags & 0xFF
    return four_tuple, Segment(seq, ack, flags, wnd, up, b"", mss, wscale, True, (), ts_val, ts_ecr)
