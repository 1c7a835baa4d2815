"""When we acknowledge, what window we offer, and what SACK blocks say."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    DELAYED_ACK,
    MSS,
    NO_OPTIONS,
    WSCALE,
    Bench,
    Numbers,
    Offer,
    established,
)
from tests.tcp.inspection import Tcb
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator
from tunstack.tcp.connection.state import State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.receiver.receiver import QUICK_ACK_DELAY
from tunstack.tcp.segment import ACK, PSH

S = State
TEXT: Final = bytes(n % 251 for n in range(30_000))
DELAY: Final = DELAYED_ACK
PATIENT: Final = replace(CONFIG, quick_acks=0)
"""Its first ACKs may wait as long as later ones."""


def unscaled(buffer: int, **setup: Any) -> Bench:
    """A bench whose windows stand in the segments as they are."""
    return established(config=replace(CONFIG, receive_buffer=buffer), peer=NO_OPTIONS, **setup)


# When (section 3.8.6.3, RFC 5681 section 4.2)


@pytest.mark.rfc("SHLD-18", "MUST-40")
def test_an_ack_may_wait_for_less_than_half_a_second(numbers: Numbers) -> None:
    """SHLD-18, MUST-40."""
    bench = established(config=PATIENT, **numbers)
    bench.advance(1.0)
    bench.arrive(ACK | PSH, payload=b"x")
    bench.expect_nothing()
    bench.advance(DELAY)
    bench.expect(ACK, at=1.0 + DELAY, seq=1, ack=2)
    assert bench.connection.deadline() is None
    assert QUICK_ACK_DELAY < DELAY < 0.5


@pytest.mark.rfc("SHLD-18", "MUST-40")
def test_the_first_acks_of_a_connection_wait_less_than_later_ones() -> None:
    """Those that need not wait at all do not count."""
    bench = established()
    for number in range(CONFIG.quick_acks + 4):
        bench.arrive(ACK, payload=bytes(2 * MSS))
        bench.expect(ACK, at=bench.now)
        begin = bench.now
        bench.arrive(ACK | PSH, payload=b"x")
        bench.wait()
        bench.expect(ACK, at=begin + (QUICK_ACK_DELAY if number < CONFIG.quick_acks else DELAY))


def test_they_wait_no_longer_than_others() -> None:
    bench = established(config=replace(CONFIG, delayed_ack=0.001))
    bench.arrive(ACK | PSH, payload=b"x")
    bench.wait()
    bench.expect(ACK, at=0.001)


@pytest.mark.parametrize("predict", [True, False])
def test_who_writes_in_two_parts_is_not_kept_waiting(predict: bool) -> None:
    """Nagle's algorithm holds the second until the first is acknowledged (RFC 9293 3.7.4)."""
    simulator = Simulator(seed=1, impairments=Impairments(delay=0.01), predict=predict)
    client, server = simulator.connect()
    simulator.run(lambda: client.flow is not None and Tcb(client.flow).synchronized)
    begin = simulator.now
    client.send(b"header")
    client.send(b"body")
    simulator.run(lambda: len(server.received) == 10)
    assert simulator.now - begin < 3 * 0.01 + 0.006


@pytest.mark.rfc("MUST-40")
def test_more_data_does_not_prolong_the_delay() -> None:
    bench = established(config=PATIENT)
    bench.arrive(ACK, payload=b"x")
    bench.advance(0.03)
    bench.arrive(ACK, payload=b"y")
    bench.advance(0.01)
    bench.expect(ACK, at=DELAY, ack=3)


@pytest.mark.rfc("SHLD-19", "5681:4.2")
def test_every_second_full_segment_is_acknowledged_at_once(numbers: Numbers) -> None:
    """SHLD-19."""
    bench = established(**numbers)
    for number in range(1, 7):
        bench.arrive(ACK, payload=bytes(MSS))
        if number % 2 == 0:
            bench.expect(ACK, ack=1 + number * MSS)
    assert bench.connection.deadline() is None


