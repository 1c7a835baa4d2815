"""Losses found by time (RFC 8985 section 6), with 100 ms of round trip."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.tcp.flight import (
    RENO,
    RTT,
    STAMPING,
    acknowledge,
    block,
    connected,
    expect_segments,
    flying,
    numbers_of,
    phase,
    sack,
    seq,
    windows,
)
from tests.tcp.harness import MSS, Numbers
from tunstack.tcp.recovery.rack import Rack
from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.recovery.scoreboard import Scoreboard
from tunstack.tcp.recovery.sent import Sent
from tunstack.tcp.segment import ACK, PSH
from tunstack.tcp.sender.rtt import RttEstimator

REO_WND: Final = RTT / 4
"""The reordering window at first."""


# Step 5: what is overdue is lost


@pytest.mark.rfc("8985:6.2")
def test_one_sack_is_enough_when_a_quarter_of_a_round_trip_has_gone_by(numbers: Numbers) -> None:
    """Too few segments for three duplicates; what was sent after the SACKed one is not lost."""
    bench = flying(4, queued=4, **numbers)
    bench.advance(RTT)
    sack(bench, 1)
    bench.expect_nothing()
    bench.advance(REO_WND)
    assert bench.pending[0].at == pytest.approx(RTT + RTT + REO_WND)
    expect_segments(bench, 0, note="fast")
    assert phase(bench) is Phase.RECOVERY


@pytest.mark.rfc("8985:6.2")
def test_what_comes_within_the_reordering_window_is_not_lost() -> None:
    bench = flying(4, queued=4)
    bench.advance(RTT)
    sack(bench, 1)
    bench.advance(REO_WND * 0.9)
    acknowledge(bench, 2)
    bench.advance(REO_WND)
    bench.expect_nothing()
    assert phase(bench) is Phase.OPEN


@pytest.mark.rfc("8985:6.2")
def test_the_wait_counts_from_when_each_was_sent() -> None:
    """RTT and reordering window from its own time: the timer is for the last, and finds both."""
    bench = connected(config=replace(RENO, nodelay=True))
    for number in range(3):
        bench.send(bytes([number]) * MSS)
        bench.drain()
        bench.advance(0.01)
    bench.run_until(2 * RTT + 0.02)
    acknowledge(bench, 0, 2)  # Sent at RTT + 0.02.
    bench.expect_nothing()
    bench.wait()
    assert bench.now == pytest.approx(RTT + 0.01 + RTT + REO_WND)
    assert numbers_of(bench)[0] == 0
    assert bench.lost + bench.resent == 2 * MSS


@pytest.mark.rfc("8985:6.2", "6675:5", "5681:3.2")
def test_three_sacked_segments_are_enough_at_once(numbers: Numbers) -> None:
    """No reordering window where nothing was ever out of order."""
    bench = flying(10, **numbers)
    bench.advance(RTT)
    sack(bench, 1, 2)
    bench.drain()
    assert phase(bench) is Phase.OPEN
    acknowledge(bench, 0, 1, 2, 3)
    expect_segments(bench, 0, note="fast")


@pytest.mark.rfc("8985:6.2")
def test_three_small_segments_are_enough_as_well() -> None:
    bench = connected(config=replace(RENO, nodelay=True))
    for text in (b"a", b"b", b"c", b"d"):
        bench.send(text)
        bench.expect(ACK | PSH, payload=text)
    bench.advance(RTT)
    for held in (3, 4):
        bench.arrive(ACK, ack=1, sack=((2, held),))
        bench.expect_nothing()
    bench.arrive(ACK, ack=1, sack=((2, 5),))
    bench.expect(ACK, seq=1, payload=b"a", note="retransmission: fast")


@pytest.mark.rfc("8985:6.2", "6675:4")
def test_more_than_two_segments_in_one_sack_are_enough() -> None:
    """The ACKs before were lost, or the peer says it for a whole batch."""
    bench = flying(10)
    bench.advance(RTT)
    bench.arrive(ACK, ack=1, sack=((seq(1), seq(3) + 1),))
    assert numbers_of(bench)[0] == 0
    assert phase(bench) is Phase.RECOVERY


@pytest.mark.rfc("8985:6.2")
def test_in_recovery_reo_wnd_is_zero() -> None:
    bench = flying(10)
    bench.advance(RTT)
    sack(bench, 1, 2, 3)
    expect_segments(bench, 0, note="fast")
    acknowledge(bench, 0, 1, 2, 3, 5)
    bench.drain()
    assert bench.lost + bench.resent == 2 * MSS


# Step 2: the latest of what was delivered


@pytest.mark.rfc("8985:6.2")
def test_a_lost_retransmission_is_found_by_what_was_sent_after_it(numbers: Numbers) -> None:
    """And sent again, without a timeout."""
    bench = flying(10, **numbers)
    bench.advance(RTT)
    sack(bench, 1, 2, 3)
    expect_segments(bench, 0, note="fast")
    sack(bench, *range(1, 10))
    assert numbers_of(bench)[-1] > 9  # New ones follow, in the same moment.
    bench.advance(RTT)
    acknowledge(bench, 0, *range(1, 11))
    assert numbers_of(bench)[0] == 0
    acknowledge(bench, 12)
    bench.drain()
    assert bench.retransmissions == 2
    assert phase(bench) is Phase.OPEN


@pytest.mark.rfc("8985:6.2")
def test_what_is_acknowledged_too_soon_was_not_the_retransmission() -> None:
    """Else all that was sent before it, and is still under way, would be taken for lost."""
    bench = flying(10)
    bench.advance(RTT)
    sack(bench, 1, 2, 3)
    expect_segments(bench, 0, note="fast")
    bench.advance(RTT * 0.9)
    acknowledge(bench, 4)
    assert all(number > 9 for number in numbers_of(bench))
    assert bench.lost == 0


@pytest.mark.rfc("8985:6.2")
def test_an_older_echo_is_not_of_the_retransmission() -> None:
    """The same after more than a round trip, for the timestamp tells."""
    bench = flying(10, peer=STAMPING)
    bench.advance(RTT)
    sack(bench, 1, 2, 3, ts_ecr=100)
    expect_segments(bench, 0, note="fast")
    bench.advance(RTT * 1.1)
    bench.arrive(ACK, ack=seq(0), sack=(block(0, 3),), ts_ecr=100)
    assert all(number > 9 for number in numbers_of(bench))
    assert bench.lost == 0


def board_of(*times: float) -> Scoreboard:
    """Segments of ten octets, sent at these times."""
    board = Scoreboard()
    for time in times:
        board.on_sent(10, time)
    return board


def deliver(rack: Rack, board: Scoreboard, number: int, now: float, rtt: RttEstimator) -> None:
    highest = board.highest
    for sent in board.mark_sacked(number * 10, number * 10 + 10):
        rack.on_delivered(sent, highest, now, None, rtt)


def estimator(rtt: float = RTT) -> RttEstimator:
    estimator = RttEstimator(1.0, 0.2, 120.0)
    estimator.sample(rtt)
    return estimator


@pytest.mark.rfc("8985:6.2")
def test_of_what_was_sent_in_the_same_moment_the_order_of_numbers_decides() -> None:
    board, rack, rtt = board_of(1.0, 1.0, 1.0, 1.0), Rack(), estimator()
    deliver(rack, board, 2, 1.1, rtt)
    rack.detect_loss(board, 2.0, rtt, without_reordering=True)
    assert [(sent.start, sent.lost) for sent in board] == [(0, True), (20, False), (30, False)]


@pytest.mark.rfc("8985:6.2")
def test_what_was_sent_again_later_is_looked_behind() -> None:
    """The first that was sent later and only once ends the search, not one that was sent again."""
    board, rack, rtt = board_of(1.0, 1.01, 1.02, 1.03), Rack(), estimator()
    board.mark_lost(next(iter(board)))
    board.on_retransmit(0, 10, 1.2)
    deliver(rack, board, 2, 1.2, rtt)
    rack.detect_loss(board, 2.0, rtt, without_reordering=True)
    assert [sent.lost for sent in board] == [False, True, False, False]


@pytest.mark.rfc("8985:6.2")
def test_an_ack_of_several_counts_for_the_one_sent_last() -> None:
    """RACK.rtt is that of the latest: an older block beside it, whose ACK was lost, is none."""
    bench = connected(config=replace(RENO, nodelay=True))
    for number in range(6):
        bench.send(bytes([number]) * MSS)
        bench.drain()
        bench.advance(0.02)
    bench.run_until(2 * RTT + 0.1)
    bench.arrive(ACK, ack=1, sack=(block(5), block(1)))  # Sent at RTT + 0.1 and RTT + 0.02.
    bench.drain()
    bench.wait()
    assert bench.now == pytest.approx(RTT + 0.08 + RTT + REO_WND)
    bench.drain()


# Steps 3 and 4: reordering, and how patient to be


def reordering_window(rack: Rack, rtt: RttEstimator, *, without_reordering: bool = False) -> float:
    """How much longer than a round trip it waits for a segment."""
    board = board_of(1.0, 1.0)
    deliver(rack, board, 1, 1.0 + RTT, rtt)
    again = rack.detect_loss(board, 1.0 + RTT, rtt, without_reordering=without_reordering)
    return 0.0 if again is None else again - 1.0 - RTT


@pytest.mark.rfc("8985:6.2")
def test_reo_wnd_is_a_quarter_of_min_rtt() -> None:
    rtt = estimator(0.2)
    rtt.sample(RTT)
    rtt.sample(0.3)
    assert reordering_window(Rack(), rtt) == pytest.approx(RTT / 4)


@pytest.mark.rfc("8985:6.2")
def test_there_is_none_when_it_is_certain_and_nothing_ever_was_late() -> None:
    assert reordering_window(Rack(), estimator(), without_reordering=True) == 0.0


@pytest.mark.rfc("8985:6.2")
def test_after_reordering_was_seen_reo_wnd_is_used() -> None:
    bench = flying(10, queued=60)
    bench.advance(RTT)
    sack(bench, 1)
    bench.drain()
    acknowledge(bench, 2)  # The first was late, but came.
    bench.drain()
    assert bench.reordering_seen
    sack(bench, 3, 4, 5, 6, ack=2)
    assert all(number > 9 for number in numbers_of(bench))
    assert phase(bench) is Phase.OPEN
    bench.advance(REO_WND)
    assert numbers_of(bench)[0] == 2
    assert phase(bench) is Phase.RECOVERY


@pytest.mark.rfc("8985:6.2")
def test_a_retransmission_that_arrives_is_no_reordering() -> None:
    bench = flying(10)
    bench.advance(RTT)
    sack(bench, 1, 2, 3)
    bench.drain()
    bench.advance(RTT)
    acknowledge(bench, 10)
    bench.drain()
    assert not bench.reordering_seen


def late(rack: Rack) -> Rack:
    rack.reordering_seen = True
    return rack


@pytest.mark.rfc("8985:6.2", "2883:4")
def test_reo_wnd_grows_with_each_round_trip_with_a_d_sack() -> None:
    """But not each D-SACK: a round trip lasts from SND.NXT to SND.NXT."""
    rack, rtt = late(Rack()), estimator()
    for una, nxt, quarters in ((0, 100, 2), (99, 150, 2), (100, 200, 3), (150, 300, 3)):
        rack.on_dsack(una, nxt)
        assert reordering_window(rack, rtt, without_reordering=True) == pytest.approx(
            RTT / 4 * quarters
        )


@pytest.mark.rfc("8985:6.2")
def test_reo_wnd_is_limited_by_srtt() -> None:
    """No more than the smoothed round-trip time."""
    rack, rtt = late(Rack()), estimator()
    for number in range(10):
        rack.on_dsack(number * 100, (number + 1) * 100)
    assert reordering_window(rack, rtt) == pytest.approx(RTT)


@pytest.mark.rfc("8985:6.2")
def test_after_16_recoveries_without_a_d_sack_reo_wnd_is_reset() -> None:
    rack, rtt = late(Rack()), estimator()
    rack.on_dsack(0, 100)
    for _ in range(15):
        rack.on_recovery_end()
    assert reordering_window(rack, rtt) == pytest.approx(RTT / 2)
    rack.on_dsack(100, 200)  # Sixteen more, from here.
    for _ in range(15):
        rack.on_recovery_end()
    assert reordering_window(rack, rtt) == pytest.approx(RTT / 4 * 3)
    rack.on_recovery_end()
    assert reordering_window(rack, rtt) == pytest.approx(RTT / 4)


@pytest.mark.rfc("8985:6.2")
@pytest.mark.parametrize("how", ["recovery", "timeout"])
def test_every_recovery_counts(how: str) -> None:
    bench = flying(10)
    rack = bench.rack
    rack.on_dsack(0, 1)
    late(rack)
    for _ in range(15):
        rack.on_recovery_end()
    bench.advance(RTT)
    if how == "recovery":
        sack(bench, 1, 2, 3)
        bench.drain()
        bench.advance(RTT)
    else:
        while phase(bench) is not Phase.LOSS:
            bench.drain()
            bench.wait()
    bench.drain()
    assert bench.recovering
    acknowledge(bench, bench.snd_nxt // MSS)
    bench.drain()
    assert reordering_window(rack, estimator()) == pytest.approx(RTT / 4)


@pytest.mark.rfc("8985:6.2", "2883:5")
def test_a_d_sack_makes_the_connection_more_patient() -> None:
    """What was sent again had only been late: the next time it waits longer."""
    bench = flying(10, queued=60)
    bench.advance(RTT)
    sack(bench, 1, 2, 3)
    expect_segments(bench, 0, note="fast")
    acknowledge(bench, 4)
    bench.drain()
    acknowledge(bench, 4, 5, 6, 7, 8, dsack=(block(0),))
    bench.drain()
    assert phase(bench) is Phase.OPEN  # Undone; and 4 is missing, but RACK waits for it.
    bench.wait()
    assert bench.now == pytest.approx(2 * RTT + 2 * REO_WND)
    assert numbers_of(bench)[0] == 4


# Section 6.3: with the retransmission timer


@pytest.mark.rfc("8985:6.3")
def test_a_timeout_finds_lost_only_what_is_overdue() -> None:
    """And the first segment; the others may well be on their way."""
    bench = connected(config=replace(RENO, nodelay=True, rto_min=0.01))
    bench.sample_rtt(RTT)
    bench.send(bytes(2 * MSS))
    bench.drain()
    rto_at = bench.retransmit_at
    assert rto_at is not None
    bench.run_until(rto_at - 0.05)
    bench.drain()
    bench.send(bytes(3 * MSS))
    bench.drain()
    bench.stop_early_timer()  # No probe: this is about the timeout.
    bench.run_until(rto_at)
    bench.expect(ACK, seq=1, size=MSS, note="retransmission: timeout")
    board = bench.board
    assert (board.lost, board.resent) == (MSS, MSS)
    assert board.pipe == 4 * MSS


@pytest.mark.rfc("8985:6.3")
def test_of_a_large_range_a_timeout_takes_the_first_segment_for_lost_if_the_rest_is_not_due() -> (
    None
):
    board, rtt = board_of(), estimator()
    board.on_sent(5 * MSS, 1.0)
    rack = Rack()
    rack.on_delivered(Sent(0, 10, 0.5), 0, 1.4, None, rtt)  # A round trip of 0.9 seconds.
    assert rack.overdue_on_timeout(board, 1.8, rtt) == []
    assert rack.overdue_on_timeout(board, 1.925, rtt) == [*board]


@pytest.mark.rfc("8985:6.3")
def test_after_a_timeout_acks_find_what_else_is_lost() -> None:
    bench = flying(10, queued=10)
    while phase(bench) is not Phase.LOSS:
        bench.drain()
        bench.wait()
    expect_segments(bench, 0, note="timeout")
    assert windows(bench) == (1, 5)
    bench.advance(RTT)
    acknowledge(bench, 1)
    expect_segments(bench, 1, 2, note="timeout")
    bench.advance(RTT)
    acknowledge(bench, 3)
    expect_segments(bench, 3, 4, 5, note="timeout")
