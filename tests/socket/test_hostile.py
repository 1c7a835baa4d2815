"""What should never arrive: it is dropped, counted by its reason, and disturbs nobody."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import (
    OURS,
    OURS_PACKED,
    PORT,
    THEIRS_PACKED,
    Peer,
    Valve,
    connected,
    host_and_peer,
    host_pair,
    listening,
)
from tests.socket.test_hostile_fragments import HOSTILE
from tests.socket.test_hostile_ipv6 import FRAGMENTS as FRAGMENTS_IPV6
from tests.socket.test_hostile_ipv6 import OF_A_SOCKET_OR_THE_LINK
from tests.socket.test_hostile_ipv6 import SPOILED as SPOILED_IPV6
from tunstack import Host, memory_pair
from tunstack.ip.datagram import ICMP, TCP, UDP, Datagram
from tunstack.ip.icmp import (
    DESTINATION_UNREACHABLE,
    ECHO_REPLY,
    ECHO_REQUEST,
    PARAMETER_PROBLEM,
    PORT_UNREACHABLE,
    PROTOCOL_UNREACHABLE,
    IcmpMessage,
)
from tunstack.tcp.segment import ACK, RST, SYN, Segment
from tunstack.wire import Reason, decode_datagram, encode_datagram, encode_icmp, encode_segment
from tunstack.wire.checksum import checksum

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tunstack import Socket
    from tunstack.link.base import Buffer

Exchange = tuple[Host, Peer, "Socket"]

ANOTHER_PACKED = bytes((198, 51, 100, 3))
BROADCAST_PACKED = bytes((198, 51, 100, 255))


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    """A host, its peer, and a connection that is open between them."""
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        sock, _ = await listener.accept()
        yield host, peer, sock


async def goes_on(exchange: Exchange) -> None:
    """The connection has taken no harm."""
    _, peer, sock = exchange
    peer.link.receive()  # Whatever it was answered with.
    peer.send(ACK, b"still")
    assert await sock.recv(100) == b"still"
    await sock.send(b"here")
    assert bytes((await peer.segment()).payload) == b"here"


def changed(packet: bytes, octets: dict[int, int]) -> bytes:
    """The packet with some octets of the IP header changed, and its checksum mended."""
    data = bytearray(packet)
    for index, octet in octets.items():
        data[index] = octet
    data[10:12] = bytes(2)
    data[10:12] = checksum(data[:20]).to_bytes(2, "big")
    return bytes(data)


def between(src: bytes, dst: bytes, protocol: int = 253, payload: bytes = b"12345678") -> bytes:
    return b"".join(encode_datagram(Datagram(src, dst, protocol, payload)))


def ping(payload: bytes) -> bytes:
    message = IcmpMessage(ECHO_REQUEST, payload=payload)
    return b"".join(encode_icmp(THEIRS_PACKED, OURS_PACKED, message))


SPOILED: list[tuple[Reason, Callable[[Peer], bytes]]] = [
    (Reason.TRUNCATED, lambda peer: peer.packet(ACK, b"data")[:-1]),
    (Reason.TRUNCATED, lambda peer: peer.packet()[:19]),
    (Reason.TRUNCATED, lambda peer: b""),
    (Reason.BAD_VERSION, lambda peer: changed(peer.packet(), {0: 0x55})),
    (Reason.BAD_HEADER_LENGTH, lambda peer: changed(peer.packet(), {0: 0x44})),
    (Reason.BAD_TOTAL_LENGTH, lambda peer: changed(peer.packet(), {3: 19})),
    (Reason.BAD_IP_CHECKSUM, lambda peer: peer.packet()[:8] + b"\1" + peer.packet()[9:]),
    (Reason.BAD_IP_FLAGS, lambda peer: changed(peer.packet(), {6: 0x80})),
    (Reason.BAD_IP_OPTIONS, lambda peer: with_options(peer, b"\7\0\0\0")),
    (Reason.TRUNCATED_TCP, lambda peer: between(THEIRS_PACKED, OURS_PACKED, TCP)),
    (Reason.BAD_TCP_CHECKSUM, lambda peer: peer.packet(ACK, b"data")[:-1] + b"!"),
    (Reason.BAD_TCP_OFFSET, lambda peer: with_offset(peer, 4)),
    (Reason.BAD_TCP_OFFSET, lambda peer: with_offset(peer, 15)),
    (Reason.BAD_TCP_PORT, lambda peer: segment_between(0, PORT)),
    (Reason.BAD_TCP_PORT, lambda peer: segment_between(PORT, 0)),
    (Reason.TRUNCATED_UDP, lambda peer: between(THEIRS_PACKED, OURS_PACKED, UDP, b"1234567")),
    (Reason.BAD_UDP_LENGTH, lambda peer: udp(length=7)),
    (Reason.BAD_UDP_LENGTH, lambda peer: udp(length=13)),
    (Reason.BAD_UDP_CHECKSUM, lambda peer: udp(checksum=1)),
    (Reason.TRUNCATED_ICMP, lambda peer: between(THEIRS_PACKED, OURS_PACKED, ICMP, b"1234")),
    (Reason.BAD_ICMP_CHECKSUM, lambda peer: ping(b"ping")[:-1] + b"!"),
    (Reason.BAD_ICMP_QUOTE, lambda peer: error_about(b"not a datagram")),
    (Reason.NOT_OUR_ADDRESS, lambda peer: between(THEIRS_PACKED, ANOTHER_PACKED)),
    (Reason.NOT_OUR_ADDRESS, lambda peer: between(THEIRS_PACKED, BROADCAST_PACKED)),
    (Reason.NOT_OUR_ADDRESS, lambda peer: between(THEIRS_PACKED, b"\xe0\0\0\1")),
    (Reason.BAD_SOURCE, lambda peer: between(OURS_PACKED, OURS_PACKED)),
    (Reason.BAD_SOURCE, lambda peer: between(BROADCAST_PACKED, OURS_PACKED)),
    (Reason.BAD_SOURCE, lambda peer: between(b"\x7f\0\0\1", OURS_PACKED)),
    (Reason.BAD_SOURCE, lambda peer: between(b"\xe0\0\0\1", OURS_PACKED)),
    (Reason.UNKNOWN_PROTOCOL, lambda peer: between(THEIRS_PACKED, OURS_PACKED)),
    (Reason.NO_UDP_PORT, lambda peer: udp()),
]


def udp(*, length: int = 12, checksum: int = 0) -> bytes:
    """A datagram of UDP to a port that nobody has."""
    payload = struct.pack(">HHHH4s", 9, 9, length, checksum, b"data")
    return between(THEIRS_PACKED, OURS_PACKED, UDP, payload)


def with_options(peer: Peer, options: bytes) -> bytes:
    """A packet with these options in its IP header."""
    datagram = decode_datagram(peer.packet(ACK, b"data"))
    datagram.options = options
    return b"".join(encode_datagram(datagram))


def with_offset(peer: Peer, words: int) -> bytes:
    """A segment with a data offset that cannot be, and a checksum that agrees with it."""
    packet = bytearray(peer.packet())
    difference = (words << 12) - (packet[32] << 8)
    packet[32] = words << 4
    (old,) = struct.unpack_from(">H", packet, 36)
    struct.pack_into(">H", packet, 36, (old - difference - 1) % 0xFFFF + 1)
    return bytes(packet)


def segment_between(sport: int, dport: int) -> bytes:
    segment = Segment(1, flags=SYN)
    return b"".join(encode_segment(THEIRS_PACKED, OURS_PACKED, sport, dport, segment))


def error_about(quote: bytes) -> bytes:
    """An ICMP error that quotes these octets."""
    body = struct.pack(">BBHI", DESTINATION_UNREACHABLE, 1, 0, 0) + quote
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    return between(THEIRS_PACKED, OURS_PACKED, ICMP, body)


@pytest.mark.rfc("1122:3.2.1.1-1", "1122:3.2.1.2-1", "1122:3.2.1.3-1", "1122:3.2.1.3-2")
@pytest.mark.parametrize(
    ("reason", "spoiled"), SPOILED, ids=[reason.value for reason, _ in SPOILED]
)
async def test_it_is_dropped_and_counted_by_its_reason(
    exchange: Exchange, reason: Reason, spoiled: Callable[[Peer], bytes]
) -> None:
    host, peer, _ = exchange
    before = host.statistics()
    peer.link.send([spoiled(peer)])
    await wait_all_tasks_blocked()
    counted = {
        name: count - before[name]
        for name, count in host.statistics().items()
        if count != before[name] and name != "packets_sent"
    }
    assert counted == {"packets_received": 1, reason.value: 1}
    await goes_on(exchange)


def test_there_is_a_packet_for_every_reason() -> None:
    of_ipv4 = {reason for reason, _ in SPOILED} | {reason for reason, _, _ in HOSTILE.values()}
    of_ipv6 = {reason for reason, *_ in (*SPOILED_IPV6.values(), *FRAGMENTS_IPV6.values())}
    assert of_ipv4 | of_ipv6 | {*OF_A_SOCKET_OR_THE_LINK} == {*Reason}
    by_header_alone = {Reason.BAD_IP_CHECKSUM, Reason.BAD_IP_FLAGS}  # IPv6 has neither.
    by_number = {Reason.FRAGMENT_MEMORY}
    assert of_ipv4 - of_ipv6 == by_header_alone | by_number


@pytest.mark.rfc("1122:3.2.2.1", "1122:3.2.2.5-1")
@pytest.mark.rfc("1122:3.2.2.5")
async def test_what_its_sender_can_mend_is_answered_and_nothing_else_is(exchange: Exchange) -> None:
    """An unknown protocol or port, or wrong options; errors of transmission are nobody's."""
    _, peer, _ = exchange
    for reason, spoiled in SPOILED:
        peer.link.send([spoiled(peer)])
        if reason is Reason.UNKNOWN_PROTOCOL:
            answer = await peer.icmp()
            assert (answer.type, answer.code) == (DESTINATION_UNREACHABLE, PROTOCOL_UNREACHABLE)
            assert answer.quoted is not None
            assert answer.quoted.protocol == 253
        elif reason is Reason.NO_UDP_PORT:
            answer = await peer.icmp()
            assert (answer.type, answer.code) == (DESTINATION_UNREACHABLE, PORT_UNREACHABLE)
            assert answer.quoted is not None
            assert answer.quoted.protocol == UDP
        elif reason is Reason.BAD_IP_OPTIONS:
            answer = await peer.icmp()
            assert (answer.type, answer.code, answer.pointer) == (PARAMETER_PROBLEM, 0, 20)
            assert answer.quoted is not None
            assert answer.quoted.options == b"\7\0\0\0"
        else:
            await wait_all_tasks_blocked()
            assert peer.link.receive() == []


