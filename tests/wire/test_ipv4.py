"""The IPv4 codec."""

from __future__ import annotations

import dpkt
import pytest
from hypothesis import given

from tests.wire.packets import (
    KERNEL,
    OURS,
    addresses,
    datagrams,
    examples,
    ipv4_packet,
    octets,
    payloads,
    shorts,
)
from tunstack.ip.datagram import Datagram
from tunstack.wire import Discard, Reason, decode_datagram, encode_datagram


@pytest.mark.rfc("791:3.1")
@examples
@given(datagrams)
def test_what_is_encoded_is_decoded(datagram: Datagram) -> None:
    assert decode_datagram(b"".join(encode_datagram(datagram))) == datagram


@examples
@given(datagrams)
def test_dpkt_reads_what_is_encoded(datagram: Datagram) -> None:
    packet = b"".join(encode_datagram(datagram))
    theirs = dpkt.ip.IP(packet)
    assert (theirs.v, theirs.hl * 4) == (4, 20 + len(datagram.options))
    assert (theirs.tos, theirs.len, theirs.id) == (
        datagram.tos,
        len(packet),
        datagram.identification,
    )
    assert (theirs.rf, theirs.df, theirs.mf) == (
        0,
        datagram.dont_fragment,
        datagram.more_fragments,
    )
    assert theirs.offset * 8 == datagram.fragment_offset
    assert (theirs.ttl, theirs.p) == (datagram.ttl, datagram.protocol)
    assert (theirs.src, theirs.dst) == (datagram.src, datagram.dst)
    assert theirs.opts == datagram.options
    assert dpkt.in_cksum(packet[: theirs.hl * 4]) == 0


@pytest.mark.rfc("791:3.1")
@examples
@given(octets, shorts, octets, addresses, addresses, payloads)
def test_what_dpkt_builds_is_decoded(
    tos: int, identification: int, ttl: int, src: bytes, dst: bytes, payload: bytes
) -> None:
    packet = bytes(
        dpkt.ip.IP(tos=tos, id=identification, ttl=ttl, src=src, dst=dst, p=253, df=1, data=payload)
    )
    assert decode_datagram(packet) == Datagram(
        src, dst, 253, payload, ttl, tos, identification, dont_fragment=True
    )


def test_payload_is_a_view_into_the_packet() -> None:
    packet = ipv4_packet(b"payload")
    payload = decode_datagram(packet).payload
    assert isinstance(payload, memoryview)
    assert payload.obj is packet


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_decoded(kind: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    assert decode_datagram(kind(ipv4_packet(b"payload"))).payload == b"payload"


def test_payload_is_encoded_without_a_copy() -> None:
    payload = memoryview(b"payload")
    assert encode_datagram(Datagram(KERNEL, OURS, 17, payload))[1] is payload


def test_empty_payload_is_no_buffer() -> None:
    assert len(encode_datagram(Datagram(KERNEL, OURS, 17, b""))) == 1


@pytest.mark.rfc("791:3.1")
def test_octets_beyond_the_total_length_are_cut_off() -> None:
    assert decode_datagram(ipv4_packet(b"payload") + b"padding").payload == b"payload"


@pytest.mark.rfc("791:3.1", "1122:3.2.1.8-2")
def test_options_are_kept_and_skipped() -> None:
    datagram = decode_datagram(ipv4_packet(b"payload", options=b"\x94\x04\x00\x00"))
    assert (datagram.options, datagram.payload) == (b"\x94\x04\x00\x00", b"payload")


def test_nonsense_in_options_is_not_looked_at() -> None:
    assert decode_datagram(ipv4_packet(options=b"\x07\x00\xff\xff")).options == b"\x07\x00\xff\xff"


def test_options_are_padded_to_words() -> None:
    header = encode_datagram(Datagram(KERNEL, OURS, 17, b"", options=b"\x01\x01\x01"))[0]
    assert decode_datagram(header).options == b"\x01\x01\x01\x00"


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(Datagram(KERNEL, OURS, 17, bytes(65516)), id="payload"),
        pytest.param(Datagram(KERNEL, OURS, 17, b"", options=bytes(41)), id="options"),
    ],
)
def test_what_ipv4_cannot_carry_is_a_value_error(datagram: Datagram) -> None:
    with pytest.raises(ValueError, match="no IPv4 packet"):
        encode_datagram(datagram)


def test_the_longest_packet_is_carried() -> None:
    datagram = Datagram(KERNEL, OURS, 17, bytes(65515))
    assert decode_datagram(b"".join(encode_datagram(datagram))) == datagram


@pytest.mark.rfc("791:3.1")
@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        pytest.param(b"", Reason.TRUNCATED, id="nothing"),
        pytest.param(ipv4_packet()[:19], Reason.TRUNCATED, id="19 octets"),
        pytest.param(ipv4_packet(b"payload")[:-1], Reason.TRUNCATED, id="an octet is missing"),
        pytest.param(
            ipv4_packet(options=bytes(8))[:24], Reason.TRUNCATED, id="options are missing"
        ),
        pytest.param(ipv4_packet(version=5), Reason.BAD_VERSION, id="version 5"),
        pytest.param(ipv4_packet(version=0), Reason.BAD_VERSION, id="version 0"),
        pytest.param(ipv4_packet(header_words=4), Reason.BAD_HEADER_LENGTH, id="16 octets"),
        pytest.param(ipv4_packet(header_words=0), Reason.BAD_HEADER_LENGTH, id="no header"),
        pytest.param(ipv4_packet(total_length=0), Reason.BAD_TOTAL_LENGTH, id="zero"),
        pytest.param(ipv4_packet(total_length=19), Reason.BAD_TOTAL_LENGTH, id="19"),
        pytest.param(
            ipv4_packet(options=bytes(4), total_length=20),
            Reason.BAD_TOTAL_LENGTH,
            id="less than the header with its options",
        ),
        pytest.param(ipv4_packet(header_words=6), Reason.BAD_TOTAL_LENGTH, id="header past end"),
        pytest.param(ipv4_packet(wrong=1), Reason.BAD_IP_CHECKSUM, id="checksum"),
        pytest.param(
            ipv4_packet(options=bytes(4), wrong=0x8000), Reason.BAD_IP_CHECKSUM, id="with options"
        ),
        pytest.param(ipv4_packet(flags=0x8000), Reason.BAD_IP_FLAGS, id="reserved flag"),
    ],
)
def test_bad_packet_is_discarded(packet: bytes, reason: Reason) -> None:
    with pytest.raises(Discard) as caught:
        decode_datagram(packet)
    assert caught.value.reason is reason


@pytest.mark.rfc("791:3.2")
def test_fragment_fields_are_decoded() -> None:
    first = decode_datagram(ipv4_packet(bytes(8), flags=0x2000))
    last = decode_datagram(ipv4_packet(bytes(8), flags=0x0001))
    assert (first.more_fragments, first.fragment_offset) == (True, 0)
    assert (last.more_fragments, last.fragment_offset) == (False, 8)
