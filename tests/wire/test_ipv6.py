"""The IPv6 codec: the fixed header, quotes, and reassembled datagrams. See test_extensions."""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.packets import (
    KERNEL_6,
    OURS_6,
    addresses_6,
    examples,
    fragment_header,
    ipv6_packet,
    octets,
    options_header,
    payloads,
    plain_datagrams_6,
    routing_header,
    tcp_bytes,
)
from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.wire import (
    Discard,
    Reason,
    decode_datagram,
    decode_quote,
    encode_datagram,
    finish,
    protocol_at,
)
from tunstack.wire.extensions import DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING

SEGMENT = tcp_bytes(addresses=KERNEL_6 + OURS_6)
OPTIONS = options_header(TCP)


@pytest.mark.rfc("8200:3")
@examples
@given(plain_datagrams_6)
def test_what_is_encoded_is_decoded(datagram: Datagram) -> None:
    assert decode_datagram(b"".join(encode_datagram(datagram))) == datagram


@pytest.mark.rfc("8200:3", "6437:3")
@examples
@given(plain_datagrams_6)
def test_dpkt_reads_what_is_encoded(datagram: Datagram) -> None:
    packet = b"".join(encode_datagram(datagram))
    theirs = dpkt.ip6.IP6(packet)
    assert (theirs.v, theirs.fc, theirs.flow) == (6, datagram.tos, datagram.flow_label)
    assert (theirs.plen, theirs.nxt) == (len(datagram.payload), datagram.protocol)
    assert (theirs.hlim, theirs.src, theirs.dst) == (datagram.ttl, datagram.src, datagram.dst)


@pytest.mark.rfc("8200:3")
@examples
@given(octets, octets, st.integers(0, 0xFFFFF), addresses_6, addresses_6, payloads)
def test_what_dpkt_builds_is_decoded(
    tos: int, ttl: int, flow: int, src: bytes, dst: bytes, payload: bytes
) -> None:
    theirs = dpkt.ip6.IP6(nxt=253, hlim=ttl, src=src, dst=dst, plen=len(payload))
    theirs.fc, theirs.flow = tos, flow
    expected = Datagram(src, dst, 253, payload, ttl, tos, dont_fragment=True, flow_label=flow)
    assert decode_datagram(bytes(theirs) + payload) == expected


def test_payload_is_a_view_into_the_packet() -> None:
    packet = ipv6_packet(b"payload")
    payload = decode_datagram(packet).payload
    assert isinstance(payload, memoryview)
    assert payload.obj is packet


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("headers", [b"", OPTIONS])
def test_any_buffer_is_decoded(
    headers: bytes, kind: type[bytes] | type[bytearray] | type[memoryview]
) -> None:
    packet = ipv6_packet(headers + b"payload", next_header=DESTINATION if headers else TCP)
    datagram = decode_datagram(kind(packet))
    assert (datagram.options, datagram.payload) == (headers, b"payload")


def test_payload_is_encoded_without_a_copy() -> None:
    payload = memoryview(b"payload")
    assert encode_datagram(Datagram(KERNEL_6, OURS_6, UDP, payload))[1] is payload


def test_empty_payload_is_no_buffer() -> None:
    assert len(encode_datagram(Datagram(KERNEL_6, OURS_6, UDP, b""))) == 1


@pytest.mark.rfc("8200:3")
def test_octets_beyond_the_payload_length_are_cut_off() -> None:
    datagram = decode_datagram(ipv6_packet(b"payload") + b"padding")
    assert datagram.payload == b"payload"
    assert isinstance(datagram.payload, memoryview)
    assert len(bytes(datagram.payload.obj)) == 47, "the rest does not stay in memory"
    assert decode_datagram(ipv6_packet(b"nothing", length=0)).payload == b""


@pytest.mark.rfc("8200:3", "8200:3-1")
@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        pytest.param(ipv6_packet()[:39], Reason.TRUNCATED, id="39 octets"),
        pytest.param(b"\x60", Reason.TRUNCATED, id="one octet"),
        pytest.param(ipv6_packet(b"payload")[:-1], Reason.TRUNCATED, id="an octet is missing"),
        pytest.param(ipv6_packet(length=0xFFFF), Reason.TRUNCATED, id="all is missing"),
        pytest.param(ipv6_packet(version=5), Reason.BAD_VERSION, id="version 5"),
        pytest.param(ipv6_packet(version=7), Reason.BAD_VERSION, id="version 7"),
        pytest.param(
            ipv6_packet(options_header(TCP) + SEGMENT, next_header=HOP_BY_HOP, length=0),
            Reason.BAD_TOTAL_LENGTH,
            id="a jumbogram",
        ),
        pytest.param(
            ipv6_packet(options_header(TCP), next_header=DESTINATION, length=0),
            Reason.BAD_EXTENSION_HEADER,
            id="no jumbogram, and no room for the header",
        ),
    ],
)
def test_bad_packet_is_discarded(packet: bytes, reason: Reason) -> None:
    with pytest.raises(Discard) as caught:
        decode_datagram(packet)
    assert (caught.value.reason, caught.value.problem) == (reason, None)


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(Datagram(KERNEL_6, OURS_6, UDP, bytes(65536)), id="payload"),
        pytest.param(
            Datagram(KERNEL_6, OURS_6, UDP, bytes(65530), options=OPTIONS, extension=DESTINATION),
            id="payload and options",
        ),
        pytest.param(
            Datagram(KERNEL_6, OURS_6, UDP, bytes(65530), more_fragments=True),
            id="payload and fragment header",
        ),
        pytest.param(Datagram(KERNEL_6, OURS_6, UDP, b"", options=bytes(9)), id="nine octets"),
    ],
)
def test_what_ipv6_cannot_carry_is_a_value_error(datagram: Datagram) -> None:
    with pytest.raises(ValueError, match="no IPv6 packet"):
        encode_datagram(datagram)


