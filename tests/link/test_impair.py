"""A bad path, decided packet by packet."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunstack.link.impair import Impairer, Impairments


def impairer(seed: int = 1, **impairments: float) -> Impairer:
    return Impairer(Impairments(**impairments), random.Random(seed))


def test_a_perfect_path_delivers_at_once() -> None:
    path = impairer()
    assert [path.admit(now) for now in (0.0, 1.5, 1.5)] == [[0.0], [1.5], [1.5]]


def test_delay_is_added_to_every_packet() -> None:
    path = impairer(delay=0.25)
    assert [path.admit(now) for now in (0.0, 1.0)] == [[0.25], [1.25]]


def test_loss_drops_its_share_of_packets() -> None:
    path = impairer(loss=0.25)
    lost = sum(not path.admit(0.0) for _ in range(2000))
    assert 430 < lost < 570  # four standard deviations either side; the seed is fixed


def test_total_loss_delivers_nothing() -> None:
    path = impairer(loss=1.0, duplicate=1.0, reorder=1.0)
    assert not any(path.admit(0.0) for _ in range(100))


def test_duplicates_arrive_as_two_copies() -> None:
    path = impairer(duplicate=0.25, delay=0.5)
    copies = [path.admit(0.0) for _ in range(2000)]
    assert all(arrivals in ([0.5], [0.5, 0.5]) for arrivals in copies)
    assert 430 < sum(len(arrivals) == 2 for arrivals in copies) < 570


@given(
    seed=st.integers(0, 2**32),
    jitter=st.floats(0, 10),
    gaps=st.lists(st.floats(0, 1), min_size=2, max_size=50),
)
def test_jitter_alone_never_reorders(seed: int, jitter: float, gaps: list[float]) -> None:
    path = impairer(seed, delay=0.1, jitter=jitter, duplicate=0.2)
    now, arrivals = 0.0, []
    for gap in gaps:
        now += gap
        arrivals += path.admit(now)
        assert arrivals[-1] >= now + 0.1
    assert arrivals == sorted(arrivals)


def test_jitter_spreads_packets_over_its_width() -> None:
    path = impairer(jitter=0.5)
    delays = [path.admit(now)[0] - now for now in map(float, range(500))]
    assert 0.0 <= min(delays) < 0.02
    assert 0.48 < max(delays) <= 0.5


@pytest.mark.parametrize("timing", [{}, {"delay": 0.05}, {"delay": 0.05, "jitter": 0.01}])
def test_a_reordered_packet_is_passed_by_later_ones(timing: dict[str, float]) -> None:
    path = Impairer(Impairments(reorder=0.1, **timing), random.Random(1))
    arrivals = [path.admit(0.0)[0] for _ in range(200)]
    passed = sum(
        any(later < arrival for later in arrivals[index + 1 :])
        for index, arrival in enumerate(arrivals)
    )
    assert 5 < passed < 40


def test_nobody_waits_for_a_reordered_packet() -> None:
    path = impairer(reorder=1.0, delay=1.0)
    (held,) = path.admit(0.0)
    path.impairments = Impairments(delay=1.0)
    assert held > 1.0
    assert path.admit(0.0) == [1.0]


def test_the_same_seed_gives_the_same_path() -> None:
    wishes = {"loss": 0.1, "delay": 0.1, "jitter": 0.1, "reorder": 0.1, "duplicate": 0.1}
    one, same, other = impairer(7, **wishes), impairer(7, **wishes), impairer(8, **wishes)
    trace = [one.admit(now) for now in map(float, range(100))]
    assert trace == [same.admit(now) for now in map(float, range(100))]
    assert trace != [other.admit(now) for now in map(float, range(100))]


@pytest.mark.parametrize("name", ["loss", "reorder", "duplicate"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_probability_outside_0_to_1_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a probability"):
        Impairments(**{name: value})


@pytest.mark.parametrize("name", ["delay", "jitter"])
@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_a_time_that_is_negative_or_not_finite_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 0 or more seconds"):
        Impairments(**{name: value})
