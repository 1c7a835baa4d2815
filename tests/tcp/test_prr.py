"""How much goes out while a loss is repaired: PRR (RFC 9937, RFC 6937) and pipe (RFC 6675)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tcp.flight import (
    RENO,
    RTT,
    SACKING,
    TEXT,
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
from tests.tcp.harness import MSS, NO_OPTIONS, Numbers, established
from tunstack.tcp.recovery.prr import ProportionalRateReduction
from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.segment import ACK, FIN, PSH

FLIGHT: Final = 100
"""Segments; an MSS of one octet makes octets of them."""


# The numbers


@pytest.mark.rfc("9937:6.2", "6937:3")
@pytest.mark.parametrize("ssthresh", [50, 70])
def test_what_goes_out_is_in_proportion_to_what_arrives(ssthresh: int) -> None:
    """Evenly, from the first ACK to the last, rounded up."""
    prr = ProportionalRateReduction(FLIGHT)
    pipe, out = FLIGHT, 0
    for delivered in range(1, FLIGHT + 1):
        pipe -= 1
        allowed = prr.on_ack(1, pipe, ssthresh, 0) - pipe
        if pipe > ssthresh:
            assert out + allowed == -(-delivered * ssthresh // FLIGHT)
        prr.on_sent(allowed)
        pipe += allowed
        out += allowed
    assert pipe == ssthresh
    assert out == ssthresh


@pytest.mark.rfc("9937:6.2", "6937:3")
def test_below_the_threshold_what_arrives_goes_out_and_a_segment_more_if_all_is_well() -> None:
    """Slow start, but only up to the threshold."""
    prr = ProportionalRateReduction(20)
    assert prr.on_ack(1, 4, 10, 0) == 4 + 1  # More was lost: one for one.
    prr.on_sent(1)
    assert prr.on_ack(1, 4, 10, 1) == 4 + 2
    prr.on_sent(2)
    assert prr.on_ack(3, 5, 10, 1) == 5 + 4
    prr.on_sent(4)
    assert prr.on_ack(5, 8, 10, 1) == 10


@pytest.mark.rfc("9937:6.2", "6937:3")
def test_what_was_not_sent_may_be_sent_later() -> None:
    """The application had nothing: it has it to the good."""
    prr = ProportionalRateReduction(20)
    prr.on_ack(6, 4, 10, 0)
    assert prr.on_ack(1, 3, 10, 0) == 10
    assert prr.on_ack(1, 9, 10, 0) == 10


@pytest.mark.rfc("9937:6.2", "6937:3")
@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    ssthresh=st.integers(1, FLIGHT),
    acks=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.booleans(), st.booleans())),
)
def test_it_never_sends_more_than_its_bounds(
    ssthresh: int, acks: list[tuple[int, int, bool, bool]]
) -> None:
    """Whatever arrives, is lost, or has nothing to go out."""
    prr = ProportionalRateReduction(FLIGHT)
    pipe, delivered, out, extra = FLIGHT, 0, 0, 0
    for arrived, lost, safe, idle in acks:
        arrived = min(arrived, pipe)
        pipe = max(0, pipe - arrived - lost)
        delivered += arrived
        allowed = prr.on_ack(arrived, pipe, ssthresh, int(safe)) - pipe
        assert allowed >= 0
        extra += safe
        if pipe > ssthresh:
            assert out + allowed <= max(out, -(-delivered * ssthresh // FLIGHT))
        else:
            assert pipe + allowed <= ssthresh
            assert allowed <= max(delivered - out, arrived) + 1
        if not idle:
            prr.on_sent(allowed)
            pipe += allowed
            out += allowed
    assert out <= delivered + extra


# In a connection


@pytest.mark.rfc("3042:2", "6675:5")
def test_a_sack_of_something_new_lets_a_new_segment_go(numbers: Numbers) -> None:
    """Limited transmit: on each of the first two, and the window stays."""
    bench = flying(10, **numbers)
    bench.advance(RTT)
    acknowledge(bench, 0, 1)
    expect_segments(bench, 10)
    acknowledge(bench, 0, 1)  # Nothing new in it.
    bench.expect_nothing()
    acknowledge(bench, 0, 1, 2)
    expect_segments(bench, 11)
    assert windows(bench)[0] == 10
    assert phase(bench) is Phase.OPEN


@pytest.mark.rfc("6675:4")
def test_pipe_is_what_is_neither_sacked_nor_lost(numbers: Numbers) -> None:
    bench = flying(10, **numbers)
    bench.advance(RTT)
    pipe = []
    for count in range(1, 5):
        acknowledge(bench, 0, *range(1, count + 1))
        bench.drain()
        pipe.append(bench.pipe // MSS)
    # Two were replaced by new ones, the lost one by itself, and then half of what arrives.
    assert pipe == [10, 10, 9, 8]


@pytest.mark.rfc("6675:4", "2018:5")
def test_sack_blocks_of_an_old_ack_are_processed(numbers: Numbers) -> None:
    """Its blocks count from SND.UNA on; of the round trip it tells nothing."""
    bench = flying(10, **numbers)
    bench.advance(RTT)
    acknowledge(bench, 4)
    bench.drain()
    srtt = bench.srtt
    bench.advance(RTT)
    bench.arrive(ACK, ack=seq(1), sack=(block(2, 4), block(6, 7)))
    assert bench.sacked == 3 * MSS
    assert bench.board.una == seq(4)
    assert bench.srtt == srtt
    bench.drain()


@pytest.mark.rfc("9937:6.2", "6675:5")
def test_one_loss_in_ten_is_repaired_with_half_a_segment_for_each_that_arrives() -> None:
    """At its end five are under way, which is the threshold: what began is what comes of it."""
    bench = flying(10)
    bench.advance(RTT)
    sack(bench, 1, 2)
    bench.drain()  # 10 and 11.
    sent: list[list[int]] = []
    for last in range(3, 10):
        acknowledge(bench, 0, *range(1, last + 1))
        sent.append(numbers_of(bench))
    assert sent == [[0], [], [], [12], [], [], [13]]
    bench.advance(RTT)
    acknowledge(bench, 10)  # The retransmission fills the gap.
    assert phase(bench) is Phase.RECOVERY  # recover is 12.
    assert numbers_of(bench) == [14]
    acknowledge(bench, 12)
    assert phase(bench) is Phase.OPEN
    assert windows(bench) == (5, 5)
    assert numbers_of(bench) == [15, 16]
    assert bench.pipe == 5 * MSS


@pytest.mark.rfc("9937:6.2", "6675:5.1")
def test_what_is_lost_goes_before_what_is_new() -> None:
    bench = flying(10)
    bench.advance(RTT)
    sent: list[list[int]] = []
    for last in range(3, 10):
        acknowledge(bench, 0, *range(3, last + 1))
        sent.append(numbers_of(bench))
    assert sent == [[10], [11], [0], [], [], [1], [2]]
    bench.advance(RTT)
    acknowledge(bench, 1, *range(3, 10))
    assert numbers_of(bench) == [12]


@pytest.mark.rfc("9937:6.2")
def test_many_losses_are_repaired_no_faster_than_in_slow_start() -> None:
    """Sixteen of twenty are lost: each ACK has two segments follow at the most."""
    bench = flying(20, queued=20)
    bench.advance(RTT)
    acknowledge(bench, 0, 16, 17, 18, 19)
    rounds = []
    flight = numbers_of(bench)
    while flight:
        bench.advance(RTT)
        missing = [*range(flight[-1] + 1, 16)]
        most = 0
        following: list[int] = []
        for number in flight:
            acknowledge(bench, number + 1 if missing or number < flight[-1] else 20, 19, 18, 17, 16)
            sent = numbers_of(bench)
            most = max(most, len(sent))
            following += sent
        rounds.append(len(flight))
        assert most <= 2
        flight = following
    assert phase(bench) is Phase.OPEN
    assert bench.retransmissions == 16
    assert rounds == [4, 8, 4]


@pytest.mark.rfc("9937:6.2")
def test_when_the_timer_finds_the_loss_there_is_no_burst(numbers: Numbers) -> None:
    """No ACK has come for them: one goes, and the rest with its ACK."""
    bench = flying(10, **numbers)
    bench.advance(RTT)
    acknowledge(bench, 0, 9)
    bench.drain()
    bench.wait()
    expect_segments(bench, 0, note="fast")
    bench.expect_nothing()
    assert phase(bench) is Phase.RECOVERY
    assert bench.lost == 8 * MSS
    bench.run_until(3 * RTT)
    acknowledge(bench, 0, 9, 10)  # That was the limited transmit's.
    assert numbers_of(bench) == [1]
    bench.run_until(3 * RTT + RTT / 4)
    acknowledge(bench, 1, 9, 10)
    assert numbers_of(bench) == [2, 3]


@pytest.mark.rfc("9937:6.2", "5681:3.2")
def test_recovery_ends_without_a_burst_when_the_application_had_nothing_to_send() -> None:
    """The window is the threshold, not what was there before."""
    bench = flying(10, queued=10)
    bench.advance(RTT)
    sack(bench, *range(1, 10))
    assert numbers_of(bench) == []  # Taken on the way.
    bench.advance(RTT)
    acknowledge(bench, 10)
    assert windows(bench) == (5, 5)
    bench.send(bytes(20 * MSS))
    assert len(bench.drain()) == 5


@pytest.mark.rfc("5681:3.2")
def test_what_limited_transmit_added_does_not_raise_the_threshold() -> None:
    """Also with SACK: a MUST NOT."""
    bench = flying(10)
    bench.advance(RTT)
    sack(bench, 1, 2, 3)
    bench.drain()
    assert windows(bench)[1] == 5


@pytest.mark.rfc("6675:5")
def test_one_window_of_data_is_one_loss() -> None:
    """More holes in it do not reduce the window again; one of what was sent later does."""
    bench = flying(10)
    bench.advance(RTT)
    sack(bench, 1, 2, 3, 5, 7, 9)
    bench.drain()
    assert windows(bench)[1] == 5
    bench.advance(RTT)
    acknowledge(bench, 4, 5, 7, 9, 10, 11)
    bench.drain()
    assert windows(bench)[1] == 5
    bench.advance(RTT)
    nxt = bench.snd_nxt // MSS
    acknowledge(bench, 12, *range(13, nxt))
    bench.drain()
    assert phase(bench) is Phase.OPEN or windows(bench)[1] < 5


@pytest.mark.rfc("6675:5")
def test_a_loss_behind_the_recovery_point_begins_another_with_the_ack_that_ends_this() -> None:
    """It counts as another, though it was found, and sent again, while this one was repaired."""
    bench = flying(10)
    bench.advance(RTT)
    sack(bench, *range(1, 10))
    bench.drain()
    assert bench.recover == seq(12)
    bench.advance(RTT)
    acknowledge(bench, 0, *range(1, 12), 13)  # The retransmission is lost, and 12 as well.
    assert {0, 12} <= {*numbers_of(bench)}
    assert windows(bench)[1] == 5
    bench.advance(RTT)
    acknowledge(bench, 12, 13)
    assert phase(bench) is Phase.RECOVERY
    assert bench.recover > seq(12)
    assert windows(bench)[1] < 5
    bench.drain()


@pytest.mark.rfc("6675:5")
def test_a_fin_is_repaired_like_any_other_number() -> None:
    bench = established(peer=SACKING)
    bench.send(b"x")
    bench.drain()
    bench.shutdown()
    bench.drain()
    bench.advance(0.001)
    bench.arrive(ACK, ack=1, sack=((2, 3),))  # The FIN has come, the text has not.
    bench.expect(ACK | PSH, seq=1, payload=b"x", note="retransmission: fast")
    bench.arrive(ACK, ack=3)
    assert bench.fin_acknowledged


@pytest.mark.parametrize("way", ["timeout", "partial ACK"])
def test_a_full_segment_is_repaired_with_its_fin(way: str) -> None:
    """As one segment, by whatever way its loss is found: the FIN takes no octet's place."""
    peer = NO_OPTIONS if way == "partial ACK" else SACKING
    bench = connected(peer=peer, config=replace(RENO, tail_loss_probe=False))
    with bench.batch():
        bench.send(TEXT[: 5 * MSS])
        bench.shutdown()
    bench.drain()
    bench.advance(RTT)
    if way == "timeout":
        bench.arrive(ACK, ack=seq(4))
        bench.wait()
    else:
        for _ in range(3):
            bench.arrive(ACK, ack=1)
        expect_segments(bench, 0, note="fast")
        bench.arrive(ACK, ack=seq(4))
    why = "retransmission: timeout" if way == "timeout" else "retransmission: fast"
    bench.expect(FIN | ACK | PSH, seq=seq(4), size=MSS, note=why)


