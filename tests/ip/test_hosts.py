"""What RFC 1122 and RFC 8200 require of a host that no other test shows."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.ip.node import BOTH, V4, V6, Ends, Node, message_of
from tests.wire.packets import ipv6_packet, options_header, routing_header
from tunstack.ip import icmp, icmpv6
from tunstack.ip.datagram import ICMPV6, TCP, UDP, Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.tcp.segment import ACK, RST, SYN, Segment
from tunstack.udp.sock import UdpSock
from tunstack.wire import decode_datagram, decode_segment, encode_icmp, encode_segment
from tunstack.wire.extensions import DESTINATION, ROUTING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.icmp import Quote

both = pytest.mark.parametrize("ends", BOTH, ids=["IPv4", "IPv6"])
UNKNOWN: Final = 253
EF: Final = 0xB8
"""A type of service."""


def request(ends: Ends, payload: bytes = b"data") -> IcmpMessage:
    return IcmpMessage(ends.request, 0, 0x12345678, payload)


@pytest.mark.rfc("1122:3.2.1.7-2", "8200:3-2")
@both
@pytest.mark.parametrize("hops", [0, 1, 255])
def test_a_packet_for_us_is_accepted_whatever_its_hops(ends: Ends, hops: int) -> None:
    """Who forwards counts them, not who receives."""
    node = Node()
    packet = decode_datagram(b"".join(encode_icmp(ends.peer, ends.ours, request(ends))))
    assert message_of(node.datagram(packet, ttl=hops)).type == ends.reply


@pytest.mark.rfc("1122:3.2.2.2-1")
@both
@pytest.mark.parametrize("protocol", [TCP, UDP, UNKNOWN])
def test_what_is_for_another_host_is_neither_forwarded_nor_redirected(
    ends: Ends, protocol: int
) -> None:
    node = Node()
    assert node.datagram(Datagram(ends.peer, ends.other, protocol, bytes(40))) == []
    assert node.statistics == {"not_our_address": 1}


@pytest.mark.rfc("6864:4.2-1")
@both
def test_two_packets_with_one_identification_are_two(ends: Ends) -> None:
    node = Node()
    packet = b"".join(encode_icmp(ends.peer, ends.ours, request(ends)))
    for _ in range(2):
        assert message_of(node.packet(packet)).type == ends.reply


@pytest.mark.rfc("8200:8.4-1")
@pytest.mark.parametrize(
    ("first", "headers"),
    [
        (ROUTING, lambda upper: routing_header(upper, 0, 0, 24)),
        (ROUTING, lambda upper: routing_header(upper, 4, 0, 24)),
        (DESTINATION, options_header),
    ],
    ids=["type 0", "type 4", "options"],
)
def test_an_answer_has_no_extension_headers_of_what_it_answers(
    first: int, headers: Callable[[int], bytes]
) -> None:
    """A connection that is refused and an echo reply go straight back."""
    node = Node()
    syn = b"".join(encode_segment(V6.peer, V6.ours, 9, 9, Segment(1, flags=SYN)))[40:]
    echo = b"".join(encode_icmp(V6.peer, V6.ours, request(V6)))[40:]
    [reset] = node.packet(ipv6_packet(headers(TCP) + syn, next_header=first))
    [reply] = node.packet(ipv6_packet(headers(ICMPV6) + echo, next_header=first))
    assert decode_segment(reset)[2].flags == RST | ACK
    assert message_of([reply]).type == V6.reply
    assert reset.options == reply.options == b""


@pytest.mark.rfc("7112:5-1", "1122:3.2.2.6-2", "4443:4.2-2")
@both
@pytest.mark.parametrize("size", [2000, 20_000, 65_000])
def test_a_first_fragment_that_we_send_has_all_headers(ends: Ends, size: int) -> None:
    """It is decoded, which refuses others."""
    node = Node(mtu=1280)
    data = bytes(range(250)) * (size // 250)
    packet = decode_datagram(b"".join(encode_icmp(ends.peer, ends.ours, request(ends, data))))
    fragments = node.datagram(replace(packet, dont_fragment=True))
    assert (fragments[0].fragment_offset, fragments[0].more_fragments) == (0, True)
    assert b"".join(bytes(each.payload) for each in fragments)[8:] == data


@pytest.mark.rfc("1122:3.2.2-1")
def test_a_message_of_a_type_that_there_is_not_is_dropped() -> None:
    node = Node()
    for kind in (1, 2, 6, 7, 44, 252):
        assert node.icmp(V4, IcmpMessage(kind, payload=b"data")) == []
    assert node.statistics == {"icmp_received": 6, "icmp_ignored": 6}


@pytest.mark.rfc("4443:2.4-1")
@pytest.mark.parametrize("kind", [5, 99, 127])
def test_an_error_of_a_type_that_there_is_not_goes_to_what_it_is_about(kind: int) -> None:
    node = Node()
    told: list[tuple[Quote, int]] = []

    def handler(quote: Quote, error: OSError | None, message: IcmpMessage, now: float) -> bool:
        told.append((quote, message.type))
        return True

    node.stack.paths.error_handlers[UNKNOWN] = handler
    quoted = Datagram(V6.ours, V6.peer, UNKNOWN, b"12345678", dont_fragment=True)
    assert node.icmp(V6, IcmpMessage(kind, 0, quoted=quoted)) == []
    [(quote, seen)] = told
    assert (quote.src, quote.dst, seen) == (V6.ours, V6.peer, kind)


_TIME_EXCEEDED: Final = {V4: icmp.TIME_EXCEEDED, V6: icmpv6.TIME_EXCEEDED}
_PARAMETER_PROBLEM: Final = {V4: icmp.PARAMETER_PROBLEM, V6: icmpv6.PARAMETER_PROBLEM}


@pytest.mark.rfc("1122:3.2.2.4-1", "1122:3.2.2.5-2", "4443:3.3-1", "4443:3.4-2")
@both
@pytest.mark.parametrize(
    ("types", "number"),
    [(_TIME_EXCEEDED, errno.EHOSTUNREACH), (_PARAMETER_PROBLEM, errno.EPROTO)],
    ids=["time exceeded", "parameter problem"],
)
def test_errors_on_the_way_are_told_to_udp_and_to_tcp(
    ends: Ends, types: dict[Ends, int], number: int
) -> None:
    """The socket that sent the datagram, and the connection whose segment it was."""
    node = Node()
    sock = UdpSock(None)
    sock.receive_errors = True
    datagrams = node.stack.datagrams
    datagrams.open(sock)
    datagrams.bind(sock, None, 53)
    datagrams.send(sock, datagrams.route(sock, ends.peer, 9), b"data", node.now)
    flow = node.stack.connect(ends.peer, 9, node.now)
    sent = {datagram.protocol: datagram for datagram in node.sent()}
    node.icmp(ends, IcmpMessage(types[ends], 0, quoted=sent[UDP]))
    assert sock.take_error() == number
    assert [(each.errno, each.type) for each in sock.errors] == [(number, types[ends])]
    node.icmp(ends, IcmpMessage(types[ends], 0, quoted=sent[TCP]))
    told = flow.soft_error or flow.error
    assert told is not None
    assert told.errno == number
