"""A lean reading of the commonest header, and a lean writing: what nearly all segments look like.

That is a TCP segment with timestamps and no other option in an IPv4 packet without options that is
no fragment, and points to no urgent data. All that :func:`~tunstack.wire.ipv4.decode_datagram` and
:func:`~tunstack.wire.tcp.decode_segment` check is checked here too, by one unpacking of both
headers; whatever is unusual, or wrong, is not for this reader, and dpkt's tells what it is. The
tests compare the two on every input that this one accepts. Only a port of 0 it lets pass: there is
no connection that has it.

With Python 3.11 on one core of an ordinary server it takes 1.1 microseconds where dpkt's reading,
and the validation of it, take 8. With dpkt alone for every packet 16 connections were answered
11,800 small requests a second; with this reader, header prediction and answers that go their short
way 28,000, where trio over kernel sockets had 37,000 to 48,000.
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

Lean: TypeAlias = tuple[bytes, int, int, int, int, int, int]
"""Names (source and destination address and port, as they stand in the packet), SEG.SEQ, SEG.ACK,
the control bits, SEG.WND, TSval and TSecr."""

Reader: TypeAlias = "Callable[[Buffer], Lean | None]"

HEADERS: Final = 52
"""Octets of both headers with the timestamps."""

_HEADERS: Final = Struct(">HHxxIxx12sIIHHxxxxIII")
_WRITTEN: Final = Struct(">HHHHHH12sIIHHHHIII")
_VERSION_AND_TOS: Final = 0x4500
_FRAGMENT_AND_PROTOCOL: Final = 0xBFFF00FF
"""Of the flags and the offset all but don't-fragment; of the TTL and the protocol the latter."""
_DONT_FRAGMENT: Final = 0x4000
_OFFSET: Final = HEADERS - 20 << 10
_OFFSET_AND_URG: Final = 0xFC00 | URG
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A


def read_packet(packet: Buffer) -> Lean | None:
    """Read a packet whose checksum must be right; None for one that is not lean."""
    fields = _read(packet, 0)
    if fields is not None:
        pseudo_header = int.from_bytes(packet[12:20], "big") + TCP + len(packet) - 20
        if (pseudo_header + ones_sum(memoryview(packet)[20:])) % 0xFFFF:
            return None
    return fields


def read_frame(frame: Buffer) -> Lean | None:
    """Read a packet behind a virtio header; None if it is not lean."""
    header = frame[: vnet.SIZE]
    if header == vnet.NEEDS_TCP_CHECKSUM or vnet.is_large_segment(frame):
        return _read(frame, vnet.SIZE)
    return read_packet(memoryview(frame)[vnet.SIZE :]) if header == vnet.NO_OFFLOAD else None


def _read(frame: Buffer, start: int) -> Lean | None:
    size = len(frame) - start
    if size < HEADERS:
        return None
    (
        version_and_tos,
        total_length,
        fragment_and_protocol,
        names,
        seq,
        ack,
        offset_and_flags,
        wnd,
        option,
        ts_val,
        ts_ecr,
    ) = _HEADERS.unpack_from(frame, start)
    if (
        version_and_tos != _VERSION_AND_TOS
        or total_length != size
        or fragment_and_protocol & _FRAGMENT_AND_PROTOCOL != TCP
        or offset_and_flags & _OFFSET_AND_URG != _OFFSET
        or option != _NOP_NOP_TIMESTAMPS
        or int.from_bytes(frame[start : start + 20], "big") % 0xFFFF
    ):
        return None
    return names, seq, ack, offset_and_flags & 0xFF, wnd, ts_val, ts_ecr


class Template:
    """The headers of one connection's segments, as far as they never change."""

    __slots__ = (
        "_header_sum",
        "_names",
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
        """Prepare them.

        Args:
            local: Our address.
            remote: The peer's.
            ports: Ours and the peer's, as in a header.
            offload: Whether a virtio header comes first, and the checksum is left out.
            ttl: Time to live.
            tos: The DSCP and ECN octet.
        """
        addresses = int.from_bytes(local + remote, "big")
        self._names = local + remote + ports
        self._offload = offload
        self._version_and_tos = _VERSION_AND_TOS | tos
        self._ttl_and_protocol = ttl << 8 | TCP
        self._header_sum = (
            self._version_and_tos + _DONT_FRAGMENT + self._ttl_and_protocol + addresses
        )
        self._pseudo_header = addresses + TCP
        if not offload:
            self._pseudo_header += int.from_bytes(ports[:2], "big") + int.from_bytes(
                ports[2:], "big"
            )

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
        """Write the headers of a segment that carries `payload`."""
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
        headers = _WRITTEN.pack(
            self._version_and_tos,
            size,
            0,
            _DONT_FRAGMENT,
            self._ttl_and_protocol,
            -(self._header_sum + size) % 0xFFFF,
            self._names,
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
