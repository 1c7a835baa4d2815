"""The retransmission timeout (RFC 6298), by hand, and what its timer does.

The peers know no SACK: else a tail loss probe comes first (RFC 8985 section 7).
"""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    MSS,
    NO_OPTIONS,
    WITHOUT_SACK,
    Bench,
    Numbers,
    Offer,
    established,
    syn_sent,
)
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, PSH, SYN
from tunstack.tcp.sender.rtt import RttEstimator

S = State
LEAST: Final = 0.2
"""What Linux's least makes of four times the variation, when that is less."""


def approx(value: float) -> object:
    return pytest.approx(value, abs=1e-9)


# The numbers (section 2)


def estimator(least: float = LEAST) -> RttEstimator:
    return RttEstimator(1.0, least, 120.0)


@pytest.mark.rfc("6298:2.1")
def test_before_any_sample() -> None:
    """Section 2.1."""
    rtt = estimator()
    assert (rtt.rto, rtt.srtt, rtt.min_rtt) == (1.0, None, None)


@pytest.mark.rfc("6298:2.2")
def test_first_sample() -> None:
    """Section 2.2: SRTT = R, RTTVAR = R / 2, RTO = SRTT + 4 RTTVAR."""
    rtt = estimator()
    rtt.sample(0.5)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == (0.5, 0.25, 1.5)


@pytest.mark.rfc("6298:2.3")
def test_later_samples() -> None:
    """Section 2.3: beta = 1/4, alpha = 1/8, and RTTVAR from the old SRTT."""
    rtt = estimator()
    rtt.sample(0.5)
    rtt.sample(0.9)
    # RTTVAR = 3/4 * 0.25 + 1/4 * |0.5 - 0.9|, SRTT = 7/8 * 0.5 + 1/8 * 0.9
    assert (rtt.rttvar, rtt.srtt, rtt.rto) == (approx(0.2875), approx(0.55), approx(1.7))
    rtt.sample(0.1)
    # RTTVAR = 3/4 * 0.2875 + 1/4 * |0.55 - 0.1|, SRTT = 7/8 * 0.55 + 1/8 * 0.1
    assert (rtt.rttvar, rtt.srtt) == (approx(0.328125), approx(0.49375))
    assert rtt.rto == approx(0.49375 + 4 * 0.328125)
    assert rtt.min_rtt == 0.1


@pytest.mark.rfc("6298:2.4")
def test_least_variation() -> None:
    """Linux's: 200 ms beside SRTT, so that a delayed ACK does not fire the timer."""
    rtt = estimator()
    for _ in range(50):
        rtt.sample(0.1)
    assert rtt.rto == approx(0.3)


@pytest.mark.rfc("6298:2.3")
def test_variation_is_not_less_than_the_clock_can_tell() -> None:
    rtt = estimator(0.0)
    for _ in range(200):
        rtt.sample(0.1)
    assert rtt.rto == approx(0.101)


@pytest.mark.rfc("6298:2.5")
def test_most() -> None:
    """Section 2.5."""
    rtt = estimator()
    rtt.sample(100.0)
    assert rtt.rto == 120.0


@pytest.mark.rfc("6298:5.5", "8961:4")
def test_back_off_doubles_up_to_the_most() -> None:
    """Section 5.5."""
    rtt = estimator()
    rtt.sample(1.0)
    timeouts = []
    for _ in range(7):
        timeouts.append(rtt.rto)
        rtt.back_off()
    assert timeouts == [3.0, 6.0, 12.0, 24.0, 48.0, 96.0, 120.0]


@pytest.mark.rfc("6298:5", "8961:4")
def test_a_sample_ends_the_back_off() -> None:
    """Section 5, at its end."""
    rtt = estimator()
    rtt.sample(1.0)
    rtt.back_off()
    rtt.sample(1.0)
    assert rtt.rto == approx(1.0 + 4 * 0.375)


@pytest.mark.rfc("7323:G")
def test_many_samples_of_a_window_divide_both_gains() -> None:
    """RFC 7323 appendix G: here two."""
    rtt = estimator()
    rtt.sample(0.5)
    rtt.sample(0.9, 2000, 1000)
    assert rtt.rttvar == approx(0.25 + (0.4 - 0.25) / 8)
    assert rtt.srtt == approx(0.5 + 0.4 / 16)


