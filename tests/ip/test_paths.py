"""ICMP of both families in and out of a stack."""

from __future__ import annotations

import errno
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.ip.node import BOTH, V4, V6, Ends, Node, message_of
from tunstack.ip import icmp, icmpv6
from tunstack.ip.address import packed
from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.stack.limits import Limits
from tunstack.stack.observation import Observation
from tunstack.tcp.segment import ACK, SYN, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import (
    decode_datagram,
    decode_icmp,
    decode_segment,
    encode_datagram,
    encode_icmp,
    encode_segment,
    encode_udp,
)

if TYPE_CHECKING:
    from tunstack.ip.icmp import Quote
    from tunstack.stack.flow import Flow

both = pytest.mark.parametrize("ends", BOTH, ids=["IPv4", "IPv6"])
UNKNOWN = 253


def request(ends: Ends, payload: bytes = b"data") -> IcmpMessage:
    return IcmpMessage(ends.request, 0, 0x12345678, payload)


def from_peer(ends: Ends, protocol: int = UNKNOWN, payload: bytes = b"12345678") -> Datagram:
    return Datagram(ends.peer, ends.ours, protocol, payload)


# Echo


@pytest.mark.rfc("1122:3.2.2.6-1", "1122:3.3.4.3-1", "4443:4.2-1", "4443:4.2-2")
@both
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_echo_is_answered(ends: Ends, size: int) -> None:
    node = Node()
    [reply] = node.icmp(ends, request(ends, bytes(size)))
    message = decode_icmp(reply)
    assert (reply.src, reply.dst, reply.ttl) == (ends.ours, ends.peer, 64)
    assert message == IcmpMessage(ends.reply, 0, 0x12345678, bytes(size))
    assert node.statistics == {"icmp_received": 1}


@both
def test_an_echo_reply_has_the_service_of_the_request(ends: Ends) -> None:
    [reply] = Node().icmp(ends, request(ends), tos=0xB8)
    assert reply.tos == 0xB8


@pytest.mark.rfc("1122:3.2.2.6-2")
@both
def test_a_reply_that_does_not_fit_a_packet_is_fragmented(ends: Ends) -> None:
    """The request came in a frame of a larger link, as it were."""
    node = Node()
    parts = node.icmp(ends, request(ends, bytes(4000)))
    assert len(parts) == 3
    assert all(ends.header + len(part.payload) <= 1500 for part in parts)
    assert [part.more_fragments for part in parts] == [True, True, False]
    assert sum(len(part.payload) for part in parts) == 4008


@pytest.mark.rfc("1122:3.2.2.6")
def test_an_echo_reply_returns_the_recorded_route() -> None:
    route = bytes((7, 15, 8)) + V4.peer + bytes(8)
    packet = from_peer(V4, 1, bytes.fromhex("0800f7ff00000000"))
    [reply] = Node().datagram(packet, options=route + b"\0")
    assert reply.options == bytes((7, 15, 16)) + V4.peer + 2 * V4.ours + b"\0"


@pytest.mark.rfc("1122:3.2.2.8")
def test_a_timestamp_request_is_answered_in_milliseconds_since_midnight() -> None:
    node = Node()
    node.stack.set_epoch(86_400.0 * 7 - 1000.0 + 12.5)
    [reply] = node.icmp(V4, IcmpMessage(13, 0, 0x10002, bytes(range(12))), tos=8)
    message = decode_icmp(reply)
    assert (message.type, message.code, message.rest, reply.tos) == (14, 0, 0x10002, 8)
    assert bytes(message.payload) == bytes(range(4)) + 2 * (12_500).to_bytes(4, "big")


def test_a_timestamp_request_without_a_timestamp_is_ignored() -> None:
    node = Node()
    assert node.icmp(V4, IcmpMessage(13, payload=bytes(3))) == []
    assert node.statistics == {"icmp_received": 1, "icmp_ignored": 1}


@pytest.mark.rfc("6437:3")
def test_messages_of_ipv6_have_the_flow_label_of_their_addresses() -> None:
    node = Node()
    labels = {
        node.icmp(V6, request(V6))[0].flow_label,
        *(part.flow_label for part in node.icmp(V6, request(V6, bytes(4000)))),
        node.datagram(from_peer(V6))[0].flow_label,
    }
    assert len(labels) == 1
    assert 0 not in labels
    [other] = node.datagram(from_peer(V6), src=V6.other)
    assert other.flow_label not in labels
    assert node.icmp(V4, request(V4))[0].flow_label == 0


