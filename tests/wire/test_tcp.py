"""The TCP codec: headers, payloads, checksums."""

from __future__ import annotations

import dataclasses
import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.packets import (
    KERNEL,
    KERNEL_6,
    OURS,
    OURS_6,
    PAIRS,
    addresses,
    addresses_6,
    examples,
    octets,
    payloads,
    ports,
    segments,
    shorts,
    tcp_bytes,
    tcp_datagram,
    words,
)
from tunstack.ip.datagram import TCP, Datagram
from tunstack.tcp.segment import ACK, PSH, Segment
from tunstack.wire import Discard, Reason, decode_datagram, decode_segment, encode_segment

pairs = st.tuples(addresses, addresses)
pairs_6 = st.tuples(addresses_6, addresses_6)


def as_sent(segment: Segment) -> Segment:
    """The segment without the SACK blocks that its other options leave no room for."""
    room = 40
    room -= 4 * (segment.mss is not None) + 4 * (segment.wscale is not None)
    if segment.ts_val is not None:
        room -= 12
    elif segment.sack_permitted:
        room -= 4
    ts_ecr = segment.ts_ecr if segment.ts_val is not None else 0
    return dataclasses.replace(segment, sack=segment.sack[: (room - 4) // 8], ts_ecr=ts_ecr)


@examples
@given(st.one_of(pairs, pairs_6), ports, ports, segments)
def test_what_is_encoded_is_decoded(
    pair: tuple[bytes, bytes], sport: int, dport: int, segment: Segment
) -> None:
    src, dst = pair
    datagram = decode_datagram(b"".join(encode_segment(src, dst, sport, dport, segment)))
    assert (datagram.src, datagram.dst, datagram.protocol) == (src, dst, TCP)
    assert decode_segment(datagram) == (sport, dport, as_sent(segment))


@pytest.mark.rfc("MUST-2")
@examples
@given(addresses, addresses, ports, ports, segments, octets, octets, shorts)
def test_dpkt_reads_what_is_encoded(
    src: bytes,
    dst: bytes,
    sport: int,
    dport: int,
    segment: Segment,
    ttl: int,
    tos: int,
    identification: int,
) -> None:
    packet = b"".join(
        encode_segment(
            src, dst, sport, dport, segment, ttl=ttl, tos=tos, identification=identification
        )
    )
    ip = dpkt.ip.IP(packet)
    tcp = ip.data
    assert (ip.src, ip.dst, ip.len, ip.ttl) == (src, dst, len(packet), ttl)
    assert (ip.tos, ip.id, ip.df, ip.mf, ip.offset) == (tos, identification, 1, 0, 0)
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack) == (sport, dport, segment.seq, segment.ack)
    assert (tcp.flags, tcp.win, tcp.urp) == (segment.flags, segment.wnd, segment.up)
    assert bytes(tcp.data) == segment.payload
    assert dpkt_options(tcp) == expected_options(as_sent(segment))
    assert dpkt.in_cksum(packet[:20]) == 0
    pseudo_header = struct.pack(">4s4sHH", src, dst, TCP, len(packet) - 20)
    assert dpkt.in_cksum(pseudo_header + packet[20:]) == 0
    # Of the two zeros of one's complement, the one that a sender is to use (RFC 1071, RFC 1624).
    tcp.sum = 0
    ip.sum = 0
    assert bytes(ip) == packet


@pytest.mark.rfc("MUST-2", "8200:8.1")
@examples
@given(pairs_6, ports, ports, segments, octets, octets, st.integers(0, 0xFFFFF))
def test_dpkt_reads_what_is_encoded_for_ipv6(
    pair: tuple[bytes, bytes],
    sport: int,
    dport: int,
    segment: Segment,
    ttl: int,
    tos: int,
    flow_label: int,
) -> None:
    packet = b"".join(
        encode_segment(*pair, sport, dport, segment, ttl=ttl, tos=tos, flow_label=flow_label)
    )
    ip = dpkt.ip6.IP6(packet)
    tcp = ip.data
    assert ((ip.src, ip.dst), ip.plen, ip.hlim) == (pair, len(packet) - 40, ttl)
    assert (ip.v, ip.fc, ip.flow, ip.nxt) == (6, tos, flow_label, TCP)
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack) == (sport, dport, segment.seq, segment.ack)
    assert (tcp.flags, tcp.win, tcp.urp) == (segment.flags, segment.wnd, segment.up)
    assert bytes(tcp.data) == segment.payload
    assert dpkt_options(tcp) == expected_options(as_sent(segment))
    pseudo_header = packet[8:40] + struct.pack(">II", len(packet) - 40, TCP)
    assert dpkt.in_cksum(pseudo_header + packet[40:]) == 0


