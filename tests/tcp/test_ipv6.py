"""TCP over IPv6, at the stack: what differs from IPv4, and that nothing else does."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_interface
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.families import each_family
from tests.tcp.crowd import HERE, HERE6, OURS, OURS6, PORT, Crowd, Packet, Peer, state
from tunstack.ip.address import packed, text
from tunstack.ip.family import IPV4, IPV6
from tunstack.stack.limits import Limits
from tunstack.stack.stack import Stack
from tunstack.tcp.config import Config
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, Segment
from tunstack.wire import (
    decode_datagram,
    decode_segment,
    encode_segment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.ip.datagram import Datagram
    from tunstack.ip.family import Family
    from tunstack.stack.limits import SynCookiePolicy

PEER6: Final = packed("2001:db8::1")
HEADERS: Final = {IPV4: 40, IPV6: 60}


def stack_at(*addresses: str, mtu: int = 1500, config: Config | None = None) -> Stack:
    interfaces = [ip_interface(address) for address in addresses]
    return Stack(interfaces, mtu, rng=Random(1), config=config)


def sent(stack: Stack, now: float = 0.0) -> Iterator[tuple[Datagram, Segment]]:
    """What the stack sends now."""
    stack.flush(now)
    while stack.outgoing:
        datagram = decode_datagram(b"".join(stack.outgoing.popleft()))
        yield datagram, decode_segment(datagram)[2]


def deliver(stack: Stack, src: bytes, dst: bytes, segment: Segment, *, sport: int = 4000) -> None:
    packet = b"".join(encode_segment(src, dst, sport, PORT, segment))
    stack.handle_packet(packet, 0.0)


def counted(stack: Stack) -> dict[str, int]:
    return {name: count for name, count in stack.statistics().items() if count}


# Source addresses


@pytest.mark.rfc("6724:5", "MUST-44")
@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("2001:db8::1", "2001:db8::2"),
        ("2001:db8:0:1::1", "2001:db8:0:1::2"),
        ("2001:db8:0:1::2", "2001:db8:0:1::2"),
        ("fd00::1", "fd00::2"),
        ("fe80::1", "fe80::2"),
        ("203.0.113.1", "198.51.100.2"),
        ("198.51.100.130", "198.51.100.129"),
    ],
)
def test_a_connection_begins_at_the_address_that_fits_the_peer(remote: str, source: str) -> None:
    stack = stack_at(
        "198.51.100.2/25",
        "2001:db8::2/64",
        "198.51.100.129/25",
        "fd00::2/64",
        "2001:db8:0:1::2/64",
        "fe80::2/64",
    )
    assert text(stack.source_for(packed(remote))) == source
    if remote != source:
        stack.connect(packed(remote), 7, 0.0)
        [(datagram, segment)] = sent(stack)
        assert (text(datagram.src), text(datagram.dst)) == (source, remote)
        assert segment.flags & SYN


@pytest.mark.parametrize(("ours", "remote"), [("198.51.100.2/24", "2001:db8::1")])
@pytest.mark.parametrize("swapped", [False, True])
def test_no_address_of_its_family_is_no_route(ours: str, remote: str, swapped: bool) -> None:
    """As on Linux."""
    if swapped:
        ours, remote = f"{remote}/64", ours.split("/")[0]
    stack = stack_at(ours)
    with pytest.raises(OSError, match="unreachable") as error:
        stack.connect(packed(remote), 7, 0.0)
    assert error.value.errno == errno.ENETUNREACH


@pytest.mark.parametrize(
    ("local", "remote", "number"),
    [
        ("198.51.100.2", "2001:db8::1", errno.EAFNOSUPPORT),
        ("2001:db8::2", "198.51.100.1", errno.ENETUNREACH),
    ],
)
def test_no_connection_between_families(local: str, remote: str, number: int) -> None:
    """Linux's errors, of a socket that is bound to an IPv4-mapped address, and of one that is not.

    Nothing is left of the attempt.
    """
    stack = stack_at("198.51.100.2/24", "2001:db8::2/64")
    with pytest.raises(OSError, match=r".") as error:
        stack.connect(packed(remote), 7, 0.0, local=packed(local), local_port=5000)
    assert error.value.errno == number
    assert stack.bind(None, 5000, reuse=False) == 5000


def test_a_wildcard_is_no_source() -> None:
    stack = stack_at("198.51.100.2/24", "2001:db8::2/64")
    flow = stack.connect(PEER6, 7, 0.0, local=IPV6.wildcard)
    assert flow.four_tuple.local == OURS6


@pytest.mark.rfc("MUST-46")
@pytest.mark.parametrize(
    "remote", ["::", "::1", "ff02::1", "ff0e::1", "::ffff:198.51.100.1", "::ffff:0.0.0.0"]
)
def test_an_ipv6_address_that_is_no_single_host_is_not_connected_to(remote: str) -> None:
    with pytest.raises(OSError, match="unreachable") as error:
        stack_at("2001:db8::2/64").connect(packed(remote), 7, 0.0)
    assert error.value.errno == errno.ENETUNREACH


# What is for us, and from whom


@pytest.mark.rfc("MUST-57", "MUST-63", "4291:2.7")
@pytest.mark.parametrize(
    ("src", "dst", "reason"),
    [
        ("2001:db8::1", "ff02::1", "not_our_address"),
        ("2001:db8::1", "ff02::1:ff00:2", "not_our_address"),
        ("2001:db8::1", "ff0e::2", "not_our_address"),
        ("2001:db8::1", "2001:db8::", "not_our_address"),  # The subnet-router anycast address.
        ("2001:db8::1", "2001:db8::3", "not_our_address"),
        ("2001:db8::1", "::1", "not_our_address"),
        ("2001:db8::1", "::", "not_our_address"),
        ("ff02::1", "2001:db8::2", "bad_source_address"),
        ("::", "2001:db8::2", "bad_source_address"),
        ("::1", "2001:db8::2", "bad_source_address"),
        ("::ffff:198.51.100.1", "2001:db8::2", "bad_source_address"),
        ("2001:db8::2", "2001:db8::2", "bad_source_address"),
    ],
)
@pytest.mark.parametrize("usual", [False, True])
def test_what_is_not_for_us_or_from_no_single_host_is_dropped_and_counted(
    src: str, dst: str, reason: str, usual: bool
) -> None:
    """Whether the fast reader takes the SYN, or the general one."""
    stack = stack_at("2001:db8::2/64")
    stack.bind(None, PORT, reuse=True)
    stack.listen(None, PORT, 5)
    syn = Segment(1, flags=SYN, wnd=65535)
    if usual:
        syn.mss, syn.sack_permitted, syn.ts_val, syn.wscale = 1440, True, 1, 7
    deliver(stack, packed(src), packed(dst), syn)
    assert [*sent(stack)] == []
    assert counted(stack) == {"packets_received": 1, reason: 1}


def test_a_neighbour_at_a_link_local_address_is_answered() -> None:
    stack = stack_at("2001:db8::2/64", "fe80::2/64")
    stack.bind(None, PORT, reuse=True)
    stack.listen(None, PORT, 5)
    for ours in ("2001:db8::2", "fe80::2"):
        deliver(stack, packed("fe80::1"), packed(ours), Segment(1, flags=SYN, wnd=65535))
        [(datagram, segment)] = sent(stack)
        assert (text(datagram.src), text(datagram.dst)) == (ours, "fe80::1")
        assert segment.flags == SYN | ACK


# Listeners


@pytest.mark.parametrize(
    ("bound", "families"),
    [
        (None, {IPV4, IPV6}),
        (IPV4.wildcard, {IPV4}),
        (IPV6.wildcard, {IPV6}),
        (OURS, {IPV4}),
        (OURS6, {IPV6}),
    ],
)
def test_a_listener_accepts_in_the_families_of_its_address(
    bound: bytes | None, families: set[Family]
) -> None:
    for family in (IPV4, IPV6):
        crowd = Crowd(family=family)
        crowd.stack.bind(bound, 81, reuse=True)
        listener = crowd.stack.listen(bound, 81, 5)
        peer = crowd.peer(port=81)
        answer = peer.syn()
        assert answer is not None
        assert answer.flags == (SYN | ACK if family in families else RST | ACK)
        peer.ack()
        assert (listener.accept() is not None) is (family in families)


def test_two_listeners_on_one_port_a_family_each() -> None:
    crowd = Crowd()
    four, six = (
        (crowd.stack.bind(bound, 81, reuse=False), crowd.stack.listen(bound, 81, 5))[1]
        for bound in (IPV4.wildcard, IPV6.wildcard)
    )
    Peer(crowd, packed("198.51.100.9"), 4000, 81, {}).syn()
    assert (len(four.half_open), len(six.half_open)) == (1, 0)
    crowd.ours = OURS6
    Peer(crowd, PEER6, 4000, 81, {}).syn()
    assert (len(four.half_open), len(six.half_open)) == (1, 1)


@pytest.mark.rfc("1122:3.2.1.3-3")
def test_an_address_that_is_not_ours_is_not_bound() -> None:
    stack = stack_at("2001:db8::2/64")
    for address in (PEER6, OURS, packed("::1")):
        with pytest.raises(OSError, match="Cannot assign") as error:
            stack.bind(address, PORT, reuse=True)
        assert error.value.errno == errno.EADDRNOTAVAIL


# Sizes


@pytest.mark.rfc("MUST-67", "MUST-15", "MUST-16", "8200:8.3-1")
@each_family
@pytest.mark.parametrize("mtu", [1280, 1500, 9000])
def test_the_mss_is_the_mtu_less_the_headers_of_the_family(family: Family, mtu: int) -> None:
    stack = stack_at("198.51.100.2/24", "2001:db8::2/64", mtu=mtu)
    peer = {IPV4: packed("198.51.100.1"), IPV6: PEER6}[family]
    stack.connect(peer, 7, 0.0)
    [(_, syn)] = sent(stack)
    assert syn.mss == mtu - HEADERS[family]


@pytest.mark.rfc("MUST-15")
@each_family
def test_the_mss_of_a_peer_that_announces_none(family: Family) -> None:
    """536 for IPv4, 1220 for IPv6."""
    crowd = Crowd(family=family)
    peer = crowd.peer(mss=None, ts_val=None, wscale=None, sack_permitted=False)
    peer.syn()
    peer.ack()
    flow = crowd.accept()
    assert flow.info().snd_mss == {IPV4: 536, IPV6: 1220}[family]
    crowd.stack.send(flow, bytes(5000), crowd.now)
    assert len(crowd.flush()[0].segment.payload) == {IPV4: 536, IPV6: 1220}[family]


@each_family
@pytest.mark.parametrize("policy", ["when full", "always"])
def test_a_full_segment_fills_the_mtu(family: Family, policy: SynCookiePolicy) -> None:
    """After a cookie as well, which rounds the peer's MSS down to 1,440 or 1,460."""
    crowd = Crowd(
        Config(initial_window=4),
        limits=Limits(syncookies=policy),
        family=family,
    )
    mss = 1500 - HEADERS[family]
    peer = crowd.peer(mss=mss)
    answer = peer.syn()
    assert answer is not None
    assert answer.mss == mss
    peer.ack()
    flow = crowd.accept()
    crowd.stack.send(flow, bytes(10_000), crowd.now)
    packet = crowd.flush()[0]
    assert len(packet.segment.payload) == mss - 12
    assert flow.info().pmtu == 1500
    assert flow.info().snd_mss == mss - 12


