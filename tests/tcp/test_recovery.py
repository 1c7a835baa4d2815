"""Loss recovery with peers that know no SACK: NewReno (RFC 6582), and going back after a timeout.

The window during recovery is PRR's (RFC 9937): it lets as many segments go as RFC 6582's would, but
begins earlier, in proportion to what arrives, not after half a round trip of silence.
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
    Numbers,
    Offer,
    established,
)
from tunstack.tcp.congestion import Reno
from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.segment import ACK, FIN, PSH

RENO: Final = replace(CONFIG, congestion=Reno)
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
    bench = established(**{"config": RENO, "peer": WITHOUT_SACK} | setup)
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
    return bench.cwnd // MSS, bench.ssthresh // MSS


def phase(bench: Bench) -> Phase:
    return bench.phase


def lost(**setup: Any) -> Bench:
    """A bench in fast recovery: the first of ten is lost, and two more went out meanwhile."""
    bench = in_flight(**setup)
    duplicate_acks(bench, 2)
    expect_segments(bench, 10, 11)
    duplicate_acks(bench, 1)
    expect_segments(bench, 0, note="fast")
    return bench


# Limited transmit and fast retransmit


@pytest.mark.rfc("3042:2", "5681:3.2")
def test_each_of_the_first_two_duplicate_acks_lets_a_new_segment_go(numbers: Numbers) -> None:
    """They mean no loss yet, and the window stays as it is."""
    bench = in_flight(**numbers)
    duplicate_acks(bench, 1)
    expect_segments(bench, 10)
    duplicate_acks(bench, 1)
    expect_segments(bench, 11)
    assert windows(bench)[0] == 10
    assert phase(bench) is Phase.OPEN


@pytest.mark.rfc("3042:2")
def test_limited_transmit_keeps_to_the_window_of_the_peer() -> None:
    bench = established(config=RENO, peer=replace(WITHOUT_SACK, wnd=11 * MSS))
    bench.send(TEXT)
    expect_segments(bench, *range(WINDOW))
    duplicate_acks(bench, 1)
    expect_segments(bench, 10)
    duplicate_acks(bench, 1)
    bench.expect_nothing()


@pytest.mark.rfc("5681:3.2")
def test_the_third_duplicate_ack_stands_for_a_loss(numbers: Numbers) -> None:
    """At once; half of the flight is the new threshold, without what limited transmit added."""
    bench = in_flight(**numbers)
    duplicate_acks(bench, 2)
    expect_segments(bench, 10, 11)
    bench.advance(0.1)
    bench.arrive(ACK, ack=1)
    expect_segments(bench, 0, note="fast")
    assert phase(bench) is Phase.RECOVERY
    assert windows(bench)[1] == 5


@pytest.mark.rfc("5681:3.2")
def test_three_duplicate_acks_in_one_batch(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    assert windows(bench)[1] == 5


@pytest.mark.parametrize("disqualified", ["data", "window", "fin", "nothing outstanding", "old"])
def test_what_is_no_duplicate_ack(disqualified: str) -> None:
    """RFC 5681 section 2."""
    if disqualified == "nothing outstanding":
        bench = established(config=RENO, peer=WITHOUT_SACK)
    else:
        bench = in_flight()
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
    assert phase(bench) is Phase.OPEN
    assert bench.pipe == bench.outstanding


def test_an_ack_of_new_data_resets_the_count() -> None:
    bench = in_flight()
    duplicate_acks(bench, 2)
    bench.drain()
    bench.arrive(ACK, ack=seq(1))
    bench.drain()
    duplicate_acks(bench, 2, ack=seq(1))
    assert all(not sent.segment.note for sent in bench.drain())
    duplicate_acks(bench, 1, ack=seq(1))
    expect_segments(bench, 1, note="fast")


def test_very_first_segment_can_be_recovered(numbers: Numbers) -> None:
    """RFC 6582's recover begins before it."""
    bench = established(config=replace(RENO, nodelay=True), peer=WITHOUT_SACK, **numbers)
    for text in (b"a", b"b", b"c", b"d"):
        bench.send(text)
        bench.expect(ACK | PSH, payload=text)
    duplicate_acks(bench, 3)
    bench.expect(ACK | PSH, seq=1, payload=b"abcd", note="retransmission: fast")


def test_a_fin_can_be_recovered() -> None:
    bench = established(config=replace(RENO, nodelay=True), peer=WITHOUT_SACK)
    for text in (b"a", b"b"):
        bench.send(text)
        bench.expect(ACK | PSH, payload=text)
    bench.shutdown()
    bench.expect(FIN | ACK)
    duplicate_acks(bench, 3)
    bench.expect(FIN | ACK | PSH, seq=1, payload=b"ab", note="retransmission: fast")


# Fast recovery


