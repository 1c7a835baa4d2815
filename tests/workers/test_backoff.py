"""When what has died is started anew."""

from __future__ import annotations

from tunstack.deploy.workers.backoff import Backoff


def test_the_first_restart_is_immediate() -> None:
    assert Backoff().delay_after(0.0) == 0.0


def test_restart_delays_double_up_to_a_maximum() -> None:
    backoff = Backoff()
    delays = [backoff.delay_after(0.1) for _ in range(12)]
    assert delays[:5] == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert delays == sorted(delays)
    assert delays[-2:] == [30.0, 30.0]


def test_a_good_life_makes_up_for_all_deaths_before_it() -> None:
    backoff = Backoff()
    for _ in range(12):
        backoff.delay_after(0.1)
    assert [backoff.delay_after(lived) for lived in (3600.0, 0.1)] == [0.0, 0.25]
