"""What is sent when: segments, windows, Nagle and silly windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    NO_OPTIONS,
    WITHOUT_SACK,
    Bench,
    Numbers,
    Offer,
    accepted,
    close_wait,
    established,
    syn_sent,
)
from tunstack.tcp.segment import ACK, FIN, PSH

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.tcp.config import Config

NODELAY: Final = replace(CONFIG, nodelay=True)
TEXT: Final = bytes(n % 251 for n in range(20_000))


def after_a_window_of(octets: int, config: Config = CONFIG, **numbers: int) -> Bench:
    """A bench whose peer has room for `octets`, and never offered more."""
    return established(config=config, peer=Offer(wnd=octets), **numbers)


# Segments


@pytest.mark.parametrize("make", [established, accepted, close_wait])
def test_data_goes_out_at_once(make: Callable[..., Bench], numbers: Numbers) -> None:
    bench = make(**numbers)
    assert bench.send(b"hello") == 5
    bench.expect(ACK | PSH, seq=1, payload=b"hello")


@pytest.mark.rfc("SHLD-28", "MUST-61")
def test_data_goes_out_in_full_segments(numbers: Numbers) -> None:
    """SHLD-27, SHLD-28; and MUST-61: PSH on the last, for nothing more is queued."""
    bench = established(config=NODELAY, **numbers)
    bench.send(TEXT[:2500])
    bench.expect(ACK, seq=1, payload=TEXT[:1000])
    bench.expect(ACK, seq=1001, payload=TEXT[1000:2000])
    bench.expect(ACK | PSH, seq=2001, payload=TEXT[2000:2500])


@pytest.mark.rfc("SHLD-27")
def test_small_writes_are_sent_together(numbers: Numbers) -> None:
    bench = established(**numbers)
    for at in range(0, 1500, 50):
        bench.send(TEXT[at : at + 50])
    bench.expect(ACK | PSH, payload=TEXT[:50])
    bench.expect(ACK, payload=TEXT[50:1050])
    bench.expect_nothing()
    bench.arrive(ACK)
    bench.expect(ACK | PSH, payload=TEXT[1050:1500])


@pytest.mark.rfc("SHLD-7")
def test_the_tail_of_a_write_waits_for_no_full_segment(numbers: Numbers) -> None:
    """Minshall's modification: else the peer's delayed ACK would be waited for."""
    bench = established(**numbers)
    bench.send(TEXT[:1400])
    bench.expect(ACK, payload=TEXT[:1000])
    bench.expect(ACK | PSH, payload=TEXT[1000:1400])
    bench.send(TEXT[1400:1500])  # Now there is a small one on its way.
    bench.expect_nothing()
    bench.arrive(ACK, ack=1 + 1000)  # That was the full one.
    bench.expect_nothing()
    bench.arrive(ACK, ack=1 + 1400)
    bench.expect(ACK | PSH, payload=TEXT[1400:1500])


def test_the_tail_of_a_large_segment_is_a_small_one() -> None:
    """Where the link cuts it: as Linux counts."""
    bench = established(config=replace(CONFIG, max_payload=65536))
    bench.send(TEXT[:1400])
    bench.expect(ACK | PSH, payload=TEXT[:1400])
    bench.send(TEXT[1400:1500])
    bench.expect_nothing()
    bench.arrive(ACK)
    bench.expect(ACK | PSH, payload=TEXT[1400:1500])


@pytest.mark.rfc("MUST-16")
def test_a_segment_is_smaller_by_the_sack_blocks_it_carries(numbers: Numbers) -> None:
    """MUST-16: options deducted."""
    bench = established(**numbers)
    blocks: tuple[tuple[int, int], ...] = ()
    for number in range(1, 5):
        seq = number * 2000
        bench.arrive(ACK, seq=seq, payload=b"x")
        blocks = ((seq, seq + 1), *blocks)[:3]
        bench.expect(ACK, sack=blocks)
    bench.send(TEXT[:1000])
    bench.expect(ACK, payload=TEXT[: 1000 - 28], sack=blocks)
    bench.arrive(ACK, payload=bytes(1999))  # Fills the first gap.
    bench.expect(ACK | PSH, ack=2001, payload=TEXT[972:1000], sack=blocks)


@pytest.mark.parametrize("space", [4000, 4500, 4999])
def test_large_segments_are_multiples_of_the_mss(space: int) -> None:
    """Where the link cuts them itself."""
    bench = established(config=replace(NODELAY, max_payload=space))
    bench.send(TEXT[:9000])
    bench.expect(ACK, payload=TEXT[:4000])
    bench.expect(ACK | PSH, payload=TEXT[4000:8000])
    bench.expect_nothing()
    bench.arrive(ACK, ack=4001)
    bench.expect(ACK | PSH, payload=TEXT[8000:9000])


def test_a_part_of_a_large_segment_waits_for_an_ack_where_two_large_ones_are_on_their_way() -> None:
    """But not where one is, nor before a FIN, and not once it is a large one itself."""
    bench = established(config=replace(NODELAY, max_payload=4000))
    bench.send(TEXT[:4100])
    bench.expect(ACK, payload=TEXT[:4000])
    bench.expect(ACK | PSH, payload=TEXT[4000:4100])
    bench.send(TEXT[4100:8200])
    bench.expect(ACK | PSH, payload=TEXT[4100:8100])
    bench.expect_nothing()
    bench.send(TEXT[8200:9000])
    bench.expect_nothing()
    bench.shutdown()
    bench.expect(ACK | PSH | FIN, payload=TEXT[8100:9000])


def test_large_segments_fill_the_windows_in_multiples_of_the_mss() -> None:
    bench = established(config=replace(CONFIG, max_payload=65536), peer=Offer(wnd=4500))
    bench.send(TEXT[:9000])
    bench.expect(ACK, payload=TEXT[:4000])
    bench.arrive(ACK, wnd=65535)
    bench.expect(ACK | PSH, payload=TEXT[4000:9000])


def test_a_link_that_takes_less_than_the_mss_does_not_cut() -> None:
    bench = established(config=replace(CONFIG, max_payload=10))
    bench.send(TEXT[:1000])
    bench.expect(ACK | PSH, payload=TEXT[:1000])


# The buffer


def test_send_takes_what_there_is_room_for() -> None:
    bench = established(config=replace(CONFIG, send_buffer=1500))
    assert bench.connection.writable_size == 1500
    assert bench.send(TEXT[:2000]) == 1500
    assert bench.send(b"more") == 0
    bench.expect(ACK, payload=TEXT[:1000])
    bench.expect(ACK | PSH, payload=TEXT[1000:1500])
    bench.arrive(ACK, ack=1001)
    assert bench.connection.writable_size == 1000


def test_what_is_not_sent_yet_is_counted() -> None:
    bench = established()
    assert bench.unsent == 0
    bench.send(b"sent")
    bench.send(b"held back")
    bench.expect(ACK | PSH, payload=b"sent")
    assert (bench.unsent, bench.outstanding) == (9, 4)
    bench.shutdown()
    bench.expect(FIN | ACK | PSH, payload=b"held back")
    assert (bench.unsent, bench.outstanding) == (0, 14)


def test_a_buffer_that_was_made_smaller_takes_nothing_until_it_drains() -> None:
    bench = established()
    bench.send(bytes(900))
    bench.expect(ACK | PSH, size=900)
    bench.connection.reconfigure(replace(CONFIG, send_buffer=500))
    assert bench.connection.writable_size == 0
    assert bench.send(b"x") == 0
    bench.arrive(ACK)
    assert bench.connection.writable_size == 500


def test_an_empty_write_sends_nothing() -> None:
    bench = established()
    assert bench.send(b"") == 0
    bench.expect_nothing()


# The peer's window


def test_no_more_is_sent_than_the_window_takes(numbers: Numbers) -> None:
    bench = after_a_window_of(2000, **numbers)
    bench.send(TEXT[:5000])
    bench.expect(ACK, payload=TEXT[:1000])
    bench.expect(ACK, payload=TEXT[1000:2000])
    bench.arrive(ACK, ack=1001)
    bench.expect(ACK, payload=TEXT[2000:3000])
    bench.arrive(ACK, ack=1001, wnd=4000)
    bench.expect(ACK, payload=TEXT[3000:4000])
    bench.expect(ACK | PSH, payload=TEXT[4000:5000])


@pytest.mark.rfc("MUST-34", "SHLD-15")
def test_a_window_that_shrinks_stops_new_data(numbers: Numbers) -> None:
    """MUST-34: the usable window is negative now. SHLD-15."""
    bench = established(**numbers)
    bench.send(TEXT[:2000])
    bench.expect(ACK, size=1000)
    bench.expect(ACK | PSH, size=1000)
    bench.arrive(ACK, ack=1001, wnd=500)
    bench.send(TEXT[2000:4000])
    bench.expect_nothing()
    bench.arrive(ACK, ack=2001, wnd=1000)
    bench.expect(ACK, seq=2001, payload=TEXT[2000:3000])


@pytest.mark.rfc("SHLD-16", "MAY-7")
def test_what_a_shrinking_window_left_out_is_sent_again(numbers: Numbers) -> None:
    """SHLD-16, MAY-7."""
    bench = established(peer=WITHOUT_SACK, **numbers)
    bench.send(TEXT[:1000])
    bench.expect(ACK | PSH, size=1000)
    bench.arrive(ACK, ack=1, wnd=10)
    bench.advance(0.2)
    bench.expect(ACK | PSH, seq=1, payload=TEXT[:1000], note="retransmission: timeout")


@pytest.mark.rfc("MUST-35", "MUST-37", "SHLD-17")
def test_a_peer_that_shrinks_its_window_to_nothing_keeps_the_connection() -> None:
    """MUST-35, MUST-37, SHLD-17: our retransmissions are the probes, and it answers them."""
    bench = established(config=replace(CONFIG, data_timeout=100.0), peer=WITHOUT_SACK)
    bench.send(b"x")
    bench.expect(ACK | PSH, payload=b"x")
    bench.arrive(ACK, ack=1, wnd=0)
    while bench.now < 3600.0:
        bench.wait()
        bench.expect(ACK | PSH, seq=1, payload=b"x", note="retransmission: timeout")
        bench.arrive(ACK, ack=1, wnd=0)
    bench.arrive(ACK, ack=2, wnd=100)
    assert bench.outstanding == 0


# Nagle (section 3.7.4)


@pytest.mark.rfc("SHLD-7", "MAY-16", "MUST-60")
def test_nagle_holds_small_data_while_something_is_outstanding(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.send(b"first")
    bench.expect(ACK | PSH, payload=b"first")
    bench.send(b"second")
    bench.send(b"third")
    bench.expect_nothing()
    bench.arrive(ACK)
    bench.expect(ACK | PSH, seq=6, payload=b"secondthird")


@pytest.mark.rfc("SHLD-7")
def test_nagle_lets_full_segments_pass() -> None:
    bench = established()
    bench.send(b"first")
    bench.expect(ACK | PSH, payload=b"first")
    bench.send(TEXT[:1500])
    bench.expect(ACK, payload=TEXT[:1000])
    bench.expect_nothing()


@pytest.mark.rfc("MUST-17")
def test_nodelay_holds_nothing() -> None:
    """MUST-17."""
    bench = established(config=NODELAY)
    for text in (b"first", b"second", b"third"):
        bench.send(text)
        bench.expect(ACK | PSH, payload=text)


@pytest.mark.rfc("MUST-17")
def test_nodelay_can_be_set_later() -> None:
    bench = established()
    bench.send(b"first")
    bench.expect(ACK | PSH, payload=b"first")
    bench.send(b"second")
    bench.expect_nothing()
    bench.connection.reconfigure(NODELAY)
    bench.send(b"third")
    bench.expect(ACK | PSH, payload=b"secondthird")


# Silly windows (section 3.8.6.2.1, MUST-38)


@pytest.mark.rfc("MUST-38", "813:4")
@pytest.mark.parametrize("config", [CONFIG, NODELAY])
def test_a_small_usable_window_is_not_filled(config: Config) -> None:
    bench = after_a_window_of(1400, config)
    bench.send(TEXT[:3000])
    bench.expect(ACK, payload=TEXT[:1000])
    bench.expect_nothing()  # 400 octets would go.


@pytest.mark.rfc("MUST-38", "813:4")
def test_half_of_the_largest_window_is_worth_sending() -> None:
    bench = after_a_window_of(600)
    bench.arrive(ACK, wnd=300)
    bench.send(TEXT[:1000])
    bench.expect(ACK, payload=TEXT[:300])
    bench.arrive(ACK, wnd=299)
    bench.expect_nothing()
    bench.arrive(ACK, wnd=600)
    bench.expect(ACK, payload=TEXT[300:900])


@pytest.mark.rfc("MUST-38")
def test_half_of_the_largest_window_waits_for_what_is_outstanding() -> None:
    bench = after_a_window_of(1600)
    bench.send(TEXT[:3000])
    bench.expect(ACK, payload=TEXT[:1000])
    bench.arrive(ACK, ack=501, wnd=1300)  # 800 would go, half of 1600.
    bench.expect_nothing()


@pytest.mark.parametrize("config", [CONFIG, NODELAY])
def test_all_there_is_may_be_small(config: Config) -> None:
    bench = after_a_window_of(1000, config)
    bench.send(b"small")
    bench.expect(ACK | PSH, payload=b"small")


# The FIN's turn


def test_fin_needs_room(numbers: Numbers) -> None:
    bench = after_a_window_of(1000, **numbers)
    with bench.batch():
        bench.send(TEXT[:1000])
        bench.shutdown()
    bench.expect(ACK | PSH, payload=TEXT[:1000])
    bench.arrive(ACK, ack=1001)
    bench.expect(FIN | ACK, seq=1001)


def test_fin_does_not_wait_for_the_congestion_window() -> None:
    """As on Linux: it brings no load."""
    bench = established(config=replace(CONFIG, initial_window=2))
    bench.send(TEXT[:2000])
    bench.drain()
    assert bench.outstanding == bench.cwnd
    bench.shutdown()
    bench.expect(FIN | ACK, seq=2001)


def test_nothing_of_the_queue_goes_out_before_the_handshake_ends() -> None:
    bench = syn_sent(peer=NO_OPTIONS)
    bench.advance(0.5)
    assert bench.unsent == 0
    bench.expect_nothing()


def test_numbers_that_come_round_to_our_first_are_no_syn() -> None:
    """After 4 GiB SND.UNA may stand at ISS again: the connection is open all the same."""
    bench = established()
    bench.wrap_to_iss()
    bench.send(b"text")
    bench.expect(ACK | PSH, seq=0, payload=b"text")
    bench.arrive(ACK)
    assert bench.snd_una == 4
