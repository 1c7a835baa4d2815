"""Malformed, overlapping and incomplete fragments are dropped and counted by reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS_PACKED, THEIRS_PACKED, host_and_peer, listening
from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.ip.fragments import MAX_DATAGRAMS
from tunstack.ip.icmp import (
    ECHO_REPLY,
    ECHO_REQUEST,
    REASSEMBLY_TIME_EXCEEDED,
    TIME_EXCEEDED,
    IcmpMessage,
)
from tunstack.tcp.segment import ACK
from tunstack.wire import Reason, decode_datagram, encode_datagram, encode_icmp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.socket.network import Peer
    from tunstack import Host, Socket

DATA: Final = bytes(range(32))
_REQUEST: Final = IcmpMessage(ECHO_REQUEST, payload=DATA)
PING: Final = decode_datagram(b"".join(encode_icmp(THEIRS_PACKED, OURS_PACKED, _REQUEST)))
"""An echo request with 40 octets of payload."""


def part(
    start: int, end: int, *, last: bool = False, of: Datagram = PING, number: int = 1
) -> bytes:
    """A fragment of a datagram, or of what would be behind it."""
    data = bytes(of.payload).ljust(1 << 16, b"\0")[start:end]
    fragment = replace(
        of,
        payload=data,
        identification=number,
        more_fragments=not last,
        fragment_offset=start,
    )
    return b"".join(encode_datagram(fragment))


SEGMENT: Final = Datagram(THEIRS_PACKED, OURS_PACKED, TCP, bytes(40))
LONG: Final = Datagram(THEIRS_PACKED, OURS_PACKED, UDP, bytes(40), options=bytes(8))
MIXED: Final = replace(PING, tos=2)

HOSTILE: Final[dict[str, tuple[Reason, int, list[bytes]]]] = {
    "empty": (Reason.BAD_FRAGMENT, 1, [part(8, 8)]),
    "an empty end": (Reason.BAD_FRAGMENT, 2, [part(0, 16), part(16, 16, last=True)]),
    "no multiple of eight": (Reason.BAD_FRAGMENT, 1, [part(0, 12)]),
    "too long": (Reason.BAD_FRAGMENT, 1, [part(65528, 65536)]),
    "too long with its options": (Reason.BAD_FRAGMENT, 1, [part(65504, 65512, last=True, of=LONG)]),
    "no TCP header": (Reason.BAD_FRAGMENT, 1, [part(0, 16, of=SEGMENT)]),
    "beyond the end": (Reason.BAD_FRAGMENT, 2, [part(16, 40, last=True), part(40, 48)]),
    "two ends": (
        Reason.BAD_FRAGMENT,
        2,
        [part(16, 40, last=True), part(40, 48, last=True)],
    ),
    "an end before": (Reason.BAD_FRAGMENT, 2, [part(16, 40), part(8, 16, last=True)]),
    "some without ECN": (
        Reason.BAD_FRAGMENT,
        2,
        [part(0, 16), part(16, 40, last=True, of=MIXED)],
    ),
    "twice": (Reason.FRAGMENT_DUPLICATE, 1, [part(0, 16), part(0, 16)]),
    "over another": (Reason.FRAGMENT_OVERLAP, 2, [part(0, 16), part(8, 24)]),
    "around another": (Reason.FRAGMENT_OVERLAP, 2, [part(8, 16), part(0, 24)]),
    "never the rest": (Reason.FRAGMENT_TIMEOUT, 2, [part(8, 16), part(16, 24)]),
    "too many": (
        Reason.FRAGMENT_MEMORY,
        1,
        [part(8, 16, number=number) for number in range(MAX_DATAGRAMS + 1)],
    ),
}

Exchange = tuple["Host", "Peer", "Socket"]


@pytest.fixture
async def exchange(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Exchange]:
    """A host, its peer, and a connection that is open between them; time is virtual."""
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        sock, _ = await listener.accept()
        yield host, peer, sock


async def goes_on(exchange: Exchange) -> None:
    """The connection has taken no harm, and pings in fragments are answered."""
    host, peer, sock = exchange
    peer.link.receive()  # Whatever was answered.
    peer.send(ACK, b"still")
    assert await sock.recv(100) == b"still"
    await sock.send(b"here")
    assert bytes((await peer.segment()).payload) == b"here"
    peer.link.send([part(16, 40, last=True, number=9999)])
    peer.link.send([part(0, 16, number=9999)])
    answer = await peer.icmp()
    assert (answer.type, bytes(answer.payload)) == (ECHO_REPLY, DATA)
    assert host.statistics()["internal_errors"] == 0


@pytest.mark.parametrize("what", HOSTILE)
async def test_it_is_dropped_and_counted_by_its_reason(exchange: Exchange, what: str) -> None:
    reason, count, packets = HOSTILE[what]
    host, peer, _ = exchange
    before = host.statistics()
    for packet in packets:
        peer.link.send([packet])
    await wait_all_tasks_blocked()
    if reason is Reason.FRAGMENT_TIMEOUT:
        await trio.sleep(31)
    after = host.statistics()
    counted = {name.value: number for name in Reason if (number := after[name] - before[name])}
    assert counted == {reason.value: count}
    assert after["fragments_received"] == len(packets)
    assert after["datagrams_reassembled"] == 0
    assert (after["fragment_memory_held"] > 0) == (count < len(packets))
    await goes_on(exchange)


@pytest.mark.rfc("1122:3.3.2", "1122:3.3.2-4")
async def test_time_exceeded_is_sent_if_the_first_fragment_came(exchange: Exchange) -> None:
    host, peer, _ = exchange
    peer.link.send([part(0, 16)])
    peer.link.send([part(16, 24)])
    await trio.sleep(29.9)
    assert peer.link.receive() == []
    message = await peer.icmp()
    assert (message.type, message.code) == (TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED)
    assert message.quoted is not None
    assert bytes(message.quoted.payload) == bytes(PING.payload)[:16]
    assert (message.quoted.identification, message.quoted.more_fragments) == (1, True)
    assert host.statistics()["fragment_timeout"] == 2
    await goes_on(exchange)


async def test_time_exceeded_is_not_sent_without_the_first_fragment(exchange: Exchange) -> None:
    host, peer, _ = exchange
    peer.link.send([part(8, 16)])
    await trio.sleep(100)
    assert peer.link.receive() == []
    assert host.statistics()["fragment_timeout"] == 1


async def test_time_exceeded_is_rate_limited(exchange: Exchange) -> None:
    host, peer, _ = exchange
    for number in range(1000):
        peer.link.send([part(0, 16, number=number)])
        await wait_all_tasks_blocked()
    await trio.sleep(31)
    told = len(peer.link.receive())
    statistics = host.statistics()
    assert told + statistics["icmp_suppressed"] == MAX_DATAGRAMS == statistics["fragment_timeout"]
    assert statistics["fragment_memory"] == 1000 - MAX_DATAGRAMS
    await goes_on(exchange)


fragments = st.builds(
    part,
    st.integers(0, 8).map(lambda units: units * 8),
    st.integers(0, 80),
    last=st.booleans(),
    of=st.sampled_from([PING, SEGMENT, LONG, MIXED]),
    number=st.integers(1, 3),
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(fragments, min_size=1, max_size=30))
async def test_no_fragments_end_the_connection(many: list[bytes]) -> None:
    async with host_and_peer(delayed_ack=10.0, rto_min=10.0) as (host, peer):
        listener = await listening(host)
        await peer.connect()
        sock, _ = await listener.accept()
        for packet in many:
            peer.link.send([packet])
        await wait_all_tasks_blocked()
        await goes_on((host, peer, sock))
        statistics = host.statistics()
        in_pieces = [packet for packet in many if packet[6:8] != bytes(2)]
        assert statistics["fragments_received"] == len(in_pieces) + 2
