"""CUBIC's numbers by hand (RFC 9438), in segments of 1000 octets."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest

from tests.tcp.flight import TEXT, connected
from tests.tcp.harness import CONFIG, MSS
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Acknowledgement, Cubic
from tunstack.tcp.segment import ACK

C: Final = 0.4
ALPHA: Final = 9 / 17
"""3 (1 - 0.7) / (1 + 0.7): what makes additive increase with 0.7 as fair as Reno's with 0.5."""
SLOW: Final = 1.0
"""A round trip, in seconds, so long that Reno would be slower."""
FAST: Final = 0.01
"""One so short that Reno would be faster."""


class Flow:
    """A CUBIC whose window is always the limit: every segment of it is acknowledged, evenly."""

    def __init__(self, segments: int, rtt: float) -> None:
        self.cubic = Cubic()
        self.cubic.set_mss(MSS, 10)
        self.cubic.cwnd = segments * MSS
        self.rtt = rtt
        self.now = 100.0

    @property
    def cwnd(self) -> float:
        return self.cubic.cwnd / MSS

    @property
    def ssthresh(self) -> float:
        return self.cubic.ssthresh / MSS

    def acknowledged(self, octets: int = MSS, rtt: float | None = None) -> None:
        self.cubic.acknowledged(Acknowledgement(octets, self.now, rtt or self.rtt, 0, 0))

    def lost(self) -> None:
        """A loss, and a recovery that ends with the threshold as the window."""
        self.cubic.loss(self.cubic.cwnd, self.now)
        self.cubic.cwnd = self.cubic.ssthresh

    def round_trip(self) -> None:
        segments = int(self.cwnd)
        begin = self.now
        for number in range(segments):
            self.now = begin + self.rtt * number / segments
            self.acknowledged()
        self.now = begin + self.rtt

    def run(self, seconds: float) -> list[float]:
        """Round trips for so long; the window after each."""
        end = self.now + seconds
        windows = []
        while self.now < end - 1e-9:
            self.round_trip()
            windows.append(self.cwnd)
        return windows


def after_a_loss(segments: int = 100, rtt: float = SLOW) -> Flow:
    """K = (30 / 0.4) ** (1 / 3) = 4.217 seconds, for a hundred segments."""
    flow = Flow(segments, rtt)
    flow.cubic.ssthresh = segments * MSS
    flow.lost()
    return flow


# Multiplicative decrease (section 4.6)


@pytest.mark.rfc("9438:4.6")
def test_a_loss_takes_three_tenths_of_what_is_in_flight() -> None:
    flow = Flow(100, SLOW)
    flow.cubic.loss(80 * MSS, 0.0)
    assert flow.ssthresh == 56


@pytest.mark.rfc("9438:4.6")
def test_two_segments_are_the_least() -> None:
    flow = Flow(2, SLOW)
    flow.cubic.loss(2 * MSS, 0.0)
    assert flow.ssthresh == 2


# The curve (sections 4.2, 4.4 and 4.5)


@pytest.mark.rfc("9438:4.2", "9438:4.4")
def test_an_ack_brings_its_part_of_the_way_to_the_target() -> None:
    """One second after the epoch began, and with one second of round trip:

    W(1) = 0.4 (1 - 4.217)^3 + 100 = 86.7, which is more than Reno's 70; the target is
    W(2) = 0.4 (2 - 4.217)^3 + 100 = 95.640; and one of 70 segments is acknowledged.
    """
    flow = after_a_loss()
    flow.acknowledged(1)  # The epoch begins.
    flow.now += 1.0
    flow.acknowledged(MSS)
    assert flow.cwnd == pytest.approx(70 + (95.640 - 70) / 70, abs=0.002)


@pytest.mark.rfc("9438:4.4", "9438:4.5")
def test_the_window_is_where_it_was_after_k_and_goes_on_from_there() -> None:
    """Concave, a plateau, convex: the steps become smaller, and then larger."""
    flow = after_a_loss()
    windows = [flow.cwnd, *flow.run(9.0)]
    steps = [after - before for before, after in pairwise(windows)]
    assert windows[4] == pytest.approx(100, abs=1.5)  # K is 4.2 seconds.
    assert steps[0] > steps[1] > steps[2] > steps[3]
    assert steps[4] < steps[5] < steps[6] < steps[7]
    assert windows[8] == pytest.approx(C * (8 - 4.217) ** 3 + 100, rel=0.05)


