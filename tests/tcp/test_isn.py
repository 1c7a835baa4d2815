"""Initial sequence numbers: a clock, and an offset that nobody can guess (RFC 6528)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.ip.demux import FourTuple
from tunstack.tcp.listen.isn import InitialNumbers

HERE, THERE = b"\xc6\x33\x64\x02", b"\xc6\x33\x64\x01"
ONE = FourTuple(HERE, 80, THERE, 40000).packed
SECRET = bytes(range(32))
examples = settings(deadline=None, derandomize=True, max_examples=300)


@pytest.mark.rfc("MUST-8", "SHLD-1", "6528:3")
@examples
@given(st.floats(0.0, 1e6), st.floats(0.0, 1e4))
def test_numbers_of_one_four_tuple_follow_a_clock_of_4_microseconds(
    now: float, later: float
) -> None:
    """MUST-8."""
    numbers = InitialNumbers(SECRET)
    ticks = (numbers.isn(ONE, now + later) - numbers.isn(ONE, now)) % 2**32
    expected = round(later * 250_000) % 2**32
    assert min((ticks - expected) % 2**32, (expected - ticks) % 2**32) <= 1


def test_numbers_wrap() -> None:
    numbers = InitialNumbers(SECRET)
    lap = 2**32 / 250_000
    assert numbers.isn(ONE, lap) == numbers.isn(ONE, 0.0)
    assert all(0 <= numbers.isn(ONE, lap * n / 16) < 2**32 for n in range(64))


@pytest.mark.rfc("MUST-9", "SHLD-1", "6528:3")
def test_every_field_of_the_four_tuple_sets_the_numbers_apart() -> None:
    """MUST-9: one connection's number tells nothing of another's."""
    numbers = InitialNumbers(SECRET)
    others = [
        FourTuple(HERE, 81, THERE, 40000),
        FourTuple(HERE, 80, THERE, 40001),
        FourTuple(THERE, 80, HERE, 40000),
        FourTuple(HERE, 40000, THERE, 80),
        FourTuple(HERE, 80, b"\xc6\x33\x64\x03", 40000),
    ]
    isns = {numbers.isn(ONE, 0.0), *(numbers.isn(other.packed, 0.0) for other in others)}
    assert len(isns) == 6
    offsets = {
        numbers.timestamp_offset(ONE),
        *(numbers.timestamp_offset(other.packed) for other in others),
    }
    assert len(offsets) == 6
    assert not isns & offsets


@pytest.mark.rfc("6528:3")
def test_numbers_are_spread_over_the_whole_range() -> None:
    numbers = InitialNumbers(SECRET)
    isns = [numbers.isn(FourTuple(HERE, 80, THERE, port).packed, 0.0) for port in range(4096)]
    quarters = [sum(isn >> 30 == quarter for isn in isns) for quarter in range(4)]
    assert all(900 < count < 1150 for count in quarters)
    low_bits = sum(isn & 1 for isn in isns)
    assert 1900 < low_bits < 2200


@pytest.mark.rfc("MUST-9", "6528:3")
def test_secret_decides() -> None:
    assert InitialNumbers(SECRET).isn(ONE, 1.0) == InitialNumbers(SECRET).isn(ONE, 1.0)
    assert InitialNumbers(SECRET).isn(ONE, 1.0) != InitialNumbers(bytes(32)).isn(ONE, 1.0)