async def test_an_answer_that_the_link_does_not_carry_is_sent_in_fragments() -> None:
    """An error quotes what it is about, and is larger by 28 octets."""
    link, far = memory_pair(mtu=68)
    async with Host(link, [f"{OURS}/24"]) as host:
        far.send([between(THEIRS_PACKED, OURS_PACKED, payload=bytes(48))])
        await wait_all_tasks_blocked()
        assert host.statistics()["unknown_protocol"] == 1
        first, second = (decode_datagram(packet) for packet in far.receive())
        assert (first.more_fragments, second.more_fragments) == (True, False)
        assert (second.fragment_offset, len(first.payload) + len(second.payload)) == (48, 76)
        far.send([between(THEIRS_PACKED, OURS_PACKED, payload=bytes(20))])
        await far.wait_readable()
        assert len(far.receive()[0]) == 68


async def test_pings_are_answered_in_between(exchange: Exchange) -> None:
    host, peer, _ = exchange
    for size in (0, 1, 1472):
        peer.link.send([ping(bytes(size))])
        answer = await peer.icmp()
        assert (answer.type, bytes(answer.payload)) == (ECHO_REPLY, bytes(size))
    assert host.statistics()["icmp_received"] == 3
    await goes_on(exchange)


@pytest.mark.parametrize("flags", range(64))
async def test_any_flags_on_a_segment_of_no_connection(exchange: Exchange, flags: int) -> None:
    """RFC 9293 section 3.10.7.1: all but a RST is answered with one."""
    host, peer, _ = exchange
    stranger = Peer(peer.link, port=9)
    stranger.host_port = 7
    stranger.send(flags, b"x", ack=77)
    if flags & RST:
        await wait_all_tasks_blocked()
        assert peer.link.receive() == []
        assert host.statistics()["tcp_ignored"] == 1
    else:
        answer = await stranger.segment()
        assert answer.flags == (RST if flags & ACK else RST | ACK)
        assert answer.seq == (77 if flags & ACK else 0)
    await goes_on(exchange)