# What is measured


@pytest.mark.rfc("6298:2.2")
def test_the_handshake_is_measured(numbers: Numbers) -> None:
    bench = syn_sent(**numbers)
    bench.advance(0.3)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    assert (bench.srtt, bench.rttvar, bench.rto) == (0.3, 0.15, approx(0.9))


@pytest.mark.rfc("7323:G")
def test_each_ack_of_a_flight_is_measured_and_weighed(numbers: Numbers) -> None:
    """Half of it when a window brings two; timestamps are not needed for that."""
    bench = established(peer=NO_OPTIONS, **numbers)
    bench.send(bytes(3 * MSS))
    bench.drain()
    bench.advance(0.08)
    bench.arrive(ACK, ack=1001)
    assert bench.srtt == approx(0.08 / 16)
    bench.advance(0.08)
    bench.arrive(ACK, ack=3001)
    assert bench.srtt == approx(0.08 / 16 * 7 / 8 + 0.16 / 8)


@pytest.mark.rfc("6298:3")
def test_an_ack_that_had_to_wait_for_a_hole_measures_nothing() -> None:
    """What it covers beside was sent once, and arrived long ago: Karn's rule holds."""
    bench = established(peer=NO_OPTIONS)
    bench.send(bytes(4 * MSS))
    bench.drain()
    bench.advance(0.1)
    with bench.batch():
        for _ in range(3):
            bench.arrive(ACK, ack=1)
    bench.expect(ACK, seq=1, size=MSS, note="retransmission: fast")
    bench.advance(0.09)
    bench.arrive(ACK)
    assert (bench.srtt, bench.min_rtt) == (0.0, 0.0)


@pytest.mark.rfc("6298:3", "8961:4")
def test_karn_without_timestamps(numbers: Numbers) -> None:
    """Section 3: what was sent twice is not measured, and the back-off stays."""
    bench = established(peer=NO_OPTIONS, **numbers)
    bench.send(b"x")
    bench.drain()
    bench.advance(0.2)
    bench.expect(ACK | PSH, payload=b"x")
    bench.arrive(ACK)
    assert (bench.srtt, bench.rto) == (0.0, 0.4)
    bench.send(b"y")
    bench.expect(ACK | PSH, payload=b"y")
    bench.advance(0.4)
    bench.expect(ACK | PSH, at=0.6, payload=b"y")  # With what the first loss left.


@pytest.mark.rfc("6298:3", "7323:4.1")
def test_timestamps_measure_even_what_was_sent_twice(numbers: Numbers) -> None:
    """RFC 7323 section 4.1: the echo tells which one is answered."""
    bench = established(peer=WITHOUT_SACK, **numbers)
    bench.send(b"x")
    bench.drain()
    bench.advance(0.2)
    bench.expect(ACK | PSH, payload=b"x")
    bench.advance(0.016)
    bench.arrive(ACK, ts_ecr=200)
    assert (bench.srtt, bench.rto) == (approx(0.002), approx(0.202))


@pytest.mark.rfc("6298:3")
def test_once_all_is_repaired_what_is_sent_once_is_measured_again() -> None:
    bench = established(peer=WITHOUT_SACK)
    bench.send(b"x")
    bench.drain()
    bench.wait()
    bench.drain()
    bench.arrive(ACK)
    before = bench.srtt
    assert before is not None
    assert before < 0.001
    bench.cwnd = 10 * MSS
    bench.send(bytes(3 * MSS))
    bench.drain()
    bench.advance(0.08)
    bench.arrive(ACK, ack=2 + MSS)
    bench.arrive(ACK, ack=2 + 2 * MSS)
    bench.arrive(ACK)
    assert bench.srtt is not None
    assert before < bench.srtt <= 0.08
    assert bench.min_rtt is not None
    assert bench.rto > 0.2


