"""The tail loss probe (RFC 8985 section 7): nobody else would tell that the last one is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

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
    phase,
    sack,
    seq,
    windows,
)
from tests.tcp.harness import MSS, NO_OPTIONS, Bench, Numbers, syn_sent
from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.segment import ACK, FIN, PSH, SYN

PTO: Final = 2 * RTT + 0.002
"""With more than one segment in flight; Linux adds the 2 ms."""
PROBE: Final = "tail loss probe"


def probed(segments: int = 5) -> Bench:
    """All that there was is sent, and the last of it once more."""
    bench = flying(segments, queued=segments)
    bench.wait()
    expect_segments(bench, segments - 1, note=PROBE)
    return bench


# When (section 7.2)


@pytest.mark.rfc("8985:7.2", "8985:7.3")
def test_after_two_round_trips_the_last_segment_is_sent_again(numbers: Numbers) -> None:
    bench = flying(5, queued=5, **numbers)
    bench.wait()
    assert bench.now == pytest.approx(RTT + PTO)
    expect_segments(bench, 4, note=PROBE)
    assert phase(bench) is Phase.OPEN


def test_without_probes_the_retransmission_timer_is_waited_for() -> None:
    bench = flying(5, queued=5)
    bench.connection.reconfigure(replace(bench.connection.config, tail_loss_probe=False))
    acknowledge(bench, 1)
    bench.wait()
    expect_segments(bench, 1, note="timeout")
    assert phase(bench) is Phase.LOSS


@pytest.mark.rfc("8985:7.2")
def test_a_lone_segment_may_have_its_ack_delayed() -> None:
    """So 200 ms are added."""
    bench = flying(1, queued=1, rtt=0.9)
    bench.wait()
    assert bench.now == pytest.approx(0.9 + 1.8 + 0.2)
    expect_segments(bench, 0, note=PROBE)


@pytest.mark.rfc("8985:7.2")
def test_the_probe_takes_the_place_of_a_timeout_that_would_come_before_it() -> None:
    """PTO is no later than the RTO: 300 ms here, not 400."""
    bench = flying(1, queued=1)
    assert bench.rto == pytest.approx(0.3)
    bench.wait()
    assert bench.now == pytest.approx(RTT + 0.3)
    expect_segments(bench, 0, note=PROBE)
    assert windows(bench)[0] == 1.0


@pytest.mark.rfc("8985:7.2")
def test_without_a_round_trip_time_it_is_a_second() -> None:
    bench = syn_sent(config=RENO, peer=SACKING)
    bench.advance(1.0)
    bench.drain()
    bench.arrive_syn(SYN | ACK)  # Of which SYN?
    bench.drain()
    assert bench.srtt is None
    bench.send(TEXT[: 2 * MSS])
    expect_segments(bench, 0, 1)
    bench.wait()
    assert bench.now == pytest.approx(2.0)
    expect_segments(bench, 1, note=PROBE)


@pytest.mark.rfc("8985:7.2")
def test_new_data_puts_the_probe_off() -> None:
    bench = connected(rtt=0.2)
    bench.send(TEXT[: 3 * MSS])
    expect_segments(bench, 0, 1, 2)
    bench.advance(0.1)
    bench.send(TEXT[3 * MSS : 4 * MSS])
    expect_segments(bench, 3)
    bench.wait()
    assert bench.now == pytest.approx(0.2 + 0.1 + 0.402)
    expect_segments(bench, 3, note=PROBE)


@pytest.mark.rfc("8985:7.2")
def test_an_ack_of_new_data_puts_the_probe_off() -> None:
    bench = flying(5, queued=5)
    bench.advance(RTT)
    acknowledge(bench, 2)
    bench.wait()
    srtt = bench.srtt
    assert srtt is not None
    assert bench.now == pytest.approx(2 * RTT + 2 * srtt + 0.002)
    expect_segments(bench, 4, note=PROBE)


@pytest.mark.rfc("8985:7.2")
def test_a_duplicate_ack_without_sack_puts_nothing_off() -> None:
    bench = flying(5, queued=5)
    bench.advance(RTT)
    acknowledge(bench, 0)
    bench.wait()
    assert bench.now == pytest.approx(RTT + PTO)
    expect_segments(bench, 4, note=PROBE)


@pytest.mark.rfc("8985:7.2")
def test_no_probe_once_something_is_sacked() -> None:
    """RACK looks after it: its timer finds the loss."""
    bench = flying(5, queued=5)
    bench.advance(RTT)
    sack(bench, 3)
    bench.wait()
    assert bench.now == pytest.approx(2 * RTT + RTT / 4)
    expect_segments(bench, 0, note="fast")


@pytest.mark.rfc("8985:7.2")
def test_no_probe_in_recovery() -> None:
    bench = flying(5, queued=5)
    bench.advance(RTT)
    sack(bench, 1, 2, 3)
    expect_segments(bench, 0, note="fast")
    acknowledge(bench, 4)  # All is well so far, but the recovery is not over.
    bench.wait()
    expect_segments(bench, 4, note="timeout")


@pytest.mark.rfc("8985:7.2")
def test_no_probe_after_a_timeout() -> None:
    bench = probed()
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    acknowledge(bench, 1)
    expect_segments(bench, 1, 2, note="timeout")
    bench.wait()
    expect_segments(bench, 1, note="timeout")


@pytest.mark.rfc("8985:7.1")
def test_no_probe_without_sack() -> None:
    """What it draws would say nothing."""
    bench = flying(5, queued=5, peer=NO_OPTIONS)
    bench.wait()
    assert bench.now == pytest.approx(RTT + 0.3)
    expect_segments(bench, 0, note="timeout")


@pytest.mark.rfc("8985:7.2")
def test_giving_up_needs_no_probe() -> None:
    bench = flying(1, queued=1, config=replace(RENO, user_timeout=0.25))
    bench.advance(0.25)
    bench.expect_nothing()
    assert bench.connection.error is not None


# What (section 7.3)


@pytest.mark.rfc("8985:7.3")
def test_new_data_is_a_better_probe() -> None:
    """Even beyond the congestion window."""
    bench = flying(5)
    bench.wait()
    expect_segments(bench, 5)
    bench.expect_nothing()


@pytest.mark.rfc("8985:7.3")
def test_new_data_keeps_to_the_window_of_the_peer() -> None:
    bench = flying(5, peer=replace(SACKING, wnd=5 * MSS))
    bench.wait()
    expect_segments(bench, 4, note=PROBE)


@pytest.mark.rfc("8985:7.3")
def test_a_part_of_a_segment_goes_if_the_window_of_the_peer_has_no_more_room() -> None:
    bench = flying(5, peer=replace(SACKING, wnd=5 * MSS + 300))
    bench.wait()
    bench.expect(ACK, seq=seq(5), payload=TEXT[5 * MSS : 5 * MSS + 300])


@pytest.mark.rfc("8985:7.3", "SHLD-16")
def test_a_window_that_was_closed_does_not_keep_the_last_segment_back() -> None:
    bench = flying(5, queued=6)
    bench.arrive(ACK, ack=1, wnd=0)
    bench.wait()
    expect_segments(bench, 4, note=PROBE)


@pytest.mark.rfc("8985:7.3")
def test_of_64_kib_sent_in_one_go_a_segment_is_enough() -> None:
    bench = connected(config=replace(RENO, max_payload=60 * MSS))
    bench.cwnd = 60 * MSS
    bench.send(TEXT[: 60 * MSS])
    bench.expect(ACK | PSH, seq=1, payload=TEXT[: 60 * MSS])
    bench.wait()
    expect_segments(bench, 59, note=PROBE)


@pytest.mark.rfc("8985:7.3")
def test_a_fin_is_part_of_the_last_segment() -> None:
    bench = connected()
    with bench.batch():
        bench.send(TEXT[: MSS + 5])
        bench.shutdown()
    bench.drain()
    bench.wait()
    bench.expect(FIN | ACK | PSH, seq=6, payload=TEXT[5 : MSS + 5], note=f"retransmission: {PROBE}")


@pytest.mark.rfc("8985:7.3")
@pytest.mark.parametrize("segments", [1, 3])
def test_a_full_segment_goes_again_with_its_fin(segments: int) -> None:
    """The FIN takes no octet's place."""
    bench = connected()
    with bench.batch():
        bench.send(TEXT[: segments * MSS])
        bench.shutdown()
    bench.drain()
    bench.wait()
    bench.expect(FIN | ACK | PSH, seq=seq(segments - 1), size=MSS, note=f"retransmission: {PROBE}")