@both
def test_an_echo_reply_that_nobody_waits_for_is_counted(ends: Ends) -> None:
    node = Node()
    assert node.icmp(ends, IcmpMessage(ends.reply, 0, 0x12345678)) == []
    assert node.statistics == {"icmp_received": 1, "icmp_unmatched": 1}


# Errors that are sent


def udp(ends: Ends) -> Datagram:
    """To a port that no socket has."""
    return from_peer(ends, UDP, encode_udp(ends.peer, ends.ours, 4000, 53, b""))


OPTION = bytes((0, 0, 0xC7, 4, 0, 0, 0, 0))


@pytest.mark.parametrize(
    "refused",
    [
        from_peer(V4),
        from_peer(V6),
        udp(V4),
        udp(V6),
        replace(udp(V4), options=bytes((131, 1, 0, 0))),
        replace(from_peer(V6), options=OPTION, extension=60),
    ],
    ids=["protocol", "next header", "port", "port, IPv6", "options", "option, IPv6"],
)
def test_a_refused_packet_is_observed_before_the_error_about_it(refused: Datagram) -> None:
    node, seen = Node(), list[Observation]()
    node.stack.set_tap(seen.append)
    assert len(node.datagram(refused)) == 1
    assert [each.direction for each in seen] == ["in", "out"]
    assert seen[0].verdict.startswith("dropped: ")


@pytest.mark.rfc("1122:3.2.2.1", "1122:3.2.2.1-1")
def test_an_unknown_protocol_of_ipv4_is_unreachable() -> None:
    message = message_of(Node().datagram(from_peer(V4)))
    assert (message.type, message.code) == (3, icmp.PROTOCOL_UNREACHABLE)
    assert message.quoted == from_peer(V4)


@pytest.mark.rfc("4443:3.4", "8200:4", "4443:3.4-1", "8200:4-1")
@pytest.mark.parametrize(
    ("options", "extension", "pointer"),
    [
        (b"", 0, 6),
        (bytes((UNKNOWN, 0, 1, 4, 0, 0, 0, 0)), 60, 40),
        (bytes((60, 0, 1, 4, 0, 0, 0, 0)) + bytes((UNKNOWN, 0, 1, 4, 0, 0, 0, 0)), 0, 48),
    ],
    ids=["no extension", "destination options", "hop-by-hop and destination options"],
)
def test_an_unknown_next_header_is_pointed_at(options: bytes, extension: int, pointer: int) -> None:
    came = from_peer(V6)
    message = message_of(Node().datagram(came, options=options, extension=extension))
    assert (message.type, message.code, message.rest) == (4, 1, pointer)
    assert message.quoted is not None
    packet = b"".join(encode_datagram(message.quoted))
    assert packet[pointer] == UNKNOWN


@pytest.mark.rfc("8200:4.2", "8200:4.2-3", "8200:4.2-4")
@pytest.mark.parametrize(
    ("option", "to", "answered"),
    [
        (0x05, "2001:db8::2", False),  # Known: the router alert.
        (0x1E, "2001:db8::2", False),  # To be skipped
        (0x5E, "2001:db8::2", False),  # To be dropped
        (0x9E, "2001:db8::2", True),
        (0xDE, "2001:db8::2", True),
        (0x9E, "ff02::1", True),
        (0xDE, "ff02::1", False),
        (0x9E, "2001:db8::3", False),  # Not for us
    ],
)
def test_an_unknown_option_is_told_of_by_its_action_bits(
    option: int, to: str, answered: bool
) -> None:
    options = bytes((UNKNOWN, 0, option, 2, 0, 0, 1, 0))
    came = replace(from_peer(V6), dst=packed(to), options=options)
    node = Node()
    sent = node.datagram(came)
    if option in (0x05, 0x1E):
        assert message_of(sent).code == icmpv6.UNKNOWN_NEXT_HEADER
        return
    assert bool(sent) is answered
    if answered:
        message = message_of(sent)
        assert (message.type, message.code, message.rest) == (4, 2, 42)
        assert sent[0].src == V6.ours


