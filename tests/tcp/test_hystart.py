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
    """Rounds of ACKs: one ends when what was not sent at its beginning is acknowledged."""

    def __init__(self) -> None:
        self.hystart = HyStart()
        self.now = 0.0
        self.una = 0
        self.nxt = 100

    def ack(self, rtt: float | None) -> int:
        """An ACK within a round; how much the window grows."""
        ack = Acknowledgement(MSS, self.now, rtt, self.una, self.nxt)
        return self.hystart.growth(ack)

    def end_round(self, rtt: float | None = None) -> int:
        """The first ACK of the next round; by then as much again has been sent."""
        self.una, self.nxt = self.nxt + 1, self.nxt + 100
        return self.ack(rtt)

    def round(self, rtt: float) -> int:
        """A whole round with enough samples; how much the last of them brought."""
        for _ in range(SAMPLES):
            growth = self.ack(rtt)
        self.end_round()
        return growth

    def train(self, rtt: float, *, gap: float = 0.002, seconds: float = BASE * 0.6) -> list[int]:
        """A round of ACKs that come one after the other; how much each brought."""
        growths = [self.end_round(rtt)]
        for _ in range(round(seconds / gap)):
            self.now += gap
            growths.append(self.ack(rtt))
        self.now += 1
        return growths


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


# By the ACKs' train too


def test_a_round_is_over_when_what_was_not_sent_at_its_beginning_is_acknowledged() -> None:
    """With the last octet that was sent then, it is not over: a window's ACKs are one round."""
    slow_start = SlowStart()
    slow_start.round(BASE)
    slow_start.una = slow_start.nxt
    for _ in range(SAMPLES):
        growth = slow_start.ack(BASE * 2)
    assert growth == MSS // 4


def trained(rtt: float = BASE) -> SlowStart:
    """A train of ACKs has begun the conservative slow start."""
    slow_start = SlowStart()
    slow_start.round(BASE)
    growths = slow_start.train(rtt)
    assert set(growths[:25]) == {MSS}  # 48 ms.
    assert set(growths[26:]) == {MSS // 4}
    return slow_start


def test_a_train_of_acks_that_is_longer_than_half_the_rtt_is_a_sign() -> None:
    assert not trained().hystart.finished


@pytest.mark.parametrize(("gap", "growth"), [(0.0124, MSS // 4), (0.0126, MSS)])
def test_a_gap_of_an_eighth_of_the_rtt_ends_a_train(gap: float, growth: int) -> None:
    slow_start = SlowStart()
    slow_start.round(BASE)
    assert slow_start.train(BASE, gap=gap)[-1] == growth


@pytest.mark.parametrize(("gap", "growth"), [(0.0019, MSS // 4), (0.0021, MSS)])
def test_a_gap_of_2_ms_does_not_where_that_is_more(gap: float, growth: int) -> None:
    slow_start = SlowStart()
    slow_start.round(0.01)
    assert slow_start.train(0.01, gap=gap)[-1] == growth


def test_what_comes_after_the_gap_is_no_train_of_its_own() -> None:
    """Of a round: in the next there may be one."""
    slow_start = SlowStart()
    slow_start.round(BASE)
    slow_start.train(BASE, seconds=BASE * 0.4)
    growths = []
    for _ in range(100):
        slow_start.now += 0.002
        growths.append(slow_start.ack(BASE))
    assert set(growths) == {MSS}
    assert slow_start.train(BASE)[-1] == MSS // 4


def test_below_4_ms_there_are_no_trains() -> None:
    """There the hosts' own delays are as long as that."""
    slow_start = SlowStart()
    slow_start.round(0.0039)
    assert slow_start.train(0.0039, gap=0.001, seconds=0.1)[-1] == MSS


def test_a_train_and_a_longer_rtt_end_slow_start_with_the_round() -> None:
    slow_start = trained()
    growths = slow_start.train(BASE + 0.0126)
    assert growths[:9] == [MSS // 4] * (SAMPLES - 1) + [0, 0]
    assert not slow_start.hystart.finished
    slow_start.end_round()
    assert slow_start.hystart.finished


def test_so_they_do_the_other_way_round() -> None:
    """The RTT was longer first."""
    slow_start = conservative()
    assert slow_start.train(BASE + 0.02)[-1] == 0
    slow_start.end_round()
    assert slow_start.hystart.finished


def test_a_quick_sample_shows_that_there_is_no_queue_behind_the_train() -> None:
    slow_start = trained()
    slow_start.train(BASE + 0.0126)
    assert slow_start.ack(BASE + 0.0126) == 0
    assert slow_start.ack(BASE + 0.0124) == MSS // 4
    slow_start.end_round()
    assert not slow_start.hystart.finished


def test_after_four_rounds_without_a_longer_rtt_the_train_was_none() -> None:
    """Nor is a later one: slow start goes on, until the RTT tells."""
    slow_start = trained()
    for _ in range(3):
        assert slow_start.train(BASE + 0.0124)[-1] == MSS // 4
    assert set(slow_start.train(BASE + 0.0124)) == {MSS}
    assert not slow_start.hystart.finished
    for _ in range(5):
        assert slow_start.train(BASE + 0.0124)[-1] == MSS
    assert slow_start.train(BASE + 0.028)[-1] == MSS // 4


@pytest.mark.rfc("9406:4.2")
def test_with_few_samples_it_is_over_after_five_rounds() -> None:
    """Where an ACK covers a large segment, a round may have fewer than eight."""
    slow_start = SlowStart()
    slow_start.round(BASE)
    for rounds in range(1, 7):
        slow_start.train(BASE + 0.012 + rounds / 1000, gap=0.0124)
        assert slow_start.hystart.finished is (rounds == 6)


# In CUBIC


def cubic() -> tuple[Cubic, SlowStart]:
    cubic = Cubic()
    cubic.set_mss(MSS, 10)
    rounds = SlowStart()
    return cubic, rounds


def feed(cubic: Cubic, rounds: SlowStart, rtt: float) -> None:
    """A round."""
    for _ in range(SAMPLES):
        cubic.acknowledged(Acknowledgement(MSS, 0.0, rtt, rounds.una, rounds.nxt))
    rounds.una, rounds.nxt = rounds.nxt + 1, rounds.nxt + 100
    cubic.acknowledged(Acknowledgement(MSS, 0.0, None, rounds.una, rounds.nxt))


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
