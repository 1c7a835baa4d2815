"""The classic cases, to be read: each recovers without a timeout where the RFCs say that it can.

The traces stand beside, in traces/. `RENEW_TRACES=1 pytest tests/tcp/test_traces.py` writes them
anew: whoever does that reads them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

from tests.tcp.inspection import Tcb
from tests.tcp.scripted import Script, ScriptedTransfer
from tunstack.ip.family import IPV6

TRACES: Final = Path(__file__).parent / "traces"


def recorded(name: str, segments: int, script: Script, **config: Any) -> ScriptedTransfer:
    """Run it; its trace is the one on record, and the same over IPv6."""
    transfer = ScriptedTransfer(segments, script, **config)
    assert ScriptedTransfer(segments, script, family=IPV6, **config).lines == transfer.lines
    text = "\n".join(transfer.lines) + "\n"
    file = TRACES / f"{name}.txt"
    if os.environ.get("RENEW_TRACES"):
        file.write_text(text)
    assert text == file.read_text()
    return transfer


def counts(transfer: ScriptedTransfer) -> tuple[int, int, int]:
    """Fast retransmissions, tail loss probes, and how often the retransmission timer fired."""
    statistics = transfer.statistics
    return (
        statistics["retransmission_fast"],
        statistics["retransmission_tail_loss_probe"],
        transfer.timeouts,
    )


@pytest.mark.rfc("8985:6.2", "6675:5", "9937:6.2")
def test_one_lost_segment() -> None:
    transfer = recorded("one_lost_segment", 30, {(3, 1): None})
    assert counts(transfer) == (1, 0, 0)


@pytest.mark.rfc("6582:3.2", "3042:2")
def test_one_lost_segment_without_sack() -> None:
    transfer = recorded("one_lost_segment_without_sack", 30, {(3, 1): None}, sack=False)
    assert counts(transfer) == (1, 0, 0)


@pytest.mark.rfc("8985:6.2")
def test_one_of_few_segments_is_lost() -> None:
    """Too few follow it for three duplicates."""
    transfer = recorded("one_of_few_segments", 3, {(1, 1): None})
    assert counts(transfer) == (1, 0, 0)


@pytest.mark.rfc("6675:5", "9937:6.2")
def test_many_lost_segments() -> None:
    """Every other one of a window."""
    lost = {(number, 1): None for number in range(10, 30, 2)}
    transfer = recorded("many_lost_segments", 60, lost)
    assert counts(transfer) == (10, 0, 0)


@pytest.mark.rfc("8985:6.2")
def test_a_lost_retransmission() -> None:
    transfer = recorded("lost_retransmission", 40, {(3, 1): None, (3, 2): None})
    assert counts(transfer) == (2, 0, 0)


@pytest.mark.rfc("8985:6.2")
def test_a_retransmission_lost_twice() -> None:
    lost = {(3, 1): None, (3, 2): None, (3, 3): None}
    transfer = recorded("retransmission_lost_twice", 60, lost)
    assert counts(transfer) == (3, 0, 0)


@pytest.mark.rfc("8985:7.3", "8985:7.4")
def test_a_lost_tail() -> None:
    """The last one: the probe repairs it."""
    transfer = recorded("lost_tail", 10, {(9, 1): None})
    assert counts(transfer) == (0, 1, 0)


@pytest.mark.rfc("8985:7.3", "8985:7.4")
def test_a_lost_tail_of_three() -> None:
    """The probe brings a SACK, and that shows what else is missing."""
    transfer = recorded("lost_tail_of_three", 10, {(7, 1): None, (8, 1): None, (9, 1): None})
    assert counts(transfer) == (2, 1, 0)


@pytest.mark.rfc("8985:7.2")
def test_a_lone_segment_is_lost() -> None:
    transfer = recorded("lost_lone_segment", 1, {(0, 1): None})
    assert counts(transfer) == (0, 1, 0)


@pytest.mark.rfc("8985:6.2", "3522:3.2", "4015:3")
def test_a_reordered_burst() -> None:
    """Four segments overtake one: once it is mistaken for lost, and undone; then reo_wnd is wider.

    The second time, nothing is sent again, and the window goes on growing.
    """
    late = {(3, 1): 0.01, (25, 1): 0.01}
    transfer = recorded("reordered_burst", 60, late)
    assert counts(transfer) == (1, 0, 0)
    assert Tcb(transfer.sender).undone == 1


@pytest.mark.rfc("8985:6.2", "2883:5", "3708:3")
def test_a_reordered_burst_without_timestamps() -> None:
    """The D-SACK tells it a round trip later."""
    late = {(3, 1): 0.01, (40, 1): 0.01}
    transfer = recorded("reordered_burst_without_timestamps", 80, late, timestamps=False)
    assert counts(transfer) == (1, 0, 0)
    assert Tcb(transfer.sender).undone == 1


@pytest.mark.rfc("3522:3.2", "4015:3")
def test_a_spurious_timeout() -> None:
    """A window is late, and its probe. What the timeout sends again is all that is sent in vain."""
    late = {(number, 1): 0.45 for number in range(10, 30)} | {(30, 1): 0.27}
    transfer = recorded("spurious_timeout", 60, late)
    assert counts(transfer) == (0, 0, 1)
    assert Tcb(transfer.sender).undone == 1
    assert Tcb(transfer.sender).ssthresh > 1 << 20


@pytest.mark.rfc("5682:3.1")
def test_a_spurious_timeout_without_timestamps() -> None:
    """F-RTO: new data after the first ACK, and old data after that."""
    late = {(number, 1): 0.5 for number in range(10, 30)} | {(30, 1): 0.32}
    transfer = recorded("spurious_timeout_without_timestamps", 60, late, timestamps=False)
    assert counts(transfer) == (0, 0, 1)
    assert Tcb(transfer.sender).undone == 1


@pytest.mark.rfc("8985:6.3", "5681:3.1")
def test_a_lost_window() -> None:
    """All that was under way is lost, and the probe: here the timeout is needed."""
    lost = {(number, 1): None for number in range(10, 31)}
    transfer = recorded("lost_window", 60, lost)
    assert transfer.timeouts == 1
    assert Tcb(transfer.sender).undone == 0