UNHURRIED: Final[dict[str, Any]] = {"delayed_ack": 10.0, "rto_min": 10.0}
"""As hypothesis's tests are left with the real clock."""
examples = settings(max_examples=60, derandomize=True)
anything = st.binary(max_size=200)
addresses = st.sampled_from([OURS_PACKED, THEIRS_PACKED, ANOTHER_PACKED, bytes(4), b"\xff" * 4])
numbers = st.integers(0, 2**32 - 1)
sound_segments = st.builds(
    Segment,
    numbers,
    numbers,
    st.integers(0, 255),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.binary(max_size=40),
    mss=st.none() | st.integers(0, 65535),
    wscale=st.none() | st.integers(0, 255),
    sack_permitted=st.booleans(),
    sack=st.lists(st.tuples(numbers, numbers), max_size=3).map(tuple),
    ts_val=st.none() | numbers,
    ts_ecr=numbers,
)
packets = st.one_of(
    anything,
    st.builds(lambda rest: b"\x45" + rest, anything),
    st.builds(between, addresses, addresses, st.integers(0, 255), anything),
    st.builds(between, addresses, st.just(OURS_PACKED), st.sampled_from([ICMP, TCP]), anything),
    st.builds(error_about, anything),
    st.builds(
        lambda *parts: b"".join(encode_segment(THEIRS_PACKED, OURS_PACKED, *parts)),
        st.integers(1000, 1010),  # Never the port of the connection that is to go on.
        st.integers(1, 100),
        sound_segments,
    ),
)