@pytest.mark.rfc("8200:5-1")
@pytest.mark.parametrize("mtu", [68, 576, 1279])
def test_ipv6_over_a_link_that_is_too_small_for_it_is_refused(mtu: int) -> None:
    """RFC 8200 section 5; IPv4 alone does with it."""
    with pytest.raises(ValueError, match=rf"^MTU {mtu}: IPv6 needs 1280 octets or more$"):
        stack_at("198.51.100.2/24", "2001:db8::2/64", mtu=mtu)
    stack_at("198.51.100.2/24", mtu=mtu)
    stack_at("2001:db8::2/64", mtu=1280)


def test_ipv4_over_a_link_that_is_too_small_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^MTU 67: IPv4 needs 68 octets or more$"):
        stack_at("198.51.100.2/24", mtu=67)


# The fields of the header


@pytest.mark.rfc("MUST-48", "MUST-49", "8200:7-1")
@pytest.mark.parametrize("offload", [False, True])
def test_hop_limit_and_traffic_class_are_the_connections(offload: bool) -> None:
    """Of all its segments, those of the fast path included, and of the listener's cookies."""
    config = Config(hop_limit=3, traffic_class=0xB8)
    for limits in (Limits(), Limits(syncookies="always")):
        crowd = Crowd(config, family=IPV6, offload=offload, limits=limits)
        crowd.stack.set_tap(None)
        peer = crowd.peer()
        headers = {(each.datagram.ttl, each.datagram.tos) for each in conversation(crowd, peer)}
        assert headers == {(3, 0xB8)}