@pytest.mark.rfc("1122:3.2.2.1-2", "1122:4.1.3.1-1", "4443:3.1-1")
@both
def test_a_port_is_refused(ends: Ends) -> None:
    node = Node()
    node.stack.paths.refuse_port(from_peer(ends, UDP), node.now)
    message = message_of(node.sent())
    assert (message.type, message.code) == ((3, 3) if ends is V4 else (1, 4))


@both
def test_a_header_is_refused_with_code_and_pointer(ends: Ends) -> None:
    node = Node()
    paths = node.stack.paths
    paths.refuse_header(from_peer(ends), 0, 23, paths.limit, node.now)
    message = message_of(node.sent())
    if ends is V4:
        assert (message.type, message.code, message.pointer) == (12, 0, 23)
    else:
        assert (message.type, message.code, message.rest) == (4, 0, 23)


@both
def test_an_incomplete_datagram_is_told_of(ends: Ends) -> None:
    node = Node()
    node.stack.paths.reassembly_expired(replace(from_peer(ends), more_fragments=True), node.now)
    message = message_of(node.sent())
    assert (message.type, message.code) == ((11, 1) if ends is V4 else (3, 1))


@pytest.mark.rfc("1812:4.3.2.3", "4443:2.4")
@both
def test_an_error_has_576_octets_or_1280_at_most(ends: Ends) -> None:
    node = Node()
    [sent] = node.datagram(from_peer(ends, payload=bytes(1400)))
    assert ends.header + len(sent.payload) == (576 if ends is V4 else 1280)


@pytest.mark.rfc("1812:4.3.2.5")
@both
def test_an_error_has_the_precedence_of_internetwork_control(ends: Ends) -> None:
    for tos, expected in ((0, 0xC0), (0xFF, 0xDE), (0x2E, 0xCE)):
        [error] = Node().datagram(from_peer(ends), tos=tos)
        assert error.tos == (expected if ends is V4 else 0)


@pytest.mark.rfc("1812:4.3.2.8", "4443:2.4")
@both
def test_errors_are_paced_as_by_linux_unless_told_otherwise(ends: Ends) -> None:
    node = Node()
    pace = 1.0 if ends is V4 else 0.1
    assert [len(node.datagram(from_peer(ends))) for _ in range(9)] == [1] * 6 + [0] * 3
    for periods, answered in ((0.9, 0), (0.2, 1), (1.0, 1), (3.0, 3), (100.0, 6)):
        node.now += periods * pace
        assert sum(len(node.datagram(from_peer(ends))) for _ in range(9)) == answered


@pytest.mark.rfc("1812:4.3.2.8", "4443:2.4", "4443:2.4-9", "8504:5.8-1")
@both
def test_errors_are_limited_for_each_peer_and_for_all(ends: Ends) -> None:
    node = Node(limits=Limits(icmp_errors=10, icmp_errors_in_all=30))
    answers = [len(node.datagram(from_peer(ends))) for _ in range(20)]
    assert answers == [1] * 10 + [0] * 10
    peers = [networked(ends, number) for number in range(1, 200)]
    more = sum(len(node.datagram(from_peer(ends), src=peer)) for peer in peers)
    assert 10 <= more <= 40
    assert node.statistics["icmp_suppressed"] == 10 + 199 - more


def networked(ends: Ends, number: int) -> bytes:
    """An address in a network of its own."""
    return (
        bytes((203, 0, 113, number)) if ends is V4 else ends.peer[:7] + bytes((number, *bytes(8)))
    )


# What is ignored


@pytest.mark.rfc("1122:3.2.2.7-1", "1122:3.2.2.9-1")
@pytest.mark.parametrize("kind", [6, 9, 10, 14, 15, 16, 17, 18, 30, 40, 42, 255])
def test_other_queries_of_ipv4_are_counted_and_ignored(kind: int) -> None:
    node = Node()
    assert node.icmp(V4, IcmpMessage(kind, payload=bytes(12))) == []
    assert node.statistics == {"icmp_received": 1, "icmp_ignored": 1}


@pytest.mark.rfc("6633:5")
@pytest.mark.parametrize("kind", [icmp.SOURCE_QUENCH, icmp.REDIRECT])
def test_source_quench_and_redirects_are_counted_and_ignored(kind: int) -> None:
    node = Node()
    quoted = Datagram(V4.ours, V4.peer, TCP, bytes(20))
    assert node.icmp(V4, IcmpMessage(kind, quoted=quoted)) == []
    assert node.statistics == {"icmp_received": 1, "icmp_ignored": 1}