def dpkt_options(tcp: dpkt.tcp.TCP) -> dict[int, bytes]:
    return {kind: value for kind, value in dpkt.tcp.parse_opts(tcp.opts) if kind > 1}


def expected_options(segment: Segment) -> dict[int, bytes]:
    options = {}
    if segment.mss is not None:
        options[dpkt.tcp.TCP_OPT_MSS] = struct.pack(">H", segment.mss)
    if segment.wscale is not None:
        options[dpkt.tcp.TCP_OPT_WSCALE] = bytes((segment.wscale,))
    if segment.sack_permitted:
        options[dpkt.tcp.TCP_OPT_SACKOK] = b""
    if segment.sack:
        edges = [edge for block in segment.sack for edge in block]
        options[dpkt.tcp.TCP_OPT_SACK] = struct.pack(f">{len(edges)}I", *edges)
    if segment.ts_val is not None:
        options[dpkt.tcp.TCP_OPT_TIMESTAMP] = struct.pack(">II", segment.ts_val, segment.ts_ecr)
    return options


@examples
@given(ports, ports, words, words, octets, shorts, shorts, payloads)
def test_what_dpkt_builds_is_decoded(
    sport: int, dport: int, seq: int, ack: int, flags: int, wnd: int, up: int, payload: bytes
) -> None:
    tcp = dpkt.tcp.TCP(
        sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, win=wnd, urp=up, data=payload
    )
    packet = bytes(dpkt.ip.IP(src=KERNEL, dst=OURS, p=TCP, data=tcp))
    assert decode_segment(decode_datagram(packet)) == (
        sport,
        dport,
        Segment(seq, ack, flags, wnd, up, payload),
    )


@pytest.mark.parametrize("family", PAIRS)
def test_payload_is_a_view_into_the_packet(family: str) -> None:
    segment = Segment(1, payload=b"payload", ts_val=1)
    packet = b"".join(encode_segment(*PAIRS[family], 1, 2, segment))
    payload = decode_segment(decode_datagram(packet))[2].payload
    assert isinstance(payload, memoryview)
    assert payload.obj is packet


@pytest.mark.parametrize(("family", "size"), [("IPv4", 52), ("IPv6", 72)])
def test_headers_are_one_buffer_and_the_payload_is_not_copied(family: str, size: int) -> None:
    payload = memoryview(b"payload")
    segment = Segment(1, 2, ACK | PSH, payload=payload, ts_val=3)
    headers, second = encode_segment(*PAIRS[family], 1, 2, segment)
    assert second is payload
    assert len(headers) == size


@pytest.mark.parametrize("family", PAIRS)
def test_segment_without_data_is_one_buffer(family: str) -> None:
    assert len(encode_segment(*PAIRS[family], 1, 2, Segment(1, 2, ACK))) == 1


@pytest.mark.rfc("MUST-2")
@examples
@given(st.integers(0, 0xFFFF))
def test_checksum_is_right_for_every_value_of_a_field(wnd: int) -> None:
    segment = Segment(0, 0, ACK, wnd)
    for address in (bytes(4), bytes(16)):
        packet = encode_segment(address, address, 1, 1, segment)[0]
        pseudo_header = address + address + struct.pack(">II", 20, TCP)
        assert dpkt.in_cksum(pseudo_header + packet[-20:]) == 0


def test_checksum_whose_sum_is_all_ones_is_sent_as_zero() -> None:
    # 6 (protocol) + 20 (length) + 1 + 1 (ports) + 0x5010 (offset and flags) and the window.
    segment = Segment(0, 0, ACK, wnd=0xFFFF - (6 + 20 + 1 + 1 + 0x5010))
    for address in (bytes(4), bytes(16)):
        packet = encode_segment(address, address, 1, 1, segment)[0]
        assert packet[-4:-2] == b"\x00\x00"
        assert decode_segment(decode_datagram(packet)) == (1, 1, segment)