@pytest.mark.rfc("SHLD-19")
def test_full_segments_without_timestamps_are_larger() -> None:
    bench = established(config=CONFIG, peer=NO_OPTIONS)
    bench.arrive(ACK, payload=bytes(1012))
    bench.arrive(ACK, payload=bytes(1011))
    bench.expect_nothing()
    bench.arrive(ACK, payload=b"x")
    bench.expect(ACK, ack=2025)


@pytest.mark.rfc("SHLD-18")
def test_data_takes_the_ack_with_it() -> None:
    bench = established()
    bench.arrive(ACK | PSH, payload=b"request")
    bench.send(b"answer")
    bench.expect(ACK | PSH, ack=8, payload=b"answer")
    bench.arrive(ACK)
    bench.advance(1.0)
    bench.expect_nothing()


@pytest.mark.rfc("MAY-13", "5681:4.2")
def test_what_is_out_of_order_is_acknowledged_at_once(numbers: Numbers) -> None:
    bench = established(**numbers)
    for number in (2, 3, 4):
        seq = 1 + number * MSS
        bench.arrive(ACK, seq=seq, payload=bytes(MSS))
        bench.expect(ACK, ack=1, sack=((2001, seq + MSS),))


@pytest.mark.rfc("SHLD-31", "5681:4.2")
@pytest.mark.parametrize("size", [1000, 500])
def test_what_fills_a_gap_is_acknowledged_at_once(size: int, numbers: Numbers) -> None:
    """Even if it fills only a part of it."""
    bench = established(**numbers)
    bench.arrive(ACK, seq=1001, payload=TEXT[1000:2000])
    bench.expect(ACK, ack=1, sack=((1001, 2001),))
    bench.arrive(ACK, seq=1, payload=TEXT[:size])
    if size == 1000:
        bench.expect(ACK, ack=2001)
        assert bench.receive() == TEXT[:2000]
    else:
        bench.expect(ACK, ack=501, sack=((1001, 2001),))


def test_what_came_before_is_acknowledged_at_once() -> None:
    bench = established()
    bench.arrive(ACK, payload=b"hello")
    assert bench.arrive(ACK, seq=1, payload=b"hello") is Verdict.DUPLICATE
    bench.expect(ACK, ack=6, sack=((1, 6),))


@pytest.mark.rfc("MUST-58", "MUST-59")
def test_one_ack_for_a_batch(numbers: Numbers) -> None:
    """MUST-58, MUST-59."""
    bench = established(**numbers)
    with bench.batch():
        for at in range(0, 10 * MSS, MSS):
            bench.arrive(ACK, payload=TEXT[at : at + MSS])
    bench.expect(ACK, ack=1 + 10 * MSS)
    assert bench.receive() == TEXT[: 10 * MSS]


@pytest.mark.rfc("MUST-58")
def test_one_ack_for_a_batch_out_of_order() -> None:
    """SACK tells it all."""
    bench = established()
    with bench.batch():
        for seq in (2001, 4001, 6001):
            bench.arrive(ACK, seq=seq, payload=bytes(MSS))
    bench.expect(ACK, ack=1, sack=((6001, 7001), (4001, 5001), (2001, 3001)))


@pytest.mark.rfc("5681:4.2")
def test_without_sack_each_segment_out_of_order_draws_an_ack(numbers: Numbers) -> None:
    """The peer counts them (RFC 5681 section 3.2)."""
    bench = established(peer=Offer(sack_permitted=False), **numbers)
    with bench.batch():
        for number in (2, 3, 4):
            bench.arrive(ACK, seq=1 + number * MSS, payload=bytes(MSS))
    for _ in range(3):
        bench.expect(ACK, ack=1, sack=())
    bench.arrive(ACK, seq=1, payload=bytes(2 * MSS))
    bench.expect(ACK, ack=1 + 5 * MSS)


def test_pure_acks_draw_nothing() -> None:
    bench = established()
    bench.arrive(ACK)
    bench.arrive(ACK, wnd=1)
    assert bench.connection.deadline() is None


