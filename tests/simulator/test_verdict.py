"""The simulator's verdict is the one that was reviewed."""

from __future__ import annotations

import pytest

from tests.simulator import verdict


@pytest.mark.parametrize("section", verdict.SECTIONS)
def test_the_snapshot_is_what_the_simulator_says(section: str) -> None:
    """If it is not, and the difference is meant: ``make snapshot``, and let it be reviewed."""
    assert verdict.SECTIONS[section]() == verdict.kept()[section]


def test_figures_have_three_digits() -> None:
    assert [verdict.figure(number) for number in (0.123456, 1.23456, 12.3456, 1234.56)] == [
        "0.123",
        "1.23",
        "12.3",
        "1235",
    ]
