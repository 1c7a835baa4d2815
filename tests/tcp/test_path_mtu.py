"""Segments that are too large for the path, as one connection hears of it: RFC 1191, RFC 5927."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.tcp.harness import CONFIG, MSS, NO_OPTIONS, Bench, Numbers, established
from tunstack.tcp.congestion import Cubic, Reno
from tunstack.tcp.segment import ACK, PSH

TEXT: Final = bytes(n % 251 for n in range(40_000))
WINDOW: Final = 10
"""Segments that go out at first."""
NARROW: Final = 612
"""What the router's next hop takes, as an MSS: 600 octets of data beside the timestamps."""
TIMESTAMPS: Final = 12


def in_flight(**setup: Any) -> Bench:
    """A bench with ten full segments on their way, none of which has arrived."""
    bench = established(**setup)
    bench.send(TEXT)
    for number in range(WINDOW):
        bench.expect(ACK, seq=1 + number * MSS, size=MSS)
    return bench


def proven(**setup: Any) -> Bench:
    """A bench on whose path full segments have arrived; ten more are on their way."""
    bench = established(**setup)
    bench.send(TEXT[:MSS])
    bench.drain()
    bench.advance(0.1)
    bench.arrive(ACK)
    bench.send(TEXT[MSS:])
    bench.drain()
    return bench


def too_large(bench: Bench, seq: int, size: int = NARROW) -> None:
    """A router says that the segment at `seq` did not fit."""
    bench.fragmentation_needed(seq, size, bench.now)
    bench.flush()


def expect_again(bench: Bench, start: int, *, most: int = 600) -> int:
    """All that was too large is sent again from `start` on; returns where that ends.

    New data may follow.
    """
    sent = [each.segment for each in bench.drain()]
    assert max(len(segment.payload) for segment in sent) <= most
    again = [segment for segment in sent if segment.note]
    assert again == sent[: len(again)]
    for segment in again:
        size = len(segment.payload)
        assert segment.note == "retransmission: too large"
        assert segment.seq == start
        assert segment.payload == TEXT[start - 1 : start - 1 + size]
        start += size
    return start


@pytest.mark.rfc("1191:6.4", "1191:3-2", "8201:5.4-1")
def test_all_that_was_too_large_is_sent_again_at_once_in_smaller_pieces(numbers: Numbers) -> None:
    """As many segments as the window had: they have become smaller, and cwnd with them."""
    bench = in_flight(**numbers)
    too_large(bench, 1)
    end = expect_again(bench, 1)
    assert 5400 < end <= 6001
    bench.arrive(ACK, ack=end)
    assert expect_again(bench, end) == 1 + WINDOW * MSS


@pytest.mark.rfc("1191:6.4")
@pytest.mark.parametrize("congestion", [Cubic, Reno])
def test_cwnd_is_not_reduced(congestion: Any) -> None:
    bench = in_flight(config=replace(CONFIG, congestion=congestion))
    bench.cwnd = bench.ssthresh = WINDOW * MSS  # Not in the first slow start.
    too_large(bench, 1)
    assert (bench.cwnd, bench.ssthresh) == (WINDOW * MSS, WINDOW * MSS)
    assert WINDOW * MSS - 600 < expect_again(bench, 1) <= 1 + WINDOW * MSS
    before = bench.rto
    bench.arrive(ACK)
    bench.drain()
    assert bench.ssthresh == WINDOW * MSS
    assert bench.rto < 1.5 * before  # It has not backed off.


