"""Loss recovery: NewReno's fast retransmit and recovery (RFC 6582), and timeouts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from tunstack.tcp.segment import ACK, FIN, PSH

from .harness import CONFIG, MSS, NO_OPTIONS, Bench, Numbers, established

TEXT: Final = bytes(n % 251 for n in range(40_000))
WINDOW: Final = 10
"""Segments that go out at first."""


def seq(number: int) -> int:
    """Sequence number of a full segment, counted from 0."""
    return 1 + number * MSS


def expect_segments(bench: Bench, *numbers: int, note: str = "") -> None:
    for number in numbers:
        bench.expect(
            ACK,
            seq=seq(number),
            payload=TEXT[number * MSS : (number + 1) * MSS],
            note=note and f"retransmission: {note}",
        )


def in_flight(**setup: Any) -> Bench:
    """A bench with ten segments on their way, and more queued."""
    bench = established(**setup)
    bench.send(TEXT)
    expect_segments(bench, *range(WINDOW))
    return bench


def duplicate_acks(bench: Bench, count: int, ack: int = 1) -> None:
    """They arrive in one batch: they count all the same."""
    with bench.batch():
        for _ in range(count):
            bench.arrive(ACK, ack=ack)


def windows(bench: Bench) -> tuple[int, int]:
    """Cwnd and ssthresh, in segments of one MSS."""
    congestion = bench.connection.sender.congestion
    return congestion.cwnd // MSS, congestion.ssthresh // MSS


# Fast retransmit


def test_two_duplicate_acks_mean_nothing(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    duplicate_acks(bench, 2)
    bench.expect_nothing()


def test_the_third_duplicate_ack_stands_for_a_loss(numbers: Numbers) -> None:
    """RFC 5681 section 3.2: at once, and half of the flight is the new threshold."""
    bench = in_flight(**numbers)
    duplicate_acks(bench, 2)
    bench.advance(0.1)
    bench.arrive(ACK, ack=1)
    expect_segments(bench, 0, note="fast")
    assert windows(bench) == (5, 5)


def test_three_duplicate_acks_in_one_batch(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")


@pytest.mark.parametrize("disqualified", ["data", "window", "fin", "nothing outstanding", "old"])
def test_what_is_no_duplicate_ack(disqualified: str) -> None:
    """RFC 5681 section 2."""
    bench = established() if disqualified == "nothing outstanding" else in_flight()
    for number in range(4):
        match disqualified:
            case "data":
                bench.arrive(ACK, ack=1, payload=b"x")
            case "window":
                bench.arrive(ACK, ack=1, wnd=60_000 - number)
            case "fin":
                bench.arrive(ACK | FIN, ack=1, seq=1)
            case "old":
                bench.arrive(ACK, ack=0)
            case _:
                bench.arrive(ACK, ack=1)
        for _, segment in bench.drain():
            assert not segment.payload
    assert not bench.connection.sender.recovery.fast


def test_an_ack_of_new_data_begins_the_count_anew() -> None:
    bench = in_flight()
    duplicate_acks(bench, 2)
    bench.arrive(ACK, ack=seq(1))
    bench.drain()
    duplicate_acks(bench, 2, ack=seq(1))
    bench.expect_nothing()
    duplicate_acks(bench, 1, ack=seq(1))
    expect_segments(bench, 1, note="fast")


def test_very_first_segment_can_be_recovered(numbers: Numbers) -> None:
    """RFC 6582's recover begins before it."""
    bench = established(config=replace(CONFIG, nodelay=True), **numbers)
    for text in (b"a", b"b", b"c", b"d"):
        bench.send(text)
        bench.expect(ACK | PSH, payload=text)
    duplicate_acks(bench, 3)
    bench.expect(ACK | PSH, seq=1, payload=b"abcd", note="retransmission: fast")


def test_a_fin_can_be_recovered() -> None:
    bench = established(config=replace(CONFIG, nodelay=True))
    for text in (b"a", b"b"):
        bench.send(text)
        bench.expect(ACK | PSH, payload=text)
    bench.shutdown()
    bench.expect(FIN | ACK)
    duplicate_acks(bench, 3)
    bench.expect(FIN | ACK | PSH, seq=1, payload=b"ab", note="retransmission: fast")


# Fast recovery


def test_further_duplicates_inflate_the_window(numbers: Numbers) -> None:
    """RFC 5681 section 3.2, steps 3 to 5: each stands for a segment that has left the network."""
    bench = in_flight(**numbers)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    duplicate_acks(bench, 2)  # 5 + 5 segments: the ten that were outstanding.
    bench.expect_nothing()
    for number in range(10, 14):
        duplicate_acks(bench, 1)
        expect_segments(bench, number)


