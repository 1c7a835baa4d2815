"""A fast reader and a header template for segments with timestamps and no other option.

They apply to nearly every segment: without URG, in an IPv4 packet without options that is no
fragment. The reader checks everything that :func:`~tunstack.wire.ip.decode_datagram` and
:func:`~tunstack.wire.tcp.decode_segment` check, and unpacks both headers at once; for any other
packet, or a malformed one, it returns None, and the general codec decodes it. The tests compare the
two on every input that this one accepts. Only port 0 is accepted here: no connection has it.

With Python 3.11 on one core of a server the reader takes 1.1 microseconds, dpkt with validation 8.
With dpkt alone the stack answered 11,800 small requests a second on 16 connections; with this
reader, header prediction and the fast path for answers 28,000, where trio over kernel sockets had
37,000 to 48,000.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.datagram import TCP
from tunstack.tcp.segment import URG
from tunstack.wire import virtio as vnet
from tunstack.wire.checksum import ones_sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Address, Buffer

Fields: TypeAlias = tuple[bytes, int, int, int, int, int, int]
"""Addresses and ports as in the packet, SEG.SEQ, SEG.ACK, control bits, SEG.WND, TSval, TSecr."""

Reader: TypeAlias = "Callable[[Buffer], Fields | None]"

HEADERS: Final = 52
"""Octets of both headers with the timestamps."""

_READ: Final[Struct] = Struct(">HHxxIxx12sIIHHxxxxIII")
_WRITE: Final[Struct] = Struct(">HHHHHH12sIIHHHHIII")
_VERSION_AND_TOS: Final = 0x4500
_FRAGMENT_AND_PROTOCOL: Final = 0xBFFF00FF
"""Mask: flags and fragment offset without DF; the protocol without the TTL."""
_DONT_FRAGMENT: Final = 0x4000
_OFFSET: Final[int] = HEADERS - 20 << 10
_OFFSET_AND_URG: Final[int] = 0xFC00 | URG
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A


def read_packet(packet: Buffer) -> Fields | None:
    """Read a packet and verify its checksum; None if this reader does not apply."""
    fields = _read(packet, 0)
    if fields is not None:
        pseudo_header = int.from_bytes(packet[12:20], "big") + TCP + len(packet) - 20
        if (pseudo_header + ones_sum(packet[20:])) % 0xFFFF:
            return None
    return fields


def read_frame(frame: Buffer) -> Fields | None:
    """Read a packet behind a virtio header; None if this reader does not apply."""
    header = frame[: vnet.SIZE]
    if header == vnet.NEEDS_TCP_CHECKSUM or vnet.is_large_segment(frame):
        return _read(frame, vnet.SIZE)
    return read_packet(memoryview(frame)[vnet.SIZE :]) if header == vnet.NO_OFFLOAD else None


def _read(frame: Buffer, start: int) -> Fields | None:
    size = len(frame) - start
    if size < HEADERS:
        return None
    (
        version_and_tos,
        total_length,
        fragment_and_protocol,
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
        version_and_tos != _VERSION_AND_TOS
        or total_length != size
        or fragment_and_protocol & _FRAGMENT_AND_PROTOCOL != TCP
        or offset_and_flags & _OFFSET_AND_URG != _OFFSET
        or option != _NOP_NOP_TIMESTAMPS
        or int.from_bytes(frame[start : start + 20], "big") % 0xFFFF
    ):
        return None
    return four_tuple, seq, ack, offset_and_flags & 0xFF, wnd, ts_val, ts_ecr


class Template:
    """The constant part of the headers of one connection's segments, with partial checksums."""

    __slots__ = (
        "_four_tuple",
        "_header_sum",
        "_offload",
        "_pseudo_header",
        "_ttl_and_protocol",
        "_version_and_tos",
    )

    def __init__(
        self,
        local: Address,
        remote: Address,
        ports: bytes,
        *,
        offload: bool,
        ttl: int = 64,
        tos: int = 0,
    ) -> None:
        """Prepare the headers of a connection.

        Args:
            local: Our address.
            remote: The peer's.
            ports: Ours and the peer's, as in the header.
            offload: Whether a virtio header precedes, and the checksum is left to the device.
            ttl: Time to live.
            tos: The DSCP and ECN octet.
        """
        addresses = int.from_bytes(local + remote, "big")
        self._four_tuple = local + remote + ports
        self._offload = offload
        self._version_and_tos = _VERSION_AND_TOS | tos
        self._ttl_and_protocol = ttl << 8 | TCP
        # Reduced, as a sum that fits in a machine word is much faster to add to.
        header_sum = self._version_and_tos + _DONT_FRAGMENT + self._ttl_and_protocol + addresses
        self._header_sum = header_sum % 0xFFFF
        pseudo_header = addresses + TCP
        if not offload:
            pseudo_header += int.from_bytes(ports[:2], "big") + int.from_bytes(ports[2:], "big")
        self._pseudo_header = pseudo_header % 0xFFFF

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
        size = HEADERS + len(payload)
        offset_and_flags = _OFFSET | flags
        if self._offload:
            field = (self._pseudo_header + size - 20) % 0xFFFF
        else:
            field = (
                -(
                    self._pseudo_header
                    + size
                    - 20
                    + seq
                    + ack
                    + offset_and_flags
                    + wnd
                    + _NOP_NOP_TIMESTAMPS
                    + ts_val
                    + ts_ecr
                    + ones_sum(payload)
                )
                % 0xFFFF
            )
        headers = _WRITE.pack(
            self._version_and_tos,
            size,
            0,
            _DONT_FRAGMENT,
            self._ttl_and_protocol,
            -(self._header_sum + size) % 0xFFFF,
            self._four_tuple,
            seq,
            ack,
            offset_and_flags,
            wnd,
            field,
            0,
            _NOP_NOP_TIMESTAMPS,
            ts_val,
            ts_ecr,
        )
        if not self._offload:
            return headers
        if gso_size:
            return vnet.large_segment(HEADERS, gso_size, cwr=False) + headers
        return vnet.NEEDS_TCP_CHECKSUM + headers