@pytest.mark.rfc("7323:4.1")
def test_an_echo_from_before_the_timeout_is_no_sample(numbers: Numbers) -> None:
    """The ACK was lost, and that of the duplicate echoes what came before: Karn's rule again."""
    bench = established(peer=WITHOUT_SACK, **numbers)
    bench.advance(1.0)
    bench.send(b"x")
    bench.drain()
    bench.advance(0.65)
    assert [sent.at for sent in bench.drain()] == [approx(1.2), approx(1.6)]
    bench.arrive(ACK, ts_ecr=1000)
    assert (bench.srtt, bench.rto) == (0.0, 0.8)
    bench.send(b"y")
    bench.drain()
    bench.advance(0.1)
    bench.arrive(ACK)
    assert bench.srtt == approx(0.0125)


@pytest.mark.rfc("7323:4.1")
def test_an_echo_from_the_future_is_no_sample() -> None:
    bench = established(peer=WITHOUT_SACK)
    bench.send(b"x")
    bench.drain()
    bench.advance(0.2)
    bench.drain()
    bench.arrive(ACK, ts_ecr=5000)
    assert (bench.srtt, bench.rto) == (0.0, 0.4)


def test_a_duplicate_ack_is_not_measured() -> None:
    bench = established(peer=WITHOUT_SACK)
    bench.send(b"x")
    bench.drain()
    bench.advance(0.2)
    bench.drain()
    bench.advance(0.1)
    bench.arrive(ACK, ack=1)
    assert bench.srtt == 0.0


# The timer (section 5)


@pytest.mark.rfc("6298:5.4", "6298:5.5", "6298:5.6")
def test_data_is_sent_again_with_back_off(numbers: Numbers) -> None:
    """Sections 5.4 to 5.6."""
    bench = established(peer=WITHOUT_SACK, **numbers)
    bench.send(b"hello")
    bench.drain()
    bench.advance(6.3)
    for at in (0.2, 0.6, 1.4, 3.0, 6.2):
        bench.expect(ACK | PSH, at=at, seq=1, payload=b"hello", note="retransmission: timeout")
    assert bench.retransmissions == 5


@pytest.mark.rfc("6298:5.1")
def test_the_timer_starts_with_the_first_segment_and_not_with_the_second() -> None:
    """Section 5.1."""
    bench = established(peer=WITHOUT_SACK, config=replace(CONFIG, nodelay=True))
    bench.send(b"one")
    bench.drain()
    bench.advance(0.1)
    bench.send(b"two")
    bench.drain()
    bench.advance(0.1)
    bench.expect(ACK | PSH, at=0.2, seq=1, payload=b"onetwo")


@pytest.mark.rfc("6298:5.2")
def test_the_timer_stops_when_all_is_acknowledged() -> None:
    """Section 5.2."""
    bench = established()
    bench.send(b"x")
    bench.drain()
    bench.arrive(ACK)
    assert bench.connection.deadline() is None


@pytest.mark.rfc("6298:5.3")
def test_an_ack_of_new_data_restarts_the_timer(numbers: Numbers) -> None:
    """Section 5.3."""
    bench = established(peer=WITHOUT_SACK, **numbers)
    bench.send(bytes(3 * MSS))
    bench.drain()
    bench.advance(0.15)
    bench.arrive(ACK, ack=1001)
    rto = bench.rto
    bench.advance(rto)
    bench.expect(ACK, at=0.15 + rto, seq=1001, size=MSS)


@pytest.mark.rfc("6298:5.3")
def test_a_duplicate_ack_leaves_the_timer_alone() -> None:
    bench = established(peer=WITHOUT_SACK)
    bench.send(b"x")
    bench.drain()
    bench.advance(0.15)
    bench.arrive(ACK, ack=1)
    bench.advance(0.05)
    bench.expect(ACK | PSH, at=0.2, payload=b"x")


def test_a_late_timer_is_late() -> None:
    """The host was busy: what is due is done once, and the next timeout counts from then."""
    bench = established(peer=WITHOUT_SACK)
    bench.send(b"x")
    bench.drain()
    bench.now = 5.0
    bench.advance(0.0)
    bench.expect(ACK | PSH, at=5.0, payload=b"x")
    bench.advance(0.4)
    bench.expect(ACK | PSH, at=5.4, payload=b"x")