# The window (section 3.8.6)


def test_window_says_what_the_buffer_has_room_for(numbers: Numbers) -> None:
    bench = unscaled(10_000, **numbers)
    bench.arrive(ACK, payload=bytes(3000))
    bench.expect(ACK, ack=3001, wnd=7000)
    bench.arrive(ACK, payload=bytes(7000))
    bench.expect(ACK, ack=10_001, wnd=0)


def test_what_was_read_is_offered_again_with_the_next_ack() -> None:
    bench = unscaled(10_000)
    bench.arrive(ACK, payload=bytes(3000))
    bench.expect(ACK, wnd=7000)
    bench.receive(2000)
    bench.arrive(ACK, payload=bytes(2500))
    bench.expect(ACK, wnd=10_000 - 3500)


def test_window_is_as_large_as_the_field_without_scaling() -> None:
    bench = unscaled(1 << 20)
    bench.arrive(ACK, payload=bytes(3000))
    bench.expect(ACK, wnd=65535)


def test_window_is_as_large_as_the_field_with_scaling() -> None:
    bench = established(config=replace(CONFIG, receive_buffer=1 << 34))
    bench.arrive(ACK, payload=bytes(3000))
    bench.expect(ACK, wnd=65535)
    assert bench.rcv_wnd == 65535 << 14


@pytest.mark.rfc("SHLD-14")
@pytest.mark.parametrize("buffer", [4096, 5000, 100_000, (1 << 20) + 77])
@pytest.mark.parametrize("seed", range(5))
def test_window_never_shrinks(buffer: int, seed: int, numbers: Numbers) -> None:
    """SHLD-14: its right edge stands, but for what the scaled field cannot say.

    Nor does it ever offer more than the buffer has room for, but for a unit of the scale.
    """
    rng = Random(seed)
    bench = established(config=replace(CONFIG, receive_buffer=buffer), **numbers)
    edge = read = 0
    for _ in range(600):
        match rng.randrange(5):
            case 0 | 1:
                size = min(rng.choice((1, 77, 500, MSS)), bench.rcv_wnd)
                bench.arrive(ACK | PSH, payload=bytes(size))
            case 2 | 3:
                read += len(bench.receive(rng.choice((1, 50, 900, 5000, buffer))))
            case _:
                bench.advance(0.05)
        for _, segment in bench.drain():
            offered = segment.ack + (segment.wnd << bench.rcv_wscale)
            unit = 1 << bench.rcv_wscale
            assert edge - unit < offered < 1 + read + buffer + unit
            edge = max(edge, offered)
    assert edge > buffer + 1000


@pytest.mark.rfc("MUST-39")
def test_small_rooms_are_not_offered() -> None:
    """Section 3.8.6.2.2, MUST-39: no silly windows from our side."""
    bench = unscaled(4000)
    bench.arrive(ACK, payload=bytes(4000))
    bench.expect(ACK, wnd=0)
    bench.receive(999)
    bench.arrive(ACK, payload=b"probe")
    bench.expect(ACK, ack=4001, wnd=0)
    bench.receive(13)  # Makes a full segment of room.
    bench.expect(ACK, ack=4001, wnd=1012)


@pytest.mark.rfc("MUST-39")
def test_half_of_a_small_buffer_is_offered() -> None:
    bench = unscaled(1000)
    bench.arrive(ACK, payload=bytes(1000))
    bench.advance(DELAY)
    bench.expect(ACK, wnd=0)
    bench.receive(499)
    bench.expect_nothing()
    bench.receive(1)
    bench.expect(ACK, wnd=500)


def test_a_read_sends_a_window_update(numbers: Numbers) -> None:
    bench = unscaled(10_000, **numbers)
    bench.arrive(ACK, payload=bytes(9500))
    bench.expect(ACK, wnd=500)
    bench.receive(900)
    bench.expect_nothing()
    bench.receive(200)
    bench.expect(ACK, ack=9501, wnd=1600)