def test_full_ack_deflates_the_window_and_ends_recovery(numbers: Numbers) -> None:
    """RFC 6582 section 3.2 step 3: min(ssthresh, max(FlightSize, SMSS) + SMSS)."""
    bench = in_flight(**numbers)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    duplicate_acks(bench, 4)
    expect_segments(bench, 10, 11)
    bench.arrive(ACK, ack=seq(10))  # Two are still under way.
    assert windows(bench) == (3, 5)
    assert not bench.connection.sender.recovery.active
    expect_segments(bench, 12)


def test_full_ack_leaves_at_most_ssthresh() -> None:
    bench = in_flight()
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    duplicate_acks(bench, 9)
    expect_segments(bench, *range(10, 17))
    bench.arrive(ACK, ack=seq(10))
    assert windows(bench) == (5, 5)
    bench.expect_nothing()


def test_full_ack_in_the_batch_of_the_duplicates_leaves_nothing_to_send_again() -> None:
    bench = in_flight()
    with bench.batch():
        for _ in range(3):
            bench.arrive(ACK, ack=1)
        bench.arrive(ACK, ack=seq(10))
    assert bench.connection.sender.retransmissions == 0
    expect_segments(bench, 10, 11)  # max(0, 1) + 1.


def test_partial_ack_tells_of_the_next_hole(numbers: Numbers) -> None:
    """RFC 6582 section 3.2 step 3: 0, 4 and 5 were lost; no timeout is needed."""
    bench = in_flight(**numbers)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    bench.arrive(ACK, ack=seq(4))
    expect_segments(bench, 4, note="fast")
    bench.arrive(ACK, ack=seq(5))
    expect_segments(bench, 5, note="fast")
    bench.arrive(ACK, ack=seq(10))
    assert not bench.connection.sender.recovery.active
    expect_segments(bench, 10, 11)
    assert bench.connection.sender.retransmissions == 3


def test_partial_ack_deflates_by_what_it_acknowledges(numbers: Numbers) -> None:
    """And inflates by a segment, which the retransmission takes."""
    bench = in_flight(**numbers)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    duplicate_acks(bench, 5)
    expect_segments(bench, 10, 11, 12)
    bench.arrive(ACK, ack=seq(1))  # 5 + 8 - 1 + 1 segments may be out, and twelve are.
    expect_segments(bench, 1, note="fast")
    expect_segments(bench, 13)
    bench.arrive(ACK, ack=seq(4))  # 13 - 3 + 1 = 11, and ten are.
    expect_segments(bench, 4, note="fast")
    expect_segments(bench, 14)


def test_deflation_leaves_nothing_below_zero() -> None:
    bench = in_flight()
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    bench.arrive(ACK, ack=seq(9))
    expect_segments(bench, 9, note="fast")
    recovery = bench.connection.sender.recovery
    assert bench.connection.sender.congestion.cwnd + recovery.inflation >= MSS


def test_only_the_first_partial_ack_begins_the_timer_anew() -> None:
    """RFC 6582 section 3.2 step 3, the impatient variant."""
    bench = in_flight(peer=NO_OPTIONS)
    bench.advance(0.1)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    bench.advance(0.05)
    bench.arrive(ACK, ack=seq(3))
    expect_segments(bench, 3, note="fast")
    bench.advance(0.05)
    bench.arrive(ACK, ack=seq(5))
    expect_segments(bench, 5, note="fast")
    rto = bench.connection.sender.rtt.rto
    bench.wait()
    assert bench.now == pytest.approx(0.15 + rto)
    expect_segments(bench, 5, note="timeout")


def test_each_recovery_has_its_first_partial_ack() -> None:
    bench = in_flight(peer=NO_OPTIONS)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    bench.arrive(ACK, ack=seq(3))
    expect_segments(bench, 3, note="fast")
    bench.arrive(ACK, ack=seq(10))
    expect_segments(bench, 10, 11)
    bench.arrive(ACK, ack=seq(11))
    expect_segments(bench, 12, 13)
    bench.advance(0.1)
    duplicate_acks(bench, 3, ack=seq(11))
    expect_segments(bench, 11, note="fast")
    expect_segments(bench, 14, 15)
    bench.advance(0.05)
    bench.arrive(ACK, ack=seq(12))
    bench.drain()
    rto = bench.connection.sender.rtt.rto
    bench.wait()
    assert bench.now == pytest.approx(0.15 + rto)
    expect_segments(bench, 12, note="timeout")


