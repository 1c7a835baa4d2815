"""What waits for the applications' turn does so where turns are short."""

from __future__ import annotations

import pytest

from tunstack.host.turns import Turns

SHORT, LONG = 0.001, 0.1


def after(*took: float) -> bool:
    turns = Turns()
    for seconds in took:
        turns.took(seconds)
    return turns.are_short


@pytest.mark.parametrize("took", [(), (0.0,), (SHORT,) * 100])
def test_where_turns_are_short_things_wait_for_them(took: tuple[float, ...]) -> None:
    assert after(*took)


def test_where_one_was_long_nothing_waits_for_a_while() -> None:
    assert not after(LONG)
    waits = [after(LONG, *(SHORT,) * count) for count in range(1000)]
    assert waits == sorted(waits)
    assert waits.index(True) > 20


def test_where_all_are_long_nothing_ever_waits() -> None:
    assert not any(after(*(LONG,) * count) for count in range(1, 200))