def test_options_that_change_later_leave_what_is_of_the_family() -> None:
    """Hop limit, traffic class and sizes are those of IPv6, and not those of an IPv4 connection."""
    config = Config(ttl=77, tos=0x20, hop_limit=3, traffic_class=0xB8)
    crowd = Crowd(config, family=IPV6)
    peer = crowd.peer()
    peer.syn()
    peer.ack()
    flow = crowd.accept()
    before = flow.config
    changed = replace(crowd.stack.config, nodelay=True)
    crowd.stack.reconfigure(flow, changed)
    assert flow.config == replace(before, nodelay=True)
    crowd.stack.reconfigure(flow, replace(changed, hop_limit=9, traffic_class=0x48))
    crowd.stack.send(flow, b"answer", crowd.now)
    assert [(each.datagram.ttl, each.datagram.tos) for each in crowd.flush()] == [(9, 0x48)]


def conversation(crowd: Crowd, peer: Peer) -> Iterator[Packet]:
    """All packets of ours in a connection: its opening, data each way, a loss, and its end."""
    peer.syn()
    yield from crowd.latest
    peer.ack()
    flow = crowd.accept()
    for number in range(20):
        peer.send(b"question")
        yield from crowd.latest
        assert crowd.stack.read(flow, 100) == b"question"
        crowd.stack.send(flow, b"answer %d" % number, crowd.now)
        yield from crowd.flush()
        peer.expected += len(b"answer %d" % number)
        peer.ack()
        yield from crowd.latest
    crowd.stack.send(flow, bytes(100), crowd.now)
    yield from crowd.flush()
    yield from crowd.advance(1.0)
    peer.expected += 100
    peer.ack()
    crowd.stack.close(flow)
    yield from crowd.flush()
    peer.expected += 1
    peer.ack(FIN | ACK)
    yield from crowd.latest
    assert crowd.flow(peer) is None  # It has no socket any more.
    yield from crowd.advance(1.0)
    peer.ack(FIN | ACK)  # Again: what is left of it answers.
    yield from crowd.latest