@pytest.mark.rfc("9438:4.2")
def test_no_more_than_half_as_much_again_in_a_round_trip() -> None:
    """However far the curve is ahead."""
    flow = after_a_loss(10, rtt=10.0)
    windows = [flow.cwnd, *flow.run(60.0)]
    factors = [after / before for before, after in pairwise(windows)]
    # Each ACK adds 0.5 / cwnd of the window then, which itself grows: e ** 0.5 in all.
    assert max(factors) < 1.65
    assert windows[-1] > 30


@pytest.mark.rfc("9438:4.2")
def test_less_than_an_octet_for_each_ack_adds_up() -> None:
    """As on the plateau of a large window."""
    small, large = after_a_loss(2000), after_a_loss(2000)
    for flow, pieces in ((small, 1000), (large, 1)):
        flow.acknowledged(1)
        flow.now += 0.5
        for _ in range(pieces):
            flow.acknowledged(10 * MSS // pieces)
    assert small.cwnd > 1400
    assert small.cwnd == pytest.approx(large.cwnd, abs=0.01)


@pytest.mark.rfc("9438:4.7")
def test_fast_convergence_makes_room_for_others() -> None:
    """A second loss at less than the first: W_max is 80 (1 + 0.7) / 2 = 68, not 80."""
    flow = after_a_loss(100)
    flow.cubic.cwnd = 80 * MSS
    flow.lost()
    assert flow.cwnd == 56
    windows = flow.run(5.0)
    # K = (12 / 0.4) ** (1 / 3) = 3.1 seconds.
    assert windows[2] == pytest.approx(68, abs=1)
    assert windows[3] == pytest.approx(68, abs=1)


@pytest.mark.rfc("9438:4.7")
def test_a_loss_at_more_than_before_is_no_reason_to_make_room() -> None:
    flow = after_a_loss(100)
    flow.cubic.cwnd = 120 * MSS
    flow.lost()
    assert max(flow.run(5.0)) == pytest.approx(120, abs=1.5)  # K = 4.5 seconds.


# Where Reno would be faster (section 4.3)


@pytest.mark.rfc("9438:4.3")
def test_with_a_short_round_trip_it_grows_like_reno() -> None:
    """9 / 17 of a segment each round trip up to where it was, and one from there on."""
    flow = after_a_loss(100, rtt=FAST)
    windows = [flow.cwnd, *flow.run(1.0)]
    assert windows[20] == pytest.approx(70 + 20 * ALPHA, abs=0.3)
    assert windows[50] == pytest.approx(70 + 50 * ALPHA, abs=0.5)
    assert windows[90] - windows[70] == pytest.approx(20, abs=0.5)


@pytest.mark.rfc("9438:4.3", "9438:4.7")
def test_where_it_was_is_before_the_reduction_and_not_w_max() -> None:
    """Else fast convergence would let a flow grow faster, not slower."""
    flow = after_a_loss(100, rtt=FAST)
    flow.cubic.cwnd = 80 * MSS
    flow.lost()  # W_max is 68.
    windows = [flow.cwnd, *flow.run(0.6)]
    assert windows[40] - windows[25] == pytest.approx(15 * ALPHA, abs=0.3)  # From 69 to 77.
    assert windows[60] - windows[50] == pytest.approx(10, abs=0.3)


# When the window is not the limit (section 5.8)


@pytest.mark.rfc("9438:5.8", "9438:4.2")
def test_time_when_the_window_was_not_the_limit_does_not_count() -> None:
    """The sender reports no ACKs of such a time: ten seconds of it change nothing."""
    flow, paused = after_a_loss(), after_a_loss()
    flow.run(2.0)
    paused.run(1.0)
    paused.now += 10.0
    paused.run(1.0)
    assert paused.cwnd == pytest.approx(flow.cwnd, rel=0.02)


@pytest.mark.rfc("9438:5.8")
def test_an_idle_connection_restarts_where_it_was() -> None:
    flow = after_a_loss()
    flow.run(2.0)
    flow.cubic.ssthresh = 2 * MSS
    flow.cubic.idle()
    assert flow.cwnd == 10
    flow.now += 3600.0
    flow.acknowledged()
    assert flow.cwnd < 10.6


# Timeouts (section 4.8)


@pytest.mark.rfc("9438:4.8", "5681:3.1")
def test_a_timeout_leaves_one_segment_and_a_threshold_of_seven_tenths() -> None:
    flow = Flow(100, SLOW)
    flow.cubic.timeout(90 * MSS, 0.0, repeated=False)
    assert (flow.cwnd, flow.ssthresh) == (1, 63)
    flow.cubic.timeout(MSS, 0.0, repeated=True)
    assert (flow.cwnd, flow.ssthresh) == (1, 63)


@pytest.mark.rfc("9438:4.8")
def test_after_a_timeout_the_curve_begins_where_slow_start_ends() -> None:
    """K = 0: not back to what was there before the timeout."""
    flow = Flow(100, SLOW)
    flow.cubic.timeout(100 * MSS, flow.now, repeated=False)
    while flow.cwnd < flow.ssthresh:
        flow.acknowledged()
    assert flow.cwnd == 70
    windows = [flow.cwnd, *flow.run(4.0)]
    assert windows[2] == pytest.approx(70 + C * 2**3, abs=2.0)
    assert windows[1] - windows[0] < windows[4] - windows[3]


@pytest.mark.rfc("5681:3.1")
def test_slow_start_ends_at_the_threshold() -> None:
    """One ACK of many segments does not carry it beyond."""
    flow = Flow(10, SLOW)
    flow.cubic.ssthresh = 15 * MSS
    flow.acknowledged(10 * MSS)
    assert flow.cwnd == 15


# Losses that were none (section 4.9)


@pytest.mark.rfc("9438:4.9")
@pytest.mark.parametrize("event", ["loss", "timeout", "both"])
def test_after_an_undo_it_goes_on_as_if_nothing_had_been(event: str) -> None:
    """Window, threshold, and the curve: W_max, K and when the epoch began."""
    flow, twin = after_a_loss(), after_a_loss()
    flow.run(2.0)
    twin.run(2.0)
    cubic = flow.cubic
    cwnd, ssthresh = cubic.cwnd, cubic.ssthresh
    if event != "timeout":
        flow.lost()
    if event != "loss":
        cubic.timeout(cwnd, flow.now, repeated=False)
    cubic.undo(cwnd, ssthresh)
    assert (cubic.cwnd, cubic.ssthresh) == (cwnd, ssthresh)
    assert flow.run(5.0) == twin.run(5.0)


@pytest.mark.rfc("9438:4.9")
def test_an_undo_after_an_undo_finds_nothing_more_to_restore() -> None:
    flow = after_a_loss()
    flow.run(2.0)
    cwnd = flow.cubic.cwnd
    flow.lost()
    flow.cubic.undo(cwnd, 70 * MSS)
    flow.cubic.undo(cwnd, 70 * MSS)
    assert flow.cubic.cwnd == cwnd


@pytest.mark.rfc("9438:4.9")
def test_an_undo_takes_nothing_away() -> None:
    flow = after_a_loss()
    flow.cubic.undo(50 * MSS, 40 * MSS)
    assert (flow.cwnd, flow.ssthresh) == (70, 70)


# In a connection


def test_it_is_the_default() -> None:
    assert Config().congestion is Cubic


@pytest.mark.rfc("9438:5.8", "7661:4.3")
@pytest.mark.parametrize(("segments", "grows"), [(5, False), (10, True)])
def test_a_window_that_is_not_filled_does_not_grow(segments: int, grows: bool) -> None:
    bench = connected(config=CONFIG)
    cubic = bench.congestion
    cubic.ssthresh = 10 * MSS
    for number in range(8):
        bench.send(TEXT[: segments * MSS])
        bench.drain()
        bench.advance(0.1)
        bench.arrive(ACK)
        assert number or cubic.cwnd >= 10 * MSS
    assert (cubic.cwnd > 10 * MSS) is grows


@pytest.mark.rfc("9438:4.6")
def test_a_loss_in_a_connection_costs_three_tenths() -> None:
    bench = connected(config=replace(CONFIG, nodelay=True))
    bench.send(TEXT[: 40 * MSS])
    bench.drain()
    bench.advance(0.1)
    bench.arrive(ACK, ack=1, sack=((1 + MSS, 1 + 4 * MSS),))
    bench.drain()
    assert bench.ssthresh == 7 * MSS
