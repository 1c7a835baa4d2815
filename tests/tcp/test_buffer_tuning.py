"""Buffers that grow with what a connection does, and those that somebody has fixed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.tcp.harness import CONFIG, MSS, NO_OPTIONS, Bench, Numbers, Offer, established, syn_sent
from tunstack.tcp.budget import SMALL_BUFFER, Budget
from tunstack.tcp.config import INITIAL_SIZE
from tunstack.tcp.segment import ACK, SYN

TUNED: Final = replace(CONFIG, receive_buffer=None, send_buffer=None)
RTT: Final = 0.05
SCALED: Final = Offer(wscale=7)


def tuned(**setup: Any) -> Bench:
    """A bench whose handshake took one round-trip time."""
    setup = {"config": TUNED, "peer": SCALED} | setup
    bench = syn_sent(**setup)
    bench.advance(RTT)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    return bench


def round_trip(bench: Bench, octets: int, *, reading: bool = True) -> int:
    """So much arrives, RTT after what draws it; returns the size of the receive buffer then."""
    first = min(MSS, octets)
    bench.advance(RTT - 0.002)
    bench.drain()
    take(bench, first, reading=reading)
    bench.advance(0.002)  # Beyond the tick of the timestamps that began with the first.
    bench.drain()
    take(bench, octets - first, reading=reading)
    return bench.receive_size


def take(bench: Bench, octets: int, *, reading: bool = True) -> None:
    """So much arrives at once."""
    with bench.batch():
        for start in range(0, octets, MSS):
            bench.arrive(ACK, payload=bytes(min(MSS, octets - start)))
            if reading:
                bench.connection.receive(MSS)
    bench.drain()


@pytest.mark.parametrize("peer", [SCALED, replace(SCALED, timestamps=False)])
def test_the_window_follows_what_is_read_in_a_round_trip(numbers: Numbers, peer: Offer) -> None:
    """Four times of it while that grows, for the next will bring twice as much."""
    bench = tuned(peer=peer, **numbers)
    assert bench.receive_size == INITIAL_SIZE
    for segments in (10, 20, 40):
        assert round_trip(bench, segments * MSS) <= 160 * MSS
    assert round_trip(bench, 80 * MSS) == 160 * MSS  # The sizes are of the round trip before.
    assert round_trip(bench, 160 * MSS) == 320 * MSS
    assert round_trip(bench, 160 * MSS) == 640 * MSS
    assert bench.rcv_wnd == 640 * MSS // 128 * 128


def test_it_grows_though_somebody_strips_the_timestamps_that_were_agreed_on() -> None:
    """What echoes nothing tells of no round trip: the one that was measured has to do."""
    bench = tuned()
    for segments in (20, 40, 60):
        bench.advance(RTT)
        bench.drain()
        with bench.batch():
            for _ in range(segments):
                bench.arrive(ACK, payload=bytes(MSS), ts_val=None)
                bench.connection.receive(MSS)
        bench.drain()
    assert bench.receive_size == 4 * 40 * MSS


def test_it_is_twice_of_it_where_it_grows_slowly() -> None:
    bench = tuned()
    for segments in (100, 100, 110, 120, 120):
        round_trip(bench, segments * MSS)
    assert bench.receive_size == 400 * MSS
    for segments in range(120, 260, 10):
        round_trip(bench, segments * MSS)
    assert bench.receive_size == 2 * 240 * MSS


def test_it_grows_once_in_a_round_trip() -> None:
    """However much comes in one: the peer cannot have heard of the window that allowed it."""
    bench = tuned()
    round_trip(bench, 10 * MSS)
    for _ in range(20):
        take(bench, 10 * MSS)
    assert bench.receive_size == INITIAL_SIZE


def test_it_grows_up_to_the_maximum() -> None:
    bench = tuned(config=replace(TUNED, receive_buffer_max=200_000))
    for _ in range(5):
        round_trip(bench, 100 * MSS)
    assert bench.receive_size == 200_000


def test_it_never_shrinks() -> None:
    bench = tuned()
    for segments in (100, 100, 100, 1, 1, 1):
        round_trip(bench, segments * MSS)
    assert bench.receive_size == 400 * MSS


def test_what_is_not_read_takes_no_larger_buffer() -> None:
    bench = tuned()
    for _ in range(4):
        round_trip(bench, 25 * MSS, reading=False)
    assert bench.receive_size == INITIAL_SIZE


def test_an_idle_connection_stays_small() -> None:
    """And one with a word now and then."""
    bench = tuned()
    for _ in range(50):
        round_trip(bench, 100)
    assert bench.receive_size == INITIAL_SIZE
    assert bench.send_size == INITIAL_SIZE


def test_a_size_that_was_set_stays() -> None:
    bench = tuned(config=replace(TUNED, receive_buffer=150_000))
    for segments in (40, 80, 140, 140):
        round_trip(bench, segments * MSS)
    assert bench.receive_size == 150_000


def test_it_can_be_set_later() -> None:
    bench = tuned()
    round_trip(bench, 100 * MSS)
    bench.connection.reconfigure(replace(TUNED, receive_buffer=20_000, send_buffer=30_000))
    for _ in range(3):
        round_trip(bench, 100 * MSS)
    assert bench.receive_size == 20_000
    assert bench.send_size == 30_000
    assert bench.connection.writable_size == 30_000


def test_other_parameters_do_not_set_it_back() -> None:
    bench = tuned()
    for _ in range(3):
        round_trip(bench, 100 * MSS)
    bench.connection.reconfigure(replace(TUNED, nodelay=True))
    assert bench.receive_size == 400 * MSS
    for _ in range(2):
        round_trip(bench, 200 * MSS)
    assert bench.receive_size == 800 * MSS


def test_nothing_grows_while_memory_is_short() -> None:
    budget = Budget(1000)
    bench = tuned()
    bench.budget = budget
    budget.add(800)
    for _ in range(3):
        round_trip(bench, 100 * MSS)
    assert bench.receive_size == INITIAL_SIZE
    bench.cwnd = 1 << 20
    assert bench.connection.writable_size == SMALL_BUFFER
    budget.add(-800)
    for _ in range(3):
        round_trip(bench, 100 * MSS)
    assert bench.receive_size == 400 * MSS
    assert bench.connection.writable_size == 2 << 20


@pytest.mark.rfc("7323:2.3")
@pytest.mark.parametrize(("most", "shift"), [(6 << 20, 7), (16 << 20, 9), (64 << 20, 11)])
def test_the_window_scale_leaves_room_to_grow(most: int, shift: int) -> None:
    bench = Bench(replace(TUNED, receive_buffer_max=most))
    bench.open_active()
    bench.expect(SYN, wnd=65535, wscale=shift, mss=MSS + 12, sack_permitted=True)
    assert 65535 << shift >= most


def test_a_maximum_below_the_first_size_is_the_size() -> None:
    bench = established(config=replace(TUNED, receive_buffer_max=5000, send_buffer_max=6000))
    assert bench.receive_size == 5000
    assert bench.connection.writable_size == 6000


def test_no_segment_is_looked_at_twice_where_there_is_nothing_to_tune() -> None:
    assert not established(peer=NO_OPTIONS).receive_size_is_tuned


# The send buffer


def test_the_send_buffer_is_twice_the_congestion_window() -> None:
    bench = tuned()
    assert bench.send(bytes(1 << 20)) == INITIAL_SIZE
    bench.drain()
    bench.cwnd = 300_000
    assert bench.connection.writable_size == 600_000 - INITIAL_SIZE
    assert bench.send(bytes(1 << 20)) == 600_000 - INITIAL_SIZE
    bench.drain()
    bench.cwnd = 100_000  # After a loss: what was taken is taken.
    assert bench.connection.writable_size == 0


def test_the_send_buffer_has_a_maximum() -> None:
    bench = tuned(config=replace(TUNED, send_buffer_max=400_000))
    bench.cwnd = 300_000
    assert bench.connection.writable_size == 400_000


def test_a_send_buffer_that_was_set_stays() -> None:
    bench = tuned(config=replace(TUNED, send_buffer=5000))
    bench.cwnd = 300_000
    assert bench.connection.writable_size == 5000


def test_after_a_pause_the_send_buffer_is_small_again() -> None:
    """By RFC 5681 section 4.1 so is the congestion window."""
    bench = tuned()
    bench.cwnd = 300_000
    bench.advance(10.0)
    bench.send(b"again")
    bench.drain()
    assert bench.send_size == INITIAL_SIZE
