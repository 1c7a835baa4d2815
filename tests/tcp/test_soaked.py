"""What the soak has found, one by one (``make soak``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tunstack.tcp.segment import ACK, PSH, Segment

from .harness import CONFIG, Bench, Numbers, Offer, established

TINY: Final = replace(CONFIG, mss=28)
"""For an MTU of 68, IPv4's least."""


def arrive_with_sack(bench: Bench, *blocks: tuple[int, int], wnd: int) -> None:
    """An ACK of everything, with SACK blocks of ours."""
    connection = bench.connection
    edges = [((bench.iss + left) % 2**32, (bench.iss + right) % 2**32) for left, right in blocks]
    segment = Segment(connection.receiver.nxt, connection.sender.nxt, ACK, wnd, sack=tuple(edges))
    if connection.timestamps_ok:
        segment.ts_val = bench.irs % 2**32
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
    assert bench.connection.receiver.shift == 7
    for _ in range(5):
        bench.arrive(ACK, payload=bytes(100))
        bench.drain()
        assert len(bench.receive()) == 100
        bench.drain()
