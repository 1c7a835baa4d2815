"""The classic cases of loss recovery end as the RFCs say, and have their plots."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.simulator.cases import CASES, DRAWN, PLOTS, run
from tunstack.plot import svg

FAST = "retransmission: fast"
PROBE = "retransmission: tail loss probe"
TIMEOUT = "retransmission: timeout"


@pytest.mark.rfc("8985:6.2", "6675:5")
def test_one_loss_is_repaired_by_one_segment_and_no_timeout() -> None:
    assert run(CASES["one-loss"]).notes == {FAST: 1}


@pytest.mark.rfc("8985:6.2")
def test_a_lost_retransmission_is_found_without_a_timeout() -> None:
    assert run(CASES["lost-retransmission"]).notes == {FAST: 2}


@pytest.mark.rfc("8985:7")
def test_a_lost_tail_is_found_by_a_probe_without_a_timeout() -> None:
    assert run(CASES["lost-tail"]).notes == {PROBE: 1, FAST: 2}


@pytest.mark.rfc("2883:4", "3708:2")
def test_a_reordered_burst_that_was_taken_for_lost_is_undone() -> None:
    outcome = run(CASES["reordered-bursts"])
    assert set(outcome.notes) == {FAST}
    assert outcome.undone >= 1


@pytest.mark.rfc("3522:3.2", "5682:3")
def test_a_timeout_for_nothing_is_undone_and_nothing_more_is_sent_again() -> None:
    outcome = run(CASES["spurious-timeout"])
    assert outcome.notes[TIMEOUT] == outcome.undone <= 1
    assert set(outcome.notes) <= {TIMEOUT}


@pytest.mark.rfc("MUST-36")
def test_a_closed_window_is_probed_and_nothing_is_sent_again() -> None:
    outcome = run(CASES["zero-window"])
    assert set(outcome.notes) == {"window probe"}
    assert outcome.notes["window probe"] > 1


@pytest.mark.parametrize("name", DRAWN)
def test_the_plots_are_what_the_simulator_draws(name: str) -> None:
    """If one is not, and the difference is meant: ``make snapshot``, and look at it."""
    chart = DRAWN[name]()
    drawing = svg(chart)
    assert ET.fromstring(drawing).findtext("{http://www.w3.org/2000/svg}title") == chart.title
    assert drawing == (PLOTS / f"{name}.svg").read_text()


def test_there_are_no_other_plots() -> None:
    assert {path.stem for path in PLOTS.iterdir()} == {*DRAWN}