@pytest.mark.rfc("4861:6.1")
@pytest.mark.parametrize("kind", range(133, 138))
def test_discovery_is_counted_and_ignored(kind: int) -> None:
    node = Node()
    assert node.icmp(V6, IcmpMessage(kind, payload=bytes(32)), ttl=255) == []
    assert node.statistics == {"icmp_received": 1, "icmp_ignored": 1}
    assert node.icmp(V6, IcmpMessage(kind, payload=bytes(32)), ttl=64) == []
    assert node.statistics == {"icmp_received": 1, "icmp_ignored": 1, "bad_icmp_hop_limit": 1}


@pytest.mark.rfc("4443:2.4-2")
@pytest.mark.parametrize("kind", [130, 131, 132, 143, 138, 200, 255])
def test_other_messages_of_ipv6_are_counted_and_ignored(kind: int) -> None:
    node = Node()
    assert node.icmp(V6, IcmpMessage(kind, payload=bytes(16)), ttl=1) == []
    assert node.statistics == {"icmp_received": 1, "icmp_ignored": 1}


@pytest.mark.parametrize(
    ("kind", "to"), [(133, "ff02::2"), (143, "ff02::16"), (135, "ff02::1:ff00:2")]
)
def test_what_linux_sends_to_its_neighbours_is_no_fault(kind: int, to: str) -> None:
    """Router solicitations and listener reports, to groups that a host on TUN does not join."""
    node = Node()
    body = icmpv6_packet("fe80::1", to, IcmpMessage(kind, payload=bytes(20)))
    assert node.packet(body) == []
    assert node.statistics == {"not_our_address": 1}


def icmpv6_packet(src: str, dst: str, message: IcmpMessage) -> bytes:
    return b"".join(encode_icmp(packed(src), packed(dst), message, ttl=255))


# Errors that arrive


class Told:
    """A handler of errors that notes them."""

    def __init__(self, *, here: bool = True) -> None:
        self.here = here
        self.errors: list[tuple[Quote, int | None]] = []

    def __call__(
        self, quote: Quote, error: OSError | None, message: IcmpMessage, now: float
    ) -> bool:
        self.errors.append((quote, None if error is None else error.errno))
        return self.here


def unreachable_port(ends: Ends, quoted: Datagram) -> IcmpMessage:
    return IcmpMessage(*((3, 3) if ends is V4 else (1, 4)), quoted=quoted)


def ours(ends: Ends, protocol: int = UNKNOWN) -> Datagram:
    payload = struct.pack(">HHI", 5000, 53, 7)
    return Datagram(ends.ours, ends.peer, protocol, payload, dont_fragment=True)


@pytest.mark.rfc("1122:3.2.2-3", "4443:2.4-4")
@both
def test_an_error_goes_to_the_protocol_that_it_is_about(ends: Ends) -> None:
    node, told = Node(), Told()
    node.stack.paths.error_handlers[UNKNOWN] = told
    assert node.icmp(ends, unreachable_port(ends, ours(ends))) == []
    [(quote, number)] = told.errors
    assert quote == (ends.ours, ends.peer, 5000, 53, ours(ends).payload)
    assert number == errno.ECONNREFUSED
    assert node.statistics == {"icmp_received": 1}


@both
@pytest.mark.parametrize("why", ["no handler", "not here", "a later fragment"])
def test_an_error_about_nothing_of_ours_is_unmatched(ends: Ends, why: str) -> None:
    node = Node()
    if why != "no handler":
        node.stack.paths.error_handlers[UNKNOWN] = Told(here=why != "not here")
    quoted = ours(ends)
    if why == "a later fragment":
        quoted.fragment_offset, quoted.dont_fragment = 8, False
    node.icmp(ends, unreachable_port(ends, quoted))
    assert node.statistics == {"icmp_received": 1, "icmp_unmatched": 1}


@both
def test_an_error_about_something_elsewhere_is_passed_on(ends: Ends) -> None:
    """Another process may have the same address, and what the error is about."""
    node, other, told = Node(), Node(), Told()
    other.stack.paths.error_handlers[UNKNOWN] = told
    node.stack.paths.forward = lambda packet: other.stack.handle_forwarded(packet, other.now)
    node.icmp(ends, unreachable_port(ends, ours(ends)))
    assert [number for _, number in told.errors] == [errno.ECONNREFUSED]
    assert other.statistics == {}


