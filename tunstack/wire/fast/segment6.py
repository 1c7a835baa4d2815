"""The fast reader and the header template of :mod:`~tunstack.wire.fast.segment`, for IPv6.

They apply to segments with timestamps and no other option, without URG, in an IPv6 packet of
traffic class 0 without extension headers, of any flow label. The fields are the same, but for the
addresses' length; the data is at `HEADERS`. A stack asks IPv4's reader first, and this one if it
returns None, so that IPv4 costs no more; IPv6 costs a failed look at the version more.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tunstack.ip.datagram import TCP
from tunstack.tcp.segment import URG
from tunstack.wire import virtio as vnet
from tunstack.wire.checksum import ones_sum
from tunstack.wire.fast import segment

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address, Buffer
    from tunstack.wire.fast.segment import Fields

HEADERS: Final = 72
"""Octets of both headers with the timestamps."""

_IP_HEADER: Final = 40
_ADDRESSES_AT: Final = 8
_READ: Final[Struct] = Struct(">IHBx36sIIHHxxxxIII")
_WRITE_PACKET: Final[Struct] = Struct(">4sHH36sIIHHH6sII")
_WRITE_FRAME: Final[Struct] = Struct(">14sHH36sIIHHH6sII")
_VERSION: Final = 6 << 28
_VERSION_AND_CLASS: Final[int] = _VERSION >> 20
_OFFSET: Final[int] = HEADERS - _IP_HEADER << 10
_OFFSET_AND_URG: Final[int] = 0xFC00 | URG
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A
_UP_AND_OPTION: Final[bytes] = _NOP_NOP_TIMESTAMPS.to_bytes(6, "big")


def read(frame: Buffer, start: int) -> Fields | None:
    """Read a packet; None if this reader does not apply, or the checksum is wrong.

    `start` is where the packet begins: at 0, or behind a virtio header.
    """
    size = len(frame) - start
    if size < HEADERS:
        return None
    (
        first_word,
        payload_length,
        next_header,
        four_tuple,
        seq,
        ack,
        offset_and_flags,
        wnd,
        option,
        ts_val,
        ts_ecr,
    ) = _READ.unpack_from(frame, start)
    if (
        first_word >> 20 != _VERSION_AND_CLASS
        or payload_length + _IP_HEADER != size
        or next_header != TCP
        or offset_and_flags & _OFFSET_AND_URG != _OFFSET
        or option != _NOP_NOP_TIMESTAMPS
        or (frame[:start] != vnet.NEEDS_TCP_CHECKSUM_IPV6 and not _is_intact(frame, start))
    ):
        return None
    return four_tuple, seq, ack, offset_and_flags & 0xFF, wnd, ts_val, ts_ecr


def _is_intact(frame: Buffer, start: int) -> bool:
    """Whether the checksum is right, or the virtio header says that it was never computed."""
    if start:
        if vnet.is_large_segment_ipv6(frame):
            return True
        if frame[:start] != vnet.NO_OFFLOAD:
            return False
        frame = memoryview(frame)[start:]
    # Behind the hop limit are the addresses, of the pseudo-header, and the segment.
    total = ones_sum(frame[_ADDRESSES_AT:]) + TCP + len(frame) - _IP_HEADER
    return total % 0xFFFF == 0


class Template(segment.Template):
    """The constant part of the headers of one connection's segments, with a partial checksum."""

    __slots__ = ("_next_header_and_hop_limit",)

    def __init__(
        self,
        local: Address,
        remote: Address,
        ports: bytes,
        *,
        offload: bool,
        ttl: int = 64,
        tos: int = 0,
        flow_label: int = 0,
    ) -> None:
        """Prepare the headers of a connection.

        Args:
            local: Our address.
            remote: The peer's.
            ports: Ours and the peer's, as in the header.
            offload: Whether a virtio header precedes, and the checksum is left to the device.
            ttl: Hop limit.
            tos: The traffic class: the DSCP and ECN octet.
            flow_label: 20 bits (RFC 6437).
        """
        super().__init__(local, remote, ports, offload=offload, ttl=ttl, tos=tos)
        first_word = _VERSION | tos << 20 | flow_label
        self._start = (vnet.NEEDS_TCP_CHECKSUM_IPV6 if offload else b"") + first_word.to_bytes(
            4, "big"
        )
        self._pack = _WRITE_FRAME.pack if offload else _WRITE_PACKET.pack
        self._next_header_and_hop_limit = TCP << 8 | ttl

    def headers(
        self,
        seq: int,
        ack: int,
        flags: int,
        wnd: int,
        ts_val: int,
        ts_ecr: int,
        payload: Buffer,
        gso_size: int = 0,
    ) -> bytes:
        """Return the headers of a segment that carries `payload`."""
        size = len(payload)
        offset_and_flags = _OFFSET | flags
        field = self._pseudo_header + size
        if not self._offload:
            field += seq + ack + offset_and_flags + wnd + _NOP_NOP_TIMESTAMPS + ts_val + ts_ecr
            field = -(field + ones_sum(payload))
        start = self._start
        if gso_size and self._offload:
            start = vnet.large_segment_ipv6(HEADERS, gso_size, cwr=False) + start[vnet.SIZE :]
        return self._pack(
            start,
            HEADERS - _IP_HEADER + size,
            self._next_header_and_hop_limit,
            self._four_tuple,
            seq,
            ack,
            offset_and_flags,
            wnd,
            field % 0xFFFF,
            _UP_AND_OPTION,
            ts_val,
            ts_ecr,
        )