@pytest.mark.rfc("5681:3.1")
def test_the_first_window_stays_that_many_segments(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    too_large(bench, 1)
    bench.drain()
    assert bench.cwnd == WINDOW * 600


def test_what_was_small_enough_is_left_alone(numbers: Numbers) -> None:
    bench = established(config=replace(CONFIG, nodelay=True), **numbers)
    bench.send(TEXT[:MSS])
    bench.expect(ACK | PSH, size=MSS)
    bench.advance(0.01)  # What goes out at one time is one to the scoreboard.
    bench.send(TEXT[MSS : MSS + 300])
    bench.expect(ACK | PSH, seq=1 + MSS, size=300)
    too_large(bench, 1)
    assert expect_again(bench, 1) == 1 + MSS


@pytest.mark.rfc("MUST-16")
def test_new_segments_are_smaller_as_well(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    too_large(bench, 1)
    bench.drain()
    bench.arrive(ACK, ack=1 + WINDOW * MSS)
    sent = [len(each.segment.payload) for each in bench.drain()]
    assert max(sent) == 600
    assert bench.path_size == NARROW


@pytest.mark.rfc("1191:6.4")
def test_the_timer_restarts() -> None:
    bench = in_flight()
    bench.advance(0.15)
    too_large(bench, 1)
    bench.drain()
    timer = bench.retransmit_at
    assert timer is not None
    assert round(timer - bench.now, 9) == round(bench.rto, 9)


@pytest.mark.rfc("1191:6.4")
def test_the_same_report_again_retransmits_nothing(numbers: Numbers) -> None:
    """Each segment of the flight draws its own ICMP message."""
    bench = in_flight(**numbers)
    for number in range(WINDOW):
        too_large(bench, 1 + number * MSS)
        assert bool(bench.drain()) is (number == 0)


def test_without_sack_it_is_the_same(numbers: Numbers) -> None:
    bench = in_flight(peer=NO_OPTIONS, **numbers)
    too_large(bench, 1, 600)
    end = expect_again(bench, 1)
    bench.arrive(ACK, ack=end)
    assert expect_again(bench, end) == 1 + WINDOW * MSS
    bench.arrive(ACK)
    assert {len(each.segment.payload) for each in bench.drain()} == {600}


@pytest.mark.rfc("1191:3")
@pytest.mark.parametrize("size", [MSS + TIMESTAMPS, MSS + TIMESTAMPS + 1, 60_000])
def test_a_report_of_no_smaller_mtu_changes_nothing(size: int) -> None:
    """RFC 5927 section 7.2: no such segment was sent. Never raise it by ICMP."""
    bench = in_flight()
    too_large(bench, 1, size)
    bench.expect_nothing()
    assert bench.snd_mss == MSS


# Doubts (RFC 5927 section 7.2)


@pytest.mark.rfc("5927:7.2", "5927:7.2-1")
def test_a_report_for_a_size_that_has_arrived_is_deferred(numbers: Numbers) -> None:
    bench = proven(**numbers)
    too_large(bench, 1 + MSS)
    bench.expect_nothing()
    assert bench.snd_mss == MSS
    bench.arrive(ACK)
    bench.drain()
    assert bench.snd_mss == MSS


@pytest.mark.rfc("5927:7.2")
def test_but_if_it_times_out_then_it_is(numbers: Numbers) -> None:
    """The path has changed: that is no congestion either."""
    bench = proven(**numbers)
    too_large(bench, 1 + MSS)
    before = bench.cwnd
    while not bench.pending:
        bench.wait()
        if bench.pending[0].segment.note != "retransmission: too large":
            bench.drain()
    sent = [each.segment for each in bench.drain()]
    assert {each.note for each in sent} == {"retransmission: too large"}
    assert sent[0].seq == 1 + MSS
    assert max(len(each.payload) for each in sent) == 600
    assert bench.cwnd == before * 600 // MSS


@pytest.mark.rfc("5927:7.2")
def test_a_doubt_ends_when_the_segment_arrives() -> None:
    bench = proven()
    too_large(bench, 1 + MSS)
    bench.arrive(ACK)
    bench.drain()
    while "retransmission: timeout" not in [each.segment.note for each in bench.drain()]:
        bench.wait()
    assert bench.snd_mss == MSS


def test_small_segments_prove_nothing_about_large_ones() -> None:
    bench = established()
    bench.send(b"hello")
    bench.drain()
    bench.arrive(ACK)
    bench.send(TEXT)
    bench.drain()
    too_large(bench, 6)
    assert bench.drain()[0].segment.note == "retransmission: too large"


# What comes of it later


def test_losses_are_recovered_as_ever_afterwards(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    too_large(bench, 1)
    bench.drain()
    bench.arrive(ACK)
    bench.drain()
    una = bench.snd_una
    for number in range(2, 6):
        bench.arrive(ACK, ack=una, sack=((una + 600, una + 600 * number),))
        if bench.pending:
            break
    bench.expect(ACK, seq=una, size=600, note="retransmission: fast")
    bench.drain()
    assert bench.ssthresh < 1 << 20


def test_a_path_that_others_know_of(numbers: Numbers) -> None:
    """What is on its way is left; what follows is smaller, and larger when it is wider again."""
    bench = in_flight(**numbers)
    bench.path_changed(NARROW)
    bench.expect_nothing()
    bench.arrive(ACK)
    assert {len(each.segment.payload) for each in bench.drain()} == {600}
    bench.path_changed(MSS + TIMESTAMPS)
    bench.arrive(ACK)
    assert len(bench.drain()[0].segment.payload) == MSS