@pytest.mark.rfc("6437:3", "6437:3-1")
@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("policy", ["when full", "always"])
def test_all_segments_of_a_connection_have_one_flow_label(
    offload: bool, policy: SynCookiePolicy
) -> None:
    """The SYN,ACK with a cookie too, what leaves on the fast path, and what TIME-WAIT answers."""
    limits = Limits(syncookies=policy)
    crowd = Crowd(family=IPV6, offload=offload, limits=limits)
    crowd.stack.set_tap(None)
    labels = []
    for peer in crowd.peers(20):
        [label] = {each.datagram.flow_label for each in conversation(crowd, peer)}
        labels.append(label)
    assert 0 not in labels
    assert len(set(labels)) == len(labels)


@pytest.mark.rfc("6437:3")
def test_a_reset_of_no_connection_has_the_label_of_its_addresses_and_ports() -> None:
    """As Linux's: twice the same, and another one for another port."""
    crowd = Crowd(family=IPV6)
    labels = []
    for peer in (crowd.peer(port=99), crowd.peer(port=99)):
        for _ in range(2):
            answer = peer.syn()
            assert answer is not None
            assert answer.flags == RST | ACK
            labels.append(crowd.latest[0].datagram.flow_label)
    assert labels[0] == labels[1] != labels[2] == labels[3]
    assert 0 not in labels


def test_ipv4_has_no_flow_label() -> None:
    crowd = Crowd()
    assert {each.datagram.flow_label for each in conversation(crowd, crowd.peer())} == {0}


