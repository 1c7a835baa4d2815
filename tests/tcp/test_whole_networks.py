"""A stack that has every address of a network: whose packets it takes, and who it is."""

from __future__ import annotations

import errno
import pickle
from ipaddress import ip_interface, ip_network
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.families import each_family
from tunstack.ip.address import packed
from tunstack.ip.family import IPV4, IPV6
from tunstack.stack.limits import Limits
from tunstack.stack.profile import Profile
from tunstack.stack.stack import Stack
from tunstack.tcp.segment import ACK, RST, SYN, Segment
from tunstack.wire import decode_datagram, decode_segment, encode_segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.ip.datagram import Datagram
    from tunstack.ip.family import Family
    from tunstack.tcp.config import Config

PORT: Final = 80
NETWORKS: Final = {IPV4: "198.51.100.0/24", IPV6: "2001:db8::/64"}
KERNEL: Final = {IPV4: packed("198.51.100.1"), IPV6: packed("2001:db8::1")}
FIRST: Final = {IPV4: packed("198.51.100.2"), IPV6: packed("2001:db8::2")}
SOME: Final = {IPV4: packed("198.51.100.77"), IPV6: packed("2001:db8::7777:1")}


def stack_with(*networks: str, **parameters: Any) -> Stack:
    places = [ip_network(each) for each in networks or NETWORKS.values()]
    return Stack(places, 1500, rng=Random(1), excluded=KERNEL.values(), **parameters)


def sent(stack: Stack) -> Iterator[tuple[Datagram, Segment]]:
    stack.flush(0.0)
    while stack.outgoing:
        datagram = decode_datagram(b"".join(stack.outgoing.popleft()))
        yield datagram, decode_segment(datagram)[2]


def arrive(stack: Stack, src: bytes, dst: bytes, **fields: Any) -> list[tuple[Datagram, Segment]]:
    segment = Segment(**({"seq": 1, "ack": 0, "flags": SYN, "wnd": 1000} | fields))
    stack.handle_packet(b"".join(encode_segment(src, dst, 4000, PORT, segment)), 0.0)
    return [*sent(stack)]


@each_family
def test_a_wildcard_listener_accepts_at_every_address_and_tells_which(family: Family) -> None:
    stack = stack_with()
    stack.bind(None, PORT, reuse=True)
    listener = stack.listen(None, PORT, 5)
    for ours in (FIRST[family], SOME[family]):
        [(datagram, answer)] = arrive(stack, KERNEL[family], ours)
        assert (datagram.src, answer.flags) == (ours, SYN | ACK)
        arrive(stack, KERNEL[family], ours, seq=2, ack=answer.seq + 1, flags=ACK)
        flow: Any = listener.accept()
        assert flow.four_tuple.local == ours


@each_family
def test_a_listener_at_one_address_is_at_no_other(family: Family) -> None:
    stack = stack_with()
    stack.bind(SOME[family], PORT, reuse=True)
    stack.listen(SOME[family], PORT, 5)
    [(_, answer)] = arrive(stack, KERNEL[family], SOME[family])
    assert answer.flags == SYN | ACK
    [(datagram, answer)] = arrive(stack, KERNEL[family], FIRST[family])
    assert (datagram.src, answer.flags & RST) == (FIRST[family], RST)


@pytest.mark.parametrize(
    ("src", "dst", "reason"),
    [
        ("198.51.100.1", "198.51.100.0", "not_our_address"),
        ("198.51.100.1", "198.51.100.255", "not_our_address"),
        ("198.51.100.9", "198.51.100.1", "not_our_address"),
        ("198.51.100.1", "198.51.101.2", "not_our_address"),
        ("2001:db8::9", "2001:db8::1", "not_our_address"),
        ("2001:db8::1", "2001:db8:0:1::2", "not_our_address"),
        ("198.51.100.9", "198.51.100.8", "bad_source_address"),
        ("2001:db8::9", "2001:db8::8", "bad_source_address"),
    ],
)
def test_what_is_for_another_or_from_ourselves_is_dropped(src: str, dst: str, reason: str) -> None:
    """The kernel's addresses are its own, and IPv4's network and broadcast address nobody's."""
    stack = stack_with()
    assert arrive(stack, packed(src), packed(dst)) == []
    assert stack.statistics()[reason] == 1


