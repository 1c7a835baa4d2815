"""Reassembly of fragments: in any order, within bounds, and without overlaps."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tcp.test_crowd import Steps
from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.ip.fragments import (
    BAD,
    DUPLICATE,
    MAX_DATAGRAMS,
    MEMORY,
    OVERLAP,
    TIMEOUT,
    Fragments,
    Refused,
)
from tunstack.stack.limits import Limits
from tunstack.stack.peers import peer_key

DATA: Final = bytes(range(40))
LIMIT: Final = Limits().fragment_memory

HERE: Final = {4: ip_address("198.51.100.2").packed, 6: ip_address("2001:db8::2").packed}
THERE: Final = {4: ip_address("198.51.100.1").packed, 6: ip_address("2001:db8::1").packed}
OTHER: Final = {4: ip_address("198.51.100.3").packed, 6: ip_address("2001:db8:0:1::1").packed}
LIFETIME: Final = {4: 30.0, 6: 60.0}

both_families = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])


def fragment(
    start: int, end: int, size: int = len(DATA), family: int = 4, **fields: Any
) -> Datagram:
    """The octets [start, end) of a datagram with so much data."""
    whole = Datagram(
        THERE[family],
        HERE[family],
        UDP,
        (bytes(range(256)) * 257)[start:end],
        identification=7,
        more_fragments=end < size,
        fragment_offset=start,
    )
    return replace(whole, **fields)


class Bench:
    """A reassembly queue, and what it counts."""

    def __init__(self, memory: int = LIMIT) -> None:
        self.counts: Counter[str] = Counter()
        self.fragments = Fragments(memory, self.counts, peer_key)
        self.now = 0.0

    @property
    def held(self) -> int:
        return self.fragments.held

    def add(self, part: Datagram) -> Datagram | None:
        """A fragment arrives; it is counted if it is dropped."""
        try:
            return self.fragments.add(part, self.now)
        except Refused as refused:
            self.counts[refused.reason] += 1
            return None

    def add_all(self, *parts: Datagram) -> list[Datagram]:
        """Fragments arrive; returns the datagrams that they complete."""
        return [whole for part in parts if (whole := self.add(part)) is not None]

    def counted(self) -> dict[str, int]:
        """What was dropped since this was asked last."""
        counts = {name: count for name, count in self.counts.items() if count}
        self.counts.clear()
        return counts


# Reassembly


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """The octets of a datagram, and its fragments as they arrive, some twice."""
    size = draw(st.integers(9, 400))
    cuts = sorted(
        8 * cut for cut in draw(st.sets(st.integers(1, 50), min_size=1)) if 8 * cut < size
    )
    parts = [*zip([0, *cuts], [*cuts, size], strict=True)]
    order = draw(st.permutations(parts))
    again = draw(st.lists(st.sampled_from(parts), max_size=3))
    return size, [*again, *order]


@pytest.mark.rfc("791:3.2", "815:3", "8200:4.5", "8200:4.5-1")
@both_families
@settings(deadline=None, derandomize=True, max_examples=150)
@given(deliveries())
def test_fragments_are_reassembled_in_any_order_and_with_duplicates(
    family: int, delivery: tuple[int, list[tuple[int, int]]]
) -> None:
    size, parts = delivery
    bench = Bench()
    came = bench.add_all(*(fragment(*part, size, family) for part in parts))
    assert came
    assert all(whole == fragment(0, size, size, family) for whole in came)
    assert {*bench.counted()} <= {DUPLICATE}


@both_families
def test_the_header_is_that_of_the_first_fragment(family: int) -> None:
    bench = Bench()
    head, tail = fragment(0, 16, family=family), fragment(16, 40, family=family)
    bench.add(replace(tail, ttl=3, tos=8))
    whole = bench.add(replace(head, ttl=9, tos=4, options=b"\1\1\1\1\1\1\1\1"))
    assert whole == replace(
        head, ttl=9, tos=4, options=b"\1\1\1\1\1\1\1\1", payload=DATA, more_fragments=False
    )
    assert (bench.held, bench.counted()) == (0, {})


@both_families
@pytest.mark.parametrize("other", ["identification", "src", "dst"])
def test_fragments_of_two_datagrams_are_not_mixed(family: int, other: str) -> None:
    bench = Bench()
    fields: dict[str, Any] = {other: 8 if other == "identification" else OTHER[family]}
    assert bench.add(fragment(0, 16, family=family)) is None
    assert bench.add(fragment(16, 40, family=family, **fields)) is None
    assert bench.add(fragment(16, 40, family=family)) is not None


def test_the_protocol_names_a_datagram_of_ipv4() -> None:
    bench = Bench()
    assert bench.add(fragment(0, 24)) is None
    assert bench.add(fragment(24, 40, protocol=TCP)) is None
    assert bench.add(fragment(24, 40)) is not None


@pytest.mark.rfc("8200:4.5-8")
def test_the_protocol_of_a_datagram_of_ipv6_is_what_its_first_fragment_says() -> None:
    bench = Bench()
    assert bench.add(fragment(24, 40, family=6, protocol=UDP)) is None
    whole = bench.add(fragment(0, 24, family=6, protocol=TCP))
    assert whole is not None
    assert whole.protocol == TCP


@pytest.mark.rfc("3168:5.3", "3168:5.3-1", "3168:5.3-2")
@both_families
@pytest.mark.parametrize(
    ("codepoints", "whole"),
    [
        ((0, 0, 0), 0),
        ((1, 1, 1), 1),
        ((2, 2, 2), 2),
        ((3, 3, 3), 3),
        ((2, 2, 3), 3),
        ((3, 2, 2), 3),
        ((1, 3, 1), 3),
        ((3, 1, 2), 3),
        ((1, 2, 2), 1),
        ((2, 1, 1), 2),
        ((0, 2, 2), None),
        ((1, 0, 1), None),
        ((3, 3, 0), None),
        ((0, 3, 2), None),
    ],
)
def test_the_datagram_has_ce_if_a_fragment_has_it(
    family: int, codepoints: tuple[int, ...], whole: int | None
) -> None:
    bench = Bench()
    parts = [(0, 16), (16, 24), (24, 40)]
    came = bench.add_all(
        *(
            fragment(*part, family=family, tos=0x40 | codepoint)
            for part, codepoint in zip(parts, codepoints, strict=True)
        )
    )
    assert [datagram.tos for datagram in came] == ([] if whole is None else [0x40 | whole])
    assert bench.counted() == ({BAD: 3} if whole is None else {})
    assert bench.held == 0


# Fragments that are dropped


@pytest.mark.rfc("5722:4", "5722:4-1", "8200:4.5-7")
@both_families
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (fragment(8, 24), OVERLAP),
        (fragment(0, 24), OVERLAP),
        (fragment(16, 32), OVERLAP),
        (fragment(32, 48, 80), BAD),
        (fragment(40, 48, 80), BAD),
        (fragment(16, 24, 24), BAD),
        (fragment(16, 16), BAD),
    ],
    ids=["over one", "around one", "over the last", "over the end", "beyond", "other end", "empty"],
)
def test_an_overlap_or_a_contradictory_end_drops_the_datagram(
    family: int, bad: Datagram, reason: str
) -> None:
    """As on Linux."""
    bench = Bench()
    bench.add_all(fragment(0, 16, family=family), fragment(24, 40, family=family))
    assert bench.add(replace(bad, src=THERE[family], dst=HERE[family])) is None
    assert (bench.held, bench.counted()) == (0, {reason: 3})
    assert bench.add(fragment(16, 24, family=family)) is None


@both_families
@pytest.mark.parametrize("part", [(0, 8), (8, 16), (0, 16), (8, 24), (0, 24), (32, 40)])
def test_a_duplicate_is_ignored_even_of_two_adjoining_fragments(
    family: int, part: tuple[int, int]
) -> None:
    """As on Linux."""
    bench = Bench()
    bench.add_all(
        *(fragment(start, end, 48, family) for start, end in ((0, 16), (16, 24), (32, 48)))
    )
    held = bench.held
    assert bench.add(fragment(*part, 48, family)) is None
    assert (bench.held, bench.counted()) == (held, {DUPLICATE: 1})
    assert bench.add(fragment(24, 32, 48, family)) == fragment(0, 48, 48, family)


@both_families
@pytest.mark.parametrize(
    "bad",
    [
        fragment(0, 12),
        fragment(8, 20),
        fragment(16, 16),
        fragment(40, 40),
        fragment(65528, 65544, 65544),
        fragment(0, 16, protocol=TCP),
        fragment(0, 8, protocol=TCP),
    ],
    ids=[
        "no multiple of 8",
        "a later one",
        "empty",
        "an empty end",
        "too long",
        "tiny",
        "tinier",
    ],
)
def test_a_malformed_fragment_is_dropped_alone(family: int, bad: Datagram) -> None:
    bench = Bench()
    assert bench.add(replace(bad, src=THERE[family], dst=HERE[family])) is None
    assert (bench.held, bench.counted()) == (0, {BAD: 1})


@pytest.mark.rfc("1122:3.3.2-1", "8200:5-3")
@pytest.mark.parametrize(("family", "most"), [(4, 65515), (6, 65535)])
def test_the_longest_datagram(family: int, most: int) -> None:
    bench = Bench()
    parts = [(start, min(start + 8192, most)) for start in range(0, most, 8192)]
    [whole] = bench.add_all(*(fragment(*part, most, family) for part in parts))
    assert len(whole.payload) == most
    bench.add_all(*(fragment(*part, most, family) for part in parts[:-1]))
    assert bench.add(fragment(parts[-1][0], most + 1, most + 1, family)) is None
    assert bench.counted() == {BAD: 1}
    # The header of the first is what counts.
    options = bytes(8)
    [longer] = [part for part in parts if not part[0]]
    first = fragment(*longer, most, family, options=options, identification=8)
    others = [fragment(*part, most, family, identification=8) for part in parts[1:]]
    assert bench.add_all(*others, first) == []
    assert bench.counted() == {BAD: len(parts)}


# Bounds


@pytest.mark.rfc("1122:3.3.2-2", "8200:4.5-2")
@both_families
def test_an_incomplete_datagram_times_out(family: int) -> None:
    bench = Bench()
    bench.now = 5.0
    first = fragment(0, 16, family=family)
    bench.add(first)
    bench.now += LIFETIME[family] - 1
    bench.add(fragment(16, 24, family=family))
    assert bench.fragments.deadline() == 5.0 + LIFETIME[family]
    assert bench.fragments.expired(bench.now) == []
    bench.now += 1
    assert bench.fragments.expired(bench.now) == [first]
    assert (bench.held, bench.counted()) == (0, {TIMEOUT: 2})
    assert bench.fragments.deadline() is None
    assert bench.add(fragment(24, 40, family=family)) is None
    assert bench.add(fragment(0, 24, family=family)) is not None


@pytest.mark.rfc("1122:3.3.2")
@both_families
def test_without_the_first_fragment_no_time_exceeded_is_due(family: int) -> None:
    bench = Bench()
    bench.add_all(fragment(16, 24, family=family), fragment(24, 40, family=family))
    assert bench.fragments.expired(100.0) == []
    assert bench.counted() == {TIMEOUT: 2}


def test_each_family_has_its_own_lifetime() -> None:
    bench = Bench()
    bench.add(fragment(0, 16, family=6))
    bench.now = 1.0
    bench.add(fragment(0, 16))
    assert bench.fragments.deadline() == 31.0
    assert bench.fragments.expired(31.0) == [fragment(0, 16)]
    assert bench.fragments.deadline() == 60.0
    assert bench.fragments.expired(60.0) == [fragment(0, 16, family=6)]


@both_families
def test_the_datagrams_of_a_peer_are_limited(family: int) -> None:
    bench = Bench()
    bench.add(fragment(0, 16, family=family, src=OTHER[family]))
    for number in range(1000):
        src = THERE[family][:-1] + bytes((number % 100 if family == 6 else 1,))
        bench.add(fragment(0, 16, family=family, identification=number, src=src))
    assert bench.counted() == {MEMORY: 1000 - MAX_DATAGRAMS}
    assert bench.add(fragment(16, 40, family=family, src=OTHER[family])) is not None
    last: dict[str, Any] = {"identification": 999, "src": src}
    assert bench.add(fragment(16, 40, family=family, **last)) is not None
    assert bench.add(fragment(16, 40, family=family, identification=0)) is None


@both_families
def test_a_peer_takes_at_most_a_quarter_of_the_memory(family: int) -> None:
    bench = Bench()
    most = 0
    for number in range(1000):
        bench.add(fragment(8, 30_000, 1 << 15, family, identification=number))
        most = max(most, bench.held)
    assert LIMIT // 5 < most <= LIMIT // 4
    assert bench.counts[MEMORY] > 900


@both_families
def test_the_memory_of_all_peers_is_limited(family: int) -> None:
    bench = Bench()
    most = 0
    for number in range(10_000):
        src = number.to_bytes(4, "big") + bytes(len(HERE[family]) - 4)
        bench.add(fragment(8, 16 + 1000 * (number % 9), 10_000, family, src=src))
        most = max(most, bench.held)
    assert LIMIT * 0.9 < most <= LIMIT
    assert bench.counts[MEMORY] > 5000
    bench.fragments.expired(100.0)
    assert bench.held == 0
    assert bench.counts.total() == 10_000


def test_the_oldest_datagram_of_either_family_is_evicted() -> None:
    bench = Bench(memory=4 * 8000)
    six, four = fragment(0, 4000, 8000, 6), fragment(0, 4000, 8000, 4)
    bench.add(six)
    bench.now = 1.0
    bench.add(four)
    number = 0
    while not bench.counts:
        number += 1
        bench.add(fragment(0, 4000, 8000, 4, src=number.to_bytes(4, "big")))
    assert bench.add(fragment(4000, 8000, 8000, 4)) is not None
    assert bench.add(fragment(4000, 8000, 8000, 6)) is None


@pytest.mark.parametrize("gap", [0, 8], ids=["adjoining", "apart"])
@pytest.mark.parametrize("size", [8, 48, 1480])
def test_the_account_of_fragments_covers_the_memory_in_use(size: int, gap: int) -> None:
    step = size + gap
    tracemalloc.start()
    try:
        bench = Bench(memory=1 << 30)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1 + size // 48):
            src = number.to_bytes(4, "big")
            for start in range(0, 65528 - step, step):
                bench.add(fragment(start, start + size, 1 << 17, src=src))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert bench.held * 0.5 < taken < bench.held


def test_the_account_of_datagrams_covers_the_memory_in_use() -> None:
    tracemalloc.start()
    try:
        bench = Bench(memory=1 << 30)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2000):
            bench.add(fragment(8, 16, src=number.to_bytes(4, "big"), identification=1000 + number))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert bench.held * 0.5 < taken < bench.held


@both_families
@pytest.mark.parametrize("order", [1, -1, 7], ids=["in order", "backwards", "shuffled"])
def test_the_work_for_a_fragment_does_not_grow_with_their_number(family: int, order: int) -> None:
    def steps(count: int) -> int:
        bench = Bench(memory=1 << 30)
        numbers = [number * order % count for number in range(count)]
        parts = [fragment(8 * number, 8 * number + 8, 8 * count, family) for number in numbers]
        with Steps() as counted:
            [_] = bench.add_all(*parts)
        return counted.count

    few, many = steps(100), steps(8000)
    assert many < 80 * few * 1.1


def test_the_work_of_a_flood_does_not_grow_with_what_is_held() -> None:
    def steps(memory: int) -> int:
        bench = Bench(memory)
        parts = [
            fragment(8, 16, src=number.to_bytes(4, "big"), identification=number)
            for number in range(8000)
        ]
        bench.add_all(*parts[:4000])
        with Steps() as counted:
            bench.add_all(*parts[4000:])
        assert bench.counts[MEMORY] > 4000
        return counted.count

    assert steps(LIMIT) < steps(LIMIT // 16) * 1.1
