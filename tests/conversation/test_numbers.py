"""Relative sequence numbers of one side."""

from __future__ import annotations

import pytest

from tunstack.conversation.numbers import Numbers
from tunstack.tcp.segment import ACK, RST, SYN, Segment


def learned(*segments: Segment) -> Numbers:
    numbers = Numbers()
    for segment in segments:
        numbers.learn(segment)
    return numbers


def test_the_syn_is_0() -> None:
    numbers = learned(Segment(4711, flags=SYN))
    assert numbers.relative(4711) == 0
    assert numbers.relative(4712) == 1
    assert numbers.absolute(1) == 4712


def test_numbers_wrap_and_those_before_the_syn_are_negative() -> None:
    numbers = Numbers(2**32 - 2)
    assert numbers.relative(5) == 7
    assert numbers.absolute(7) == 5
    assert numbers.relative(2**32 - 3) == -1
    assert numbers.absolute(-1) == 2**32 - 3


def test_without_a_syn_the_first_octet_is_1() -> None:
    numbers = learned(Segment(4711, flags=ACK))
    assert numbers.relative(4711) == 1
    assert numbers.next == 1


def test_the_reset_of_a_closed_port_teaches_nothing() -> None:
    numbers = learned(Segment(0, flags=RST | ACK))
    assert numbers.relative(0) == 0
    numbers.learn(Segment(4711, flags=SYN | ACK))
    assert numbers.relative(4711) == 0


@pytest.mark.parametrize("flags", [ACK, SYN | ACK])
def test_a_later_syn_with_another_number_begins_anew(flags: int) -> None:
    """A challenge ACK, or the SYN,ACK to an old duplicate SYN, before the one that counts."""
    numbers = learned(Segment(100, flags=flags))
    numbers.use(0, 1)
    numbers.learn(Segment(4711, flags=SYN | ACK))
    assert numbers.relative(4711) == 0
    assert numbers.next == 0


def test_a_retransmitted_syn_changes_nothing() -> None:
    numbers = learned(Segment(4711, flags=SYN))
    numbers.use(0, 1)
    numbers.learn(Segment(4711, flags=SYN))
    assert numbers.next == 1


def test_a_syn_amid_data_does_not_begin_anew() -> None:
    numbers = learned(Segment(4711, flags=SYN))
    numbers.use(0, 1)
    numbers.use(1, 10)
    numbers.learn(Segment(1, flags=SYN))
    assert numbers.relative(4711) == 0


def test_what_is_used_without_a_gap_counts() -> None:
    numbers = Numbers(0)
    numbers.use(0, 1)
    numbers.use(11, 10)
    assert numbers.next == 1
    numbers.use(1, 10)
    assert numbers.next == 21
    numbers.use(1, 5)
    numbers.use(21, 0)
    assert numbers.next == 21
    numbers.use(16, 10)
    assert numbers.next == 26