@pytest.mark.rfc("5681:3.2", "6582:3.2", "9937:6.2")
def test_further_duplicates_let_as_many_new_segments_go_as_inflation_would(
    numbers: Numbers,
) -> None:
    """Of twelve, eleven arrive: 5 + 11 - 12 = 4 new ones, in proportion (5 out for 10 in)."""
    bench = lost(**numbers)
    for number in (None, None, 12, None, None, 13, 14, 15):
        duplicate_acks(bench, 1)
        if (
            number is not None
        ):  # At first half a segment is ahead: the retransmission could not wait.
            expect_segments(bench, number)
        bench.expect_nothing()


@pytest.mark.rfc("6582:3.2")
def test_full_ack_ends_recovery_without_a_burst(numbers: Numbers) -> None:
    """Step 3: min(ssthresh, max(FlightSize, SMSS) + SMSS)."""
    bench = lost(**numbers)
    duplicate_acks(bench, 6)
    expect_segments(bench, 12, 13)
    bench.arrive(ACK, ack=seq(12))  # Two are still under way.
    assert windows(bench) == (3, 5)
    assert phase(bench) is Phase.OPEN
    expect_segments(bench, 14)


@pytest.mark.rfc("6582:3.2")
def test_full_ack_leaves_at_most_ssthresh() -> None:
    bench = lost()
    for _ in range(12):  # More than can have arrived: the peer exaggerates.
        duplicate_acks(bench, 1)
        bench.drain()
    assert bench.outstanding == 20 * MSS
    bench.arrive(ACK, ack=seq(12))
    assert windows(bench) == (5, 5)
    bench.expect_nothing()


@pytest.mark.rfc("6582:3.2")
def test_full_ack_in_the_batch_of_the_duplicates_leaves_nothing_to_send_again() -> None:
    bench = in_flight()
    with bench.batch():
        for _ in range(3):
            bench.arrive(ACK, ack=1)
        bench.arrive(ACK, ack=seq(10))
    assert bench.retransmissions == 0
    expect_segments(bench, 10, 11)  # max(0, 1) + 1.


@pytest.mark.rfc("6582:3.2")
def test_a_partial_ack_marks_the_next_hole_lost(numbers: Numbers) -> None:
    """Step 3: 0, 4 and 5 were lost; no timeout is needed, and no new segment goes out beside."""
    bench = lost(**numbers)
    bench.arrive(ACK, ack=seq(4))
    expect_segments(bench, 4, note="fast")
    bench.arrive(ACK, ack=seq(5))
    expect_segments(bench, 5, note="fast")
    bench.arrive(ACK, ack=seq(12))
    assert phase(bench) is Phase.OPEN
    expect_segments(bench, 12, 13)
    assert bench.retransmissions == 3


@pytest.mark.rfc("6582:3.2")
def test_partial_acks_let_as_many_new_segments_go_as_deflation_would() -> None:
    """0, 1 and 4 of twelve are lost, and nine duplicates come: 5 + 9 - 12 = 2 new ones.

    Then each partial ACK has a segment sent again; what it acknowledges, less one for that, leaves
    room for 14 - 1 + 1 - 13 = 1 and 14 - 3 + 1 - 11 = 1.
    """
    bench = lost()
    duplicate_acks(bench, 6)
    expect_segments(bench, 12, 13)
    bench.arrive(ACK, ack=seq(1))
    expect_segments(bench, 1, note="fast")
    expect_segments(bench, 14)
    bench.arrive(ACK, ack=seq(4))
    expect_segments(bench, 4, note="fast")
    expect_segments(bench, 15)
    bench.arrive(ACK, ack=seq(12))
    assert phase(bench) is Phase.OPEN
    assert windows(bench) == (5, 5)
    expect_segments(bench, 16)


@pytest.mark.rfc("6582:3.2")
def test_a_segment_is_sent_again_for_each_partial_ack_however_small_the_window() -> None:
    bench = lost()
    for number in range(1, 9):
        bench.arrive(ACK, ack=seq(number))
        assert bench.pending.popleft().segment.seq == seq(number)
        bench.drain()


@pytest.mark.rfc("6582:3.2", "6582:4")
def test_only_the_first_partial_ack_restarts_the_timer() -> None:
    """The impatient variant."""
    bench = in_flight(peer=NO_OPTIONS)
    bench.advance(0.1)
    duplicate_acks(bench, 3)
    expect_segments(bench, 0, note="fast")
    bench.advance(0.05)
    bench.arrive(ACK, ack=seq(3))
    expect_segments(bench, 3, note="fast")
    rto = bench.rto
    bench.advance(0.05)
    bench.arrive(ACK, ack=seq(5))
    expect_segments(bench, 5, note="fast")
    bench.wait()
    assert bench.now == pytest.approx(0.15 + rto)
    expect_segments(bench, 5, note="timeout")