@examples
@given(st.lists(packets, min_size=1, max_size=20))
async def test_no_invalid_segment_ends_the_connection(many: list[bytes]) -> None:
    async with host_and_peer(**UNHURRIED) as (host, peer):
        listener = await listening(host)
        await peer.connect()
        sock, _ = await listener.accept()
        for packet in many:
            peer.link.send([packet])
        await wait_all_tasks_blocked()
        await goes_on((host, peer, sock))
        statistics = host.statistics()
        assert statistics["internal_errors"] == 0
        assert statistics["packets_received"] == len(many) + 3


@examples
@given(
    st.lists(st.tuples(st.integers(1 << 17, (1 << 32) - (1 << 17)), sound_segments), max_size=20)
)
async def test_segments_outside_the_window_do_not_end_the_connection(
    many: list[tuple[int, Segment]],
) -> None:
    """Segments with the right ports, of somebody who does not see the connection's numbers."""
    async with host_and_peer(**UNHURRIED) as (host, peer):
        listener = await listening(host)
        await peer.connect()
        sock, _ = await listener.accept()
        for offset, segment in many:
            segment.seq = (peer.nxt + offset) % 2**32
            ports = peer.port, peer.host_port
            peer.link.send(encode_segment(THEIRS_PACKED, OURS_PACKED, *ports, segment))
        await wait_all_tasks_blocked()
        await goes_on((host, peer, sock))
        assert host.statistics()["internal_errors"] == 0


@pytest.mark.rfc("MUST-3")
async def test_a_corrupted_copy_of_every_packet_does_no_harm() -> None:
    """Two hosts, and a link that sends each packet also with one octet wrong."""
    rng = random.Random(0)

    class Noisy(Valve):
        def send(self, packet: Sequence[Buffer]) -> bool:
            wrong = bytearray(b"".join(packet))
            wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
            return self._link.send([wrong]) and super().send(packet)

    async with host_pair(wrap=Noisy) as (ours, theirs):
        client, server = await connected(ours, theirs)
        data = rng.randbytes(200_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.SocketStream(client).send_all, data)
            received = b""
            while len(received) < len(data):
                received += await server.recv(1 << 16)
        assert received == data
        statistics = theirs.statistics()
        dropped = sum(statistics[reason.value] for reason in Reason)
        assert dropped == statistics["packets_received"] / 2
