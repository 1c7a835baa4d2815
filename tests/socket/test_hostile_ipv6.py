"""What should never arrive by IPv6: dropped, counted by its reason, refused by its RFC."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, PORT, Valve
from tests.wire.packets import (
    ALL_NODES,
    KERNEL_6,
    OURS_6,
    fragment_header,
    ipv6_packet,
    options_header,
    routing_header,
    tcp_bytes,
)
from tunstack import Host, Socket, memory_pair
from tunstack.ip.datagram import ICMPV6, TCP, UDP, Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.ip.icmpv6 import (
    DESTINATION_UNREACHABLE,
    ECHO_REQUEST,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    PORT_UNREACHABLE,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    TIME_EXCEEDED,
)
from tunstack.udp.receive_queue import OVERHEAD
from tunstack.wire import (
    Reason,
    decode_datagram,
    decode_icmp,
    encode_datagram,
    encode_icmp,
    encode_udp,
)
from tunstack.wire.checksum import checksum
from tunstack.wire.extensions import (
    DESTINATION,
    ERRONEOUS_HEADER,
    FRAGMENT,
    HOP_BY_HOP,
    INCOMPLETE_CHAIN,
    MAXIMUM_HEADERS,
    MAXIMUM_OPTIONS,
    NO_NEXT_HEADER,
    ROUTING,
    UNKNOWN_OPTION,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack.link.base import Buffer, Link

THEIRS6, OURS6 = "2001:db8::1", "2001:db8::2"
NOBODY: Final = bytes.fromhex("20010db8000000000000000000000099")
LOOPBACK: Final = bytes(15) + b"\1"
MAPPED: Final = bytes(10) + b"\xff\xff" + bytes((198, 51, 100, 1))
SEGMENT: Final = tcp_bytes(addresses=KERNEL_6 + OURS_6)
UNKNOWN: Final = 253
UNKNOWN_NEXT_HEADER: Final = 1

Answer = tuple[int, int, int] | None
"""Type, code and pointer (or 0) of the ICMPv6 error that comes back; None: nothing does."""


def udp(
    *, sport: int = 9, dport: int = 9, length: int = 12, field: int | None = None, size: int = 12
) -> bytes:
    """A datagram to a port that nobody has; its checksum is right, or `field`."""
    packet = bytearray(struct.pack(">HHHH4s", sport, dport, length, 0, b"data")[:size])
    if size >= 8:
        pseudo = KERNEL_6 + OURS_6 + struct.pack(">II", size, UDP)
        packet[6:8] = struct.pack(">H", checksum(pseudo + packet) if field is None else field)
    return ipv6_packet(bytes(packet), next_header=UDP)


def icmp(message: IcmpMessage, *, src: bytes = KERNEL_6, ttl: int = 64) -> bytes:
    packet = bytearray(b"".join(encode_icmp(src, OURS_6, message)))
    packet[7] = ttl
    return bytes(packet)


def error_about(quote: bytes, kind: int = DESTINATION_UNREACHABLE, code: int = 4) -> bytes:
    """An ICMPv6 error that quotes these octets."""
    body = struct.pack(">BBHI", kind, code, 0, 0) + quote
    pseudo = KERNEL_6 + OURS_6 + struct.pack(">II", len(body), ICMPV6)
    field = struct.pack(">H", checksum(pseudo + body))
    return ipv6_packet(body[:2] + field + body[4:], next_header=ICMPV6)


def extended(first: int, headers: bytes, dst: bytes = OURS_6) -> bytes:
    return ipv6_packet(headers + SEGMENT, next_header=first, dst=dst)


def part(start: int, end: int, *, last: bool = False, kind: int = UNKNOWN) -> bytes:
    """A fragment with the octets from `start` to `end`."""
    header = fragment_header(kind, start, more=not last, identification=1)
    return ipv6_packet(header + bytes(end - start), next_header=FRAGMENT)


def option(kind: int) -> bytes:
    """A header with an option of this kind."""
    return options_header(TCP, bytes((kind, 2, 0, 0)))


MANY: Final = [b"\x1e\2\0\0"] * (MAXIMUM_OPTIONS + 1)
_INCOMPLETE: Final = (PARAMETER_PROBLEM, INCOMPLETE_CHAIN, 0)
_PING: Final = icmp(IcmpMessage(ECHO_REQUEST, payload=b"ping"))

SPOILED: Final[dict[str, tuple[Reason, bytes, Answer]]] = {
    "half a header": (Reason.TRUNCATED, extended(TCP, b"")[:39], None),
    "a payload that is not all there": (Reason.TRUNCATED, extended(TCP, b"")[:-1], None),
    "version 5": (Reason.BAD_VERSION, ipv6_packet(SEGMENT, version=5), None),
    "version 4": (Reason.BAD_HEADER_LENGTH, ipv6_packet(SEGMENT, version=4), None),
    "a jumbogram": (
        Reason.BAD_TOTAL_LENGTH,
        ipv6_packet(options_header(TCP, b"\xc2\4\0\1\0\0"), next_header=0, length=0),
        None,
    ),
    "no next header": (Reason.NO_NEXT_HEADER, extended(NO_NEXT_HEADER, b""), None),
    "half an extension header": (
        Reason.BAD_EXTENSION_HEADER,
        ipv6_packet(option(0x1E)[:7], next_header=DESTINATION),
        None,
    ),
    "an extension header beyond the end": (
        Reason.BAD_EXTENSION_HEADER,
        extended(DESTINATION, bytes((TCP, 255, 1, 4, 0, 0, 0, 0))),
        None,
    ),
    "too many extension headers": (
        Reason.BAD_EXTENSION_HEADER,
        extended(DESTINATION, options_header(DESTINATION) * MAXIMUM_HEADERS),
        None,
    ),
    "routing header 0": (
        Reason.BAD_ROUTING_HEADER,
        extended(ROUTING, routing_header(TCP, 0, 1, 24)),
        (PARAMETER_PROBLEM, ERRONEOUS_HEADER, 42),
    ),
    "an unknown routing header": (
        Reason.BAD_ROUTING_HEADER,
        extended(ROUTING, routing_header(TCP, 99, 255)),
        (PARAMETER_PROBLEM, ERRONEOUS_HEADER, 42),
    ),
    "an option to be dropped silently": (
        Reason.BAD_IP_OPTIONS,
        extended(DESTINATION, option(0x7E)),
        None,
    ),
    "an option to be told of": (
        Reason.BAD_IP_OPTIONS,
        extended(HOP_BY_HOP, option(0xBE)),
        (PARAMETER_PROBLEM, UNKNOWN_OPTION, 42),
    ),
    "an option to be told of, to many": (
        Reason.BAD_IP_OPTIONS,
        extended(DESTINATION, option(0xBE), ALL_NODES),
        (PARAMETER_PROBLEM, UNKNOWN_OPTION, 42),
    ),
    "an option to be told of to one, to many": (
        Reason.BAD_IP_OPTIONS,
        extended(DESTINATION, option(0xFE), ALL_NODES),
        None,
    ),
    "an option to be told of, to somebody else": (
        Reason.BAD_IP_OPTIONS,
        extended(DESTINATION, option(0xBE), NOBODY),
        None,
    ),
    "an option beyond its header": (
        Reason.BAD_IP_OPTIONS,
        extended(DESTINATION, bytes((TCP, 0, 0x1E, 200, 0, 0, 0, 0))),
        None,
    ),
    "too many options": (
        Reason.BAD_IP_OPTIONS,
        extended(DESTINATION, options_header(TCP, *MANY)),
        None,
    ),
    "too much padding": (
        Reason.BAD_IP_OPTIONS,
        extended(DESTINATION, bytes((TCP, 1)) + bytes(14)),
        None,
    ),
    "an empty fragment": (Reason.BAD_FRAGMENT, part(8, 8), None),
    "a fragment that is no multiple of eight": (
        Reason.BAD_FRAGMENT,
        part(8, 20),
        (PARAMETER_PROBLEM, ERRONEOUS_HEADER, 4),
    ),
    "a fragment beyond 65,535": (
        Reason.BAD_FRAGMENT,
        part(65528, 65536),
        (PARAMETER_PROBLEM, ERRONEOUS_HEADER, 42),
    ),
    "a first fragment without the TCP header": (
        Reason.BAD_FRAGMENT,
        part(0, 16, kind=TCP),
        _INCOMPLETE,
    ),
    "a first fragment without all extension headers": (
        Reason.BAD_FRAGMENT,
        ipv6_packet(
            fragment_header(DESTINATION, more=True) + options_header(TCP), next_header=FRAGMENT
        ),
        _INCOMPLETE,
    ),
    "a fragment in a fragment": (
        Reason.BAD_FRAGMENT,
        ipv6_packet(
            fragment_header(FRAGMENT, more=True) + fragment_header(TCP) + SEGMENT[:16],
            next_header=FRAGMENT,
        ),
        None,
    ),
    "half a segment": (Reason.TRUNCATED_TCP, ipv6_packet(SEGMENT[:19]), None),
    "a segment with a wrong checksum": (
        Reason.BAD_TCP_CHECKSUM,
        ipv6_packet(tcp_bytes(addresses=KERNEL_6 + OURS_6, wrong=1)),
        None,
    ),
    "a segment with a header beyond its end": (
        Reason.BAD_TCP_OFFSET,
        ipv6_packet(tcp_bytes(addresses=KERNEL_6 + OURS_6, offset=15)),
        None,
    ),
    "a segment to port 0": (
        Reason.BAD_TCP_PORT,
        ipv6_packet(tcp_bytes(addresses=KERNEL_6 + OURS_6, dport=0)),
        None,
    ),
    "half a UDP header": (Reason.TRUNCATED_UDP, udp(size=7), None),
    "a UDP length below the header's": (Reason.BAD_UDP_LENGTH, udp(length=7), None),
    "a UDP length beyond the packet": (Reason.BAD_UDP_LENGTH, udp(length=13), None),
    "a UDP datagram with a wrong checksum": (Reason.BAD_UDP_CHECKSUM, udp(field=1), None),
    "a UDP datagram without a checksum": (Reason.BAD_UDP_CHECKSUM, udp(field=0), None),
    "a UDP datagram to nobody": (
        Reason.NO_UDP_PORT,
        udp(),
        (DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0),
    ),
    "half an ICMPv6 header": (
        Reason.TRUNCATED_ICMP,
        ipv6_packet(b"1234", next_header=ICMPV6),
        None,
    ),
    "an ICMPv6 message with a wrong checksum": (
        Reason.BAD_ICMP_CHECKSUM,
        _PING[:-1] + b"!",
        None,
    ),
    "an error that quotes no datagram": (Reason.BAD_ICMP_QUOTE, error_about(b"nothing"), None),
    "a router's advertisement from far": (
        Reason.BAD_ICMP_HOP_LIMIT,
        icmp(IcmpMessage(ROUTER_ADVERTISEMENT, payload=bytes(8)), ttl=254),
        None,
    ),
    "a redirect from far": (
        Reason.BAD_ICMP_HOP_LIMIT,
        icmp(IcmpMessage(REDIRECT, payload=bytes(32)), ttl=1),
        None,
    ),
    "to somebody else": (Reason.NOT_OUR_ADDRESS, ipv6_packet(SEGMENT, dst=NOBODY), None),
    "to many": (Reason.NOT_OUR_ADDRESS, ipv6_packet(SEGMENT, dst=ALL_NODES), None),
    "from ourselves": (Reason.BAD_SOURCE, ipv6_packet(SEGMENT, src=OURS_6), None),
    "from nobody": (Reason.BAD_SOURCE, ipv6_packet(SEGMENT, src=bytes(16)), None),
    "from the loopback address": (Reason.BAD_SOURCE, ipv6_packet(SEGMENT, src=LOOPBACK), None),
    "from many": (Reason.BAD_SOURCE, ipv6_packet(SEGMENT, src=ALL_NODES), None),
    "from an address of IPv4": (Reason.BAD_SOURCE, ipv6_packet(SEGMENT, src=MAPPED), None),
    "an unknown protocol": (
        Reason.UNKNOWN_PROTOCOL,
        ipv6_packet(b"12345678", next_header=UNKNOWN),
        (PARAMETER_PROBLEM, UNKNOWN_NEXT_HEADER, 6),
    ),
    "an unknown protocol behind a header": (
        Reason.UNKNOWN_PROTOCOL,
        ipv6_packet(options_header(UNKNOWN) + b"12345678", next_header=DESTINATION),
        (PARAMETER_PROBLEM, UNKNOWN_NEXT_HEADER, 40),
    ),
}

FRAGMENTS: Final[dict[str, tuple[Reason, int, list[bytes]]]] = {
    "twice": (Reason.FRAGMENT_DUPLICATE, 1, [part(0, 16), part(0, 16)]),
    "over another": (Reason.FRAGMENT_OVERLAP, 2, [part(0, 16), part(8, 24)]),
    "around another": (Reason.FRAGMENT_OVERLAP, 2, [part(8, 16), part(0, 24)]),
    "beyond the end": (Reason.BAD_FRAGMENT, 2, [part(16, 40, last=True), part(40, 48)]),
    "never the rest": (Reason.FRAGMENT_TIMEOUT, 2, [part(0, 16), part(16, 24)]),
    "never the first": (Reason.FRAGMENT_TIMEOUT, 1, [part(16, 24)]),
}
"""The reason, how often it is counted, and the fragments."""

OF_A_SOCKET_OR_THE_LINK: Final = (Reason.UDP_BUFFER_FULL, Reason.BAD_VNET_HEADER)
"""Reasons of which the last two tests here send a packet."""


class Overheard(Valve):
    """The far end of the link, which notes what comes."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.heard: list[Datagram] = []

    def receive(self, limit: int = 256) -> list[Buffer]:
        packets = super().receive(limit)
        self.heard += [decode_datagram(bytes(packet)) for packet in packets]
        return packets


