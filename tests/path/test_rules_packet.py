"""A packet as rules see it: its fields, others made of it, and what answers it."""

from __future__ import annotations

import pytest

from tests.families import each_family
from tunstack import Packet
from tunstack.ip.family import IPV4, Family
from tunstack.ip.fragmentation import fragmented
from tunstack.ip.icmp import ECHO_REQUEST, IcmpMessage
from tunstack.tcp.segment import ACK, PSH, SYN, Segment
from tunstack.wire import (
    decode_datagram,
    decode_icmp,
    decode_segment,
    decode_udp,
    encode_datagram,
    encode_icmp,
    encode_segment,
)

ENDS = {4: ("198.51.100.1", "198.51.100.2"), 16: ("2001:db8::1", "2001:db8::2")}


def ends(family: Family) -> tuple[str, str]:
    return ENDS[family.address_size]


def tcp_packet(family: Family, **fields: object) -> Packet:
    source, destination = ends(family)
    given: dict[str, object] = {"flags": "PSH,ACK", "seq": 7, "ack": 9, "payload": b"hello"}
    return Packet.tcp(
        source=source,
        destination=destination,
        source_port=4711,
        destination_port=80,
        **{**given, **fields},  # type: ignore[arg-type]
    )


def udp_packet(family: Family, payload: bytes = b"hello") -> Packet:
    source, destination = ends(family)
    return Packet.udp(
        source=source, destination=destination, source_port=5, destination_port=7, payload=payload
    )


@each_family
def test_a_segment_has_its_fields(family: Family) -> None:
    source, destination = ends(family)
    packet = tcp_packet(family, window=1000, urgent=3, options=b"\x01\x01\x01\x00", ttl=9, tos=4)
    assert packet.version == (4 if family is IPV4 else 6)
    assert (str(packet.source), str(packet.destination)) == (source, destination)
    assert (packet.ttl, packet.tos, packet.protocol) == (9, 4, "tcp")
    assert (packet.source_port, packet.destination_port) == (4711, 80)
    assert (packet.seq, packet.ack, packet.flags) == (7, 9, "PSH,ACK")
    assert (packet.window, packet.urgent) == (1000, 3)
    assert packet.local == packet.going("in").remote == (packet.source, 4711)
    assert packet.remote == packet.going("in").local == (packet.destination, 80)
    assert (packet.options, packet.payload) == (b"\x01\x01\x01\x00", b"hello")
    assert (packet.offset, packet.connection) == (None, None)


@each_family
def test_a_segment_is_valid(family: Family) -> None:
    datagram = decode_datagram(tcp_packet(family).data)
    sport, dport, segment = decode_segment(datagram)
    assert (sport, dport) == (4711, 80)
    assert segment == Segment(7, 9, PSH | ACK, 65535, payload=segment.payload)
    assert bytes(segment.payload) == b"hello"


@each_family
def test_a_udp_datagram_is_valid(family: Family) -> None:
    packet = udp_packet(family)
    assert (packet.protocol, packet.payload, packet.seq) == ("udp", b"hello", None)
    sport, dport, data = decode_udp(decode_datagram(packet.data))
    assert (sport, dport, bytes(data)) == (5, 7, b"hello")


@each_family
@pytest.mark.parametrize("size", [0, 4, 5, 1000])
def test_a_changed_packet_has_its_lengths_and_checksums_right(family: Family, size: int) -> None:
    payload = bytes(range(256)) * 4
    for packet in (tcp_packet(family), udp_packet(family)):
        changed = packet.replace(
            payload=payload[:size], source_port=9, destination=ends(family)[0], ttl=3, tos=0xB8
        )
        datagram = decode_datagram(changed.data)
        if packet.protocol == "tcp":
            port, _, segment = decode_segment(datagram)
            data = segment.payload
        else:
            port, _, data = decode_udp(datagram)
        assert (port, bytes(data)) == (9, payload[:size])
        assert (datagram.ttl, datagram.tos, datagram.src) == (3, 0xB8, datagram.dst)
        assert changed.direction == packet.direction


def test_a_segment_as_the_stack_encodes_it_is_the_same_after_a_change_of_nothing() -> None:
    segment = Segment(1, 2, SYN | ACK, 3, mss=1460, wscale=7, sack_permitted=True, ts_val=5)
    packet = b"".join(encode_segment(bytes(4), bytes((1, 2, 3, 4)), 80, 4711, segment))
    assert Packet(packet, "out").replace().data == packet


