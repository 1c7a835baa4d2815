"""Fragments that we send: their sizes, options and identifications."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from itertools import pairwise
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.ip.fragmentation import COUNTERS, Identifications, fragmented
from tunstack.ip.fragments import Fragments
from tunstack.stack.peers import peer_key
from tunstack.wire import decode_datagram, encode_datagram, finish

HERE: Final = bytes((198, 51, 100, 2))
THERE: Final = bytes((198, 51, 100, 1))
OTHER: Final = bytes((198, 51, 100, 3))

TIMESTAMP: Final = bytes.fromhex("44080500 00000000")
"""An option without the copied flag."""
ROUTER_ALERT: Final = bytes.fromhex("94040000")
"""One that is copied."""


@pytest.mark.rfc("791:3.2")
@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.integers(68, 1500), st.integers(1, 9000), st.sampled_from([b"", ROUTER_ALERT, b"\1"]))
def test_fragments_are_as_large_as_the_mtu_allows(mtu: int, size: int, options: bytes) -> None:
    data = Random(size).randbytes(size)
    datagram = Datagram(HERE, THERE, UDP, data, 3, 7, identification=99, options=options)
    parts = fragmented(datagram, mtu)
    room = (mtu - 20 - (len(options) + 3) // 4 * 4) // 8 * 8
    assert [part.fragment_offset for part in parts] == [*range(0, size, room)]
    assert [len(part.payload) for part in parts[:-1]] == [room] * (len(parts) - 1)
    assert 1 <= len(parts[-1].payload) <= room
    assert [part.more_fragments for part in parts] == [True] * (len(parts) - 1) + [False]
    assert b"".join(part.payload for part in parts) == data
    headers = {
        (part.src, part.dst, part.protocol, part.ttl, part.tos, part.identification)
        for part in parts
    }
    assert headers == {(HERE, THERE, UDP, 3, 7, 99)}


@pytest.mark.rfc("791:3.1")
@pytest.mark.parametrize(
    ("options", "later"),
    [
        (ROUTER_ALERT, ROUTER_ALERT),
        (TIMESTAMP, b"\1" * 8),
        (TIMESTAMP + ROUTER_ALERT, b"\1" * 8 + ROUTER_ALERT),
        (b"\1" + ROUTER_ALERT + TIMESTAMP, b"\1" + ROUTER_ALERT + b"\1" * 8),
        (ROUTER_ALERT + b"\0" + TIMESTAMP, ROUTER_ALERT + b"\0" + TIMESTAMP),
        (b"\7", b"\7"),
        (b"\7\1", b"\7\1"),
        (b"\7\5\0\0", b"\7\5\0\0"),
    ],
    ids=[
        "copied",
        "not",
        "both",
        "after a no-operation",
        "after the end",
        "no length",
        "0",
        "long",
    ],
)
def test_options_without_the_copied_flag_are_overwritten_in_later_fragments(
    options: bytes, later: bytes
) -> None:
    datagram = Datagram(HERE, THERE, UDP, bytes(200), options=options)
    parts = fragmented(datagram, 100)
    assert [part.options for part in parts] == [options, *[later] * (len(parts) - 1)]


HERE_6: Final = ip_address("2001:db8::2").packed
THERE_6: Final = ip_address("2001:db8::1").packed

HOP_BY_HOP: Final = bytes.fromhex("ff00 0502 0000 0100")
"""Extension headers, whose next header field is not right yet."""
DESTINATION: Final = bytes.fromhex("ff01 1e0c") + bytes(12)
ROUTING: Final = bytes.fromhex("ff00 0400 0000 0000")


def chained(*headers: tuple[int, bytes], protocol: int = UDP) -> tuple[bytes, int]:
    """Extension headers, each naming the next one; and the type of the first."""
    kinds = [*(kind for kind, _ in headers), protocol]
    octets = b"".join(
        bytes((after,)) + header[1:] for (_, header), after in zip(headers, kinds[1:], strict=True)
    )
    return octets, kinds[0] if headers else 0


CHAINS: Final = {
    "none": ([], 0),
    "hop-by-hop": ([(0, HOP_BY_HOP)], 1),
    "destination": ([(60, DESTINATION)], 0),
    "hop-by-hop, destination": ([(0, HOP_BY_HOP), (60, DESTINATION)], 1),
    "destination, routing": ([(60, DESTINATION), (43, ROUTING)], 2),
    "all": ([(0, HOP_BY_HOP), (60, DESTINATION), (43, ROUTING), (60, DESTINATION)], 3),
}
"""Extension headers, and how many of them are in each fragment."""


@pytest.mark.rfc("8200:4.5", "8200:4.5-10")
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("mtu", [1280, 1500])
def test_headers_of_ipv6_up_to_the_routing_header_are_in_each_fragment(
    chain: str, mtu: int
) -> None:
    headers, apart = CHAINS[chain]
    options, extension = chained(*headers)
    unfragmentable = sum(len(header) for _, header in headers[:apart])
    data = Random(mtu).randbytes(5000)
    datagram = Datagram(
        HERE_6,
        THERE_6,
        UDP,
        data,
        3,
        7,
        identification=99,
        options=options,
        flow_label=5,
        extension=extension,
    )
    parts = fragmented(datagram, mtu)
    packets = [b"".join(encode_datagram(part)) for part in parts]
    room = (mtu - 48 - unfragmentable) // 8 * 8
    assert [len(packet) for packet in packets[:-1]] == [48 + unfragmentable + room] * (
        len(parts) - 1
    )
    assert len(packets[-1]) <= mtu
    assert len(parts) == -(-(5000 + len(options) - unfragmentable) // room)
    arrived = [decode_datagram(packet) for packet in packets]
    for part in arrived:
        assert len(part.options) == unfragmentable
        assert (part.ttl, part.tos, part.flow_label, part.identification) == (3, 7, 5, 99)
    fragments = Fragments(1 << 20, Counter(), peer_key)
    whole = [fragments.add(part, 0.0) for part in arrived][-1]
    assert whole is not None
    whole = finish(whole)
    assert bytes(whole.payload) == data
    assert (whole.protocol, whole.options, whole.extension) == (UDP, options, extension)


def test_a_link_too_narrow_for_eight_octets_is_refused() -> None:
    with pytest.raises(ValueError, match="20 octets of headers within 27"):
        fragmented(Datagram(HERE, THERE, UDP, bytes(200)), 27)
    assert len(fragmented(Datagram(HERE, THERE, UDP, bytes(200)), 28)) == 25


def identified(numbers: Identifications, datagram: Datagram, *, large: bool = False) -> int:
    numbers.identify(datagram, in_fragments=large)
    return datagram.identification


@pytest.mark.rfc("6864:4.1", "6864:4.1-1")
def test_an_atomic_datagram_has_identification_0() -> None:
    numbers = Identifications(Random(1))
    datagram = Datagram(HERE, THERE, UDP, b"", identification=5, dont_fragment=True)
    assert [identified(numbers, datagram) for _ in range(3)] == [0, 0, 0]


@pytest.mark.rfc("6864:4.3", "6864:4.3-1")
def test_no_identification_is_repeated_within_65536_datagrams() -> None:
    numbers = Identifications(Random(1))
    datagram = Datagram(HERE, THERE, UDP, b"")
    drawn = [identified(numbers, datagram) for _ in range(65536)]
    assert len({*drawn}) == 65536
    assert identified(numbers, datagram) == drawn[0]


@pytest.mark.parametrize(
    "other",
    [
        Datagram(OTHER, THERE, UDP, b""),
        Datagram(HERE, OTHER, UDP, b""),
        Datagram(HERE, THERE, TCP, b""),
    ],
    ids=["source", "destination", "protocol"],
)
def test_each_source_destination_and_protocol_has_its_own_identifications(other: Datagram) -> None:
    numbers = Identifications(Random(1))
    datagram = Datagram(HERE, THERE, UDP, b"")
    first = identified(numbers, datagram)
    others = [identified(numbers, other) for _ in range(100)]
    assert identified(numbers, datagram) == first + 1
    assert others == [*range(others[0], others[0] + 100)]
    assert others[0] != first


def test_the_first_identification_is_random() -> None:
    datagram = Datagram(HERE, THERE, UDP, b"")
    firsts = {identified(Identifications(Random(seed)), datagram) for seed in range(100)}
    assert len(firsts) > 95


def test_the_least_recently_used_counter_is_evicted() -> None:
    numbers = Identifications(Random(1))
    datagrams = [Datagram(HERE, number.to_bytes(4, "big"), UDP, b"") for number in range(COUNTERS)]
    firsts = [identified(numbers, datagram) for datagram in datagrams]
    assert identified(numbers, datagrams[0]) == firsts[0] + 1
    identified(numbers, Datagram(HERE, OTHER, UDP, b""))
    assert identified(numbers, datagrams[0]) == firsts[0] + 2
    assert identified(numbers, datagrams[2]) == firsts[2] + 1
    assert identified(numbers, datagrams[1]) != firsts[1] + 1


@pytest.mark.rfc("7739:5.3", "8200:4.5-11")
def test_identifications_of_ipv6_are_random_and_only_of_fragments() -> None:
    numbers = Identifications(Random(1))
    datagram = Datagram(HERE_6, THERE_6, UDP, b"")
    drawn = [identified(numbers, datagram, large=True) for _ in range(1000)]
    assert len({*drawn}) == 1000
    assert max(drawn) > 1 << 31
    steps = {(after - before) % 2**32 for before, after in pairwise(drawn)}
    assert len(steps) == 999
    assert identified(numbers, datagram) == 0
