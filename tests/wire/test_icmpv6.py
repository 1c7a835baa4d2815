"""The ICMPv6 codec."""

from __future__ import annotations

import struct
from dataclasses import replace

import dpkt
import pytest

from tests.wire.packets import icmp_bytes, ipv4_packet, naive_checksum
from tunstack.ip.address import packed
from tunstack.ip.datagram import UDP, Datagram
from tunstack.ip.icmp import IcmpMessage, quoted
from tunstack.ip.icmpv6 import (
    DESTINATION_UNREACHABLE,
    ECHO_REQUEST,
    PACKET_TOO_BIG,
    PORT_UNREACHABLE,
    PROTOCOL,
    REDIRECT,
    TIME_EXCEEDED,
)
from tunstack.wire import Discard, Reason, decode_datagram, decode_icmp, encode_icmp
from tunstack.wire.ip import encode_datagram

KERNEL = packed("2001:db8::1")
OURS = packed("2001:db8::2")
OUR_DATAGRAM = Datagram(OURS, KERNEL, UDP, bytes(range(64)), dont_fragment=True)


def icmpv6_bytes(
    kind: int, code: int = 0, rest: int = 0, body: bytes = b"", wrong: int = 0
) -> bytes:
    """A message from KERNEL to OURS whose checksum is right, or off by `wrong`."""
    message = struct.pack(">BBHI", kind, code, 0, rest) + body
    pseudo_header = KERNEL + OURS + struct.pack(">II", len(message), 58)
    total = naive_checksum(pseudo_header + message) ^ wrong
    return message[:2] + total.to_bytes(2, "big") + message[4:]


def datagram_of(message: bytes) -> Datagram:
    return Datagram(KERNEL, OURS, PROTOCOL, message)


@pytest.mark.rfc("4443:2.3", "4443:2.3-1", "8200:8.1-1")
@pytest.mark.parametrize("size", [0, 1, 2, 1451, 65527])
def test_the_checksum_covers_the_pseudo_header(size: int) -> None:
    body = bytes(range(256)) * 256
    body = body[:size]
    packet = b"".join(encode_icmp(KERNEL, OURS, IcmpMessage(ECHO_REQUEST, 0, 7, body)))
    assert packet[40:] == icmpv6_bytes(ECHO_REQUEST, 0, 7, body)
    message = decode_icmp(decode_datagram(packet))
    assert (message.type, message.rest, bytes(message.payload)) == (ECHO_REQUEST, 7, body)


def test_dpkt_reads_what_is_encoded() -> None:
    message = IcmpMessage(ECHO_REQUEST, 0, 0x00050006, b"data")
    packet = dpkt.ip6.IP6(b"".join(encode_icmp(OURS, KERNEL, message, ttl=9, tos=0xB8)))
    assert (packet.hlim, packet.nxt, packet.fc, packet.flow) == (9, 58, 0xB8, 0)
    assert (packet.data.type, packet.data.data.id, packet.data.data.seq) == (128, 5, 6)


@pytest.mark.rfc("4443:3.2")
def test_packet_too_big_has_32_bits_for_the_mtu() -> None:
    quote = b"".join(encode_datagram(OUR_DATAGRAM))
    message = decode_icmp(datagram_of(icmpv6_bytes(PACKET_TOO_BIG, 0, 70000, quote)))
    assert (message.rest, message.quoted_length) == (70000, 104)
    assert message.quoted == OUR_DATAGRAM
    assert quoted(message) == (OURS, KERNEL, 0x0001, 0x0203, OUR_DATAGRAM.payload)


@pytest.mark.rfc("4443:2.4", "4443:2.4-3")
@pytest.mark.parametrize("options", [b"", bytes((UDP, 1)) + bytes(14)])
def test_an_error_quotes_as_much_as_fits_into_1280_octets(options: bytes) -> None:
    about = replace(
        OUR_DATAGRAM, payload=bytes(4000), options=options, extension=60 if options else 0
    )
    whole = b"".join(encode_datagram(about))
    message = IcmpMessage(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, quoted=about)
    packet = b"".join(encode_icmp(KERNEL, OURS, message))
    assert len(packet) == 1280
    assert packet[48:] == whole[: 1280 - 48]
    back = decode_icmp(decode_datagram(packet))
    assert back.quoted_length == len(whole)
    assert back.quoted is not None
    assert back.quoted.protocol == UDP


def test_a_small_datagram_is_quoted_whole() -> None:
    message = IcmpMessage(TIME_EXCEEDED, 1, quoted=OUR_DATAGRAM)
    packet = b"".join(encode_icmp(KERNEL, OURS, message))
    assert packet[48:] == b"".join(encode_datagram(OUR_DATAGRAM))


def test_a_redirect_is_no_error_and_its_body_is_kept() -> None:
    message = decode_icmp(datagram_of(icmpv6_bytes(REDIRECT, body=bytes(32))))
    assert (message.quoted, bytes(message.payload)) == (None, bytes(32))


@pytest.mark.rfc("8504:5.8-1")
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param(b"", Reason.TRUNCATED_ICMP, id="nothing"),
        pytest.param(icmpv6_bytes(128)[:7], Reason.TRUNCATED_ICMP, id="7 octets"),
        pytest.param(icmpv6_bytes(128, wrong=1), Reason.BAD_ICMP_CHECKSUM, id="checksum"),
        pytest.param(bytes(8), Reason.BAD_ICMP_CHECKSUM, id="zeros"),
        pytest.param(icmp_bytes(128), Reason.BAD_ICMP_CHECKSUM, id="no pseudo-header"),
        pytest.param(icmpv6_bytes(1), Reason.BAD_ICMP_QUOTE, id="no quote"),
        pytest.param(
            icmpv6_bytes(1, body=b"".join(encode_datagram(OUR_DATAGRAM))[:39]),
            Reason.BAD_ICMP_QUOTE,
            id="39 octets quoted",
        ),
        pytest.param(
            icmpv6_bytes(3, body=b"".join(encode_datagram(OUR_DATAGRAM))[:47]),
            Reason.BAD_ICMP_QUOTE,
            id="7 of the payload",
        ),
        pytest.param(
            icmpv6_bytes(1, body=ipv4_packet(bytes(20))), Reason.BAD_ICMP_QUOTE, id="IPv4 quoted"
        ),
    ],
)
def test_bad_message_is_discarded(message: bytes, reason: Reason) -> None:
    with pytest.raises(Discard) as caught:
        decode_icmp(datagram_of(message))
    assert caught.value.reason is reason