@pytest.mark.parametrize(("used", "told"), [(4999, False), (5000, True)])
def test_no_window_update_while_most_of_the_window_is_left(used: int, told: bool) -> None:
    bench = unscaled(10_000)
    bench.arrive(ACK, payload=bytes(used))
    bench.expect(ACK, wnd=10_000 - used)
    bench.receive()
    if told:
        bench.expect(ACK, wnd=10_000)
    else:
        bench.expect_nothing()


@pytest.mark.parametrize(("used", "told"), [(500_000, False), (600_000, True)])
def test_half_of_a_scaled_window_is_more_than_a_syn_can_say(used: int, told: bool) -> None:
    bench = established()
    bench.arrive(ACK, payload=bytes(used))
    bench.drain()
    bench.receive()
    if told:
        bench.expect(ACK, ack=1 + used, wnd=(1 << 20) >> WSCALE)
    else:
        bench.expect_nothing()


def test_no_window_update_after_the_peers_fin() -> None:
    bench = unscaled(4000)
    bench.arrive(ACK, payload=bytes(4000))
    bench.expect(ACK, wnd=0)
    bench.arrive(ACK | 0x01)
    bench.expect(ACK, ack=4002, wnd=0)
    assert len(bench.receive()) == 4000
    bench.expect_nothing()


def test_a_larger_buffer_is_offered_with_the_next_ack() -> None:
    """SO_RCVBUF."""
    bench = unscaled(4000)
    bench.connection.reconfigure(replace(CONFIG, receive_buffer=20_000))
    bench.arrive(ACK, payload=bytes(2024))
    bench.expect(ACK, wnd=20_000 - 2024)


@pytest.mark.rfc("SHLD-14")
def test_a_smaller_buffer_takes_nothing_back() -> None:
    """SHLD-14 again: the window closes as it is used."""
    bench = unscaled(20_000)
    bench.connection.reconfigure(replace(CONFIG, receive_buffer=4000))
    for left in (17_000, 14_000, 11_000):
        bench.arrive(ACK, payload=bytes(3000))
        bench.expect(ACK, wnd=left)


def test_data_to_a_window_of_zero_is_refused_and_acknowledged() -> None:
    """A probe as RFC 9293 describes it."""
    bench = unscaled(3000)
    bench.arrive(ACK, payload=TEXT[:3000])
    bench.expect(ACK, ack=3001, wnd=0)
    bench.arrive(ACK, payload=TEXT[3000:3001])
    bench.expect(ACK, ack=3001, wnd=0)
    bench.receive()
    bench.expect(ACK, ack=3001, wnd=3000)
    bench.arrive(ACK, payload=TEXT[3000:3001])
    assert bench.receive() == TEXT[3000:3001]


@pytest.mark.parametrize("limit", [1, 7, 1000, 1 << 20])
def test_reading_in_any_size(limit: int, numbers: Numbers) -> None:
    bench = established(**numbers)
    for at in range(0, 5000, 500):
        bench.arrive(ACK, payload=TEXT[at : at + 500])
        bench.drain()
    data = b""
    while piece := bench.receive(limit):
        assert len(piece) <= limit
        data += piece
    assert data == TEXT[:5000]


# SACK (RFC 2018)


def holes(bench: Bench, *numbers: int) -> None:
    """Segments arrive, each by its number, with others missing between."""
    for number in numbers:
        bench.arrive(ACK, seq=1 + number * MSS, payload=TEXT[number * MSS : (number + 1) * MSS])


def block(first: int, last: int | None = None) -> tuple[int, int]:
    return 1 + first * MSS, 1 + ((first if last is None else last) + 1) * MSS


@pytest.mark.rfc("2018:4")
def test_the_latest_block_comes_first(numbers: Numbers) -> None:
    """Section 4, rule 1; then those reported most recently."""
    bench = established(**numbers)
    holes(bench, 5)
    bench.expect(ACK, sack=(block(5),))
    holes(bench, 1)
    bench.expect(ACK, sack=(block(1), block(5)))
    holes(bench, 3)
    bench.expect(ACK, sack=(block(3), block(1), block(5)))
    holes(bench, 6)
    bench.expect(ACK, sack=(block(5, 6), block(3), block(1)))
    holes(bench, 4)
    bench.expect(ACK, sack=(block(3, 6), block(1)))
    holes(bench, 0)
    bench.expect(ACK, ack=2001, sack=(block(3, 6),))


