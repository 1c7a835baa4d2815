"""HyStart++ (RFC 9406): slow start ends when the round-trip time rises, before anything is lost."""

from __future__ import annotations

from typing import Final

import pytest

from tests.tcp.harness import MSS
from tunstack.tcp.congestion import Acknowledgement, Cubic
from tunstack.tcp.congestion.hystart import HyStart

BASE: Final = 0.1
"""Seconds; an eighth of it, 12.5 ms, is the threshold."""
SAMPLES: Final = 8


class SlowStart:
    """Rounds of ACKs: each round ends when what was sent at its beginning is acknowledged."""

    def __init__(self) -> None:
        self.hystart = HyStart()
        self.una = 0
        self.nxt = 100

    def ack(self, rtt: float | None) -> int:
        """An ACK within a round; how much the window grows."""
        return self.hystart.growth(Acknowledgement(MSS, 0.0, rtt, self.una, self.nxt))

    def end_round(self, rtt: float | None = None) -> int:
        """The last ACK of the round; by then as much again has been sent."""
        self.una, self.nxt = self.nxt, self.nxt + 100
        return self.ack(rtt)

    def round(self, rtt: float) -> int:
        """A whole round with enough samples; how much the last ACK brought."""
        for _ in range(SAMPLES):
            growth = self.ack(rtt)
        self.end_round()
        return growth


def conservative(rtt: float = BASE + 0.02) -> SlowStart:
    """The round-trip time has risen, in the middle of the second round."""
    slow_start = SlowStart()
    slow_start.round(BASE)
    for _ in range(SAMPLES):
        growth = slow_start.ack(rtt)
    assert growth == MSS // 4
    return slow_start


@pytest.mark.rfc("9406:4.2")
@pytest.mark.parametrize(
    ("base", "threshold"),
    [(0.01, 0.004), (0.031, 0.004), (0.064, 0.008), (0.1, 0.0125), (0.2, 0.016), (0.9, 0.016)],
)
def test_an_eighth_more_is_a_queue_but_4_to_16_ms(base: float, threshold: float) -> None:
    for extra, growth in ((-1e-6, MSS), (1e-6, MSS // 4)):
        slow_start = SlowStart()
        slow_start.round(base)
        assert slow_start.round(base + threshold + extra) == growth


@pytest.mark.rfc("9406:4.2")
def test_eight_samples_are_needed() -> None:
    slow_start = SlowStart()
    slow_start.round(BASE)
    growths = [slow_start.ack(BASE * 2) for _ in range(SAMPLES)]
    assert growths == [MSS] * 7 + [MSS // 4]


@pytest.mark.rfc("9406:4.2")
def test_acks_that_measure_nothing_are_no_samples() -> None:
    slow_start = SlowStart()
    slow_start.round(BASE)
    for _ in range(7):
        slow_start.ack(BASE * 2)
    for _ in range(10):
        assert slow_start.ack(None) == MSS


@pytest.mark.rfc("9406:4.2")
def test_one_quick_sample_in_a_round_shows_that_there_is_no_queue() -> None:
    """The shortest counts."""
    slow_start = SlowStart()
    slow_start.round(BASE)
    slow_start.ack(BASE)
    for _ in range(20):
        assert slow_start.ack(BASE * 2) == MSS


@pytest.mark.rfc("9406:4.2")
def test_the_round_before_is_what_it_is_compared_with() -> None:
    """By less than an eighth each time it may double unseen; and the first has nothing before."""
    slow_start = SlowStart()
    rtt = BASE
    for _ in range(7):
        assert slow_start.round(rtt) == MSS
        rtt += 0.0124


@pytest.mark.rfc("9406:4.2")
def test_a_quarter_as_fast_is_conservative() -> None:
    slow_start = conservative()
    assert slow_start.ack(BASE + 0.02) == MSS // 4
    assert not slow_start.hystart.finished


@pytest.mark.rfc("9406:4.2")
def test_after_five_rounds_slow_start_is_over() -> None:
    """The part of the one in which it began is the first."""
    slow_start = conservative()
    for rounds in range(1, 6):
        assert not slow_start.hystart.finished
        slow_start.end_round(BASE + 0.02)
        assert slow_start.hystart.finished is (rounds == 5)


@pytest.mark.rfc("9406:4.2")
def test_when_the_queue_was_none_slow_start_goes_on() -> None:
    """The round-trip time is below what it was as it rose, by eight samples of a round."""
    slow_start = conservative()
    slow_start.end_round()
    growths = [slow_start.ack(BASE + 0.019) for _ in range(SAMPLES + 1)]
    assert growths == [MSS // 4] * 7 + [MSS] * 2
    slow_start.end_round()
    for _ in range(5):
        slow_start.round(BASE + 0.019)
    assert not slow_start.hystart.finished


@pytest.mark.rfc("9406:4.2")
def test_the_five_rounds_are_counted_again_after_that() -> None:
    slow_start = conservative()
    for _ in range(3):
        slow_start.end_round(BASE + 0.02)
    for _ in range(SAMPLES):
        slow_start.ack(BASE)
    slow_start.end_round()
    for _ in range(SAMPLES):
        slow_start.ack(BASE * 2)
    for rounds in range(1, 6):
        assert not slow_start.hystart.finished
        slow_start.end_round(BASE * 2)
        assert slow_start.hystart.finished is (rounds == 5)


# In CUBIC


def cubic() -> tuple[Cubic, SlowStart]:
    cubic = Cubic()
    cubic.set_mss(MSS, 10)
    rounds = SlowStart()
    return cubic, rounds


def feed(cubic: Cubic, rounds: SlowStart, rtt: float) -> None:
    """A round."""
    for last in (False,) * SAMPLES + (True,):
        if last:
            rounds.una, rounds.nxt = rounds.nxt, rounds.nxt + 100
        cubic.acknowledged(Acknowledgement(MSS, 0.0, rtt, rounds.una, rounds.nxt))


@pytest.mark.rfc("9406:4.2")
def test_its_end_is_the_threshold() -> None:
    control, rounds = cubic()
    feed(control, rounds, BASE)
    assert control.cwnd == 19 * MSS
    for _ in range(4):
        feed(control, rounds, BASE * 2)
        assert control.ssthresh > 1000 * MSS
    feed(control, rounds, BASE * 2)
    assert control.ssthresh == control.cwnd < 36 * MSS


@pytest.mark.rfc("9406:4.3")
def test_it_is_for_the_first_slow_start_only() -> None:
    """After a loss the threshold is known."""
    control, rounds = cubic()
    feed(control, rounds, BASE)
    control.timeout(60 * MSS, 0.0, repeated=False)
    feed(control, rounds, BASE)
    feed(control, rounds, BASE * 2)
    assert control.cwnd == 19 * MSS