def test_the_longest_packet_is_carried() -> None:
    datagram = Datagram(KERNEL_6, OURS_6, UDP, bytes(65535), dont_fragment=True)
    assert decode_datagram(b"".join(encode_datagram(datagram))) == datagram


CHAINS = [
    pytest.param(HOP_BY_HOP, options_header(TCP), 40, id="hop-by-hop options"),
    pytest.param(DESTINATION, options_header(DESTINATION) + options_header(TCP), 48, id="two"),
    pytest.param(
        HOP_BY_HOP,
        options_header(ROUTING, bytes((30, 8)) + bytes(8))
        + routing_header(FRAGMENT, 0, 0, 24)
        + fragment_header(DESTINATION)
        + options_header(TCP),
        40 + 16 + 24 + 8,
        id="all of them",
    ),
]


@pytest.mark.parametrize(("first", "headers", "pointer"), CHAINS)
def test_extension_headers_are_kept_as_on_the_wire(
    first: int, headers: bytes, pointer: int
) -> None:
    packet = ipv6_packet(headers + SEGMENT, next_header=first, tos=0x28, flow_label=0xABCDE)
    datagram = decode_datagram(packet)
    assert (datagram.protocol, datagram.payload, datagram.options) == (TCP, SEGMENT, headers)
    assert (datagram.extension, datagram.tos, datagram.flow_label) == (first, 0x28, 0xABCDE)
    assert b"".join(encode_datagram(datagram)) == packet
    assert protocol_at(datagram) == pointer
    assert packet[pointer] == TCP


@pytest.mark.rfc("8200:4")
@pytest.mark.parametrize(("first", "headers", "pointer"), CHAINS)
def test_the_pointer_to_an_unknown_protocol_is_to_the_octet_that_names_it(
    first: int, headers: bytes, pointer: int
) -> None:
    packet = bytearray(ipv6_packet(headers + b"?", next_header=first))
    packet[pointer] = 200
    datagram = decode_datagram(packet)
    assert (datagram.protocol, protocol_at(datagram)) == (200, pointer)
    assert protocol_at(decode_datagram(ipv6_packet(b"?", next_header=200))) == 6


@pytest.mark.parametrize(("first", "headers", "pointer"), CHAINS)
def test_a_quote_is_read_behind_its_extension_headers(
    first: int, headers: bytes, pointer: int
) -> None:
    packet = memoryview(ipv6_packet(headers + SEGMENT, next_header=first))
    for missing in range(13):
        quoted = decode_quote(packet[: len(packet) - missing])
        assert (quoted.protocol, quoted.src) == (TCP, KERNEL_6)
        assert quoted.payload == SEGMENT[: 20 - missing]
    for missing in range(13, 20):
        with pytest.raises(Discard) as caught:
            decode_quote(packet[: len(packet) - missing])
        assert caught.value.reason is Reason.TRUNCATED


def test_of_a_quote_neither_length_nor_options_are_validated() -> None:
    headers = options_header(TCP, b"\xfe\2\0\0")
    packet = ipv6_packet(headers + SEGMENT, next_header=DESTINATION, length=0xFFFF)
    assert decode_quote(memoryview(packet)).payload == SEGMENT


def test_a_quoted_fragment_is_told_apart() -> None:
    packet = ipv6_packet(fragment_header(UDP, 64, more=True) + bytes(8), next_header=FRAGMENT)
    quoted = decode_quote(memoryview(packet))
    assert (quoted.protocol, quoted.fragment_offset, quoted.more_fragments) == (UDP, 64, True)


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        (ipv6_packet()[:39], Reason.TRUNCATED),
        (ipv6_packet(bytes(7)), Reason.TRUNCATED),
        (ipv6_packet(SEGMENT, version=7), Reason.BAD_VERSION),
    ],
)
def test_what_is_no_quote_is_discarded(quote: bytes, reason: Reason) -> None:
    with pytest.raises(Discard) as caught:
        decode_quote(memoryview(quote))
    assert caught.value.reason is reason