def test_duplicates_of_what_was_recovered_begin_no_other(numbers: Numbers) -> None:
    """RFC 6582 section 3.2 step 2: not before SND.UNA has passed recover."""
    bench = in_flight(**numbers)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    bench.arrive(ACK, ack=seq(10))
    expect_segments(bench, 10, 11)
    duplicate_acks(bench, 5, ack=seq(10))
    bench.expect_nothing()
    bench.arrive(ACK, ack=seq(11))
    bench.drain()
    duplicate_acks(bench, 3, ack=seq(11))
    expect_segments(bench, 11, note="fast")
    expect_segments(bench, 14, 15)


# Timeout


def test_timeout_leaves_one_segment_and_half_of_the_flight(numbers: Numbers) -> None:
    """RFC 5681 section 3.1: the loss window, and equation 4."""
    bench = in_flight(**numbers)
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    assert windows(bench) == (1, 5)


def test_threshold_is_two_segments_at_least() -> None:
    bench = established()
    bench.send(TEXT[:1000])
    bench.drain()
    bench.wait()
    bench.drain()
    assert windows(bench) == (1, 2)


def test_repeated_timeouts_hold_the_threshold() -> None:
    """RFC 5681 section 3.1: of a segment that was sent again already."""
    bench = in_flight()
    for _ in range(4):
        bench.wait()
        expect_segments(bench, 0, note="timeout")
        assert windows(bench) == (1, 5)


def test_a_timeout_of_another_segment_sets_the_threshold_again() -> None:
    bench = in_flight()
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    bench.arrive(ACK, ack=seq(4))
    expect_segments(bench, 4, 5, note="timeout")
    bench.wait()
    expect_segments(bench, 4, note="timeout")
    assert windows(bench) == (1, 3)  # Six are outstanding.


def test_after_a_timeout_what_is_outstanding_is_sent_again_and_no_more(numbers: Numbers) -> None:
    """Go-back-N, in slow start: one, two, four segments; then new data."""
    bench = in_flight(**numbers)
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    bench.arrive(ACK, ack=seq(1))
    expect_segments(bench, 1, 2, note="timeout")
    bench.arrive(ACK, ack=seq(2))
    expect_segments(bench, 3, 4, note="timeout")
    bench.arrive(ACK, ack=seq(3))
    expect_segments(bench, 5, 6, note="timeout")
    bench.arrive(ACK, ack=seq(4))
    expect_segments(bench, 7, 8, note="timeout")
    bench.arrive(ACK, ack=seq(5))
    expect_segments(bench, 9, note="timeout")
    assert bench.connection.sender.retransmissions == 10


def test_after_a_timeout_what_has_arrived_is_not_sent_again(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    bench.arrive(ACK, ack=seq(10))  # Only the first was lost.
    assert not bench.connection.sender.recovery.active
    assert bench.connection.sender.retransmissions == 1
    expect_segments(bench, 10)


def test_the_end_of_what_was_outstanding_is_cut_where_it_was() -> None:
    """New data is not glued to what is sent again, though there would be room."""
    bench = established(config=replace(CONFIG, nodelay=True))
    bench.send(TEXT[:300])
    bench.expect(ACK | PSH, size=300)
    bench.arrive(ACK, ack=1, wnd=300)
    bench.send(TEXT[300:900])
    bench.wait()
    bench.expect(ACK, seq=1, payload=TEXT[:300], note="retransmission: timeout")


def test_duplicate_acks_after_a_timeout_begin_no_fast_retransmit(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    duplicate_acks(bench, 9)
    bench.expect_nothing()
    assert not bench.connection.sender.recovery.fast


def test_a_timeout_ends_fast_recovery() -> None:
    bench = in_flight()
    duplicate_acks(bench, 5)
    expect_segments(bench, 0, note="fast")
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    recovery = bench.connection.sender.recovery
    assert (recovery.fast, recovery.inflation) == (False, 0)
    assert windows(bench)[0] == 1


def test_an_octet_wise_retransmission_may_be_cut_otherwise() -> None:
    """There is no list of old packets: SACK blocks make the second try smaller."""
    bench = established()
    bench.send(TEXT[:1000])
    bench.expect(ACK | PSH, size=1000)
    bench.arrive(ACK, seq=2001, ack=1, payload=b"x")
    bench.drain()
    bench.wait()
    blocks = ((2001, 2002),)
    note = "retransmission: timeout"
    bench.expect(ACK, seq=1, payload=TEXT[:988], sack=blocks, note=note)
    bench.expect(ACK | PSH, seq=989, payload=TEXT[988:1000], sack=blocks, note=note)