@pytest.mark.rfc("6582:3.2")
def test_duplicates_of_what_was_recovered_begin_no_other(numbers: Numbers) -> None:
    """Step 2: not before SND.UNA has passed recover; limited transmit is all they bring."""
    bench = lost(**numbers)
    bench.arrive(ACK, ack=seq(12))
    expect_segments(bench, 12, 13)
    duplicate_acks(bench, 5, ack=seq(12))  # Only one of the two can have arrived.
    expect_segments(bench, 14)
    bench.arrive(ACK, ack=seq(13))
    bench.drain()
    duplicate_acks(bench, 2, ack=seq(13))
    bench.drain()
    duplicate_acks(bench, 1, ack=seq(13))
    expect_segments(bench, 13, note="fast")


@pytest.mark.rfc("9937:6.2")
def test_prr_counts_from_the_third_duplicate_ack(numbers: Numbers) -> None:
    """Eight are on their way then; one of ten has arrived: half a segment more may be."""
    bench = lost(**numbers)
    assert bench.cwnd == 8.5 * MSS
    assert bench.pipe == 9 * MSS  # The retransmission did not wait.
    duplicate_acks(bench, 1)
    assert bench.cwnd == 8 * MSS  # Two of ten: one, and it is out.


@pytest.mark.rfc("3042:2", "6582:3.2")
def test_the_third_duplicate_of_what_was_recovered_lets_nothing_go(numbers: Numbers) -> None:
    """Limited transmit is for two, though no recovery begins."""
    bench = lost(**numbers)
    duplicate_acks(bench, 6)
    expect_segments(bench, 12, 13)
    bench.arrive(ACK, ack=seq(12))
    expect_segments(bench, 14)
    duplicate_acks(bench, 1, ack=seq(12))
    expect_segments(bench, 15)
    duplicate_acks(bench, 1, ack=seq(12))
    expect_segments(bench, 16)
    duplicate_acks(bench, 3, ack=seq(12))
    bench.expect_nothing()
    assert phase(bench) is Phase.OPEN


# Timeout


def test_timeout_leaves_one_segment_and_half_of_the_flight(numbers: Numbers) -> None:
    """RFC 5681 section 3.1: the loss window, and equation 4."""
    bench = in_flight(**numbers)
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    assert windows(bench) == (1, 5)


def test_threshold_is_two_segments_at_least() -> None:
    bench = established(config=RENO, peer=WITHOUT_SACK)
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
    assert bench.retransmissions == 10


def test_after_a_timeout_what_has_arrived_is_not_sent_again(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    bench.arrive(ACK, ack=seq(10))  # Only the first was lost.
    assert phase(bench) is Phase.OPEN
    assert bench.retransmissions == 1
    assert windows(bench) == (2, 5)  # That ACK counts for one segment.
    expect_segments(bench, 10, 11)


@pytest.mark.rfc("5681:3.1")
@pytest.mark.parametrize("peer", [Offer(), WITHOUT_SACK], ids=["sack", "no-sack"])
@pytest.mark.parametrize("size", [MSS, 100])
def test_after_a_timeout_of_a_lone_segment_two_leave(peer: Offer, size: int) -> None:
    """Its ACK opens the window though it ends the recovery, and a segment counts as one."""
    bench = established(config=RENO, peer=peer)
    bench.send(TEXT[:size])
    while phase(bench) is not Phase.LOSS:  # The tail loss probe, if there is one, is lost as well.
        bench.drain()
        bench.wait()
    bench.drain()
    assert windows(bench) == (1, 2)
    bench.arrive(ACK)
    assert windows(bench) == (2, 2)
    bench.send(TEXT[: 10 * MSS])
    assert [len(sent.segment.payload) for sent in bench.drain()] == [MSS, MSS]


def test_the_end_of_what_was_outstanding_is_cut_where_it_was() -> None:
    """New data is not glued to what is sent again, though there would be room."""
    bench = established(config=replace(RENO, nodelay=True), peer=WITHOUT_SACK)
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
    assert phase(bench) is Phase.LOSS


def test_a_timeout_ends_fast_recovery() -> None:
    bench = lost()
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    assert phase(bench) is Phase.LOSS
    assert windows(bench)[0] == 1
    bench.arrive(ACK, ack=seq(1))
    expect_segments(bench, 1, 2, note="timeout")


def test_an_octet_wise_retransmission_may_be_cut_otherwise() -> None:
    """There is no list of old packets: SACK blocks make the second try smaller."""
    bench = established()
    bench.send(TEXT[:1000])
    bench.expect(ACK | PSH, size=1000)
    bench.arrive(ACK, seq=2001, ack=1, payload=b"x")
    bench.drain()
    bench.wait()
    blocks = ((2001, 2002),)
    probe = "retransmission: tail loss probe"
    bench.expect(ACK | PSH, seq=13, payload=TEXT[12:1000], sack=blocks, note=probe)
    bench.wait()
    note = "retransmission: timeout"
    bench.expect(ACK, seq=1, payload=TEXT[:988], sack=blocks, note=note)
    bench.expect(ACK | PSH, seq=989, payload=TEXT[988:1000], sack=blocks, note=note)