@pytest.mark.rfc("8985:7.3")
def test_a_fin_alone_can_be_the_probe() -> None:
    bench = connected()
    bench.shutdown()
    bench.expect(FIN | ACK)
    bench.wait()
    bench.expect(FIN | ACK, seq=1, note=f"retransmission: {PROBE}")


@pytest.mark.rfc("8985:7.3")
def test_the_probe_restarts_the_timeout_and_is_the_only_one() -> None:
    bench = flying(5, queued=5)
    bench.wait()
    expect_segments(bench, 4, note=PROBE)
    at = bench.now
    bench.wait()
    assert bench.now == pytest.approx(at + 0.3)
    expect_segments(bench, 0, note="timeout")


@pytest.mark.rfc("8985:7.3")
@pytest.mark.parametrize("retransmission", [True, False])
def test_the_next_flight_may_have_its_own_probe(retransmission: bool) -> None:
    bench = flying(5, queued=5 + (not retransmission))
    bench.wait()
    bench.drain()
    bench.advance(RTT)
    bench.arrive(ACK)
    if retransmission:  # That ends the probe only when it cannot be told any more what arrived.
        acknowledge(bench, 5)
        bench.send(TEXT[5 * MSS : 6 * MSS])
        bench.drain()
        bench.advance(RTT)
        bench.arrive(ACK)
    bench.send(TEXT[6 * MSS : 8 * MSS])
    bench.drain()
    bench.wait()
    bench.expect(
        ACK | PSH, seq=seq(7), payload=TEXT[7 * MSS : 8 * MSS], note=f"retransmission: {PROBE}"
    )


