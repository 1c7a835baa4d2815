"""Packets for the codec's tests: built naively, field by field, and by hypothesis."""

from __future__ import annotations

import struct

from hypothesis import settings
from hypothesis import strategies as st

from tunstack.ip.datagram import TCP, Datagram
from tunstack.tcp.segment import ACK, Segment
from tunstack.wire.extensions import EXTENSIONS

KERNEL = bytes((198, 51, 100, 1))
OURS = bytes((198, 51, 100, 2))
KERNEL_6 = bytes.fromhex("20010db8000000000000000000000001")
OURS_6 = bytes.fromhex("20010db8000000000000000000000002")
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")

PAIRS = {"IPv4": (KERNEL, OURS), "IPv6": (KERNEL_6, OURS_6)}
"""Source and destination by family."""

examples = settings(deadline=None, derandomize=True, max_examples=100)


def naive_checksum(data: bytes) -> int:
    """RFC 1071 section 4.1, word by word."""
    total = 0
    for index in range(0, len(data), 2):
        total += data[index] << 8 | (data[index + 1] if index + 1 < len(data) else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4_packet(
    payload: bytes = b"",
    *,
    protocol: int = TCP,
    version: int = 4,
    header_words: int | None = None,
    total_length: int | None = None,
    flags: int = 0x4000,
    options: bytes = b"",
    tos: int = 0,
    ttl: int = 64,
    wrong: int = 0,
) -> bytes:
    """An IPv4 packet whose header checksum is right, or off by `wrong`."""
    words = 5 + len(options) // 4 if header_words is None else header_words
    length = 20 + len(options) + len(payload) if total_length is None else total_length
    header = bytearray(
        struct.pack(
            ">BBHHHBBH4s4s",
            version << 4 | words,
            tos,
            length,
            7,
            flags,
            ttl,
            protocol,
            0,
            KERNEL,
            OURS,
        )
        + options
    )
    header[10:12] = struct.pack(">H", naive_checksum(bytes(header)) ^ wrong)
    return bytes(header) + payload


def ipv6_packet(
    payload: bytes = b"",
    *,
    next_header: int = TCP,
    version: int = 6,
    length: int | None = None,
    tos: int = 0,
    flow_label: int = 0,
    ttl: int = 64,
    src: bytes = KERNEL_6,
    dst: bytes = OURS_6,
) -> bytes:
    """An IPv6 packet; extension headers are the beginning of its payload."""
    first_word = version << 28 | tos << 20 | flow_label
    octets = len(payload) if length is None else length
    return struct.pack(">IHBB", first_word, octets, next_header, ttl) + src + dst + payload


def options_header(next_header: int, *options: bytes) -> bytes:
    """A header of hop-by-hop or destination options, padded to a multiple of eight octets."""
    size = 2 + sum(map(len, options))
    padding = -size % 8
    pad = bytes((1, padding - 2)) + bytes(padding - 2) if padding > 1 else bytes(padding)
    return bytes((next_header, (size + padding) // 8 - 1)) + b"".join(options) + pad


def routing_header(next_header: int, kind: int, left: int, size: int = 8) -> bytes:
    return bytes((next_header, size // 8 - 1, kind, left)) + bytes(size - 4)


def fragment_header(
    next_header: int, offset: int = 0, *, more: bool = False, identification: int = 7
) -> bytes:
    return struct.pack(">BBHI", next_header, 0, offset | more, identification)


def tcp_bytes(
    options: bytes = b"",
    payload: bytes = b"",
    *,
    offset: int | None = None,
    sport: int = 40000,
    dport: int = 80,
    flags: int = ACK,
    reserved: int = 0,
    wrong: int = 0,
    addresses: bytes = KERNEL + OURS,
) -> bytes:
    """A TCP segment between two addresses whose checksum is right, or off by `wrong`."""
    words = 5 + len(options) // 4 if offset is None else offset
    segment = bytearray(
        struct.pack(">HHIIBBHHH", sport, dport, 1, 2, words << 4 | reserved, flags, 500, 0, 0)
        + options
        + payload
    )
    pseudo = addresses + struct.pack(">II", len(segment), TCP)
    segment[16:18] = struct.pack(">H", naive_checksum(pseudo + bytes(segment)) ^ wrong)
    return bytes(segment)


def tcp_datagram(segment: bytes) -> Datagram:
    return Datagram(KERNEL, OURS, TCP, segment)


def icmp_bytes(kind: int, code: int = 0, rest: int = 0, body: bytes = b"", wrong: int = 0) -> bytes:
    """An ICMP message whose checksum is right, or off by `wrong`."""
    total = naive_checksum(struct.pack(">BBHI", kind, code, 0, rest) + body) ^ wrong
    return struct.pack(">BBHI", kind, code, total, rest) + body


octets = st.integers(0, 0xFF)
shorts = st.integers(0, 0xFFFF)
words = st.integers(0, 0xFFFFFFFF)
ports = st.integers(1, 0xFFFF)
addresses = st.binary(min_size=4, max_size=4)
payloads = st.binary(max_size=64)

segments = st.builds(
    Segment,
    seq=words,
    ack=words,
    flags=octets,
    wnd=shorts,
    up=shorts,
    payload=payloads,
    mss=st.none() | shorts,
    wscale=st.none() | octets,
    sack_permitted=st.booleans(),
    sack=st.lists(st.tuples(words, words), max_size=6).map(tuple),
    ts_val=st.none() | words,
    ts_ecr=words,
)

datagrams = st.builds(
    Datagram,
    src=addresses,
    dst=addresses,
    protocol=octets,
    payload=payloads,
    ttl=octets,
    tos=octets,
    identification=shorts,
    dont_fragment=st.booleans(),
    more_fragments=st.booleans(),
    fragment_offset=st.integers(0, 0x1FFF).map(lambda units: units * 8),
    options=st.integers(0, 10).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
)

addresses_6 = st.binary(min_size=16, max_size=16)
plain_datagrams_6 = st.builds(
    Datagram,
    src=addresses_6,
    dst=addresses_6,
    protocol=octets.filter(lambda protocol: protocol not in EXTENSIONS),
    payload=payloads,
    ttl=octets,
    tos=octets,
    dont_fragment=st.just(True),
    flow_label=st.integers(0, 0xFFFFF),
)