def test_of_full_segments_none_is_too_large_for_its_fin() -> None:
    bench = flying(3, queued=3)
    bench.advance(0.001)
    bench.cwnd = 4 * MSS
    with bench.batch():
        bench.send(bytes(MSS))
        bench.shutdown()
    bench.drain()
    bench.lose_larger(MSS)
    assert bench.lost == 3 * MSS  # Sent together: that may have been one.


def test_a_fin_takes_no_room_in_the_window() -> None:
    """The last of eleven is not overdue when the others are: with its FIN it is one segment."""
    bench = flying(10, queued=10, config=replace(RENO, tail_loss_probe=False))
    bench.cwnd = 11 * MSS
    deadline = bench.connection.deadline()
    assert deadline is not None
    bench.run_until(deadline - 0.01)
    with bench.batch():
        bench.send(bytes(MSS))
        bench.shutdown()
    bench.expect(FIN | ACK, size=MSS)
    bench.wait()
    assert numbers_of(bench) == [0]
    bench.arrive(ACK, ack=seq(1))
    assert windows(bench)[0] == 2
    assert numbers_of(bench) == [1]


@pytest.mark.rfc("6675:5")
def test_a_lost_fin_is_sent_again_alone() -> None:
    """A new one would be beyond the text that is sent again."""
    bench = established(peer=SACKING)
    for text in (b"x", b"y"):
        bench.send(text)
    bench.shutdown()
    bench.drain()
    bench.advance(0.001)
    bench.arrive(ACK, ack=2)
    bench.drain()
    bench.arrive(ACK, ack=3)
    bench.wait()
    bench.expect(FIN | ACK, seq=3, note="retransmission: tail loss probe")


@pytest.mark.rfc("6675:5")
def test_what_the_ack_that_tells_of_a_loss_acknowledges_is_no_reason_to_fall_back_further() -> None:
    """The flight is what it was when we last sent: one ACK may stand for many that were lost."""
    bench = flying(20)
    bench.advance(RTT)
    acknowledge(bench, 10, 11, 12, 13, 14)
    assert phase(bench) is Phase.RECOVERY
    assert windows(bench)[1] == 10
    bench.drain()


@pytest.mark.rfc("7661:4.4", "6675:5")
def test_acks_before_the_loss_in_its_batch_do_not_make_the_flight_small() -> None:
    """Nothing could be sent between them: twenty were on their way, and not five."""
    bench = flying(20, queued=60)
    bench.advance(RTT)
    with bench.batch():
        acknowledge(bench, 15)
        acknowledge(bench, 15, 16)
        acknowledge(bench, 15, 16, 17)
        acknowledge(bench, 15, 16, 17, 18)
    assert phase(bench) is Phase.RECOVERY
    assert windows(bench)[1] == 10
    bench.drain()
