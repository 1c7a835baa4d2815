"""Decode and encode TCP segments in IP packets (RFC 9293 sections 3.1 and 3.2).

Checksums are computed from the fields before they are packed, so that each header is packed once:
modulo 0xffff a 32-bit field is congruent to the sum of its two halves.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from tunstack.ip.datagram import TCP, Address, Buffer, Datagram
from tunstack.tcp.segment import CWR, Segment
from tunstack.wire import virtio as vnet
from tunstack.wire.checksum import ones_sum
from tunstack.wire.discard import Discard, Reason
from tunstack.wire.dpkt_headers import TcpHeader
from tunstack.wire.ipv4 import MAXIMUM_PACKET
from tunstack.wire.ipv6 import MAXIMUM_PAYLOAD

_MINIMUM_HEADER: Final = 20
_MAXIMUM_OPTIONS: Final = 40

_END_OF_OPTIONS: Final = 0
_NO_OPERATION: Final = 1
_MSS: Final = 2
_WINDOW_SCALE: Final = 3
_SACK_PERMITTED: Final = 4
_SACK: Final = 5
_TIMESTAMPS: Final = 8
_FAST_OPEN: Final = 34

# Option headers as 32-bit words in Linux's layout: padding precedes the option.
_MSS_WORD: Final = 0x02040000
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A
_SACK_PERMITTED_TIMESTAMPS: Final = 0x0402080A
_NOP_NOP_SACK_PERMITTED: Final = 0x01010402
_NOP_WINDOW_SCALE: Final = 0x01030300
_NOP_NOP_SACK: Final = 0x01010500

_WORD: Final[Struct] = Struct(">I")
_TWO_WORDS: Final[Struct] = Struct(">II")
_COOKIE_SIZES: Final[tuple[int, ...]] = (0, 4, 6, 8, 10, 12, 14, 16)
"""Octets of a Fast Open cookie; 0 requests one (RFC 7413 section 4.1.1)."""
_THREE_WORDS: Final[Struct] = Struct(">III")
_FIVE_WORDS: Final[Struct] = Struct(">IIIII")
_IPV4_PACKET: Final[Struct] = Struct(">HHHHHH4s4sHHIIHHHH")
_IPV6_PACKET: Final[Struct] = Struct(">IHBB16s16sHHIIHHHH")
_DONT_FRAGMENT: Final = 0x4000
_PLAIN_IPV4: Final = 0x45
"""The first octet of an IPv4 packet without options."""
_IPV6: Final = 6 << 28
_ECN: Final = 0x03
"""The ECN field of the TOS octet (RFC 3168 section 5)."""


def decode_segment(datagram: Datagram) -> tuple[int, int, Segment]:
    """Parse and validate the TCP segment that is the payload of a whole datagram.

    Unknown options are skipped (RFC 9293 MUST-6), and known ones with a wrong length. An illegal
    option length, 0, 1 or beyond the header, ends the parsing of options, and the segment is still
    accepted (MUST-7). Options are decoded on segments with and without SYN; the core decides which
    of them are valid where.

    Returns:
        The source port, the destination port, and the segment, whose payload is a view.

    Raises:
        Discard: The segment is truncated, or its checksum, data offset or a port is wrong.
    """
    view = memoryview(datagram.payload)
    size = len(view)
    if size < _MINIMUM_HEADER:
        raise Discard(Reason.TRUNCATED_TCP)
    if not datagram.trusted:
        pseudo_header = int.from_bytes(datagram.src + datagram.dst, "big") + TCP + size
        if (pseudo_header + ones_sum(view)) % 0xFFFF:
            raise Discard(Reason.BAD_TCP_CHECKSUM)
    header = TcpHeader(view)
    offset_and_flags: int = header._off_flags
    header_length = offset_and_flags >> 10 & 0x3C
    if not _MINIMUM_HEADER <= header_length <= size:
        raise Discard(Reason.BAD_TCP_OFFSET)
    if not (header.sport and header.dport):
        raise Discard(Reason.BAD_TCP_PORT)
    segment = Segment(
        header.seq,
        header.ack,
        offset_and_flags & 0xFF,
        header.win,
        header.urp,
        view[header_length:],
    )
    segment.gso_size = datagram.gso_size
    if datagram.tos & _ECN:
        segment.ecn = datagram.tos & _ECN
    if header_length != _MINIMUM_HEADER:
        _decode_options(bytes(view[_MINIMUM_HEADER:header_length]), segment)
    return header.sport, header.dport, segment


def _decode_options(options: bytes, segment: Segment) -> None:
    """Decode `options` into `segment`; of a duplicate option the last one counts."""
    end = len(options)
    if end == 12:  # Timestamps alone: nearly every segment.
        word, ts_val, ts_ecr = _THREE_WORDS.unpack(options)
        if word == _NOP_NOP_TIMESTAMPS:
            segment.ts_val, segment.ts_ecr = ts_val, ts_ecr
            return
    position = 0
    while position < end:
        kind = options[position]
        if kind == _NO_OPERATION:
            position += 1
            continue
        if kind == _END_OF_OPTIONS or position + 1 == end:
            return
        length = options[position + 1]
        if length < 2 or position + length > end:
            return
        _decode_option(kind, options[position + 2 : position + length], segment)
        position += length


def _decode_option(kind: int, value: bytes, segment: Segment) -> None:
    length = len(value)
    if kind == _TIMESTAMPS and length == 8:
        segment.ts_val, segment.ts_ecr = _TWO_WORDS.unpack(value)
    elif kind == _SACK and not length % 8:
        segment.sack = tuple(_TWO_WORDS.iter_unpack(value))
    elif kind == _MSS and length == 2:
        segment.mss = int.from_bytes(value, "big")
    elif kind == _WINDOW_SCALE and length == 1:
        segment.wscale = value[0]
    elif kind == _SACK_PERMITTED and not length:
        segment.sack_permitted = True
    elif kind == _FAST_OPEN and length in _COOKIE_SIZES:
        segment.fast_open = value


def read_name(frame: Buffer, at: int) -> bytes:
    """Find the addresses and ports of the segment in the packet at `at`, as they stand there.

    Returns ``b""`` for what is no TCP, and for a segment behind IP options or extension headers.
    """
    if len(frame) < at + 24:
        return b""
    first = frame[at]
    if first == _PLAIN_IPV4 and frame[at + 9] == TCP:
        return bytes(frame[at + 12 : at + 24])
    if first >> 4 == 6 and frame[at + 6] == TCP:
        return bytes(frame[at + 8 : at + 44])
    return b""


def encode_segment(
    src: Address,
    dst: Address,
    sport: int,
    dport: int,
    segment: Segment,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    flow_label: int = 0,
    offload: bool = False,
) -> list[Buffer]:
    """Encode the IP packet of a segment: IPv4 with don't-fragment set, or IPv6.

    The segment's ECN codepoint goes into the low two bits of the TOS octet, beside `tos`. SACK
    blocks that do not fit beside the other options are left out, the last first. Values must be in
    the range of their header fields: the codec clamps no window. With `offload` a virtio header
    precedes, and checksumming and splitting into `gso_size` are left to the device.

    Args:
        src: Our address.
        dst: The peer's.
        sport: Our port.
        dport: The peer's.
        segment: The segment.
        ttl: Time to live, or hop limit.
        tos: The DSCP and ECN octet, or traffic class.
        identification: Of IPv4 alone.
        flow_label: Of IPv6 alone (RFC 6437).
        offload: Whether the packet is for a device that offloads.

    Returns:
        The packet as a list of buffers: both headers, then the payload, not copied, if any.

    Raises:
        ValueError: The packet would be longer than its family allows.
    """
    options = encode_options(segment)
    payload = segment.payload
    length = _MINIMUM_HEADER + len(options) + len(payload)
    offset_and_flags = _MINIMUM_HEADER + len(options) << 10 | segment.flags
    addresses = int.from_bytes(src + dst, "big")
    field = addresses + TCP + length  # The pseudo-header's sum.
    if offload:
        field %= 0xFFFF
    else:
        segment_sum = (
            field
            + sport
            + dport
            + segment.seq
            + segment.ack
            + offset_and_flags
            + segment.wnd
            + segment.up
            + int.from_bytes(options, "big")
            + ones_sum(payload)
        )
        field = -segment_sum % 0xFFFF
    # -sum % 0xffff is the complement of the one's-complement sum, since neither sum is zero.
    if len(src) != 4:
        ip = (_IPV6 | (tos | segment.ecn) << 20 | flow_label, length, TCP, ttl, src, dst)
        headers = _ipv6_headers(ip, sport, dport, segment, offset_and_flags, field) + options
        if offload:
            headers = _ipv6_vnet(segment, len(headers)) + headers
        return [headers, payload] if len(payload) else [headers]
    total_length = 20 + length
    if total_length > MAXIMUM_PACKET:
        raise ValueError(f"no IPv4 packet has {total_length} octets")
    version_and_tos = 0x4500 | tos | segment.ecn
    ttl_and_protocol = ttl << 8 | TCP
    header_sum = (
        version_and_tos
        + total_length
        + identification
        + _DONT_FRAGMENT
        + ttl_and_protocol
        + addresses
    )
    headers = _IPV4_PACKET.pack(
        version_and_tos,
        total_length,
        identification,
        _DONT_FRAGMENT,
        ttl_and_protocol,
        -header_sum % 0xFFFF,
        src,
        dst,
        sport,
        dport,
        segment.seq,
        segment.ack,
        offset_and_flags,
        segment.wnd,
        field,
        segment.up,
    )
    headers += options
    if offload:
        if segment.gso_size:
            cwr = segment.flags & CWR != 0
            headers = vnet.large_segment(len(headers), segment.gso_size, cwr=cwr) + headers
        else:
            headers = vnet.NEEDS_TCP_CHECKSUM + headers
    return [headers, payload] if len(payload) else [headers]


def _ipv6_headers(
    ip: tuple[int, int, int, int, bytes, bytes],
    sport: int,
    dport: int,
    segment: Segment,
    offset_and_flags: int,
    field: int,
) -> bytes:
    """Encode both fixed headers, IPv6's from its fields, of which the second is the length."""
    if ip[1] > MAXIMUM_PAYLOAD:
        raise ValueError(f"no IPv6 packet has a payload of {ip[1]} octets")
    return _IPV6_PACKET.pack(
        *ip,
        sport,
        dport,
        segment.seq,
        segment.ack,
        offset_and_flags,
        segment.wnd,
        field,
        segment.up,
    )


