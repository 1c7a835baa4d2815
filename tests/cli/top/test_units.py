"""Numbers in few characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunstack.cli.top.units import count, duration, milliseconds, short, with_unit


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (7, "7"),
        (0.25, "0.25"),
        (999, "999"),
        (999.4, "999"),
        (999.6, "1.00k"),
        (1000, "1.00k"),
        (12_345, "12.3k"),
        (99_960, "100k"),
        (9_994_000, "9.99M"),
        (9_996_000, "10.0M"),
        (5_390_000_000, "5.39G"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(number: float, text: str) -> None:
    assert short(number) == text


@given(st.floats(0, 1e17))
def test_numbers_fit_their_column(number: float) -> None:
    assert len(short(number)) <= 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.000123, "0.123"),
        (0.01, "10.00"),
        (0.0999, "99.90"),
        (0.25, "250.0"),
        (1.5, "1500"),
    ],
)
def test_times_are_in_milliseconds(seconds: float | None, text: str) -> None:
    assert milliseconds(seconds) == text


@given(st.floats(0, 900))
def test_milliseconds_fit_their_column(seconds: float) -> None:
    assert len(milliseconds(seconds)) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.04, "0.0s"),
        (9.96, "10s"),
        (59.7, "1m00s"),
        (754, "12m34s"),
        (3599.6, "1h00m"),
        (90_000, "1d01h"),
    ],
)
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 8e6))
def test_ages_fit_their_column(seconds: float) -> None:
    assert len(duration(seconds)) <= 6


def test_units_and_plurals() -> None:
    assert with_unit(999, "B") == "999 B"
    assert with_unit(2_500_000, "bit/s") == "2.50 Mbit/s"
    assert count(1, "packet") == "1 packet"
    assert count(1024, "packet") == "1,024 packets"
