"""The classic cases of loss recovery end as the RFCs say, and have their plots."""

from __future__ import annotations

import pytest

from tests.simulator.cases import CASES, DRAWN, PLOTS, run

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
def test_the_plots_show_what_the_simulator_does(name: str) -> None:
    """If one does not, and the difference is meant: ``make snapshot``, and look at it."""
    drawing = DRAWN[name]()
    assert drawing.text == (PLOTS / f"{name}.txt").read_text()
    picture = (PLOTS / f"{name}.svg").read_text()
    assert f"sha256 {drawing.digest}" in picture, "the picture is older than its data"
    assert f"<title>{drawing.title}</title>" in picture


def test_there_are_no_other_plots() -> None:
    names = {f"{name}.{ending}" for name in DRAWN for ending in ("svg", "txt")}
    assert {path.name for path in PLOTS.iterdir()} == names