@pytest.mark.rfc("6437:3-3")
def test_the_peers_flow_label_makes_no_difference() -> None:
    """On the fast path it may change from segment to segment."""
    crowd = Crowd(family=IPV6)
    peer, flow = crowd.connected()
    before = crowd.stack.statistics()["tcp_predicted"]
    for number in range(8):
        packet = bytearray(peer.packet(peer.next(ACK | PSH, b"data")))
        packet[1:4] = (number * 0x1234).to_bytes(3, "big")
        crowd.packet(bytes(packet))
        peer.nxt += 4
    assert crowd.stack.read(flow, 100) == b"data" * 8
    assert crowd.stack.statistics()["tcp_predicted"] > before


# To ourselves


def test_a_connection_to_our_own_ipv6_address() -> None:
    """Its packets never reach the link."""
    stack = stack_at("198.51.100.2/24", "2001:db8::2/64")
    stack.bind(IPV6.wildcard, PORT, reuse=True)
    listener = stack.listen(IPV6.wildcard, PORT, 5)
    client = stack.connect(OURS6, PORT, 0.0)
    now = 0.0

    def go_on() -> None:
        nonlocal now
        for _ in range(20):
            stack.flush(now)
            now += 0.01
            stack.handle_timers(now)

    go_on()
    server = listener.accept()
    assert server is not None
    [server] = [flow for flow in stack.demux.connections if flow is server]
    assert client.four_tuple.local == client.four_tuple.remote == OURS6
    assert state(client) is state(server) is State.ESTABLISHED
    stack.send(client, b"to ourselves", now)
    go_on()
    assert stack.read(server, 100) == b"to ourselves"
    stack.close(client)
    go_on()
    stack.close(server)
    go_on()
    assert state(server) is State.CLOSED
    assert not stack.outgoing
    assert not any(counted(stack).get(reason) for reason in ("bad_source_address", "truncated"))


# Peers


@pytest.mark.parametrize(
    ("addresses", "allowed"),
    [
        (["2001:db8:0:9::1", "2001:db8:0:9::2", "2001:db8:0:9:ffff::3"], 2),
        (["2001:db8:0:9::1", "2001:db8:0:a::1", "2001:db8:0:b::1"], 3),
    ],
)
def test_a_peer_is_a_64(addresses: list[str], allowed: int) -> None:
    crowd = Crowd(limits=Limits(peer_connections=2, evict=False), family=IPV6)
    answers = [Peer(crowd, packed(each), 4000, PORT, {}).syn() for each in addresses]
    assert len([answer for answer in answers if answer is not None]) == allowed


@each_family
def test_a_flood_of_syns_is_answered_by_cookies(family: Family) -> None:
    crowd = Crowd(backlog=5, limits=Limits(half_open=64), family=family)
    peers = crowd.peers(200)
    assert all(peer.syn() is not None for peer in peers)
    assert crowd.statistics["syncookies_sent"] == 200 - 64
    peers[-1].ack(ACK | PSH, b"honest")
    assert crowd.stack.read(crowd.accept(), 100) == b"honest"


@each_family
def test_what_is_left_in_time_wait_tells_both_addresses(family: Family) -> None:
    crowd = Crowd(family=family)
    peer = crowd.peer()
    [*conversation(crowd, peer)]
    [info] = crowd.stack.connections()
    assert info.state == "TIME-WAIT"
    assert (info.local[0].packed, info.remote[0].packed) == (crowd.ours, peer.address)
    assert (info.local[1], info.remote[1]) == (PORT, peer.sport)


@each_family
def test_a_new_incarnation_opens_over_time_wait(family: Family) -> None:
    crowd = Crowd(family=family)
    peer = crowd.peer()
    [*conversation(crowd, peer)]
    peer.offer["ts_val"] += 10_000
    peer.isn = (peer.nxt + 100_000) % 2**32
    answer = peer.syn()
    assert answer is not None
    assert answer.flags == SYN | ACK
    assert len(crowd.stack.time_waits) == 0


def test_both_addresses_are_the_hosts() -> None:
    crowd = Crowd()
    assert crowd.stack.interfaces == (HERE, HERE6)
    assert crowd.stack.addresses.families == (IPV4, IPV6)
