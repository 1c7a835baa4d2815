"""Fragments are put together whatever their order, and what does not fit is not kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.ip.fragments import LIFETIME, MAX_DATAGRAMS, MAX_OCTETS, Fragments

HERE: Final = bytes((198, 51, 100, 2))
THERE: Final = bytes((198, 51, 100, 1))
OTHER: Final = bytes((198, 51, 100, 3))

DATA: Final = bytes(range(40))


def fragment(start: int, end: int, size: int = len(DATA), **fields: Any) -> Datagram:
    """The octets [start, end) of a datagram with so much data."""
    data = (bytes(range(256)) * 257)[start:end]
    whole = Datagram(
        THERE, HERE, TCP, data, identification=7, more_fragments=end < size, fragment_offset=start
    )
    return replace(whole, **fields)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """How much data, and which parts of it come, in what order, some twice."""
    size = draw(st.integers(1, 400))
    cuts = sorted(8 * cut for cut in draw(st.sets(st.integers(1, 50))) if 8 * cut < size)
    parts = [*zip([0, *cuts], [*cuts, size], strict=True)]
    order = draw(st.permutations(parts))
    again = draw(st.lists(st.sampled_from(parts), max_size=3))
    return size, [*again, *order]


@pytest.mark.rfc("791:3.2", "815:3")
@settings(deadline=None, derandomize=True, max_examples=300)
@given(deliveries())
def test_in_any_order_and_some_twice(delivery: tuple[int, list[tuple[int, int]]]) -> None:
    size, parts = delivery
    fragments = Fragments()
    came = [
        whole for part in parts if (whole := fragments.add(fragment(*part, size), 0.0)) is not None
    ]
    assert came
    expected = fragment(0, size, size)
    assert all(whole == expected for whole in came)


def test_the_header_is_that_of_the_first() -> None:
    fragments = Fragments()
    fragments.add(fragment(16, 40, ttl=3, tos=8), 0.0)
    whole = fragments.add(fragment(0, 16, ttl=9, tos=4, options=b"\1\1\1\1"), 0.0)
    assert whole == Datagram(
        THERE, HERE, TCP, DATA, ttl=9, tos=4, identification=7, options=b"\1\1\1\1"
    )
    assert (fragments.held, fragments.dropped) == (0, 0)


@pytest.mark.parametrize(
    "other", [{"identification": 8}, {"src": OTHER}, {"dst": OTHER}, {"protocol": UDP}]
)
def test_those_of_two_datagrams_are_not_mixed(other: dict[str, Any]) -> None:
    fragments = Fragments()
    assert fragments.add(fragment(0, 16), 0.0) is None
    assert fragments.add(fragment(16, 40, **other), 0.0) is None
    assert fragments.add(fragment(16, 40), 0.0) is not None


@pytest.mark.parametrize(
    "bad",
    [
        fragment(8, 24),
        fragment(0, 24),
        fragment(32, 48, 80),
        fragment(40, 48, 80),
        fragment(16, 24, 24),
    ],
    ids=["over two", "around one", "over the end", "beyond", "an earlier end"],
)
def test_one_that_does_not_fit_ends_them_all(bad: Datagram) -> None:
    """As on Linux: who sends such wants two hosts to read two different things."""
    fragments = Fragments()
    for part in (fragment(0, 16), fragment(24, 40)):
        assert fragments.add(part, 0.0) is None
    assert fragments.add(bad, 0.0) is None
    assert (fragments.held, fragments.dropped) == (0, 3)
    assert fragments.add(fragment(16, 24), 0.0) is None


@pytest.mark.parametrize("part", [(0, 8), (8, 16), (0, 16), (24, 32), (32, 40)])
def test_a_part_of_one_is_ignored(part: tuple[int, int]) -> None:
    fragments = Fragments()
    for start, end in ((0, 16), (24, 40), part):
        assert fragments.add(fragment(start, end), 0.0) is None
    whole = fragments.add(fragment(16, 24), 0.0)
    assert whole == fragment(0, 40)
    assert fragments.dropped == 0


@pytest.mark.parametrize(
    "bad",
    [
        fragment(0, 12),
        fragment(16, 16),
        fragment(40, 40),
        fragment(65528, 65544, 65544),
    ],
    ids=["no multiple of 8", "empty", "an empty end", "too large"],
)
def test_one_that_cannot_be_is_dropped(bad: Datagram) -> None:
    fragments = Fragments()
    assert fragments.add(bad, 0.0) is None
    assert (fragments.held, fragments.dropped) == (0, 1)


def test_after_30_seconds_it_times_out() -> None:
    fragments = Fragments()
    fragments.add(fragment(0, 16), 0.0)
    fragments.add(fragment(16, 24), LIFETIME - 1)
    assert fragments.add(fragment(24, 40), LIFETIME) is None
    assert fragments.dropped == 2
    assert fragments.add(fragment(0, 24), 2 * LIFETIME - 1) is not None


def test_one_source_keeps_others_from_nothing() -> None:
    fragments = Fragments()
    fragments.add(fragment(0, 16, src=OTHER), 0.0)
    for number in range(1000):
        fragments.add(fragment(0, 16, identification=number), 0.0)
    assert fragments.dropped == 1000 - MAX_DATAGRAMS
    assert fragments.add(fragment(16, 40, src=OTHER), 0.0) is not None
    assert fragments.add(fragment(16, 40, identification=999), 0.0) is not None
    assert fragments.add(fragment(16, 40, identification=0), 0.0) is None


def test_all_together_they_take_no_more_than_they_may() -> None:
    fragments = Fragments()
    for number in range(3000):
        source = number.to_bytes(4, "big")
        fragments.add(fragment(8, 16 + 8 * (number % 9), 1000, src=source), 0.0)
        assert fragments.held <= MAX_OCTETS
    assert fragments.dropped > 1000
    for start in range(0, 65528, 8):
        fragments.add(fragment(start, start + 8, 1 << 16), 0.0)
        assert fragments.held <= MAX_OCTETS
    fragments.add(fragment(0, 8), LIFETIME)
    assert fragments.held < 200
