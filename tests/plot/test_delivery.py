"""What is delivered, by acknowledgments and SACK blocks."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from tunstack.plot.delivery import Delivery

BLOCKS = st.tuples(st.integers(1, 30), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))
Ack: TypeAlias = tuple[int, list[tuple[int, int]]]
ACKS = st.lists(st.tuples(st.integers(0, 30), st.lists(BLOCKS, max_size=4)), max_size=12)


def test_octets_are_delivered_once() -> None:
    delivery = Delivery()
    steps = [(1, []), (1, [(5, 8)]), (1, [(5, 8), (10, 12)]), (1, [(7, 11)]), (6, []), (12, [])]
    assert [delivery.add(ack, sack) for ack, sack in steps] == [0, 3, 2, 2, 4, 0]
    assert delivery.octets == 11


@given(ACKS)
def test_they_are_what_a_set_of_octets_would_hold(
    acks: list[Ack],
) -> None:
    delivery, known = Delivery(), set[int]()
    for ack, sack in acks:
        before = len(known)
        known |= set(range(1, ack)) | {at for left, right in sack for at in range(left, right)}
        assert delivery.add(ack, sack) == len(known) - before
