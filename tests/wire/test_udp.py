"""UDP headers: decoding, encoding, and the fast reader and templates beside them."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.damage import damaged
from tunstack.ip.datagram import UDP, Buffer, Datagram
from tunstack.wire import (
    Discard,
    Reason,
    completed,
    decode_datagram,
    decode_frame,
    decode_udp,
    encode_datagram,
    encode_udp,
)
from tunstack.wire.fast.datagram import Fields, Reader, Template, read_frame, read_packet
from tunstack.wire.fast.datagram import template as made
from tunstack.wire.gso import packets

US, THEM = bytes((198, 51, 100, 2)), bytes((198, 51, 100, 1))
US_IPV6, THEM_IPV6 = bytes(15) + b"\2", bytes(15) + b"\1"
FAMILIES = pytest.mark.parametrize(
    ("src", "dst"), [(THEM, US), (THEM_IPV6, US_IPV6)], ids=["IPv4", "IPv6"]
)


def udp(src: bytes, dst: bytes, data: bytes, sport: int = 9, dport: int = 53) -> bytes:
    return encode_udp(src, dst, sport, dport, data) + data


def decoded(datagram: Datagram) -> tuple[int, int, bytes]:
    sport, dport, data = decode_udp(datagram)
    return sport, dport, bytes(data)


def reason(src: bytes, dst: bytes, payload: bytes) -> Reason:
    with pytest.raises(Discard) as caught:
        decode_udp(Datagram(src, dst, UDP, payload))
    return caught.value.reason


@pytest.mark.rfc("1122:4.1.3.4-1")
@FAMILIES
@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=100))
def test_what_is_encoded_is_decoded(
    src: bytes, dst: bytes, sport: int, dport: int, data: bytes
) -> None:
    payload = udp(src, dst, data, sport, dport)
    assert decoded(Datagram(src, dst, UDP, payload)) == (sport, dport, data)


@pytest.mark.rfc("768:1-2", "1122:4.1.3.4-2", "8200:8.1-1")
@FAMILIES
def test_a_wrong_checksum_is_dropped_wherever_the_damage_is(src: bytes, dst: bytes) -> None:
    whole = udp(src, dst, b"a datagram")
    for at in (*range(4), *range(6, len(whole))):
        spoiled = bytearray(whole)
        spoiled[at] ^= 0x20
        assert reason(src, dst, bytes(spoiled)) is Reason.BAD_UDP_CHECKSUM
    assert reason(dst[:-1] + b"\7", dst, whole) is Reason.BAD_UDP_CHECKSUM


@pytest.mark.rfc("1122:4.1.3.4", "768:1-4")
def test_ipv4_may_do_without_a_checksum() -> None:
    payload = pack(">HHHH", 9, 53, 12, 0) + b"data"
    assert decoded(Datagram(THEM, US, UDP, payload)) == (9, 53, b"data")


@pytest.mark.rfc("8200:8.1-3")
def test_ipv6_may_not() -> None:
    """RFC 8200 section 8.1."""
    payload = pack(">HHHH", 9, 53, 12, 0) + b"data"
    assert reason(THEM_IPV6, US_IPV6, payload) is Reason.BAD_UDP_CHECKSUM


@FAMILIES
@pytest.mark.rfc("1122:4.1.3.4", "768:1-3", "8200:8.1-2")
def test_a_checksum_of_zero_is_sent_as_all_ones(src: bytes, dst: bytes) -> None:
    fields = {
        encode_udp(src, dst, 9, 53, number.to_bytes(2, "big"))[6:] for number in range(1 << 16)
    }
    assert b"\xff\xff" in fields
    assert b"\0\0" not in fields


@pytest.mark.rfc("768:1-1")
@FAMILIES
def test_a_length_that_cannot_be_is_dropped(src: bytes, dst: bytes) -> None:
    for length in (1, 7, 13, 0xFFFF):
        payload = pack(">HHHH", 9, 53, length, 0) + b"data"
        assert reason(src, dst, payload) is Reason.BAD_UDP_LENGTH
    assert reason(src, dst, bytes(7)) is Reason.TRUNCATED_UDP


@FAMILIES
def test_octets_beyond_the_length_are_no_data(src: bytes, dst: bytes) -> None:
    payload = udp(src, dst, b"data") + b"trailer"
    assert decoded(Datagram(src, dst, UDP, payload)) == (9, 53, b"data")


def test_a_length_of_zero_is_a_jumbograms_in_ipv6_alone() -> None:
    payload = bytearray(udp(THEM_IPV6, US_IPV6, b"data"))
    payload[4:6] = bytes(2)
    trusted = Datagram(THEM_IPV6, US_IPV6, UDP, bytes(payload), trusted=True)
    assert decoded(trusted) == (9, 53, b"data")
    assert reason(THEM, US, bytes(payload)) is Reason.BAD_UDP_LENGTH


def template(
    offload: bool, ttl: int = 64, tos: int = 0, *, src: bytes = THEM, dst: bytes = US
) -> Template:
    return made(src, dst, pack(">HH", 9, 53), offload=offload, ttl=ttl, tos=tos)


def reader(offload: bool) -> Reader:
    return read_frame if offload else read_packet


def by_codec(frame: Buffer, offload: bool) -> Fields:
    datagram = decode_frame(frame) if offload else decode_datagram(frame)
    assert datagram.options == b""
    assert (datagram.more_fragments, datagram.fragment_offset) == (False, 0)
    sport, dport, data = decode_udp(datagram)
    name = datagram.src + datagram.dst + pack(">HH", sport, dport)
    return name, bytes(data), datagram.ttl, datagram.tos, datagram.gso_size


@FAMILIES
@pytest.mark.parametrize("offload", [False, True])
@given(st.binary(max_size=50), st.integers(1, 255), st.integers(0, 255))
def test_the_fast_reader_reads_what_the_template_writes(
    src: bytes, dst: bytes, offload: bool, data: bytes, ttl: int, tos: int
) -> None:
    frame = template(offload, ttl, tos, src=src, dst=dst).headers(data) + data
    name = src + dst + pack(">HH", 9, 53)
    assert reader(offload)(frame) == by_codec(frame, offload) == (name, data, ttl, tos, 0)


@FAMILIES
@pytest.mark.parametrize("offload", [False, True])
@given(st.binary(max_size=30), st.data())
def test_of_a_damaged_packet_it_reads_what_the_codec_reads_or_nothing(
    src: bytes, dst: bytes, offload: bool, data: bytes, draw: st.DataObject
) -> None:
    for frame in damaged(template(offload, src=src, dst=dst).headers(data) + data, draw):
        fields = reader(offload)(frame)
        if fields is not None:
            assert fields == by_codec(frame, offload)


@FAMILIES
def test_the_template_writes_what_the_codec_writes(src: bytes, dst: bytes) -> None:
    for data in (b"", b"x", bytes(1472)):
        header = encode_udp(src, dst, 9, 53, data)
        plain = Datagram(src, dst, UDP, header + data, ttl=7, tos=8, dont_fragment=True)
        written = template(False, 7, 8, src=src, dst=dst).headers(data) + data
        assert written == b"".join(encode_datagram(plain))
        assert completed(template(True, 7, 8, src=src, dst=dst).headers(data) + data) == written


@FAMILIES
def test_a_large_datagram_is_what_it_is_cut_into(src: bytes, dst: bytes) -> None:
    data = bytes(range(250)) * 10
    frame = template(True, src=src, dst=dst).large(len(data), 1000) + data
    assert read_frame(frame) == (src + dst + pack(">HH", 9, 53), data, 64, 0, 1000)
    pieces = packets(frame)
    assert [decode_udp(decode_datagram(piece))[2] for piece in pieces] == [
        data[:1000],
        data[1000:2000],
        data[2000:],
    ]