@pytest.mark.rfc("1191:4", "8201:4", "4443:3.2-1", "8201:4-2", "8200:5-2", "8504:5.7.1-1")
@both
@pytest.mark.parametrize("mtu", [1280, 1400])
def test_a_path_mtu_is_lowered_for_what_is_no_tcp(ends: Ends, mtu: int) -> None:
    node = Node()
    paths = node.stack.paths
    message = too_big(ends, mtu)
    paths.too_big(ends.peer, message, node.now)
    assert paths.mtus.get(ends.peer) == mtu
    assert paths.mtus.get(ends.other) == 1500
    assert node.statistics == {"path_mtu_lowered": 1}
    node.now += 601
    node.stack.handle_timers(node.now)
    assert paths.mtus.get(ends.peer) == 1500


def too_big(ends: Ends, mtu: int, quoted: Datagram | None = None) -> IcmpMessage:
    quoted = ours(ends) if quoted is None else quoted
    return IcmpMessage(*((3, 4) if ends is V4 else (2, 0)), mtu, quoted=quoted, quoted_length=1500)


@pytest.mark.rfc("8201:4")
def test_a_packet_too_big_of_less_than_1280_is_discarded() -> None:
    node = Node()
    node.stack.paths.too_big(V6.peer, too_big(V6, 1279), node.now)
    assert node.stack.paths.mtus.get(V6.peer) == 1500


def test_nobody_brings_ipv4_below_552() -> None:
    node = Node()
    node.stack.paths.too_big(V4.peer, too_big(V4, 296), node.now)
    assert node.stack.paths.mtus.get(V4.peer) == 552


@pytest.mark.rfc("5927:4.1")
@both
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_an_error_about_a_syn_is_believed_if_it_quotes_that(ends: Ends, offset: int) -> None:
    node = Node()
    flow = node.stack.connect(ends.peer, 80, node.now)
    [syn] = node.sent()
    payload = bytearray(syn.payload)
    seq = int.from_bytes(payload[4:8], "big") + offset
    payload[4:8] = (seq & 0xFFFFFFFF).to_bytes(4, "big")
    node.icmp(ends, unreachable_port(ends, replace(syn, payload=bytes(payload))))
    number = None if flow.error is None else flow.error.errno
    assert number == (None if offset else errno.ECONNREFUSED)
    assert ("icmp_unmatched" in node.statistics) is (offset != 0)


@both
def test_an_error_about_no_connection_is_unmatched(ends: Ends) -> None:
    node = Node()
    packet = b"".join(encode_segment(ends.ours, ends.peer, 5000, 80, Segment(1)))
    node.icmp(ends, unreachable_port(ends, decode_datagram(packet)))
    assert node.statistics == {"icmp_received": 1, "icmp_unmatched": 1}


@pytest.mark.rfc("1191:4", "8201:4", "5927:7", "4443:3.2-1", "8201:4-2")
@both
def test_a_path_mtu_is_lowered_for_a_connection_that_has_sent_what_is_quoted(ends: Ends) -> None:
    node = Node()
    flow, isn = connected(node, ends)
    flow.send(bytes(3000), node.now)
    node.stack.mark_pending(flow)
    first, *_ = node.sent()
    assert ends.header + len(first.payload) == 1500
    forged = replace(first, payload=bytes(first.payload)[:4] + isn + bytes(first.payload)[8:])
    node.icmp(ends, too_big(ends, 1300, forged))
    assert node.statistics["icmp_unmatched"] == 1
    assert node.stack.paths.mtus.get(ends.peer) == 1500
    again = node.icmp(ends, too_big(ends, 1300, first))
    assert node.stack.paths.mtus.get(ends.peer) == 1300
    assert again
    assert all(ends.header + len(each.payload) <= 1300 for each in again)


def connected(node: Node, ends: Ends) -> tuple[Flow, bytes]:
    """A connection to the peer, and the octets of a sequence number that is not outstanding."""
    flow = node.stack.connect(ends.peer, 80, node.now)
    [syn] = node.sent()
    port, _, segment = decode_segment(syn)
    answer = Segment(500, (segment.seq + 1) & MASK, SYN | ACK, 65535, mss=1460)
    node.packet(b"".join(encode_segment(ends.peer, ends.ours, 80, port, answer)))
    return flow, ((segment.seq - 1000) & MASK).to_bytes(4, "big")
