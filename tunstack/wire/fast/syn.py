"""A fast reader for the SYN that Linux and most other hosts send.

Its options are MSS, SACK-Permitted, Timestamps, NOP and Window Scale, in this order and no other;
it carries no data, in an IPv4 packet without options that is no fragment. As
:mod:`~tunstack.wire.fast.segment`, it checks everything that the general codec checks, and returns
None for any other packet; the tests compare the two.

With Python 3.11 on one core of a server it takes 1.3 microseconds, dpkt with validation 6.3. A
connection with one small request and its answer, from the SYN to TIME-WAIT, takes the whole stack
92.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.datagram import TCP
from tunstack.tcp.segment import CWR, ECE, SYN, Segment
from tunstack.wire import virtio as vnet
from tunstack.wire.checksum import ones_sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Buffer

NamedSyn: TypeAlias = tuple[bytes, Segment]
"""Source and destination address and ports in the order of the packet, and the SYN."""

SynReader: TypeAlias = "Callable[[Buffer], NamedSyn | None]"

SIZE: Final = 60
"""Octets of the packet: both headers with the options."""

_HEADERS: Final[Struct] = Struct(">HHxxHHxx12sIIHHxxHHHIIIHBB")
_VERSION_AND_TOS: Final = 0x4500
_FRAGMENT: Final = 0xBFFF
"""Mask: flags and fragment offset without DF."""
_OFFSET_AND_SYN: Final[int] = SIZE - 20 << 10 | SYN
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
    pseudo_header = int.from_bytes(packet[12:20], "big") + TCP + SIZE - 20
    if (pseudo_header + ones_sum(packet[20:])) % 0xFFFF:
        return None
    return _read(packet, 0)


def read_syn_frame(frame: Buffer) -> NamedSyn | None:
    """Read a packet behind a virtio header; None if it is not such a SYN."""
    if len(frame) != SIZE + vnet.SIZE:
        return None
    header = frame[: vnet.SIZE]
    if header == vnet.NEEDS_TCP_CHECKSUM:
        return _read(frame, vnet.SIZE)
    return read_syn_packet(frame[vnet.SIZE :]) if header == vnet.NO_OFFLOAD else None


def _read(frame: Buffer, start: int) -> NamedSyn | None:
    (
        version_and_tos,
        total_length,
        fragment,
        ttl_and_protocol,
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
        version_and_tos != _VERSION_AND_TOS
        or total_length != SIZE
        or fragment & _FRAGMENT
        or ttl_and_protocol & 0xFF != TCP
        or offset_and_flags & ~_ECN_FLAGS != _OFFSET_AND_SYN
        or mss_option != _MSS
        or sack_and_timestamps != _SACK_PERMITTED_TIMESTAMPS
        or scale_option != _NOP_WINDOW_SCALE
        or scale_size != _WINDOW_SCALE_SIZE
        or four_tuple[8:10] == _NO_PORT
        or four_tuple[10:] == _NO_PORT
        or int.from_bytes(frame[start : start + 20], "big") % 0xFFFF
    ):
        return None
    flags = offset_and_flags & 0xFF
    return four_tuple, Segment(seq, ack, flags, wnd, up, b"", mss, wscale, True, (), ts_val, ts_ecr)
