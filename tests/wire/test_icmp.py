"""The ICMP codec."""

from __future__ import annotations

import dataclasses

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.packets import (
    KERNEL,
    OURS,
    addresses,
    datagrams,
    examples,
    icmp_bytes,
    ipv4_packet,
    octets,
    payloads,
    tcp_bytes,
    words,
)
from tunstack.ip.datagram import ICMP, TCP, Datagram
from tunstack.ip.icmp import (
    DESTINATION_UNREACHABLE,
    ECHO_REQUEST,
    ERRORS,
    FRAGMENTATION_NEEDED,
    PARAMETER_PROBLEM,
    TIME_EXCEEDED,
    IcmpMessage,
    quoted,
)
from tunstack.wire import Discard, Reason, decode_datagram, decode_icmp, encode_icmp

queries = st.builds(
    IcmpMessage,
    type=octets.filter(lambda kind: kind not in ERRORS),
    code=octets,
    rest=words,
    payload=payloads,
)
errors = st.builds(
    IcmpMessage,
    type=st.sampled_from(sorted(ERRORS)),
    code=octets,
    rest=words,
    quoted=datagrams.filter(lambda datagram: len(datagram.payload) >= 8),
)


def datagram_of(message: bytes) -> Datagram:
    return Datagram(KERNEL, OURS, ICMP, message)


@examples
@given(addresses, addresses, queries | errors)
def test_what_is_encoded_is_decoded(src: bytes, dst: bytes, message: IcmpMessage) -> None:
    datagram = decode_datagram(b"".join(encode_icmp(src, dst, message)))
    assert (datagram.src, datagram.dst, datagram.protocol) == (src, dst, ICMP)
    assert decode_icmp(datagram) == message


@examples
@given(queries | errors)
def test_dpkt_reads_what_is_encoded(message: IcmpMessage) -> None:
    packet = b"".join(encode_icmp(KERNEL, OURS, message, ttl=9, tos=8, identification=7))
    theirs = dpkt.ip.IP(packet)
    assert (theirs.ttl, theirs.tos, theirs.id, theirs.df, theirs.len) == (9, 8, 7, 0, len(packet))
    assert (theirs.data.type, theirs.data.code) == (message.type, message.code)
    assert dpkt.in_cksum(packet[:20]) == dpkt.in_cksum(packet[20:]) == 0


@examples
@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), payloads)
def test_echo_that_dpkt_builds_is_decoded(identifier: int, sequence: int, data: bytes) -> None:
    echo = dpkt.icmp.ICMP.Echo(id=identifier, seq=sequence, data=data)
    message = decode_icmp(datagram_of(bytes(dpkt.icmp.ICMP(type=8, data=echo))))
    assert message.type == ECHO_REQUEST
    assert (message.identifier, message.sequence) == (identifier, sequence)
    assert message.payload == data


def test_payload_is_a_view_and_is_encoded_without_a_copy() -> None:
    received = icmp_bytes(ECHO_REQUEST, body=b"payload")
    payload = decode_icmp(datagram_of(received)).payload
    assert isinstance(payload, memoryview)
    assert payload.obj is received
    assert encode_icmp(OURS, KERNEL, IcmpMessage(0, payload=payload))[1] is payload


def test_message_without_data_is_one_buffer() -> None:
    assert len(encode_icmp(OURS, KERNEL, IcmpMessage(0))) == 1


@pytest.mark.rfc("1191:4")
def test_fragmentation_needed_says_what_fits_and_whose_segment_it_was() -> None:
    quote = ipv4_packet(tcp_bytes(sport=80, dport=40000, payload=bytes(100)))[:28]
    body = icmp_bytes(DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, 1400, quote)
    message = decode_icmp(datagram_of(body))
    assert (message.code, message.next_hop_mtu) == (FRAGMENTATION_NEEDED, 1400)
    assert quoted(message) == (KERNEL, OURS, 80, 40000, quote[20:])