@pytest.mark.rfc("8200:4.5")
@pytest.mark.parametrize("before", [b"", options_header(FRAGMENT)])
def test_fragments_are_told_apart(before: bytes) -> None:
    kind = DESTINATION if before else FRAGMENT

    def fragment(offset: int, more: bool, payload: bytes) -> Datagram:
        header = fragment_header(TCP, offset, more=more, identification=0xDEADBEEF)
        packet = ipv6_packet(before + header + payload, next_header=kind)
        datagram = decode_datagram(packet)
        assert b"".join(encode_datagram(datagram)) == packet
        assert protocol_at(datagram) == 40 + len(before)
        return datagram

    first = fragment(0, True, bytes(24))
    assert (first.more_fragments, first.fragment_offset, first.payload) == (True, 0, bytes(24))
    assert (first.identification, first.dont_fragment) == (0xDEADBEEF, False)
    assert (first.protocol, first.options) == (TCP, before)
    last = fragment(24, False, b"odd")
    assert (last.more_fragments, last.fragment_offset, last.payload) == (False, 24, b"odd")


def reassembled(before: bytes, carried: int, payload: bytes) -> Datagram:
    """A datagram as reassembly leaves it: its first fragment's headers, and the whole payload."""
    return Datagram(
        KERNEL_6,
        OURS_6,
        carried,
        payload,
        identification=7,
        options=before,
        extension=DESTINATION if before else 0,
    )


@pytest.mark.rfc("8200:4.5")
@pytest.mark.parametrize("before", [b"", options_header(FRAGMENT)])
@pytest.mark.parametrize("behind", [b"", options_header(TCP)])
def test_a_reassembled_datagram_is_as_if_it_had_come_whole(before: bytes, behind: bytes) -> None:
    carried = DESTINATION if behind else TCP
    datagram = finish(reassembled(before, carried, behind + SEGMENT))
    linked = bytes((carried,)) + before[1:] if before else b""
    packet = ipv6_packet(
        linked + behind + SEGMENT, next_header=DESTINATION if before or behind else TCP
    )
    assert b"".join(encode_datagram(datagram)) == packet
    assert (datagram.protocol, datagram.payload) == (TCP, SEGMENT)
    assert protocol_at(datagram) == protocol_at(decode_datagram(packet))


@pytest.mark.parametrize(
    ("before", "carried", "payload", "reason", "problem"),
    [
        pytest.param(
            b"",
            DESTINATION,
            options_header(TCP, b"\x9e\2\0\0") + SEGMENT,
            Reason.BAD_IP_OPTIONS,
            (2, 42),
            id="an unknown option",
        ),
        pytest.param(
            options_header(FRAGMENT),
            DESTINATION,
            options_header(TCP, b"\x9e\2\0\0") + SEGMENT,
            Reason.BAD_IP_OPTIONS,
            (2, 50),
            id="an unknown option behind a header",
        ),
        pytest.param(
            b"",
            FRAGMENT,
            fragment_header(TCP) + SEGMENT,
            Reason.BAD_FRAGMENT,
            (0, 40),
            id="another fragment header",
        ),
        pytest.param(b"", 59, bytes(40), Reason.NO_NEXT_HEADER, None, id="nothing"),
    ],
)
def test_a_reassembled_datagram_with_a_wrong_header_is_discarded(
    before: bytes,
    carried: int,
    payload: bytes,
    reason: Reason,
    problem: tuple[int, int] | None,
) -> None:
    with pytest.raises(Discard) as caught:
        finish(reassembled(before, carried, payload))
    assert caught.value.reason is reason
    found = caught.value.problem
    assert problem == (found and found[1:])
    if found is not None:
        linked = bytes((carried,)) + before[1:] if before else b""
        packet = ipv6_packet(linked + payload, next_header=DESTINATION if before else carried)
        assert b"".join(encode_datagram(found[0])) == packet


def test_hop_by_hop_options_in_a_reassembled_datagram_are_an_unknown_protocol() -> None:
    datagram = finish(reassembled(b"", HOP_BY_HOP, options_header(TCP) + SEGMENT))
    assert (datagram.protocol, protocol_at(datagram)) == (HOP_BY_HOP, 6)


def test_ipv4_has_no_headers_to_read_after_reassembly() -> None:
    datagram = Datagram(bytes(4), bytes(4), DESTINATION, options_header(TCP))
    assert finish(datagram) is datagram
    assert protocol_at(datagram) == 9


def test_fixed_header_is_in_network_order() -> None:
    datagram = Datagram(KERNEL_6, OURS_6, UDP, b"x", ttl=3, tos=0xAB, flow_label=0x12345)
    header = encode_datagram(datagram)[0]
    assert header == struct.pack(">IHBB", 0x6AB12345, 1, 17, 3) + KERNEL_6 + OURS_6
