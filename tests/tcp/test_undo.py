"""Losses that were none, and going back to where we were: Eifel, D-SACK and F-RTO."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.tcp.flight import (
    RTT,
    SACKING,
    STAMPING,
    acknowledge,
    block,
    expect_segments,
    flying,
    numbers_of,
    phase,
    sack,
    seq,
    windows,
)
from tests.tcp.harness import MSS, NO_OPTIONS, WITHOUT_SACK, Bench, Numbers
from tunstack.tcp.congestion import Reno
from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.recovery.sent import Sent
from tunstack.tcp.recovery.undo import Undo
from tunstack.tcp.segment import ACK, Segment

UNLIMITED: Final = (1 << 30) / MSS
"""The threshold before any loss, in segments."""


def undone(bench: Bench) -> int:
    return bench.undone


def mistaken(**setup: Any) -> Bench:
    """The first of ten is only late, but three duplicates have come: it was sent again."""
    bench = flying(10, **setup)
    bench.advance(RTT)
    sack(bench, 1, 2, 3, ts_ecr=100)
    expect_segments(bench, 0, note="fast")
    assert windows(bench)[1] == 5
    return bench


def timed_out(**setup: Any) -> Bench:
    """Ten are late, all of them: the probe, and then the timeout. Nothing more is queued."""
    bench = flying(10, **setup)
    while phase(bench) is not Phase.LOSS:
        bench.drain()
        bench.wait()
    expect_segments(bench, 0, note="timeout")
    assert windows(bench) == (1, 5)
    return bench


def as_before(bench: Bench, cwnd: float = 10.0) -> None:
    """Nothing reminds of the loss."""
    assert phase(bench) is Phase.OPEN
    assert bench.lost == 0
    assert windows(bench)[0] >= cwnd
    assert windows(bench)[1] == UNLIMITED
    assert undone(bench) == 1


# Eifel: the echo is older than the first retransmission (RFC 3522)


@pytest.mark.rfc("3522:3.2", "4015:3")
def test_an_old_echo_undoes_a_fast_retransmission(numbers: Numbers) -> None:
    bench = mistaken(peer=STAMPING, **numbers)
    bench.advance(RTT / 5)
    acknowledge(bench, 4, ts_ecr=100)
    as_before(bench)
    assert all(number > 9 for number in numbers_of(bench))
    assert bench.retransmissions == 1


@pytest.mark.rfc("3522:3.2", "8985:6.2")
def test_what_was_only_late_was_reordered() -> None:
    bench = mistaken(peer=STAMPING)
    bench.advance(RTT / 5)
    acknowledge(bench, 4, ts_ecr=100)
    bench.drain()
    assert bench.reordering_seen


@pytest.mark.rfc("3522:3.2")
def test_an_echo_of_the_retransmission_undoes_nothing() -> None:
    bench = mistaken(peer=STAMPING)
    bench.advance(RTT)
    acknowledge(bench, 4, ts_ecr=200)
    bench.drain()
    assert undone(bench) == 0
    assert phase(bench) is Phase.RECOVERY


@pytest.mark.rfc("3522:3.2")
@pytest.mark.parametrize("start", [0.0, 0.0004, 0.9991, 12345.6783, 999_999.9994])
def test_eifel_is_ambiguous_within_a_millisecond(start: float) -> None:
    """The clock of the timestamps ticks in milliseconds: like Karn's rule, when in doubt, no."""
    bench = Bench()  # Only for its clock.
    stamp, echoed_at = bench.connection.timestamp, bench.connection.echoed_at
    bench.timestamps_ok = True
    undo = Undo(1, 1)
    undo.on_retransmit(0, 10, start)
    sent = Sent(0, 10, start)
    sent.retransmitted = True
    for later in (0.0, 0.0003, 0.01, 0.1234, 7.7777):
        now = start + later

        def echo(ticks: int, now: float = now) -> float | None:
            ecr = (stamp(start) + ticks) % 2**32
            return echoed_at(Segment(0, ts_val=0, ts_ecr=ecr), now)

        assert not undo.is_spurious_by_echo(echo(0), sent)
        assert not undo.is_spurious_by_echo(echo(1), sent)
        assert undo.is_spurious_by_echo(echo(-1), sent)