def test_header_checksum_whose_sum_is_all_ones_is_sent_as_zero() -> None:
    # Version and length, total length, don't-fragment, TTL and protocol, and the identification.
    identification = 0xFFFF - (0x4500 + 40 + 0x4000 + (64 << 8 | TCP)) % 0xFFFF
    segment = Segment(1, 2, ACK)
    packet = encode_segment(bytes(4), bytes(4), 1, 1, segment, identification=identification)[0]
    assert packet[10:12] == b"\x00\x00"
    assert decode_segment(decode_datagram(packet)) == (1, 1, segment)


def test_segment_longer_than_a_packet_is_a_value_error() -> None:
    encode_segment(KERNEL, OURS, 1, 2, Segment(1, payload=bytes(65495)))
    with pytest.raises(ValueError, match="no IPv4 packet has 65536 octets"):
        encode_segment(KERNEL, OURS, 1, 2, Segment(1, payload=bytes(65496)))
    # The fixed header does not count in IPv6's payload length (RFC 8200 section 3).
    encode_segment(KERNEL_6, OURS_6, 1, 2, Segment(1, payload=bytes(65515)))
    with pytest.raises(ValueError, match="no IPv6 packet has a payload of 65536 octets"):
        encode_segment(KERNEL_6, OURS_6, 1, 2, Segment(1, payload=bytes(65516)))


def test_reserved_bits_are_ignored() -> None:
    """RFC 9293 section 3.1: they must be ignored by who does not implement them."""
    segment = decode_segment(tcp_datagram(tcp_bytes(payload=b"x", reserved=0xF)))[2]
    assert (segment.flags, segment.payload) == (ACK, b"x")


@pytest.mark.rfc("MUST-3")
@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        pytest.param(b"", Reason.TRUNCATED_TCP, id="nothing"),
        pytest.param(tcp_bytes()[:19], Reason.TRUNCATED_TCP, id="19 octets"),
        pytest.param(tcp_bytes(wrong=1), Reason.BAD_TCP_CHECKSUM, id="checksum"),
        pytest.param(
            tcp_bytes(payload=b"odd", wrong=0x100), Reason.BAD_TCP_CHECKSUM, id="odd length"
        ),
        pytest.param(tcp_bytes(offset=4), Reason.BAD_TCP_OFFSET, id="offset into the header"),
        pytest.param(tcp_bytes(offset=0), Reason.BAD_TCP_OFFSET, id="offset zero"),
        pytest.param(tcp_bytes(offset=6), Reason.BAD_TCP_OFFSET, id="offset past the end"),
        pytest.param(tcp_bytes(bytes(4), offset=15), Reason.BAD_TCP_OFFSET, id="largest offset"),
        pytest.param(tcp_bytes(sport=0), Reason.BAD_TCP_PORT, id="from port 0"),
        pytest.param(tcp_bytes(dport=0), Reason.BAD_TCP_PORT, id="to port 0"),
    ],
)
def test_bad_segment_is_discarded(segment: bytes, reason: Reason) -> None:
    with pytest.raises(Discard) as caught:
        decode_segment(tcp_datagram(segment))
    assert caught.value.reason is reason


@pytest.mark.rfc("MUST-3")
@pytest.mark.rfc("8200:8.1")
@pytest.mark.parametrize("family", PAIRS)
def test_segment_for_another_address_fails_by_its_pseudo_header(family: str) -> None:
    src, dst = PAIRS[family]
    datagram = Datagram(src, dst, TCP, tcp_bytes(addresses=src + dst))
    decode_segment(datagram)
    datagram.dst = dst[:-1] + b"\3"
    with pytest.raises(Discard) as caught:
        decode_segment(datagram)
    assert caught.value.reason is Reason.BAD_TCP_CHECKSUM


def test_segment_that_ends_with_its_header_has_no_payload() -> None:
    assert decode_segment(tcp_datagram(tcp_bytes(bytes(40))))[2] == Segment(1, 2, ACK, 500)
