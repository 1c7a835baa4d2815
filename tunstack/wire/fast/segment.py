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

from functools import lru_cache
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

HEADERS: Final = 52
"""Octets of both headers with the timestamps."""
_IP_HEADER: Final = 20

_READ: Final[Struct] = Struct(">IxxIxx12sIIHHxxxxIII")
_WRITE_PACKET: Final[Struct] = Struct(">2sH6sH12sIIHHH6sII")
_WRITE_FRAME: Final[Struct] = Struct(">12sH6sH12sIIHHH6sII")
"""The same behind a virtio header. What is constant is one field, where it can be."""
_VERSION_AND_TOS: Final = 0x4500
_FIRST_WORD: Final[int] = _VERSION_AND_TOS << 16
"""Version, header length and TOS, without the total length."""
_FRAGMENT_AND_PROTOCOL: Final = 0xBFFF00FF
"""Mask: flags and fragment offset without DF; the protocol without the TTL."""
_DONT_FRAGMENT: Final = 0x4000
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
        first_word != _FIRST_WORD + size
        or fragment_and_protocol & _FRAGMENT_AND_PROTOCOL != TCP
        or offset_and_flags & _OFFSET_AND_URG != _OFFSET
        or option != _NOP_NOP_TIMESTAMPS
        or int.from_bytes(frame[start : start + _IP_HEADER], "big") % 0xFFFF
        or (frame[:start] != vnet.NEEDS_TCP_CHECKSUM and not _is_intact(frame, start))
    ):
        return None
    return four_tuple, seq, ack, offset_and_flags & 0xFF, wnd, ts_val, ts_ecr


def _is_intact(frame: Buffer, start: int) -> bool:
    """Whether the checksum is right, or the virtio header says that it was never computed."""
    if start:
        if vnet.is_large_segment(frame):
            return True
        if frame[:start] != vnet.NO_OFFLOAD:
            return False
        frame = memoryview(frame)[start:]
    pseudo_header = int.from_bytes(frame[12:20], "big") + TCP + len(frame) - _IP_HEADER
    return (pseudo_header + ones_sum(frame[_IP_HEADER:])) % 0xFFFF == 0


class Template:
    """The constant part of the headers of one connection's segments, with partial checksums."""

    __slots__ = (
        "_flags_to_protocol",
        "_four_tuple",
        "_header_sum",
        "_offload",
        "_pack",
        "_pseudo_header",
        "_start",
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
        self._pack: Callable[..., bytes] = _WRITE_FRAME.pack if offload else _WRITE_PACKET.pack
        self._start, self._flags_to_protocol, header_sum = _constants(ttl, tos, offload=offload)
        # Reduced, as a sum that fits in a machine word is much faster to add to.
        self._header_sum = (header_sum + addresses) % 0xFFFF
        pseudo_header = addresses + TCP + HEADERS - _IP_HEADER
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
        size = len(payload)
        offset_and_flags = _OFFSET | flags
        field = self._pseudo_header + size
        if not self._offload:
            field += seq + ack + offset_and_flags + wnd + _NOP_NOP_TIMESTAMPS + ts_val + ts_ecr
            field = -(field + ones_sum(payload))
        start = self._start
        if gso_size and self._offload:
            start = vnet.large_segment(HEADERS, gso_size, cwr=False) + start[vnet.SIZE :]
        size += HEADERS
        return self._pack(
            start,
            size,
            self._flags_to_protocol,
            -(self._header_sum + size) % 0xFFFF,
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


@lru_cache(maxsize=64)
def _constants(ttl: int, tos: int, *, offload: bool) -> tuple[bytes, bytes, int]:
    """Return what precedes the length, what is between it and the checksum, and the sum of these.

    The sum is without the virtio header.
    """
    first, ttl_and_protocol = _VERSION_AND_TOS | tos, ttl << 8 | TCP
    start = (vnet.NEEDS_TCP_CHECKSUM if offload else b"") + first.to_bytes(2, "big")
    flags_to_protocol = (_DONT_FRAGMENT << 16 | ttl_and_protocol).to_bytes(6, "big")
    return start, flags_to_protocol, first + _DONT_FRAGMENT + ttl_and_protocol
