"""The persist timer: a window that keeps everything back is probed (RFC 9293 section 3.8.6.1)."""

from __future__ import annotations

import errno
from dataclasses import replace
from itertools import accumulate
from typing import Any, Final

import pytest

from tests.tcp.harness import CONFIG, MSS, WITHOUT_SACK, Bench, Numbers, Offer, established
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, PSH

S = State
RTO: Final = 0.2
"""After a round trip of no time: all that is left is its least."""


def shut(**setup: Any) -> Bench:
    """A bench whose peer has closed its window, with data waiting."""
    bench = established(**setup)
    bench.arrive(ACK, wnd=0)
    bench.send(b"waiting")
    bench.expect_nothing()
    return bench


@pytest.mark.rfc("MUST-36", "SHLD-29", "SHLD-30")
def test_probes_back_off(numbers: Numbers) -> None:
    """SHLD-29, SHLD-30; from the number before SND.UNA, so that nothing is taken twice."""
    bench = shut(**numbers)
    times = [*accumulate(min(RTO * 2**n, 120.0) for n in range(12))]
    bench.advance(times[-1] + 1.0)
    for at in times:
        bench.expect(ACK, at=at, seq=0, ack=1, note="window probe")


@pytest.mark.rfc("MUST-36", "MUST-37")
def test_an_answered_probe_keeps_the_connection(numbers: Numbers) -> None:
    """MUST-37, for hours; and when the window opens, all goes on."""
    bench = shut(**numbers)
    while bench.now < 5 * 3600.0:
        bench.wait()
        bench.expect(ACK, note="window probe")
        bench.arrive(ACK, wnd=0)
    bench.expect_state(S.ESTABLISHED)
    bench.arrive(ACK, wnd=1000)
    bench.expect(ACK | PSH, seq=1, payload=b"waiting")


@pytest.mark.rfc("MUST-20")
def test_an_unresponsive_peer_times_out() -> None:
    bench = shut(config=replace(CONFIG, data_timeout=100.0))
    bench.advance(99.9)
    assert len(bench.drain()) == 8
    bench.advance(0.1)
    bench.expect_nothing()
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ETIMEDOUT


def test_the_timeout_counts_from_the_last_answer() -> None:
    bench = shut(config=replace(CONFIG, data_timeout=100.0))
    bench.advance(90.0)
    bench.drain()
    bench.arrive(ACK, wnd=0)
    bench.advance(90.0)
    bench.drain()
    bench.expect_state(S.ESTABLISHED)
    bench.advance(10.0)
    bench.drain()
    bench.expect_state(S.CLOSED)


def test_the_timeout_counts_from_when_data_began_to_wait() -> None:
    """However long ago anything was heard of the peer."""
    bench = established(config=replace(CONFIG, data_timeout=100.0))
    bench.arrive(ACK, wnd=0)
    bench.advance(3600.0)
    bench.send(b"x")
    bench.advance(99.9)
    bench.drain()
    bench.expect_state(S.ESTABLISHED)


def test_data_after_a_long_wait_begins_with_the_rto_again(numbers: Numbers) -> None:
    """The back-off was the probes'."""
    bench = shut(peer=WITHOUT_SACK, **numbers)
    for _ in range(12):
        bench.wait()
        bench.expect(ACK, note="window probe")
        bench.arrive(ACK, wnd=0)
    bench.arrive(ACK, wnd=1000)
    at = bench.now
    bench.expect(ACK | PSH, payload=b"waiting")
    bench.advance(RTO)
    bench.expect(ACK | PSH, at=at + RTO, payload=b"waiting", note="retransmission: timeout")


@pytest.mark.rfc("MUST-36", "SHLD-29")
def test_window_that_shuts_once_all_is_acknowledged_begins_the_probes(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK, wnd=MSS)
    bench.send(bytes(2 * MSS))
    bench.expect(ACK, size=MSS)
    bench.advance(0.1)
    bench.arrive(ACK, ack=1001, wnd=0)
    rto = bench.rto
    bench.advance(rto)
    bench.expect(ACK, at=0.1 + rto, seq=1000, note="window probe")


def test_a_fin_that_has_no_room_is_probed_for() -> None:
    bench = established()
    bench.arrive(ACK, wnd=0)
    bench.shutdown()
    bench.advance(RTO)
    bench.expect(ACK, seq=0, note="window probe")
    bench.arrive(ACK, wnd=1)
    bench.expect(FIN | ACK, seq=1)


@pytest.mark.rfc("MUST-38", "MUST-60")
@pytest.mark.parametrize("window", [1, 499])
def test_a_small_window_is_filled_in_the_end(window: int, numbers: Numbers) -> None:
    """Section 3.8.6.2.1: the override timeout. Else a peer that never offers more would starve."""
    bench = established(peer=Offer(wnd=1000), **numbers)
    bench.arrive(ACK, wnd=window)
    bench.send(bytes(MSS))
    bench.expect_nothing()
    bench.advance(RTO)
    bench.expect(ACK, at=RTO, seq=1, size=window)
    bench.arrive(ACK)
    bench.advance(RTO)
    bench.expect(ACK, seq=1 + window, size=window)


def test_nothing_is_probed_while_nothing_waits() -> None:
    bench = established()
    bench.arrive(ACK, wnd=0)
    assert bench.connection.deadline() is None


def test_the_window_opens_before_the_first_probe() -> None:
    bench = shut()
    bench.arrive(ACK, wnd=1000)
    bench.expect(ACK | PSH, payload=b"waiting")
    bench.arrive(ACK)
    assert bench.connection.deadline() is None


@pytest.mark.rfc("MUST-21")
def test_user_timeout_can_be_changed_while_probing() -> None:
    """MUST-21."""
    bench = shut()
    bench.connection.reconfigure(replace(CONFIG, user_timeout=5.0))
    bench.advance(10.0)
    bench.drain()
    bench.expect_state(S.CLOSED)