@pytest.mark.rfc("3522:3.2")
def test_an_old_echo_must_be_of_something_that_was_sent_again() -> None:
    """An ACK of what came before it, delayed on its way, is old as well."""
    undo = Undo(1, 1)
    undo.on_retransmit(10, 20, 5.0)
    before, again = Sent(0, 10, 1.0), Sent(10, 20, 5.0)
    earlier = Sent(0, 10, 4.0)
    again.retransmitted = earlier.retransmitted = True
    assert not undo.is_spurious_by_echo(1.0, before)
    assert not undo.is_spurious_by_echo(1.0, earlier)
    assert not undo.is_spurious_by_echo(None, again)
    assert undo.is_spurious_by_echo(1.0, again)
    assert not Undo(1, 1).is_spurious_by_echo(1.0, again)


@pytest.mark.rfc("3522:3.2", "4015:3")
def test_an_old_echo_undoes_a_timeout(numbers: Numbers) -> None:
    """Nothing more is sent again, and new data follows."""
    bench = timed_out(peer=STAMPING, **numbers)
    acknowledge(bench, 1, ts_ecr=100)
    as_before(bench)
    assert all(number > 9 for number in numbers_of(bench))
    assert bench.retransmissions == 1


@pytest.mark.rfc("3522:3.2", "5681:3.1")
@pytest.mark.parametrize("make", [mistaken, timed_out])
def test_the_ack_that_undoes_it_opens_the_window_as_any_other(make: Any) -> None:
    """By a segment: most of what it covers has been sent for already."""
    bench = make(peer=STAMPING)
    bench.advance(RTT / 5)
    acknowledge(bench, 4, ts_ecr=100)
    assert undone(bench) == 1
    assert windows(bench) == (11, UNLIMITED)
    bench.drain()


@pytest.mark.rfc("3522:3.2")
def test_an_echo_of_what_the_timeout_sent_again_undoes_nothing() -> None:
    bench = timed_out(peer=STAMPING)
    acknowledge(bench, 1, ts_ecr=int(bench.now * 1000))
    bench.drain()
    assert undone(bench) == 0
    assert phase(bench) is Phase.LOSS


@pytest.mark.rfc("3522:3.2")
def test_an_old_echo_undoes_a_mistake_without_sack_too() -> None:
    bench = flying(10, peer=WITHOUT_SACK)
    bench.advance(RTT)
    for _ in range(3):
        bench.drain()
        bench.arrive(ACK, ack=1, ts_ecr=100)
    expect_segments(bench, 0, note="fast")
    acknowledge(bench, 4, ts_ecr=100)
    as_before(bench)
    bench.drain()


# D-SACK: all that was sent again came twice (RFC 3708)


@pytest.mark.rfc("3708:3", "2883:5")
def test_a_d_sack_of_all_that_was_sent_again_undoes_the_recovery(numbers: Numbers) -> None:
    bench = mistaken(**numbers)
    bench.advance(RTT / 5)
    acknowledge(bench, 4)
    bench.drain()
    assert undone(bench) == 0
    bench.advance(RTT * 4 / 5)
    acknowledge(bench, 10, dsack=(block(0),))
    as_before(bench)
    bench.drain()


@pytest.mark.rfc("3708:3", "2883:5")
def test_it_does_after_the_recovery_is_over_as_well() -> None:
    bench = mistaken()
    acknowledge(bench, 12)
    bench.drain()
    assert (phase(bench), windows(bench)) == (Phase.OPEN, (5, 5))
    acknowledge(bench, 12, dsack=(block(0),))
    as_before(bench)
    bench.drain()


@pytest.mark.rfc("3708:3", "2883:4")
def test_it_does_though_later_acks_arrived_first(numbers: Numbers) -> None:
    """It is told once. What its ACK says of data is old, and the time that it took no measure."""
    bench = mistaken(**numbers)
    acknowledge(bench, 12)
    bench.drain()
    srtt, wnd = bench.srtt, bench.snd_wnd
    bench.advance(RTT)
    acknowledge(bench, 10, dsack=(block(0),), wnd=5)
    as_before(bench)
    bench.drain()
    assert (bench.srtt, bench.snd_wnd) == (srtt, wnd)


@pytest.mark.rfc("3708:3")
def test_a_d_sack_of_a_part_undoes_nothing() -> None:
    """Two were sent again, and one of them had been lost."""
    bench = flying(10)
    bench.advance(RTT)
    acknowledge(bench, 0, 1, 3, 4, 5, 6)
    assert numbers_of(bench)[:2] == [0, 2]
    acknowledge(bench, 7, dsack=(block(0),))
    bench.drain()
    assert undone(bench) == 0
    acknowledge(bench, 7, dsack=(block(2),))
    assert undone(bench) == 1
    bench.drain()