@each_family
def test_a_network_of_which_the_kernel_has_no_address_is_ours_to_the_first(family: Family) -> None:
    network = {IPV4: "203.0.113.0/31", IPV6: "2001:db8:1::/112"}[family]
    stack = stack_with(network)
    for ours in (ip_network(network)[0], ip_network(network)[-1]):
        [(datagram, _)] = arrive(stack, KERNEL[family], ours.packed)
        assert datagram.src == ours.packed


@each_family
def test_the_source_is_the_first_address_unless_it_is_bound(family: Family) -> None:
    """MUST-44, MUST-45."""
    stack = stack_with()
    remote = KERNEL[family]
    assert stack.source_for(remote) == FIRST[family]
    assert stack.connect(remote, PORT, 0.0).four_tuple.local == FIRST[family]
    stack.bind(SOME[family], 5000, reuse=False)
    flow = stack.connect(remote, PORT, 0.0, local=SOME[family], local_port=5000)
    assert [(each.src, len(each.src)) for each, _ in sent(stack)][1] == (
        SOME[family],
        family.address_size,
    )
    assert flow.info().local == (ip_interface(SOME[family]).ip, 5000)


@pytest.mark.parametrize(
    "address",
    ["198.51.100.1", "198.51.100.0", "198.51.100.255", "203.0.113.2", "2001:db8::1", "2001:db9::2"],
)
def test_an_address_that_is_not_ours_cannot_be_bound(address: str) -> None:
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EADDRNOTAVAIL):
        stack_with().bind(packed(address), PORT, reuse=True)


@each_family
def test_two_of_our_addresses_talk_to_each_other_without_the_link(family: Family) -> None:
    stack = stack_with()
    stack.bind(None, PORT, reuse=True)
    listener = stack.listen(None, PORT, 5)
    stack.connect(SOME[family], PORT, 0.0)
    for _ in range(4):
        assert [*sent(stack)] == []
        stack.handle_timers(0.0)
    flow: Any = listener.accept()
    assert (flow.four_tuple.local, flow.four_tuple.remote) == (SOME[family], FIRST[family])


@each_family
def test_what_comes_by_the_link_for_a_connection_with_ourselves_is_dropped(family: Family) -> None:
    """Forged: it is read by the fast reader, and by the rules for source addresses."""
    stack = stack_with()
    stack.bind(None, PORT, reuse=True)
    listener = stack.listen(None, PORT, 5)
    client = stack.connect(SOME[family], PORT, 0.0)
    for _ in range(4):
        stack.flush(0.0)
        stack.handle_timers(0.0)
    flow: Any = listener.accept()
    name = flow.four_tuple
    forged = Segment(
        client.sender.nxt, flow.sender.nxt, ACK, 1000, 0, b"forged", ts_val=2**31, ts_ecr=0
    )
    ports = (name.remote_port, name.local_port)
    stack.handle_packet(b"".join(encode_segment(name.remote, name.local, *ports, forged)), 0.0)
    assert stack.statistics()["bad_source_address"] == 1
    assert flow.receiver.buffer.size == 0


def test_a_client_at_each_address_uses_the_same_port() -> None:
    """The ports of an address are its own."""
    stack = stack_with()
    for number in range(2, 250):
        stack.bind(packed(f"198.51.100.{number}"), 5000, reuse=False)
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EADDRINUSE):
        stack.bind(packed("198.51.100.9"), 5000, reuse=False)


# Profiles


def syn_of(stack: Stack, local: str, config: Config | None = None) -> tuple[Datagram, Segment]:
    remote = KERNEL[IPV6 if ":" in local else IPV4]
    stack.connect(remote, PORT, 0.0, local=packed(local), config=config)
    [syn] = sent(stack)
    return syn


def test_the_profile_of_the_longest_prefix_applies() -> None:
    profiles = {
        ip_network("198.51.100.0/24"): Profile(ttl=10),
        ip_network("198.51.100.16/28"): Profile(mss=536, ttl=128, window_scaling=False),
        ip_network("198.51.100.17/32"): Profile(sack=False),
    }
    stack = stack_with(profiles=profiles)
    seen = {}
    for local in ("198.51.100.2", "198.51.100.16", "198.51.100.31", "198.51.100.17", "2001:db8::5"):
        datagram, syn = syn_of(stack, local)
        seen[local] = (datagram.ttl, syn.mss, syn.wscale, syn.sack_permitted)
    assert seen == {
        "198.51.100.2": (10, 1460, 7, True),
        "198.51.100.16": (128, 536, None, True),
        "198.51.100.31": (128, 536, None, True),
        "198.51.100.17": (64, 1460, 7, False),
        "2001:db8::5": (64, 1440, 7, True),
    }