class Bench:
    """A host, and another that has a TCP connection and a UDP socket with it.

    Attributes:
        host: The one that is attacked.
        link: The end of the link at which the attacker stands, and the other host.
    """

    def __init__(self, host: Host, link: Overheard) -> None:
        self.host = host
        self.link = link
        self.ends: list[tuple[Socket, Socket]] = []
        self.datagrams: list[trio.socket.SocketType] = []

    async def throw(self, packet: bytes) -> list[Datagram]:
        """Throw a packet; returns what comes back."""
        self.link.heard.clear()
        self.link.send([packet])
        await wait_all_tasks_blocked()
        return [*self.link.heard]

    async def goes_on(self) -> None:
        """The connection and the sockets have taken no harm."""
        (near, far), (receiver, sender) = self.ends[0], self.datagrams
        for one, other in ((near, far), (far, near)):
            await one.send(b"still here")
            assert await other.recv(100) == b"still here"
        await sender.send(b"a datagram")
        assert await receiver.recv(100) == b"a datagram"
        assert self.host.statistics()["internal_errors"] == 0


@pytest.fixture
async def bench(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Bench]:
    left, right = memory_pair()
    link = Overheard(right)
    async with (
        Host(left, [f"{OURS}/24", f"{OURS6}/64"], seed=1) as host,
        Host(link, [f"{THEIRS6}/64"], seed=2) as other,
    ):
        bench = Bench(host, link)
        listener = host.socket(socket.AF_INET6)
        await listener.bind(("::", PORT))
        listener.listen(5)
        far = other.socket(socket.AF_INET6)
        await far.connect((OURS6, PORT))
        near, _ = await listener.accept()
        receiver, sender = (
            each.socket(socket.AF_INET6, socket.SOCK_DGRAM) for each in (host, other)
        )
        await receiver.bind(("::", 53))
        await sender.connect((OURS6, 53))
        bench.ends, bench.datagrams = [(near, far)], [receiver, sender]
        yield bench