def _ipv6_vnet(segment: Segment, size: int) -> bytes:
    """Return the virtio header of a segment whose headers have `size` octets."""
    if not segment.gso_size:
        return vnet.NEEDS_TCP_CHECKSUM_IPV6
    cwr = segment.flags & CWR != 0
    return vnet.large_segment_ipv6(size, segment.gso_size, cwr=cwr)


def encode_options(segment: Segment) -> bytes:
    """Encode the options in Linux's layout, each aligned to a word."""
    if (
        segment.mss is None
        and segment.wscale is None
        and segment.fast_open is None
        and not segment.sack_permitted
    ):
        if segment.ts_val is None:
            options = b""
        else:
            options = _THREE_WORDS.pack(_NOP_NOP_TIMESTAMPS, segment.ts_val, segment.ts_ecr)
    else:
        options = _encode_handshake_options(segment)
    if segment.sack:
        options += _encode_sack(segment.sack, _MAXIMUM_OPTIONS - len(options))
    return options


def _encode_handshake_options(segment: Segment) -> bytes:
    if (
        segment.mss is not None
        and segment.ts_val is not None
        and segment.sack_permitted
        and segment.wscale is not None
        and segment.fast_open is None
    ):
        return _FIVE_WORDS.pack(  # The usual SYN, in the order of the code below.
            _MSS_WORD | segment.mss,
            _SACK_PERMITTED_TIMESTAMPS,
            segment.ts_val,
            segment.ts_ecr,
            _NOP_WINDOW_SCALE | segment.wscale,
        )
    options = b""
    if segment.mss is not None:
        options += _WORD.pack(_MSS_WORD | segment.mss)
    if segment.ts_val is not None:
        word = _SACK_PERMITTED_TIMESTAMPS if segment.sack_permitted else _NOP_NOP_TIMESTAMPS
        options += _THREE_WORDS.pack(word, segment.ts_val, segment.ts_ecr)
    elif segment.sack_permitted:
        options += _WORD.pack(_NOP_NOP_SACK_PERMITTED)
    if segment.wscale is not None:
        options += _WORD.pack(_NOP_WINDOW_SCALE | segment.wscale)
    if segment.fast_open is not None:
        # With all options above, the longest cookie fits into the 40 octets exactly.
        cookie = bytes((_FAST_OPEN, 2 + len(segment.fast_open))) + segment.fast_open
        options += cookie + bytes((_NO_OPERATION,)) * (-len(cookie) % 4)
    return options


def _encode_sack(blocks: tuple[tuple[int, int], ...], room: int) -> bytes:
    """Encode as many of `blocks` as fit into `room` octets, at least 20."""
    blocks = blocks[: (room - 4) // 8]
    edges = b"".join([_TWO_WORDS.pack(left, right) for left, right in blocks])
    return _WORD.pack(_NOP_NOP_SACK | 2 + len(edges)) + edges