@pytest.mark.rfc("6298:5.7")
@pytest.mark.parametrize(("lost", "rto"), [(0, 1.2), (1, 3.0)])
def test_after_a_lost_syn_data_begins_with_3_seconds(lost: int, rto: float) -> None:
    """Section 5.7, where no timestamps tell the round trip."""
    bench = syn_sent(peer=NO_OPTIONS)
    bench.advance(1.0 * lost)
    bench.drain()
    bench.advance(0.4)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    assert bench.rto == approx(rto)


@pytest.mark.rfc("6298:5.7")
def test_after_a_lost_syn_timestamps_give_the_rtt() -> None:
    bench = syn_sent()
    bench.advance(1.0)
    bench.drain()
    bench.advance(0.4)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    assert bench.srtt == approx(0.4)


# Giving up (section 3.8.3 of RFC 9293)


@pytest.mark.rfc("MUST-20", "5482:3.1")
def test_unacknowledged_data_times_out_after_the_user_timeout(numbers: Numbers) -> None:
    """R2 (MUST-20): 924.6 s, which is what Linux's 15 retransmissions add up to."""
    bench = established(peer=WITHOUT_SACK, **numbers)
    bench.send(b"x")
    bench.drain()
    bench.run_until(924.5)
    assert len(bench.drain()) == 15
    bench.run_until(924.6)
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ETIMEDOUT
    bench.expect_nothing()


@pytest.mark.rfc("MUST-21", "5482:3.1")
def test_user_timeout_can_be_set() -> None:
    """MUST-21."""
    bench = established(peer=WITHOUT_SACK)
    bench.connection.reconfigure(replace(CONFIG, user_timeout=2.0))
    bench.send(b"x")
    bench.drain()
    bench.run_until(1.9)
    assert [sent.at for sent in bench.drain()] == [approx(0.2), approx(0.6), approx(1.4)]
    bench.run_until(2.0)
    bench.expect_state(S.CLOSED)


@pytest.mark.rfc("5482:3.1")
def test_user_timeout_counts_from_the_last_progress() -> None:
    bench = established(peer=WITHOUT_SACK, config=replace(CONFIG, user_timeout=10.0))
    bench.send(bytes(2 * MSS))
    bench.drain()
    bench.advance(9.0)
    bench.drain()
    bench.arrive(ACK, ack=1001)
    bench.drain()
    bench.advance(9.9)
    bench.drain()
    bench.expect_state(S.ESTABLISHED)
    bench.advance(0.1)
    bench.expect_state(S.CLOSED)


@pytest.mark.rfc("5482:3.1")
def test_user_timeout_counts_from_when_something_was_outstanding() -> None:
    bench = established(peer=WITHOUT_SACK, config=replace(CONFIG, user_timeout=10.0))
    bench.advance(1000.0)
    bench.send(b"x")
    bench.drain()
    bench.advance(9.9)
    bench.drain()
    bench.expect_state(S.ESTABLISHED)


@pytest.mark.rfc("5482:3.1")
def test_duplicate_acks_are_no_progress() -> None:
    """The peer is alive, but the data does not get there."""
    bench = established(peer=WITHOUT_SACK, config=replace(CONFIG, user_timeout=10.0))
    bench.send(b"x")
    bench.drain()
    for _ in range(9):
        bench.advance(1.0)
        bench.drain()
        bench.arrive(ACK, ack=1)
    bench.advance(1.0)
    bench.expect_state(S.CLOSED)


def test_the_icmp_error_is_raised_at_r2() -> None:
    """MUST-47: a soft error explains why nobody answered."""
    bench = established(config=replace(CONFIG, user_timeout=10.0))
    bench.send(b"x")
    bench.drain()
    bench.connection.icmp_error(OSError(errno.EHOSTUNREACH, "No route to host"))
    bench.advance(10.0)
    bench.drain()
    assert bench.errno == errno.EHOSTUNREACH


def test_a_handshake_that_icmp_explained_ends_with_that_error() -> None:
    bench = Bench(peer=Offer())
    bench.connection.open_passive()
    bench.arrive_syn()
    bench.drain()
    bench.connection.icmp_error(OSError(errno.ENETUNREACH, "Network is unreachable"))
    bench.advance(180.0)
    bench.drain()
    assert bench.errno == errno.ENETUNREACH