# What its ACK tells (section 7.4.2)


def later(bench: Bench, number: int = 5) -> None:
    """New data after the probe's flight, which is acknowledged."""
    bench.send(TEXT[number * MSS : (number + 1) * MSS])
    bench.drain()
    bench.advance(RTT)
    acknowledge(bench, number + 1)


@pytest.mark.rfc("8985:7.4.2")
def test_an_acknowledged_probe_of_new_data_is_no_loss() -> None:
    bench = flying(5, queued=6)
    bench.wait()
    bench.drain()
    before = windows(bench)
    acknowledge(bench, 6)
    later(bench, 6)
    assert windows(bench)[0] >= before[0]
    assert windows(bench)[1] == before[1]


@pytest.mark.rfc("8985:7.4.2", "2883:4")
def test_a_d_sack_for_the_probe_is_no_loss() -> None:
    """Case 1: the peer says so by D-SACK; only the ACKs had been lost."""
    bench = probed()
    before = windows(bench)
    bench.advance(RTT)
    acknowledge(bench, 5)
    acknowledge(bench, 5, dsack=(block(4),))
    later(bench)
    assert windows(bench)[0] >= before[0]
    assert windows(bench)[1] == before[1]
    assert not bench.reordering_seen


@pytest.mark.rfc("8985:7.4.2")
def test_a_probe_that_came_twice_makes_rack_no_more_patient() -> None:
    bench = probed()
    acknowledge(bench, 5, dsack=(block(4),))
    rack = bench.rack
    rack.reordering_seen = True
    bench.send(TEXT[5 * MSS : 10 * MSS])
    bench.drain()
    sent_at = bench.now
    bench.advance(RTT)
    sack(bench, 6, ack=5)
    bench.wait()
    assert bench.now == pytest.approx(sent_at + RTT + RTT / 4)
    bench.drain()


@pytest.mark.rfc("8985:7.4.2")
def test_another_d_sack_is_not_the_probes() -> None:
    bench = probed()
    bench.advance(RTT)
    acknowledge(bench, 5, dsack=(block(2),))  # The network made two of that.
    later(bench)
    assert windows(bench) == (2, 2)  # Whole segments.


@pytest.mark.rfc("8985:7.4.2")
def test_a_duplicate_ack_of_the_probe_is_no_loss() -> None:
    """Case 2: the peer sends no D-SACK; the original and the probe drew an ACK each."""
    bench = probed()
    before = windows(bench)
    bench.send(TEXT[5 * MSS : 6 * MSS])
    bench.drain()
    bench.advance(RTT)
    acknowledge(bench, 5)
    bench.drain()
    acknowledge(bench, 5)
    bench.drain()
    acknowledge(bench, 6)
    assert windows(bench)[0] >= before[0]
    assert windows(bench)[1] == before[1]


@pytest.mark.rfc("8985:7.4.2")
def test_a_probe_that_repaired_a_loss_halves_the_window() -> None:
    """Case 3: nothing came twice, and later data is acknowledged: of five, one was lost."""
    bench = probed()
    bench.advance(RTT)
    acknowledge(bench, 5)
    assert windows(bench)[1] > 1000  # It cannot be told yet.
    later(bench)
    assert windows(bench) == (2, 2)  # Whole segments.
    assert phase(bench) is Phase.OPEN
    later(bench, 6)
    assert windows(bench)[1] == 2  # Once.


@pytest.mark.rfc("8985:7.4.2", "5681:3.1")
def test_the_ack_that_reports_the_repair_increases_cwnd() -> None:
    """It is not before the reduction that it counts: it would count for nothing."""
    bench = probed(4)
    bench.advance(RTT)
    acknowledge(bench, 4)
    bench.send(TEXT[4 * MSS : 8 * MSS])
    bench.drain()
    bench.advance(RTT)
    acknowledge(bench, 8)
    assert windows(bench) == (3, 2)  # Four segments, where two would do for one more.


@pytest.mark.rfc("8985:7.4.1")
def test_a_probe_that_shows_more_losses_leads_to_fast_recovery() -> None:
    """The last three are lost: the probe's SACK tells of the others. One reduction, no timeout."""
    bench = flying(10, queued=10)
    bench.advance(RTT)
    acknowledge(bench, 7)
    bench.wait()
    expect_segments(bench, 9, note=PROBE)
    bench.advance(RTT)
    acknowledge(bench, 7, 9)
    expect_segments(bench, 7, note="fast")
    assert phase(bench) is Phase.RECOVERY
    bench.advance(RTT)
    acknowledge(bench, 8, 9)
    expect_segments(bench, 8, note="fast")
    bench.advance(RTT)
    acknowledge(bench, 10)
    assert windows(bench)[1] == 5  # Ten had gone out together.
    later(bench, 10)
    assert windows(bench)[1] == 5