@pytest.mark.rfc("3708:3")
def test_what_the_network_duplicates_undoes_nothing() -> None:
    """It was not sent twice by us."""
    bench = mistaken()
    bench.advance(RTT)
    acknowledge(bench, 4, dsack=(block(2),))
    bench.drain()
    acknowledge(bench, 5, dsack=(block(4),))
    bench.drain()
    assert undone(bench) == 0


@pytest.mark.rfc("3708:3")
def test_what_was_sent_again_twice_must_come_three_times() -> None:
    undo = Undo(1, 1)
    undo.on_retransmit(0, 10, 1.0)
    undo.on_retransmit(0, 10, 2.0)
    assert not undo.on_dsack(0, 10)
    assert undo.on_dsack(0, 10)


@pytest.mark.rfc("3708:3")
def test_d_sacks_may_be_cut_otherwise_than_the_retransmissions() -> None:
    undo = Undo(1, 1)
    undo.on_retransmit(0, 10, 1.0)
    undo.on_retransmit(10, 20, 1.0)
    undo.on_retransmit(30, 40, 1.0)
    assert not undo.on_dsack(5, 35)  # 20 to 30 is the network's.
    assert not undo.on_dsack(35, 40)
    assert undo.on_dsack(0, 5)
    assert not undo.on_dsack(0, 5)


@pytest.mark.rfc("3708:3", "2883:5")
def test_d_sacks_undo_a_timeout() -> None:
    """All ten were late; what was sent again for them comes for the second time."""
    bench = timed_out(queued=10)
    assert numbers_of(bench) == []
    acknowledge(bench, 1)
    assert numbers_of(bench) == [1, 2]
    acknowledge(bench, 10)
    for number in range(3):
        assert undone(bench) == 0
        acknowledge(bench, 10, dsack=(block(number),))
    as_before(bench)
    assert not bench.reordering_seen  # They were late, but in order.


# F-RTO: what was sent once, before the timeout, arrives after it (RFC 5682 section 3)


@pytest.mark.rfc("5682:3.1")
def test_old_data_that_arrives_after_new_was_sent_undoes_a_timeout(numbers: Numbers) -> None:
    """Step 2 b: two new segments and nothing old; step 3 b: not lost."""
    bench = timed_out(**numbers)
    new = bench.snd_nxt // MSS
    acknowledge(bench, 1)
    assert numbers_of(bench) == [new, new + 1]
    acknowledge(bench, 2)
    as_before(bench, 11)  # By this ACK as well.
    assert all(number > new for number in numbers_of(bench))
    assert bench.retransmissions == 1


@pytest.mark.rfc("5682:3.1")
def test_old_data_that_is_sacked_then_does_so_too() -> None:
    bench = timed_out()
    acknowledge(bench, 1)
    bench.drain()
    acknowledge(bench, 1, 4)
    assert undone(bench) == 1
    bench.drain()


@pytest.mark.rfc("5682:3.1")
def test_new_data_that_is_sacked_before_old_means_that_the_timeout_was_right() -> None:
    """Step 3 a."""
    bench = timed_out()
    new = bench.snd_nxt // MSS
    acknowledge(bench, 1)
    bench.drain()
    bench.advance(RTT)
    acknowledge(bench, 1, new)
    assert numbers_of(bench)[0] == 1
    assert undone(bench) == 0
    acknowledge(bench, 3, new)  # Too late to tell: that may be the retransmission.
    bench.drain()
    assert undone(bench) == 0
    assert phase(bench) is Phase.LOSS


@pytest.mark.rfc("5682:3.1")
def test_a_duplicate_ack_means_that_the_timeout_was_right() -> None:
    """Step 3 a."""
    bench = timed_out()
    acknowledge(bench, 1)
    bench.drain()
    bench.advance(RTT)
    acknowledge(bench, 1)
    bench.expect_nothing()  # Two are on their way, which is the window.
    acknowledge(bench, 3)
    assert numbers_of(bench) == [3]
    assert undone(bench) == 0


