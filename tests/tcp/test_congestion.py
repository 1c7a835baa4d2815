"""How much may be on its way: slow start, congestion avoidance, and when neither applies.

By Reno (RFC 5681), whose numbers are round; the sender is the same for all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    MSS,
    NO_OPTIONS,
    WITHOUT_SACK,
    Bench,
    Offer,
    established,
    listening,
    syn_sent,
)
from tunstack.tcp.congestion import Acknowledgement, Reno
from tunstack.tcp.segment import ACK, SYN

TEXT: Final = bytes(200_000)
RENO: Final = replace(CONFIG, congestion=Reno)
FAR: Final = replace(WITHOUT_SACK, wscale=8)
"""A peer whose window is never the limit."""


def far(**setup: Any) -> Bench:
    bench = established(**{"config": RENO, "peer": FAR} | setup)
    bench.arrive(ACK, wnd=65535)
    return bench


def acknowledge(reno: Reno, octets: int) -> None:
    reno.acknowledged(Acknowledgement(octets, now=0.0, rtt=None, una=0, nxt=0))


def cwnd(bench: Bench) -> int:
    return bench.cwnd


# The initial window (RFC 6928)


@pytest.mark.rfc("6928:2")
@pytest.mark.parametrize(
    ("mss", "segments"), [(512, 10), (1012, 10), (1472, 10), (1512, 9), (8012, 2), (60_012, 2)]
)
def test_initial_window(mss: int, segments: int) -> None:
    """min(10 MSS, max(2 MSS, 14600))."""
    peer = Offer(mss=mss, wscale=8)
    bench = established(config=replace(CONFIG, mss=mss), peer=peer)
    bench.arrive(ACK, wnd=65535)
    bench.send(TEXT)
    assert len(bench.drain()) == segments


@pytest.mark.rfc("6928:2")
@pytest.mark.parametrize(("sent_again", "segments"), [(0, 10), (1, 10), (2, 1), (3, 1)])
def test_initial_window_after_a_lost_syn(sent_again: int, segments: int) -> None:
    """RFC 6928 section 2, as on Linux: one segment, but not for a single SYN sent again.

    With an RTO of 1 s that may just be a long path.
    """
    bench = syn_sent(peer=NO_OPTIONS)
    for _ in range(sent_again):
        bench.wait()
        bench.drain()
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    bench.send(TEXT)
    assert len(bench.drain()) == segments


@pytest.mark.rfc("6928:2")
@pytest.mark.parametrize(("sent_again", "segments"), [(0, 10), (1, 10), (2, 1)])
def test_initial_window_after_a_lost_syn_ack(sent_again: int, segments: int) -> None:
    bench = listening(peer=NO_OPTIONS)
    bench.arrive_syn()
    bench.drain()
    for _ in range(sent_again):
        bench.wait()
        bench.drain()
    bench.arrive(ACK)
    bench.send(TEXT)
    assert len(bench.drain()) == segments


# Slow start and congestion avoidance (RFC 5681 section 3.1)


@pytest.mark.rfc("5681:3.1")
def test_slow_start_doubles_the_window_each_round_trip() -> None:
    bench = far()
    bench.send(TEXT)
    for segments in (10, 20, 40):
        flight = bench.drain()
        assert len(flight) == segments
        with bench.batch():
            for _, segment in flight:
                bench.arrive(ACK, ack=segment.seq + MSS)
    assert cwnd(bench) == 80 * MSS
    bench.drain()


@pytest.mark.rfc("3465:2.2")
def test_slow_start_counts_octets_and_not_acks() -> None:
    """RFC 3465: an ACK may stand for many segments."""
    bench = far()
    bench.send(TEXT)
    bench.drain()
    bench.arrive(ACK, ack=1 + 10 * MSS)
    assert len(bench.drain()) == 20


@pytest.mark.rfc("5681:3.1")
def test_slow_start_ends_at_the_threshold() -> None:
    """What an ACK brings beyond it counts for congestion avoidance, as on Linux."""
    reno = Reno()
    reno.set_mss(MSS, 10)
    reno.ssthresh = 12 * MSS
    acknowledge(reno, 10 * MSS)
    assert reno.cwnd == 12 * MSS
    acknowledge(reno, 4 * MSS - 1)
    assert reno.cwnd == 12 * MSS
    acknowledge(reno, 1)
    assert reno.cwnd == 13 * MSS


@pytest.mark.rfc("5681:3.1", "3465:2.1")
def test_congestion_avoidance_adds_a_segment_each_round_trip() -> None:
    reno = Reno()
    reno.set_mss(MSS, 10)
    reno.ssthresh = 10 * MSS
    for segments in range(10, 20):
        assert reno.cwnd == segments * MSS
        for _ in range(segments):
            assert reno.cwnd == segments * MSS
            acknowledge(reno, MSS)


@pytest.mark.rfc("5681:3.1")
def test_congestion_avoidance_in_a_connection() -> None:
    bench = far()
    bench.ssthresh = 10 * MSS
    bench.send(TEXT)
    for segments in (10, 11, 12):
        flight = bench.drain()
        assert len(flight) == segments
        with bench.batch():
            for _, segment in flight:
                bench.arrive(ACK, ack=segment.seq + MSS)
    bench.drain()


@pytest.mark.parametrize(("flight", "ssthresh"), [(10, 5), (11, 5), (11.5, 5), (4, 2), (3, 2)])
def test_a_loss_leaves_half_of_it_in_whole_segments_and_two_at_least(
    flight: float, ssthresh: int
) -> None:
    reno = Reno()
    reno.set_mss(MSS, 10)
    reno.loss(int(flight * MSS), 0.0)
    assert reno.ssthresh == ssthresh * MSS


@pytest.mark.rfc("5681:3.1")
def test_a_loss_resets_the_count_of_congestion_avoidance() -> None:
    reno = Reno()
    reno.set_mss(MSS, 10)
    reno.ssthresh = 10 * MSS
    acknowledge(reno, 9 * MSS)
    reno.loss(10 * MSS, 0.0)
    assert reno.ssthresh == 5 * MSS
    acknowledge(reno, MSS)
    assert reno.cwnd == 10 * MSS


@pytest.mark.rfc("5681:3.1")
def test_threshold_is_half_of_the_flight_and_not_of_the_window() -> None:
    """RFC 5681 equation 4: FlightSize."""
    bench = far()
    bench.send(TEXT[: 6 * MSS])
    bench.drain()
    bench.wait()
    bench.drain()
    assert bench.ssthresh == 3 * MSS


@pytest.mark.rfc("3465:2.1")
def test_after_a_timeout_an_ack_opens_the_window_by_a_segment() -> None:
    """RFC 3465 section 2.1: most of what it covers had arrived long before."""
    bench = far()
    bench.send(TEXT)
    bench.drain()
    bench.wait()
    bench.drain()
    bench.arrive(ACK, ack=1 + 6 * MSS)
    assert cwnd(bench) == 2 * MSS
    assert len(bench.drain()) == 2


# When the window was not the limit


@pytest.mark.rfc("7661:4.3")
@pytest.mark.parametrize(("segments", "grows"), [(1, False), (5, False), (6, True)])
def test_slow_start_needs_a_window_more_than_half_used(segments: int, grows: bool) -> None:
    """RFC 7661: a window that was never filled proves nothing. As on Linux."""
    bench = far()
    bench.send(TEXT[: segments * MSS])
    bench.drain()
    bench.arrive(ACK)
    assert cwnd(bench) == (10 + segments * grows) * MSS


@pytest.mark.rfc("7661:4.3")
@pytest.mark.parametrize(("segments", "grows"), [(9, False), (10, True)])
def test_congestion_avoidance_needs_a_full_window(segments: int, grows: bool) -> None:
    bench = far()
    bench.ssthresh = 10 * MSS
    for _ in range(4):
        bench.send(TEXT[: segments * MSS])
        bench.drain()
        bench.arrive(ACK)
    assert (cwnd(bench) > 10 * MSS) is grows


@pytest.mark.rfc("7661:4.3")
def test_a_small_peer_window_keeps_the_congestion_window_small() -> None:
    bench = established(peer=Offer(wnd=3000))
    for _ in range(20):
        bench.send(TEXT[:3000])
        bench.drain()
        bench.arrive(ACK)
        bench.drain()
    assert cwnd(bench) == 10 * MSS


# After a pause (RFC 5681 section 4.1)


def opened(segments: int) -> Bench:
    """A bench whose congestion window is so large; its clock has run for a while."""
    bench = far()
    bench.advance(100.0)
    while cwnd(bench) < segments * MSS:
        bench.send(TEXT[: cwnd(bench)])
        bench.drain()
        bench.arrive(ACK)
    assert cwnd(bench) == segments * MSS
    return bench


@pytest.mark.rfc("5681:4.1")
@pytest.mark.parametrize(("pause", "segments"), [(0.19, 40), (0.21, 10), (3600.0, 10)])
def test_after_a_pause_of_more_than_the_rto_the_window_is_the_first_again(
    pause: float, segments: int
) -> None:
    bench = opened(40)
    bench.advance(pause)
    bench.send(TEXT)
    assert len(bench.drain()) == segments


@pytest.mark.rfc("5681:4.1")
def test_no_pause_while_something_is_outstanding() -> None:
    bench = opened(40)
    bench.send(TEXT[:MSS])
    bench.drain()
    bench.advance(0.15)
    bench.arrive(ACK, ack=None)
    bench.send(TEXT[:MSS])
    bench.drain()
    bench.advance(0.15)
    bench.send(TEXT)
    assert len(bench.drain()) == 39


@pytest.mark.rfc("5681:4.1")
def test_a_pause_does_not_widen_a_small_window() -> None:
    bench = far()
    bench.cwnd = 3 * MSS
    bench.advance(10.0)
    bench.send(TEXT)
    assert len(bench.drain()) == 3
