"""What the soak (``make soak``) and the simulated cases have found, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.tcp.harness import CONFIG, MSS, WSCALE, Bench, Numbers, Offer, established, syn_sent
from tests.tcp.inspection import Tcb
from tunstack.tcp.segment import ACK, PSH, SYN, Segment

TINY: Final = replace(CONFIG, mss=28)
"""For an MTU of 68, IPv4's least."""


def arrive_with_sack(bench: Bench, *blocks: tuple[int, int], wnd: int) -> None:
    """An ACK of nothing new, with SACK blocks."""
    connection = bench.connection
    edges = [((bench.iss + left) % 2**32, (bench.iss + right) % 2**32) for left, right in blocks]
    tcb = Tcb(connection)
    segment = Segment(tcb.rcv_nxt, tcb.snd_una, ACK, wnd, sack=tuple(edges))
    if tcb.timestamps_ok:
        segment.ts_val = tcb.ts_recent
        segment.ts_ecr = bench.iss  # Of our SYN: of what came last in order.
    with bench.batch():
        connection.segment_arrives(segment, bench.now)


def test_a_late_report_of_a_duplicate_does_not_stop_the_probes(numbers: Numbers) -> None:
    """Nothing was outstanding, so the timer was stopped; it was the persist timer."""
    bench = established(peer=Offer(timestamps=False), **numbers)
    bench.send(bytes(1000))
    bench.expect(ACK | PSH, size=1000)
    bench.arrive(ACK, wnd=0)
    bench.send(b"waiting")
    arrive_with_sack(bench, (1, 1001), wnd=0)
    bench.wait()
    bench.expect(ACK, seq=1000, note="window probe")
    bench.arrive(ACK, wnd=1000)
    bench.expect(ACK | PSH, seq=1001, payload=b"waiting")


@pytest.mark.parametrize("timestamps", [True, False])
def test_sack_blocks_leave_room_for_data_in_tiny_packets(timestamps: bool) -> None:
    """With three of them there was less than none: neither side could fill the other's gap."""
    bench = established(config=TINY, peer=Offer(timestamps=timestamps))
    for seq in (101, 201, 301, 401):
        bench.arrive(ACK, seq=seq, payload=b"x")
        segment = bench.pending[-1].segment
        options = 12 * timestamps + 4 + 8 * len(segment.sack)
        assert segment.sack[0] == (seq, seq + 1)
        assert 40 + options <= 68
        bench.drain()
    bench.send(b"0123456789")
    bench.expect(ACK | PSH, seq=1, payload=b"0123456789")  # Without them: they went.
    bench.drain()


def test_a_buffer_that_is_smaller_than_the_scale_can_say_is_offered_nevertheless() -> None:
    """The window field said zero, for ever."""
    bench = established(config=replace(CONFIG, receive_buffer=100))
    assert bench.rcv_wscale == WSCALE > 0
    for _ in range(5):
        bench.arrive(ACK, payload=bytes(100))
        bench.drain()
        assert len(bench.receive()) == 100
        bench.drain()


@pytest.mark.rfc("8985:7.4")
def test_a_tail_loss_probe_that_arrives_shows_what_is_lost_before_it(numbers: Numbers) -> None:
    """Its ACK echoes a timestamp from before the gap, and was taken for the original's."""
    bench = syn_sent(**numbers)
    bench.advance(0.05)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    bench.send(bytes(3 * MSS))
    bench.drain()
    bench.wait()
    bench.expect(ACK | PSH, seq=2001, size=MSS, note="retransmission: tail loss probe")
    bench.advance(0.06)
    arrive_with_sack(bench, (2001, 3001), wnd=65535)
    if not bench.pending:
        bench.wait()  # For the reordering window.
    bench.expect(ACK, seq=1, size=MSS, note="retransmission: fast")
    bench.drain()