def test_parameter_problem_points_into_the_quoted_header() -> None:
    body = icmp_bytes(PARAMETER_PROBLEM, 0, 9 << 24, ipv4_packet(bytes(8)))
    assert decode_icmp(datagram_of(body)).pointer == 9


def test_quote_is_read_whatever_became_of_its_header_on_the_way() -> None:
    """The hops count its TTL down, and some leave its checksum and total length wrong."""
    quote = ipv4_packet(bytes(8), total_length=1500, wrong=0xFF, flags=0xC000, options=bytes(4))
    message = decode_icmp(datagram_of(icmp_bytes(TIME_EXCEEDED, body=quote)))
    assert message.quoted == Datagram(
        KERNEL, OURS, TCP, bytes(8), 64, 0, 7, dont_fragment=True, options=bytes(4)
    )


@pytest.mark.rfc("1122:3.2.2", "3168:9.1", "1122:3.2.2-2")
def test_a_quote_is_the_datagram_as_it_came() -> None:
    """Its octets, service and ECN among them: who sent it may look for a mark of congestion."""
    came = ipv4_packet(bytes(8), tos=0xBB, ttl=3)
    packet = b"".join(encode_icmp(OURS, KERNEL, IcmpMessage(3, 3, quoted=decode_datagram(came))))
    assert packet[28:] == came
    assert packet[1] == 0  # The error's own is another matter.
    back = decode_icmp(decode_datagram(packet)).quoted
    assert back is not None
    assert (back.tos, back.ttl) == (0xBB, 3)


@pytest.mark.rfc("1812:4.3.2.3")
def test_error_quotes_what_fits_into_576_octets() -> None:
    """RFC 1812 section 4.3.2.3; the total length quoted is that of the whole datagram."""
    about = Datagram(KERNEL, OURS, 17, bytes(range(250)) * 5, options=bytes(8))
    packet = b"".join(encode_icmp(OURS, KERNEL, IcmpMessage(3, 3, quoted=about)))
    assert len(packet) == 576
    assert packet[30:32] == (28 + 1250).to_bytes(2, "big")
    cut = dataclasses.replace(about, payload=about.payload[:520])
    assert decode_icmp(decode_datagram(packet)).quoted == cut


def test_message_longer_than_a_packet_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no IPv4 packet"):
        encode_icmp(OURS, KERNEL, IcmpMessage(0, payload=bytes(65508)))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param(b"", Reason.TRUNCATED_ICMP, id="nothing"),
        pytest.param(icmp_bytes(8)[:7], Reason.TRUNCATED_ICMP, id="7 octets"),
        pytest.param(icmp_bytes(8, wrong=1), Reason.BAD_ICMP_CHECKSUM, id="checksum"),
        pytest.param(bytes(8), Reason.BAD_ICMP_CHECKSUM, id="zeros"),
        pytest.param(icmp_bytes(3), Reason.BAD_ICMP_QUOTE, id="no quote"),
        pytest.param(
            icmp_bytes(3, body=ipv4_packet()[:19]), Reason.BAD_ICMP_QUOTE, id="19 octets quoted"
        ),
        pytest.param(
            icmp_bytes(11, body=ipv4_packet(bytes(7))), Reason.BAD_ICMP_QUOTE, id="7 of the payload"
        ),
        pytest.param(
            icmp_bytes(3, body=ipv4_packet(bytes(8), options=bytes(4))[:31]),
            Reason.BAD_ICMP_QUOTE,
            id="7 of the payload, with options",
        ),
        pytest.param(
            icmp_bytes(3, body=ipv4_packet(bytes(20), version=6)),
            Reason.BAD_ICMP_QUOTE,
            id="IPv6 quoted",
        ),
        pytest.param(
            icmp_bytes(3, body=ipv4_packet(bytes(20), header_words=4)),
            Reason.BAD_ICMP_QUOTE,
            id="a header of 16 octets quoted",
        ),
    ],
)
def test_bad_message_is_discarded(message: bytes, reason: Reason) -> None:
    with pytest.raises(Discard) as caught:
        decode_icmp(datagram_of(message))
    assert caught.value.reason is reason