@pytest.mark.rfc("2883:4")
def test_a_segment_that_came_before_puts_its_block_first() -> None:
    """Behind the one that says what came twice."""
    bench = established()
    holes(bench, 1)
    bench.expect(ACK, sack=(block(1),))
    holes(bench, 3)
    bench.expect(ACK, sack=(block(3), block(1)))
    holes(bench, 1)
    bench.expect(ACK, sack=(block(1), block(1), block(3)))


HELD: Final = ((1001, 2001), (3001, 4001))
"""What is there already, beyond RCV.NXT, which is 1."""

OVERLAPS: Final[dict[str, tuple[int, int, int, tuple[tuple[int, int], ...]]]] = {
    "in order, over one range": (1, 2501, 2501, ((1001, 2001), (3001, 4001))),
    "in order, into a range": (1, 1501, 2001, ((1001, 1501), (3001, 4001))),
    "in order, to the end of a range": (1, 2001, 2001, ((1001, 2001), (3001, 4001))),
    "in order, into the second range": (1, 3501, 4001, ((1001, 2001),)),
    "in order, over both": (1, 5001, 5001, ((1001, 2001),)),
    "in order, up to a range": (1, 1001, 2001, ((3001, 4001),)),
    "behind, into a range": (-499, 1501, 2001, ((-499, 1), (3001, 4001))),
    "behind, over both": (-499, 5001, 5001, ((-499, 1),)),
    "the left edge of a range": (501, 1501, 1, ((1001, 1501), (501, 2001), (3001, 4001))),
    "the right edge of a range": (1501, 2501, 1, ((1501, 2001), (1001, 2501), (3001, 4001))),
    "both edges of a range": (501, 2501, 1, ((1001, 2001), (501, 2501), (3001, 4001))),
    "one range and the next": (1501, 3501, 1, ((1501, 2001), (1001, 4001))),
    "between two ranges, into the next": (
        2501,
        3501,
        1,
        ((3001, 3501), (2501, 4001), (1001, 2001)),
    ),
    "over both ranges": (501, 4501, 1, ((1001, 2001), (501, 4501))),
    "within a range": (1201, 1301, 1, ((1201, 1301), (1001, 2001), (3001, 4001))),
    "between two ranges": (2001, 3001, 1, ((1001, 4001),)),
}
"""What comes, from where to where; what is acknowledged then, and the SACK option."""


@pytest.mark.rfc("2883:4.2", "2883:4.2.1", "2883:4.2.2", "2883:4.2.3")
@pytest.mark.parametrize("case", OVERLAPS)
def test_what_comes_twice_in_part_is_reported(case: str, numbers: Numbers) -> None:
    """The first part that did, and in the second block what is held around it."""
    start, end, ack, sack = OVERLAPS[case]
    bench = established(**numbers)
    with bench.batch():
        for left, right in reversed(HELD):
            bench.arrive(ACK, seq=left, payload=TEXT[left - 1 : right - 1])
    bench.drain()
    text = bytes(max(0, 1 - start)) + TEXT[max(0, start - 1) : end - 1]
    assert bench.arrive(ACK, seq=start, payload=text) in (Verdict.ACCEPTED, Verdict.DUPLICATE)
    bench.expect(ACK, ack=ack, sack=tuple((left % 2**32, right) for left, right in sack))
    assert bench.receive() == TEXT[: ack - 1]
    bench.drain()
    bench.arrive(ACK, seq=9001, payload=b"x")
    [(_, segment)] = bench.drain()
    assert segment.sack[0] == (9001, 9002)  # It is reported once.


