"""The transport headers of a packet, as values that can be changed and written again.

A checksum is read, not verified, so that a damaged packet still has its fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.datagram import ICMP, ICMPV6, TCP, UDP
from tunstack.ip.icmp import IcmpMessage
from tunstack.wire import Discard, decode_datagram, encode_udp, icmp_datagram
from tunstack.wire.checksum import ones_sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Address, Buffer, Datagram

_TCP: Final = Struct(">HHIIBBHHH")
_UDP: Final = Struct(">HHHH")
_ICMP: Final = Struct(">BBHI")
_TCP_CHECKSUM_AT: Final = 16
_UDP_CHECKSUM_AT: Final = 6
_ICMP_CHECKSUM_AT: Final = 2
_MAXIMUM_OPTIONS: Final = 40


@dataclass(slots=True, frozen=True)
class Tcp:
    """A TCP segment (RFC 9293 section 3.1); `reserved` are the four bits behind the data offset."""

    source_port: int
    destination_port: int
    seq: int
    ack: int
    reserved: int
    flags: int
    window: int
    checksum: int
    urgent: int
    options: bytes
    payload: bytes


@dataclass(slots=True, frozen=True)
class Udp:
    """A UDP datagram (RFC 768)."""

    source_port: int
    destination_port: int
    checksum: int
    payload: bytes


@dataclass(slots=True, frozen=True)
class Icmp:
    """A message of ICMP or ICMPv6 (RFC 792, RFC 4443); `rest` is the header's second word."""

    icmp_type: int
    icmp_code: int
    checksum: int
    rest: int
    payload: bytes


Transport: TypeAlias = Tcp | Udp | Icmp


def read(data: bytes) -> tuple[Datagram | None, Transport | None]:
    """Parse a packet.

    Returns:
        The datagram, or None if it is no valid IP packet; and what it carries, or None if that is
        malformed, another protocol, or a fragment.
    """
    try:
        datagram = decode_datagram(data)
    except Discard:
        return None, None
    if datagram.more_fragments or datagram.fragment_offset:
        return datagram, None
    reader = _READERS.get((len(datagram.src), datagram.protocol))
    return datagram, None if reader is None else reader(memoryview(datagram.payload))


def ports(datagram: Datagram) -> tuple[int, int] | None:
    """Return the ports of a TCP segment or a UDP datagram, or of the first fragment of one."""
    if datagram.protocol not in (TCP, UDP) or datagram.fragment_offset:
        return None
    if len(datagram.payload) < 4:
        return None
    return (
        int.from_bytes(datagram.payload[:2], "big"),
        int.from_bytes(datagram.payload[2:4], "big"),
    )


def write(src: Address, dst: Address, transport: Transport, checksum: int | None = None) -> bytes:
    """Encode what a datagram carries, with the right checksum, or this one.

    Raises:
        ValueError: more than 40 octets of options.
    """
    if isinstance(transport, Tcp):
        return _write_tcp(src, dst, transport, checksum)
    if isinstance(transport, Udp):
        return _write_udp(src, dst, transport, checksum)
    return _write_icmp(src, dst, transport, checksum)


def _read_tcp(view: memoryview) -> Tcp | None:
    if len(view) < _TCP.size:
        return None
    sport, dport, seq, ack, offset, flags, window, checksum, urgent = _TCP.unpack_from(view)
    start = (offset >> 4) * 4
    if not _TCP.size <= start <= len(view):
        return None
    options, payload = bytes(view[_TCP.size : start]), bytes(view[start:])
    reserved = offset & 0xF
    return Tcp(sport, dport, seq, ack, reserved, flags, window, checksum, urgent, options, payload)


def _read_udp(view: memoryview) -> Udp | None:
    if len(view) < _UDP.size:
        return None
    sport, dport, length, checksum = _UDP.unpack_from(view)
    if not _UDP.size <= length <= len(view):
        return None
    return Udp(sport, dport, checksum, bytes(view[_UDP.size : length]))


def _read_icmp(view: memoryview) -> Icmp | None:
    if len(view) < _ICMP.size:
        return None
    kind, code, checksum, rest = _ICMP.unpack_from(view)
    return Icmp(kind, code, checksum, rest, bytes(view[_ICMP.size :]))


_READERS: Final[dict[tuple[int, int], Callable[[memoryview], Transport | None]]] = {
    (4, TCP): _read_tcp,
    (16, TCP): _read_tcp,
    (4, UDP): _read_udp,
    (16, UDP): _read_udp,
    (4, ICMP): _read_icmp,
    (16, ICMPV6): _read_icmp,
}
"""By octets of an address, and protocol."""


def _write_tcp(src: Address, dst: Address, tcp: Tcp, checksum: int | None) -> bytes:
    options = tcp.options + bytes(-len(tcp.options) % 4)
    if len(options) > _MAXIMUM_OPTIONS:
        raise ValueError(f"a TCP header has at most 40 octets of options, not {len(options)}")
    offset = (_TCP.size + len(options) >> 2) << 4 | tcp.reserved
    fields = (tcp.source_port, tcp.destination_port, tcp.seq, tcp.ack, offset, tcp.flags)
    header = _TCP.pack(*fields, tcp.window, 0, tcp.urgent)
    segment = header + options + tcp.payload
    if checksum is None:
        pseudo_header = int.from_bytes(src + dst, "big") + TCP + len(segment)
        checksum = -(pseudo_header + ones_sum(segment)) % 0xFFFF
    return _with(segment, _TCP_CHECKSUM_AT, checksum)


def _write_udp(src: Address, dst: Address, udp: Udp, checksum: int | None) -> bytes:
    header = encode_udp(src, dst, udp.source_port, udp.destination_port, udp.payload)
    datagram = header + udp.payload
    return datagram if checksum is None else _with(datagram, _UDP_CHECKSUM_AT, checksum)


def _write_icmp(src: Address, dst: Address, icmp: Icmp, checksum: int | None) -> bytes:
    message = IcmpMessage(icmp.icmp_type, icmp.icmp_code, icmp.rest, icmp.payload)
    whole = bytes(icmp_datagram(src, dst, message).payload)
    return whole if checksum is None else _with(whole, _ICMP_CHECKSUM_AT, checksum)


def _with(octets: Buffer, at: int, field: int) -> bytes:
    """Return a copy with another 16-bit field."""
    return bytes(octets[:at]) + field.to_bytes(2, "big") + bytes(octets[at + 2 :])