@each_family
def test_whoever_connects_to_an_address_meets_its_profile(family: Family) -> None:
    """In a SYN,ACK, a SYN cookie's as well; and a reset comes from the same system."""
    prefix = ip_network((SOME[family], 8 * family.address_size - 4), strict=False)
    profile = Profile(mss=1000, ttl=128, timestamps=False, receive_buffer=9000)
    stack = stack_with(profiles={prefix: profile})
    stack.bind(None, PORT, reuse=True)
    listener = stack.listen(None, PORT, 5)
    offer: dict[str, Any] = {"mss": 1400, "ts_val": 5, "ts_ecr": 0, "wscale": 7}
    [(datagram, answer)] = arrive(stack, KERNEL[family], SOME[family], **offer)
    assert (datagram.ttl, answer.mss, answer.ts_val, answer.wnd) == (128, 1000, None, 9000)
    [(datagram, answer)] = arrive(stack, KERNEL[family], FIRST[family], **offer)
    assert (datagram.ttl, answer.wnd) == (64, 65535)
    assert answer.ts_val is not None
    stack.unlisten(None, PORT, listener)
    [*sent(stack)]
    [(datagram, answer)] = arrive(stack, KERNEL[family], SOME[family], seq=9, flags=ACK)
    assert (datagram.ttl, answer.flags) == (128, RST)


@each_family
def test_a_syn_cookie_has_the_profile_and_is_recognised_by_it(family: Family) -> None:
    """The window scale is among what a cookie is a hash of."""
    profiles = {ip_network(NETWORKS[family]): Profile.windows()}
    stack = stack_with(profiles=profiles, limits=Limits(syncookies="always"))
    stack.bind(None, PORT, reuse=True)
    listener = stack.listen(None, PORT, 5)
    [(datagram, answer)] = arrive(stack, KERNEL[family], SOME[family], mss=1400)
    assert (datagram.ttl, stack.statistics()["syncookies_sent"]) == (128, 1)
    arrive(stack, KERNEL[family], SOME[family], seq=2, ack=answer.seq + 1, flags=ACK)
    flow: Any = listener.accept()
    assert flow.config.ttl == 128
    assert stack.statistics()["syncookies_failed"] == 0


@pytest.mark.parametrize(
    ("profile", "ttl", "wscale", "stamped"),
    [
        (Profile.linux(), 64, 7, True),
        (Profile.windows(), 128, 8, False),
    ],
    ids=["Linux", "Windows"],
)
@each_family
def test_the_habits_of_an_operating_system(
    family: Family, profile: Profile, ttl: int, wscale: int, stamped: bool
) -> None:
    stack = stack_with(profiles={ip_network(NETWORKS[family]): profile})
    stack.connect(KERNEL[family], PORT, 0.0)
    [(datagram, syn)] = sent(stack)
    assert (datagram.ttl, syn.wscale, syn.ts_val is not None) == (ttl, wscale, stamped)
    assert (syn.sack_permitted, syn.wnd) == (True, 65535)


def test_a_profile_of_an_address_that_is_not_ours_is_refused() -> None:
    for network in ("203.0.113.0/24", "2001:db8:1::/64"):
        with pytest.raises(ValueError, match=rf"^the profile of {network}: no address of the host"):
            stack_with(profiles={ip_network(network): Profile(ttl=1)})
    places = [ip_interface("198.51.100.2/24")]
    with pytest.raises(ValueError, match="no address of the host"):
        Stack(places, 1500, rng=Random(1), profiles={ip_network("198.51.100.3"): Profile(ttl=1)})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ttl": 0}, "ttl is 0: choose from 1 to 255"),
        ({"hop_limit": 256}, "hop_limit is 256"),
        ({"mss": 0}, "mss is 0"),
        ({"ecn": 3}, "ecn is 3: choose from 0 to 2"),
        ({"receive_buffer": -1}, "receive_buffer is -1"),
        ({"congestion": "none such"}, "none such"),
    ],
)
def test_a_profile_with_a_value_out_of_range_is_refused(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Profile(**parameters)


def test_a_profile_is_the_same_after_pickling() -> None:
    """Workers receive it so."""
    profile = Profile(ttl=9, congestion="reno", sack=False)
    again = pickle.loads(pickle.dumps(profile))
    assert (again, again.parameters) == (profile, profile.parameters)