def test_what_is_dropped_since_too_much_waits_did_not_come_twice() -> None:
    bench = established(config=replace(CONFIG, max_out_of_order_runs=2))
    with bench.batch():
        holes(bench, 1, 3)
    bench.drain()
    assert bench.arrive(ACK, seq=block(5)[0], payload=bytes(MSS)) is Verdict.NO_MEMORY
    bench.expect(ACK, ack=1, sack=(block(3), block(1)))


@pytest.mark.rfc("2883:4.1")
def test_what_comes_twice_is_reported_once(numbers: Numbers) -> None:
    bench = established(**numbers)
    holes(bench, 0)
    holes(bench, 0)
    bench.expect(ACK, ack=1001, sack=(block(0),))
    holes(bench, 2)
    bench.expect(ACK, ack=1001, sack=(block(2),))


@pytest.mark.rfc("2883:4.1")
def test_what_comes_twice_in_one_batch_is_one_block(numbers: Numbers) -> None:
    """After a spurious timeout of the peer's; it counts what was in vain."""
    bench = established(**numbers)
    with bench.batch():
        holes(bench, 0, 1, 2)
    bench.drain()
    with bench.batch():
        holes(bench, 0, 1, 2)
    bench.expect(ACK, ack=3001, sack=(block(0, 2),))


@pytest.mark.rfc("2883:4.2", "7323:5.3")
def test_an_original_that_its_retransmission_overtook_is_reported(numbers: Numbers) -> None:
    """Old by its timestamp: it is dropped, but the peer learns that it was not lost."""
    bench = established(**numbers)
    bench.arrive(ACK, payload=b"hello", ts_val=500)
    bench.advance(1.0)
    bench.drain()
    verdict = bench.arrive(ACK, seq=1, payload=b"hello, world", ts_val=100)
    assert verdict is Verdict.OLD_TIMESTAMP
    bench.expect(ACK, ack=6, sack=((1, 6),))
    bench.arrive(ACK, seq=6, payload=b", world", ts_val=100)
    bench.expect(ACK, ack=6)


@pytest.mark.parametrize(("timestamps", "most"), [(True, 3), (False, 4)])
def test_as_many_blocks_as_fit(timestamps: bool, most: int, numbers: Numbers) -> None:
    """Section 3: 40 octets of options."""
    bench = established(peer=Offer(timestamps=timestamps), **numbers)
    for number in (2, 4, 6, 8, 10):
        holes(bench, number)
        blocks = tuple(block(n) for n in range(number, 1, -2))[:most]
        bench.expect(ACK, sack=blocks)


def test_blocks_go_with_data() -> None:
    bench = established()
    holes(bench, 1)
    bench.drain()
    bench.send(b"x")
    bench.expect(ACK | PSH, payload=b"x", sack=(block(1),))


def test_no_blocks_once_all_is_in_order() -> None:
    bench = established()
    holes(bench, 1)
    bench.drain()
    holes(bench, 0)
    bench.expect(ACK, ack=2001, sack=())
    assert bench.receive() == TEXT[: 2 * MSS]


def test_runs_are_bounded() -> None:
    """A peer that sends every second octet does not fill our memory."""
    bench = established(config=replace(CONFIG, max_out_of_order_runs=10))
    for seq in range(3, 43, 2):
        bench.arrive(ACK, seq=seq, payload=b"x")
        bench.drain()
    reassembly = bench.reassembly
    assert (len(reassembly), reassembly.size) == (10, 10)
    bench.arrive(ACK, seq=1, payload=TEXT[:42])
    bench.expect(ACK, ack=43, sack=((3, 4),))
    assert (len(reassembly), reassembly.size) == (0, 0)


@pytest.mark.rfc("SHLD-31")
def test_a_shuffled_stream_is_put_in_order(numbers: Numbers) -> None:
    bench = established(**numbers)
    order = list(range(30))
    Random(7).shuffle(order)
    for number in order:
        holes(bench, number)
        bench.drain()
    assert bench.receive() == TEXT
    assert bench.received == len(TEXT)
