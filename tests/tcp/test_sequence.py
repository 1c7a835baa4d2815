"""Sequence arithmetic modulo 2**32, against plain integers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.tcp import sequence
from tunstack.tcp.sequence import add, diff, ge, gt, latest, le, lt, within

numbers = st.one_of(
    st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1])
)
distances = st.one_of(
    st.integers(-(2**31) + 1, 2**31 - 1), st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31) + 1])
)
examples = settings(deadline=None, derandomize=True, max_examples=300)


@examples
@given(numbers, distances)
def test_distance_is_what_was_added(seq: int, octets: int) -> None:
    there = add(seq, octets)
    assert 0 <= there <= sequence.MASK
    assert there == (seq + octets) % 2**32
    assert diff(there, seq) == octets
    assert add(there, -octets) == seq


@examples
@given(numbers, distances)
def test_order_is_that_of_the_distance(seq: int, octets: int) -> None:
    there = add(seq, octets)
    assert lt(there, seq) is (octets < 0)
    assert le(there, seq) is (octets <= 0)
    assert gt(there, seq) is (octets > 0)
    assert ge(there, seq) is (octets >= 0)
    assert latest(there, seq) == latest(seq, there) == (there if octets > 0 else seq)


@examples
@given(numbers)
def test_half_way_round_is_before(seq: int) -> None:
    """The one distance with two readings: it has to have one of them."""
    assert diff(add(seq, 2**31), seq) == -(2**31)


@examples
@given(numbers, st.integers(0, 2**31), st.integers(0, 2**32 - 1))
def test_within_is_membership_of_a_range(start: int, size: int, offset: int) -> None:
    assert within(add(start, offset), start, size) is (offset in range(size))
