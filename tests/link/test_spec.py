"""Impairments as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunstack.path.impair import Impairments, both_ways

PERFECT = Impairments()

probabilities = st.floats(0, 1)
times = st.floats(0, 1e9)
limits = st.one_of(
    st.just({}),
    st.builds(lambda packets: {"limit": packets}, st.integers(1, 10**9)),
    st.builds(lambda size: {"limit_bytes": size}, st.integers(1, 10**12)),
)


@st.composite
def impairments(draw: st.DrawFn) -> Impairments:
    return Impairments(
        loss=draw(probabilities),
        delay=draw(times),
        jitter=draw(times),
        reorder=draw(probabilities),
        duplicate=draw(probabilities),
        corrupt=draw(probabilities),
        rate=draw(st.just(float("inf")) | st.floats(0, 1e18, exclude_min=True)),
        **draw(limits),
    )


def test_every_key_with_its_unit() -> None:
    text = "loss=1%,delay=20ms,jitter=2ms,reorder=3%,duplicate=0.1%,corrupt=0.2%,rate=100mbit"
    assert Impairments.parse(text) == Impairments(
        loss=0.01,
        delay=0.02,
        jitter=0.002,
        reorder=0.03,
        duplicate=0.001,
        corrupt=0.002,
        rate=100e6,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("delay=1.5s", {"delay": 1.5}),
        ("delay=250us", {"delay": 0.00025}),
        ("delay=0", {}),
        ("loss=0%", {}),
        ("loss=100%", {"loss": 1.0}),
        ("rate=9600bit", {"rate": 9600.0}),
        ("rate=64kbit", {"rate": 64e3}),
        ("rate=2.5Gbit", {"rate": 2.5e9}),
        ("limit=64", {"limit": 64}),
        ("limit=500B", {"limit_bytes": 500}),
        ("limit=64kB", {"limit_bytes": 64000}),
        ("limit=1.5MB", {"limit_bytes": 1500000}),
        (" loss = 1 % , delay=2 ms ", {"loss": 0.01, "delay": 0.002}),
        ("none", {}),
    ],
)
def test_values(text: str, expected: dict[str, float]) -> None:
    assert Impairments.parse(text) == Impairments(**expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "out", "back"),
    [
        ("loss=1%", {"loss": 0.01}, {"loss": 0.01}),
        ("out:loss=1%", {"loss": 0.01}, {}),
        ("in:loss=1%", {}, {"loss": 0.01}),
        ("out:loss=1%,in:delay=5ms", {"loss": 0.01}, {"delay": 0.005}),
        # What follows an item of one direction is not of that direction.
        ("out:loss=1%,delay=5ms", {"loss": 0.01, "delay": 0.005}, {"delay": 0.005}),
        ("in:limit=5,out:limit=5kB", {"limit_bytes": 5000}, {"limit": 5}),
    ],
)
def test_directions(text: str, out: dict[str, float], back: dict[str, float]) -> None:
    expected = (Impairments(**out), Impairments(**back))  # type: ignore[arg-type]
    assert both_ways(text) == expected


def test_a_wish_may_be_made_in_several_ways() -> None:
    lossy = Impairments(loss=0.5)
    assert both_ways(None) == (PERFECT, PERFECT)
    assert both_ways(lossy) == (lossy, lossy)
    assert both_ways((lossy, PERFECT)) == (lossy, PERFECT)


@given(impairments())
def test_what_is_written_is_read_back_to_the_last_digit(wanted: Impairments) -> None:
    assert Impairments.parse(str(wanted)) == wanted


def test_of_two_limits_the_one_that_counts_is_written() -> None:
    assert str(Impairments(limit=5, limit_bytes=7)) == "limit=7B"


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "loss=1%",
        "loss=0.1%,delay=20ms,jitter=250us,rate=100mbit",
        "delay=1.5s,corrupt=100%,rate=56kbit,limit=64kB",
        "rate=1.5gbit,limit=20",
    ],
)
def test_it_is_written_as_people_would(text: str) -> None:
    assert str(Impairments.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no impairment ''; there are loss, delay, jitter, "),
        ("loss=1%,", "there is no impairment ''"),
        ("lag=1s", "there is no impairment 'lag'; there are loss, delay, jitter, "),
        ("loss", "loss needs a value, as in loss=1%"),
        ("loss=", "loss must be a percentage, as in loss=1%, not ''"),
        ("loss=1", "loss must be a percentage, as in loss=1%, not '1'"),
        ("loss=x%", "loss must be a percentage"),
        ("loss=nan%", "loss must be a percentage"),
        ("loss=101%", "loss must be a probability from 0 to 1, not 1.01"),
        ("loss=-1%", "loss must be a probability from 0 to 1, not -0.01"),
        ("delay=20", "delay must be a time in s, ms or us, as in delay=20ms, not '20'"),
        ("delay=20min", "delay must be a time in s, ms or us"),
        ("delay=-1ms", "delay must be 0 or more seconds"),
        ("rate=100mb", "rate must be bits per second in gbit, mbit, kbit or bit, as in rate=100mb"),
        ("rate=0", "rate must be above 0 bits per second"),
        ("limit=1.5", "limit must be a number of packets, or bytes in MB, kB or B, as in limit=1"),
        ("limit=1gB", "limit must be a number of packets, or bytes in MB, kB or B"),
        ("limit=0", "limit must be 1 packet or more"),
        ("limit=0kB", "limit must be 1 byte or more"),
        ("loss=1%,loss=2%", "loss is given twice for out:"),
        ("in:loss=1%,loss=2%", "loss is given twice for in:"),
        ("limit=5,limit=5kB", "limit is given twice for out:"),
        ("up:loss=1%", "'up' is no direction: write out: or in: before 'loss=1%'"),
    ],
)
def test_a_mistake_is_named_with_what_is_expected(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(says)):
        both_ways(text)


def test_one_direction_cannot_be_read_from_a_text_of_two() -> None:
    with pytest.raises(ValueError, match="tells the two directions apart"):
        Impairments.parse("out:loss=1%")