def changes(host: Host, before: dict[str, int]) -> dict[str, int]:
    """The reasons that have been counted since."""
    after = host.statistics()
    return {name.value: number for name in Reason if (number := after[name] - before[name])}


@pytest.mark.rfc(
    "4443:2.4",
    "8200:4",
    "4443:2.2-1",
    "4443:2.2-2",
    "4443:3.4-1",
    "8200:3-1",
    "8200:4.5-4",
    "8200:4.5-5",
    "8200:4.5-6",
    "8200:8.1-3",
    "5095:3-1",
    "8504:5.2-1",
)
@pytest.mark.parametrize("what", SPOILED)
async def test_it_is_dropped_counted_and_answered_by_its_reason(bench: Bench, what: str) -> None:
    reason, packet, answer = SPOILED[what]
    before = bench.host.statistics()
    answers = await bench.throw(packet)
    assert changes(bench.host, before) == {reason.value: 1}
    if answer is None:
        assert answers == []
    else:
        [datagram] = answers
        message = decode_icmp(datagram)
        assert (datagram.src, datagram.dst) == (OURS_6, KERNEL_6)
        assert (message.type, message.code, message.rest) == answer
        assert message.quoted is not None
        assert b"".join(encode_datagram(replace(message.quoted))) == packet
    await bench.goes_on()