@pytest.mark.rfc("5682:3.1")
def test_an_ack_of_all_data_is_not_evidence() -> None:
    """Step 2 a: the first may have been lost, and the ACKs of the others."""
    bench = timed_out()
    acknowledge(bench, bench.snd_nxt // MSS)
    bench.drain()
    assert undone(bench) == 0
    assert windows(bench)[1] == 5


@pytest.mark.rfc("5682:3.1")
def test_a_sack_before_the_ack_of_the_retransmission_is_not_evidence() -> None:
    """Step 2: it may have been sent shortly before the timeout."""
    bench = timed_out()
    acknowledge(bench, 0, 4)
    bench.drain()
    acknowledge(bench, 0, 4, 5)
    bench.drain()
    assert undone(bench) == 0
    assert phase(bench) is Phase.LOSS


@pytest.mark.rfc("5682:3.1")
def test_f_rto_needs_new_data() -> None:
    """Step 2 b: then what is lost is sent again, and its ACKs say nothing."""
    bench = timed_out(queued=10)
    acknowledge(bench, 1)
    expect_segments(bench, 1, 2, note="timeout")
    acknowledge(bench, 2)
    bench.drain()
    assert undone(bench) == 0


@pytest.mark.rfc("5682:3.1")
def test_f_rto_needs_room_in_the_peers_window() -> None:
    bench = timed_out(peer=replace(SACKING, wnd=11 * MSS))
    acknowledge(bench, 1, wnd=9 * MSS)
    expect_segments(bench, 1, 2, note="timeout")


@pytest.mark.rfc("5682:3.1")
def test_a_second_timeout_of_the_same_is_not_judged() -> None:
    """Step 1: recovery goes on from the first."""
    bench = timed_out()
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    acknowledge(bench, 1)
    expect_segments(bench, 1, 2, note="timeout")
    acknowledge(bench, 4)
    bench.drain()
    assert undone(bench) == 0


@pytest.mark.rfc("5682:3.1")
def test_a_timeout_in_fast_recovery_is_not_judged() -> None:
    bench = mistaken()
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    acknowledge(bench, 4)
    assert numbers_of(bench)[0] == 4
    acknowledge(bench, 7)
    bench.drain()
    assert undone(bench) == 0


@pytest.mark.rfc("5682:2")
def test_without_sack_a_timeout_goes_back() -> None:
    """Timestamps tell there, if the peer has them."""
    bench = flying(10, peer=NO_OPTIONS)
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    acknowledge(bench, 1)
    expect_segments(bench, 1, 2, note="timeout")
    acknowledge(bench, 2)
    bench.drain()
    assert undone(bench) == 0


# What is restored


@pytest.mark.rfc("4015:3")
def test_the_window_of_before_the_first_of_several_reductions_comes_back() -> None:
    """A fast retransmission, and then a timeout, of the same window."""
    bench = mistaken(peer=STAMPING)
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    assert windows(bench)[0] == 1
    acknowledge(bench, 1, ts_ecr=100)
    as_before(bench)
    bench.drain()


@pytest.mark.rfc("4015:3")
def test_undo_takes_nothing_away() -> None:
    """The window may have grown beyond what it was."""
    reno = Reno()
    reno.set_mss(MSS, 10)
    reno.cwnd, reno.ssthresh = 20 * MSS, 30 * MSS
    reno.undo(10 * MSS, 5 * MSS)
    assert (reno.cwnd, reno.ssthresh) == (20 * MSS, 30 * MSS)


@pytest.mark.rfc("8985:6.2")
def test_what_is_lost_all_the_same_is_found_again_at_once() -> None:
    """The first was late, the fifth is lost: one mistake does not excuse the other."""
    bench = flying(10, peer=STAMPING)
    bench.advance(RTT)
    sack(bench, 1, 2, 3, 5, 6, 7, ts_ecr=100)
    bench.drain()
    bench.advance(RTT / 2)
    acknowledge(bench, 4, 5, 6, 7, ts_ecr=100)
    assert undone(bench) == 1
    assert phase(bench) is Phase.RECOVERY
    assert numbers_of(bench)[0] == 4 or bench.resent
    assert bench.recover > seq(10)


@pytest.mark.rfc("6582:3.2")
def test_after_an_undo_the_next_loss_counts_again() -> None:
    bench = mistaken(peer=STAMPING)
    bench.advance(RTT / 5)
    acknowledge(bench, 4, ts_ecr=100)
    bench.drain()
    bench.advance(RTT * 4 / 5)
    nxt = bench.snd_nxt // MSS
    acknowledge(bench, 4, *range(5, nxt))
    if not bench.pending:
        bench.wait()
    assert numbers_of(bench)[0] == 4
    assert windows(bench)[1] < UNLIMITED
    assert undone(bench) == 1