def test_sequence_numbers_are_modulo_two_to_the_32() -> None:
    packet = tcp_packet(IPV4).replace(seq=2**32 + 5, ack=-1)
    assert (packet.seq, packet.ack) == (5, 2**32 - 1)


def test_a_checksum_may_be_wrong() -> None:
    for packet in (tcp_packet(IPV4), udp_packet(IPV4)):
        wrong = packet.replace(checksum=0x1234)
        assert wrong.checksum == 0x1234
        assert wrong.replace(ttl=3).replace(ttl=64) == packet  # It is right again.


def test_options_are_padded() -> None:
    packet = tcp_packet(IPV4).replace(options=b"\x02\x04\x05\xb4\x01")
    assert packet.options == b"\x02\x04\x05\xb4\x01\0\0\0"
    with pytest.raises(ValueError, match="at most 40 octets of options, not 44"):
        packet.replace(options=bytes(41))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sequence": 1}, "a tcp packet has no field 'sequence': it has source, destination"),
        ({"icmp_type": 1}, "a tcp packet has no field 'icmp_type'"),
        ({"window": 65536}, "window must be a number from 0 to 65535, not 65536"),
        ({"ttl": -1}, "ttl must be a number from 0 to 255, not -1"),
        ({"flags": "SIN"}, "TCP has no flag 'SIN'; it has FIN, SYN"),
        ({"source": "2001:db8::1"}, "2001:db8::1 is of another family than the packet"),
        ({"source": "peer"}, "'peer' does not appear to be an IPv4 or IPv6 address"),
        ({"payload": bytes(65536)}, "no IPv4 packet has"),
    ],
)
def test_what_a_packet_cannot_be_is_told(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tcp_packet(IPV4).replace(**fields)


def test_a_udp_packet_has_no_sequence_number() -> None:
    with pytest.raises(ValueError, match="a udp packet has no field 'seq'"):
        udp_packet(IPV4).replace(seq=1)


def test_a_packet_is_immutable_and_equals_its_like() -> None:
    packet = tcp_packet(IPV4)
    with pytest.raises(AttributeError, match=r"packet.replace\(ttl=...\) returns another"):
        packet.ttl = 1  # type: ignore[misc]
    assert packet == tcp_packet(IPV4)
    assert hash(packet) == hash(tcp_packet(IPV4))
    assert packet != tcp_packet(IPV4, seq=8)


@each_family
def test_what_is_no_ip_has_its_octets_alone(family: Family) -> None:
    whole = tcp_packet(family).data
    for data in (b"", b"\x45", b"\xff" * 100, whole[:30], whole[:-1]):
        packet = Packet(data, "in")
        assert packet.data == data
        fields = (packet.version, packet.source, packet.protocol, packet.ports, packet.flags)
        assert {*fields, packet.payload, packet.connection} == {None}
        assert repr(packet) == f"<tunstack.Packet in no IP packet, {len(data)} octets>"
        with pytest.raises(ValueError, match="what is no valid IP packet has no fields"):
            packet.replace(ttl=3)


def test_a_damaged_segment_still_has_its_fields() -> None:
    packet = tcp_packet(IPV4)
    damaged = Packet(packet.data[:-1] + b"!", "in")
    assert (damaged.seq, damaged.payload) == (7, b"hell!")


@each_family
def test_fragments_have_ports_in_the_first_alone(family: Family) -> None:
    datagram = decode_datagram(udp_packet(family, bytes(3000)).data)
    datagram.dont_fragment = False
    packets = [Packet(b"".join(encode_datagram(part)), "in") for part in fragmented(datagram, 1280)]
    assert [packet.ports for packet in packets] == [(5, 7), None, None]
    assert {packet.protocol for packet in packets} == {"udp"}
    assert all(packet.is_fragment and packet.payload is None for packet in packets)
    assert decode_datagram(packets[1].replace(ttl=3).data).ttl == 3
    with pytest.raises(ValueError, match="a udp fragment has no field 'payload'"):
        packets[0].replace(payload=b"")
    with pytest.raises(ValueError, match="a udp fragment keeps its addresses"):
        packets[0].replace(source=ends(family)[1])


@each_family
def test_icmp_has_type_and_code(family: Family) -> None:
    request = IcmpMessage(128 if family.icmp == 58 else ECHO_REQUEST, 0, 1 << 16 | 2, b"ping")
    source, destination = (decode_datagram(tcp_packet(family).data).src for _ in range(2))
    packet = Packet(b"".join(encode_icmp(source, destination, request)), "in")
    assert packet.protocol == ("icmpv6" if family.icmp == 58 else "icmp")
    assert (packet.icmp_type, packet.icmp_code, packet.payload) == (request.type, 0, b"ping")
    assert packet.ports is None
    changed = decode_icmp(decode_datagram(packet.replace(payload=b"pong!").data))
    assert bytes(changed.payload) == b"pong!"


@each_family
@pytest.mark.parametrize(
    ("flags", "seq", "ack", "answer"),
    [("SYN", 7, 0, ("RST,ACK", 0, 13)), ("PSH,ACK", 7, 9, ("RST", 9, 0))],
)
def test_a_reset_answers_a_segment(
    family: Family, flags: str, seq: int, ack: int, answer: tuple[str, int, int]
) -> None:
    packet = tcp_packet(family, flags=flags, seq=seq, ack=ack)
    reset = packet.reset()
    assert (reset.flags, reset.seq, reset.ack) == answer
    assert reset.ports == (80, 4711)
    assert (reset.source, reset.destination) == (packet.destination, packet.source)
    assert (packet.direction, reset.direction) == ("out", "in")
    decode_segment(decode_datagram(reset.data))


def test_no_reset_answers_a_reset_or_another_protocol() -> None:
    with pytest.raises(ValueError, match="a RST is not answered by a RST"):
        tcp_packet(IPV4, flags="RST").reset()
    with pytest.raises(ValueError, match="a udp packet is not answered by a RST"):
        udp_packet(IPV4).reset()


@each_family
@pytest.mark.parametrize(
    ("kind", "v4", "v6"),
    [
        ("network-unreachable", (3, 0), (1, 0)),
        ("host-unreachable", (3, 1), (1, 3)),
        ("port-unreachable", (3, 3), (1, 4)),
        ("prohibited", (3, 13), (1, 1)),
        ("fragmentation-needed(1300)", (3, 4), (2, 0)),
        ("time-exceeded", (11, 0), (3, 0)),
    ],
)
def test_an_icmp_error_quotes_the_packet(
    family: Family, kind: str, v4: tuple[int, int], v6: tuple[int, int]
) -> None:
    packet = tcp_packet(family)
    error = packet.icmp_error(kind)
    message = decode_icmp(decode_datagram(error.data))
    assert (message.type, message.code) == (v4 if family is IPV4 else v6)
    assert message.rest == (1300 if "1300" in kind else 0)
    assert message.quoted is not None
    assert decode_segment(message.quoted)[2].seq == 7
    assert (error.source, error.destination) == (packet.destination, packet.source)
    assert error.direction == "in"


def test_an_icmp_error_may_be_a_routers() -> None:
    error = tcp_packet(IPV4).icmp_error("time-exceeded", source="203.0.113.1")
    assert str(error.source) == "203.0.113.1"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("unreachable", "there is no ICMP error 'unreachable'; there are network-unreachable"),
        ("fragmentation-needed", r"needs an MTU, as in fragmentation-needed\(1280\)"),
        ("prohibited(3)", "prohibited has no MTU"),
    ],
)
def test_an_icmp_error_that_does_not_exist_is_told(kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tcp_packet(IPV4).icmp_error(kind)


def test_no_icmp_error_is_sent_about_another_one() -> None:
    with pytest.raises(ValueError, match="no ICMP error is sent about this packet"):
        tcp_packet(IPV4).icmp_error("prohibited").icmp_error("prohibited")


def test_the_two_ends_are_of_one_family() -> None:
    with pytest.raises(ValueError, match="are of two families"):
        Packet.udp(source="::1", destination="127.0.0.1", source_port=1, destination_port=2)
    with pytest.raises(ValueError, match='direction must be "in" or "out", not \'up\''):
        Packet(b"", "up")  # type: ignore[arg-type]


def test_a_packet_in_one_line() -> None:
    assert repr(tcp_packet(IPV4)) == (
        "<tunstack.Packet out tcp 198.51.100.1:4711 > 198.51.100.2:80 PSH,ACK seq 7 ack 9"
        " win 65535 5 octets>"
    )