@pytest.mark.rfc("4443:2.4", "8200:4.2", "4443:2.4-8")
@pytest.mark.parametrize(
    "src",
    [bytes(16), LOOPBACK, ALL_NODES, MAPPED, OURS_6],
    ids=["unspecified", "loopback", "multicast", "IPv4-mapped", "our own"],
)
async def test_nothing_is_answered_to_a_source_that_cannot_be(bench: Bench, src: bytes) -> None:
    for _, packet, answer in SPOILED.values():
        if answer is not None:
            assert await bench.throw(packet[:8] + src + packet[24:]) == []
    await bench.goes_on()


@pytest.mark.rfc("5722:4", "5722:4-1", "8200:4.5-2", "8200:4.5-3", "8200:4.5-7")
@pytest.mark.parametrize("what", FRAGMENTS)
async def test_fragments_are_dropped_and_counted_by_their_reason(bench: Bench, what: str) -> None:
    reason, count, packets = FRAGMENTS[what]
    before = bench.host.statistics()
    for packet in packets:
        assert await bench.throw(packet) == []
    bench.link.heard.clear()
    if reason is Reason.FRAGMENT_TIMEOUT:
        await trio.sleep(59)
        assert changes(bench.host, before) == {}
        await trio.sleep(2)
        told = [decode_icmp(each) for each in bench.link.heard]
        first = what == "never the rest"
        assert [(each.type, each.code) for each in told] == [(TIME_EXCEEDED, 1)] * first
    assert changes(bench.host, before) == {reason.value: count}
    await bench.goes_on()


