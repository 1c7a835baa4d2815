"""Whatever comes in, nothing but a `Discard` comes out."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.packets import (
    KERNEL,
    KERNEL_6,
    OURS,
    OURS_6,
    PAIRS,
    examples,
    icmp_bytes,
    ipv4_packet,
    ipv6_packet,
    naive_checksum,
    options_header,
    segments,
)
from tunstack.ip.datagram import ICMP, TCP
from tunstack.ip.icmp import ECHO_REQUEST, IcmpMessage
from tunstack.tcp.segment import Segment
from tunstack.wire import (
    Discard,
    Reason,
    decode_datagram,
    decode_icmp,
    decode_segment,
    encode_icmp,
    encode_segment,
)


def receive(packet: bytes) -> object:
    """Decode a packet and what it carries."""
    datagram = decode_datagram(packet)
    if datagram.protocol == TCP:
        return decode_segment(datagram)
    if datagram.protocol == ICMP:
        return decode_icmp(datagram)
    return datagram


def mended(data: bytes, field: int, pseudo_header: bytes = b"") -> bytes:
    """The data with the checksum at `field` set right, so that the rest of it is looked at."""
    zeroed = data[:field] + bytes(2) + data[field + 2 :]
    right = naive_checksum(pseudo_header + zeroed).to_bytes(2, "big")
    return data[:field] + right + data[field + 2 :]


@examples
@given(st.binary(max_size=120))
def test_any_octets_as_a_packet(packet: bytes) -> None:
    with suppress(Discard):
        receive(packet)


@examples
@given(st.binary(min_size=20, max_size=120), st.sampled_from([TCP, ICMP]))
def test_any_octets_as_a_packet_of_the_right_length_and_checksum(
    octets: bytes, protocol: int
) -> None:
    length = struct.pack(">H", len(octets))
    packet = b"\x45" + octets[1:2] + length + octets[4:9] + bytes((protocol,)) + octets[10:]
    with suppress(Discard):
        receive(mended(packet[:20], 10) + packet[20:])


@examples
@given(st.binary(max_size=120), st.sampled_from([0, 6, 43, 44, 58, 59, 60]))
def test_any_octets_behind_an_ipv6_header(octets: bytes, next_header: int) -> None:
    with suppress(Discard):
        receive(ipv6_packet(octets, next_header=next_header))


@examples
@given(st.binary(min_size=20, max_size=100))
def test_any_octets_as_a_segment_with_the_right_checksum(octets: bytes) -> None:
    pseudo_header = KERNEL + OURS + struct.pack(">HH", TCP, len(octets))
    with suppress(Discard):
        receive(ipv4_packet(mended(octets, 16, pseudo_header)))


@examples
@given(st.binary(min_size=8, max_size=100), st.integers(0, 20))
def test_any_octets_as_a_message_with_the_right_checksum(octets: bytes, kind: int) -> None:
    message = mended(bytes((kind,)) + octets[1:], 2)
    with suppress(Discard):
        receive(ipv4_packet(message, protocol=ICMP))


@pytest.mark.rfc("8200:8.1")
@examples
@given(segments, st.data())
def test_one_flipped_bit_in_ipv6_is_noticed_but_in_what_no_checksum_covers(
    segment: Segment, data: st.DataObject
) -> None:
    packet = bytearray(b"".join(encode_segment(KERNEL_6, OURS_6, 1, 2, segment)))
    expected = decode_segment(decode_datagram(bytes(packet)))
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    packet[bit // 8] ^= 1 << bit % 8
    class_label_or_hop_limit = bit < 4 or 8 <= bit < 32 or bit // 8 == 7
    try:
        found = receive(bytes(packet))
    except Discard:
        assert not class_label_or_hop_limit
        return
    # Another next header is another protocol, with checksums of its own.
    assert class_label_or_hop_limit or bit // 8 == 6
    if bit // 8 == 7:
        assert found == expected


@pytest.mark.rfc("MUST-3")
@examples
@given(segments, st.data())
def test_one_flipped_bit_anywhere_is_noticed(segment: Segment, data: st.DataObject) -> None:
    packet = bytearray(b"".join(encode_segment(KERNEL, OURS, 1, 2, segment)))
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    packet[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Discard):
        decode_segment(decode_datagram(packet))


@examples
@given(segments, st.data(), st.sampled_from(sorted(PAIRS)))
def test_segment_mutated_at_will(segment: Segment, data: st.DataObject, family: str) -> None:
    packet = bytearray(b"".join(encode_segment(*PAIRS[family], 1, 2, segment)))
    edits = st.tuples(st.integers(0, len(packet) - 1), st.integers(0, 255))
    for index, octet in data.draw(st.lists(edits, max_size=4)):
        packet[index] = octet
    del packet[data.draw(st.integers(0, len(packet))) :]
    with suppress(Discard):
        receive(bytes(packet))


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(
            encode_segment(KERNEL, OURS, 1, 2, Segment(1, mss=1460, wscale=7, ts_val=1)), id="TCP"
        ),
        pytest.param(
            encode_icmp(KERNEL, OURS, IcmpMessage(ECHO_REQUEST, payload=b"data")), id="ICMP"
        ),
        pytest.param(encode_segment(KERNEL_6, OURS_6, 1, 2, Segment(1, ts_val=1)), id="IPv6"),
        pytest.param(
            [ipv6_packet(options_header(60) + options_header(6) + bytes(20), next_header=0)],
            id="extension headers",
        ),
    ],
)
def test_every_packet_that_is_cut_short_is_truncated(packet: list[bytes]) -> None:
    whole = b"".join(packet)
    for length in range(len(whole)):
        with pytest.raises(Discard) as caught:
            receive(whole[:length])
        assert caught.value.reason is Reason.TRUNCATED


def test_deeply_nested_packets_are_not_followed_down() -> None:
    """Each of these would send a parser that follows every header into a RecursionError."""
    ip_in_ip = b""
    while len(ip_in_ip) <= 65535 - 20:
        ip_in_ip = ipv4_packet(protocol=4, total_length=20 + len(ip_in_ip)) + ip_in_ip
    assert len(decode_datagram(ip_in_ip).payload) == len(ip_in_ip) - 20

    headers = b"".join([options_header(60)] * 8000)
    with pytest.raises(Discard):
        decode_datagram(ipv6_packet(headers, next_header=60))

    # The inner checksums are nobody's business, so they need not be right.
    error = struct.pack(">BBHI", 3, 3, 0, 0)
    quotes = (ipv4_packet(protocol=ICMP, total_length=0) + error) * 2300 + ipv4_packet(bytes(8))
    message = decode_icmp(decode_datagram(ipv4_packet(icmp_bytes(3, 3, 0, quotes), protocol=ICMP)))
    assert message.quoted is not None
    assert len(message.quoted.payload) == len(quotes) - 20
