"""The classic cases of loss recovery end as the RFCs say, and have their plots."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tunstack.plot import svg

from . import cases
from .cases import CASES, PLOTS, chart, run

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


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_drawn(name: str) -> None:
    """The same every time, and as SVG; how it looks, eyes have to judge."""
    drawing = svg(chart(CASES[name]))
    assert drawing == svg(chart(CASES[name]))
    root = ET.fromstring(drawing)
    assert root.findtext("{http://www.w3.org/2000/svg}title") == CASES[name].title


def test_cubic_and_reno_are_drawn_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "LONG", 2.0)
    drawing = svg(cases.rivals())
    assert ">CUBIC</text>" in drawing
    assert ">Reno</text>" in drawing


def test_every_case_has_its_plot() -> None:
    """`make plots` draws them."""
    assert {path.stem for path in PLOTS.glob("*.svg")} == {*CASES, "cubic-and-reno"}