@pytest.mark.rfc("4443:2.4", "1812:4.3.2.8")
async def test_a_flood_of_each_draws_a_bounded_number_of_errors(bench: Bench) -> None:
    """All that is answered together, from one peer, within the rate."""
    packets = [packet for _, packet, answer in SPOILED.values() if answer is not None]
    before = bench.host.statistics()
    bench.link.heard.clear()
    for _ in range(50):
        for packet in packets:
            bench.link.send([packet])
        await wait_all_tasks_blocked()
    after = bench.host.statistics()
    assert len(bench.link.heard) <= 100
    suppressed = after["icmp_suppressed"] - before["icmp_suppressed"]
    assert len(bench.link.heard) + suppressed == 50 * len(packets)
    await bench.goes_on()


async def test_errors_about_nothing_of_ours_do_no_harm(bench: Bench) -> None:
    """Of any type, about a connection that there is not."""
    segment = tcp_bytes(addresses=OURS_6 + KERNEL_6, sport=80, dport=999)
    quote = ipv6_packet(segment, src=OURS_6, dst=KERNEL_6)
    types = (DESTINATION_UNREACHABLE, PACKET_TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM)
    for kind in types:
        for code in range(8):
            assert await bench.throw(error_about(quote, kind, code)) == []
    assert bench.host.statistics()["icmp_unmatched"] == len(types) * 8
    await bench.goes_on()


async def test_a_full_receive_buffer_is_a_reason_too(bench: Bench) -> None:
    receiver, _ = bench.datagrams
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, OVERHEAD)
    data = b"data"
    header = encode_udp(KERNEL_6, OURS_6, 9, 53, data)
    before = bench.host.statistics()
    for _ in range(5):
        assert await bench.throw(ipv6_packet(header + data, next_header=UDP)) == []
    assert changes(bench.host, before) == {Reason.UDP_BUFFER_FULL: 2}
    assert [await receiver.recv(10) for _ in range(3)] == [data] * 3
    await bench.goes_on()


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("=BBHHHH", 1, 0, 0, 0, 50, 16),
        struct.pack("=BBHHHH", 0, 2, 0, 1000, 0, 0),
        struct.pack("=BBHHHH", 0, 4, 0, 0, 0, 0),
    ],
    ids=["a checksum beyond the end", "an unknown kind", "pieces of nothing"],
)
async def test_a_wrong_virtio_header_is_a_reason_too(header: bytes) -> None:
    link, far = memory_pair(offload=True)
    async with Host(link, [f"{OURS6}/64"]) as host:
        far.send([header + ipv6_packet(b"", next_header=TCP)])
        await wait_all_tasks_blocked()
        assert host.statistics()[Reason.BAD_VNET_HEADER] == 1
        assert far.receive() == []
