"""Opening: active, passive and simultaneous; what is negotiated; who gives up and why."""

from __future__ import annotations

import errno
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    MSS,
    NO_OPTIONS,
    WSCALE,
    Bench,
    Numbers,
    Offer,
    accepted,
    crossed,
    established,
    listening,
    syn_received,
    syn_sent,
)
from tunstack.tcp.connection.state import State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN

if TYPE_CHECKING:
    from collections.abc import Callable

S = State
OURS: Final[dict[str, Any]] = {"mss": 1012, "wscale": 7, "sack_permitted": True}
"""What our SYN offers."""

# The exchanges


@pytest.mark.rfc("MUST-14", "SHLD-5", "MAY-3")
def test_active_open(numbers: Numbers) -> None:
    bench = Bench(**numbers)
    bench.open_active()
    bench.expect(SYN, seq=0, ack=0, wnd=65535, ts_val=0, ts_ecr=0, **OURS)
    assert bench.told == []
    bench.now = 0.1
    assert bench.arrive_syn(SYN | ACK) is Verdict.ACCEPTED
    bench.expect(ACK, seq=1, ack=1, ts_val=100, ts_ecr=100)
    bench.expect_state(S.ESTABLISHED)
    assert bench.told == ["opened"]
    assert bench.connection.deadline() is None


@pytest.mark.rfc("MUST-14", "SHLD-5", "MAY-3")
def test_passive_open(numbers: Numbers) -> None:
    bench = listening(**numbers)
    bench.now = 0.1
    assert bench.arrive_syn() is Verdict.ACCEPTED
    bench.expect(SYN | ACK, seq=0, ack=1, wnd=65535, ts_val=100, ts_ecr=100, **OURS)
    assert bench.told == []
    assert bench.arrive(ACK, seq=1, ack=1) is Verdict.ACCEPTED
    bench.expect_nothing()
    bench.expect_state(S.ESTABLISHED)
    assert bench.told == ["opened"]
    assert bench.connection.deadline() is None


@pytest.mark.rfc("MUST-10")
def test_simultaneous_open(numbers: Numbers) -> None:
    """RFC 9293 figure 7 (MUST-10)."""
    bench = Bench(**numbers)
    bench.open_active()
    bench.expect(SYN, seq=0, **OURS)
    bench.arrive_syn()
    bench.expect(SYN | ACK, seq=0, ack=1, **OURS)
    bench.expect_state(S.SYN_RECEIVED)
    assert bench.arrive_syn(SYN | ACK) is Verdict.ACCEPTED
    bench.expect_nothing()
    bench.expect_state(S.ESTABLISHED)
    assert bench.told == ["opened"]
    bench.send(b"x")
    bench.expect(ACK | PSH, seq=1, ack=1, payload=b"x")


@pytest.mark.rfc("MUST-10")
def test_simultaneous_open_with_a_bare_ack(numbers: Numbers) -> None:
    """Their SYN,ACK was lost, and what came after it tells the same."""
    bench = crossed(**numbers)
    bench.arrive(ACK, seq=1, ack=1)
    bench.expect_state(S.ESTABLISHED)


def test_crossed_syn_and_its_answer_in_one_batch() -> None:
    """Our SYN,ACK was not sent yet, and is not needed any more; an ACK is."""
    bench = syn_sent()
    with bench.batch():
        bench.arrive_syn()
        bench.arrive_syn(SYN | ACK)
    bench.expect(ACK, seq=1, ack=1)
    bench.expect_state(S.ESTABLISHED)


def test_data_with_the_ack_of_the_handshake() -> None:
    bench = syn_received()
    bench.arrive(ACK | PSH, payload=b"GET /")
    assert bench.receive() == b"GET /"


def test_fin_with_the_ack_of_the_handshake() -> None:
    bench = syn_received()
    bench.arrive(FIN | ACK, payload=b"all there is")
    bench.expect(ACK, ack=14)
    assert bench.states[-2:] == [S.ESTABLISHED, S.CLOSE_WAIT]
    assert bench.receive() == b"all there is"


def test_data_and_fin_with_the_syn_ack() -> None:
    """Section 3.10.7.3, fifth: it goes on with the sixth step."""
    bench = syn_sent(peer=NO_OPTIONS)
    bench.arrive(SYN | ACK | FIN, seq=0, payload=b"hello")
    bench.expect(ACK, seq=1, ack=7)
    bench.expect_state(S.CLOSE_WAIT)
    assert bench.receive() == b"hello"


def test_data_in_a_syn_is_left_to_be_sent_again() -> None:
    bench = listening(peer=NO_OPTIONS)
    bench.arrive(SYN, seq=0, payload=b"early", mss=MSS)
    bench.expect(SYN | ACK, ack=1, mss=1012)
    bench.arrive(ACK, seq=1, payload=b"early")
    assert bench.receive() == b"early"


def test_close_before_the_handshake_ends_waits_for_it() -> None:
    """Section 3.10.4, SYN-RECEIVED: the CLOSE is queued."""
    bench = syn_received()
    bench.shutdown()
    bench.expect_nothing()
    bench.expect_state(S.SYN_RECEIVED)
    bench.arrive(ACK)
    bench.expect(FIN | ACK, seq=1)
    bench.expect_state(S.FIN_WAIT_1)
    assert bench.told == ["opened"]


def test_close_in_syn_sent_ends_at_once() -> None:
    bench = syn_sent()
    bench.close()
    bench.expect_state(S.CLOSED)
    assert (bench.told, bench.errno) == (["failed"], None)
    assert bench.connection.deadline() is None


# Options


@pytest.mark.rfc("7323:2.2", "7323:3.2", "2018:2")
@pytest.mark.parametrize("opening", [established, accepted])
@pytest.mark.parametrize(
    ("ours", "theirs"), list(product(product([False, True], repeat=3), repeat=2))
)
def test_an_option_is_used_if_both_sides_offer_it(
    opening: Callable[..., Bench],
    ours: tuple[bool, bool, bool],
    theirs: tuple[bool, bool, bool],
) -> None:
    config = replace(CONFIG, sack=ours[0], timestamps=ours[1], window_scaling=ours[2])
    offer = Offer(
        sack_permitted=theirs[0], timestamps=theirs[1], wscale=4 if theirs[2] else None, wnd=1000
    )
    bench = opening(config=config, peer=offer)
    connection = bench.connection
    sack, timestamps, scaling = (mine and its for mine, its in zip(ours, theirs, strict=True))
    assert connection.sack_ok is sack
    assert connection.timestamps_ok is timestamps
    assert bench.rcv_wscale == (WSCALE if scaling else 0)
    bench.arrive(ACK, wnd=1000)
    assert bench.snd_wnd == (16000 if scaling else 1000)
    bench.send(b"x")
    segment = bench.expect(ACK | PSH, payload=b"x")
    assert (segment.ts_val is not None) is timestamps
    assert segment.wnd == ((1 << 20) >> WSCALE if scaling else 65535)
    bench.arrive(ACK, seq=11, payload=b"beyond a gap")
    bench.expect(ACK, sack=((11, 23),) if sack else ())


@pytest.mark.rfc("MAY-3", "7323:2.2", "7323:3.2", "2018:2")
@pytest.mark.parametrize("theirs", [False, True])
def test_syn_ack_answers_only_what_was_offered(theirs: bool) -> None:
    offer = Offer() if theirs else replace(NO_OPTIONS, mss=None)
    bench = listening(peer=offer)
    bench.arrive_syn()
    segment = bench.expect(
        SYN | ACK, mss=1012, wscale=WSCALE if theirs else None, sack_permitted=theirs
    )
    assert (segment.ts_val is None) is not theirs


@pytest.mark.rfc("MAY-3")
def test_syn_offers_what_the_configuration_lets_it() -> None:
    bench = Bench(replace(CONFIG, sack=False, timestamps=False, window_scaling=False))
    bench.open_active()
    bench.expect(SYN, mss=1012, wscale=None, sack_permitted=False, ts_val=None)


@pytest.mark.rfc("MUST-14", "MUST-15", "MUST-16")
@pytest.mark.parametrize("opening", [established, accepted])
@pytest.mark.parametrize(
    ("mss", "timestamps", "largest"),
    [
        (None, False, 536),  # MUST-15
        (None, True, 524),
        (0, False, 536),
        (300, False, 300),
        (300, True, 288),
        (10, False, 48),  # Not less than Linux's least.
        (1012, True, 1000),
        (9000, False, 1012),  # No larger than our link carries (MUST-16).
    ],
)
def test_segments_are_as_large_as_both_sides_take(
    opening: Callable[..., Bench], mss: int | None, timestamps: bool, largest: int
) -> None:
    bench = opening(peer=Offer(mss=mss, timestamps=timestamps))
    bench.send(bytes(largest * 3))
    bench.expect(ACK, size=largest)
    bench.expect(ACK, size=largest)
    bench.expect(ACK | PSH, size=largest)


@pytest.mark.rfc("7323:2.3")
@pytest.mark.parametrize("opening", [established, accepted])
@pytest.mark.parametrize(("wscale", "shift"), [(0, 0), (1, 1), (14, 14), (15, 14), (255, 14)])
def test_window_scale_of_more_than_14_counts_as_14(
    opening: Callable[..., Bench], wscale: int, shift: int
) -> None:
    """RFC 7323 section 2.3."""
    bench = opening(peer=Offer(wscale=wscale))
    bench.arrive(ACK, wnd=40000)
    assert bench.snd_wnd == 40000 << shift


@pytest.mark.rfc("7323:2.2")
def test_window_of_a_syn_is_not_scaled(numbers: Numbers) -> None:
    """RFC 7323 section 2.2, their window and ours."""
    for bench in (
        established(peer=Offer(wscale=4, wnd=700), **numbers),
        crossed(peer=Offer(wscale=4, wnd=700), **numbers),
    ):
        assert bench.snd_wnd == 700
        assert bench.first_window == 65535
    bench.arrive_syn(SYN | ACK)
    assert bench.snd_wnd == 700


def test_window_of_the_ack_that_ends_the_handshake_is_scaled(numbers: Numbers) -> None:
    bench = syn_received(peer=Offer(wscale=4, wnd=700), **numbers)
    assert bench.snd_wnd == 700
    bench.arrive(ACK, wnd=800)
    assert bench.snd_wnd == 800 << 4


def test_small_buffer_is_offered_as_it_is_in_a_syn() -> None:
    bench = Bench(replace(CONFIG, receive_buffer=5000))
    bench.open_active()
    bench.expect(SYN, wnd=5000, **OURS)


@pytest.mark.parametrize(("size", "shift"), [(4096, 7), (8 << 20, 8), (1 << 30, 14), (1 << 34, 14)])
def test_window_scale_suits_the_buffer(size: int, shift: int) -> None:
    """And is enough for 4 MiB, to which a small buffer may grow."""
    bench = Bench(replace(CONFIG, receive_buffer=size))
    bench.open_active()
    bench.expect(SYN, mss=1012, sack_permitted=True, wscale=shift)


@pytest.mark.rfc("7323:2.2")
def test_options_of_later_segments_change_nothing() -> None:
    bench = established()
    bench.arrive(ACK, mss=100, wscale=3)
    assert bench.snd_mss == MSS
    assert bench.snd_wnd == 65535


# A lost SYN

SYN_TIMES: Final = [1, 3, 7, 15, 31, 63, 127]
"""Doubling from RTO's first value, 1 s; the last one waits until R2 is up."""


@pytest.mark.rfc("MUST-22", "MUST-23")
def test_a_syn_is_retransmitted_until_r2(numbers: Numbers) -> None:
    """MUST-22, MUST-23: at least three minutes."""
    bench = syn_sent(**numbers)
    bench.run_until(179.9)
    for at in SYN_TIMES:
        bench.expect(SYN, at=at, seq=0, ts_val=at * 1000, note="retransmission: timeout", **OURS)
    bench.run_until(180.0)
    bench.expect_nothing()
    bench.expect_state(S.CLOSED)
    assert (bench.errno, bench.told) == (errno.ETIMEDOUT, ["failed"])
    assert bench.connection.deadline() is None


@pytest.mark.rfc("MUST-23")
@pytest.mark.parametrize("begin", [0.1, 76.4, 76.9, 86400.1, 1e6 / 7])
def test_give_up_is_exact_at_any_time_of_the_clock(begin: float) -> None:
    """Floating point rounds: (t + 180) - t may be less than 180."""
    bench = Bench()
    bench.now = begin
    bench.open_active()
    bench.drain()
    bench.run_until(begin + 180.0)
    assert len(bench.drain()) == len(SYN_TIMES)
    bench.expect_state(S.CLOSED)


@pytest.mark.rfc("MUST-22")
@pytest.mark.parametrize("make", [syn_received, crossed])
def test_a_syn_ack_is_retransmitted_until_r2(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.run_until(180.0)
    assert [sent.segment.flags for sent in bench.drain()] == [SYN | ACK] * len(SYN_TIMES)
    bench.expect_state(S.CLOSED)
    assert (bench.errno, bench.told) == (errno.ETIMEDOUT, ["failed"])


def test_syn_again_draws_the_syn_ack_again(numbers: Numbers) -> None:
    bench = syn_received(**numbers)
    bench.advance(0.5)
    assert bench.arrive_syn() is Verdict.DUPLICATE
    bench.expect(SYN | ACK, seq=0, ack=1, **OURS)
    bench.arrive(ACK)
    bench.expect_state(S.ESTABLISHED)
    assert bench.told == ["opened"]


def test_syn_again_and_the_ack_in_one_batch() -> None:
    """The SYN,ACK that was due is of no use any more, and a bare SYN would be an error."""
    bench = syn_received()
    with bench.batch():
        bench.arrive_syn()
        bench.arrive(ACK, seq=1, ack=1)
    bench.expect(ACK, seq=1, ack=1)
    bench.expect_state(S.ESTABLISHED)
    assert bench.connection.deadline() is None


def test_crossed_syn_again_draws_our_syn_ack_again() -> None:
    bench = crossed()
    assert bench.arrive_syn() is Verdict.DUPLICATE
    bench.expect(SYN | ACK, seq=0, ack=1, **OURS)


def test_syn_ack_again_draws_the_ack_again(numbers: Numbers) -> None:
    """Our ACK was lost."""
    bench = established(**numbers)
    assert bench.arrive_syn(SYN | ACK) is Verdict.DUPLICATE
    bench.expect(ACK, seq=1, ack=1)
    bench.expect_state(S.ESTABLISHED)


# Refusals and strays


def test_refused(numbers: Numbers) -> None:
    bench = syn_sent(**numbers)
    assert bench.arrive(RST | ACK, seq=0, ack=1) is Verdict.RESET
    bench.expect_nothing()
    bench.expect_state(S.CLOSED)
    assert (bench.errno, bench.told) == (errno.ECONNREFUSED, ["failed"])


def test_reset_without_ack_does_not_refuse() -> None:
    bench = syn_sent()
    assert bench.arrive(RST, seq=0) is Verdict.RESET_IGNORED
    bench.expect_state(S.SYN_SENT)


@pytest.mark.parametrize("ack", [0, 2, 1000, -1])
@pytest.mark.parametrize("flags", [ACK, SYN | ACK])
def test_unacceptable_ack_in_syn_sent_draws_a_reset(flags: int, ack: int, numbers: Numbers) -> None:
    """Section 3.10.7.3, first: <SEQ=SEG.ACK><CTL=RST>."""
    bench = syn_sent(**numbers)
    bench.wait()
    bench.drain()
    assert bench.arrive(flags, seq=0, ack=ack) is Verdict.UNACCEPTABLE_ACK
    bench.expect(RST, seq=ack % 2**32)
    bench.expect_state(S.SYN_SENT)


def test_a_challenged_syn_is_repeated_behind_the_reset(numbers: Numbers) -> None:
    """The peer has an old connection of this name (RFC 9293 figure 9), and now it has none."""
    bench = syn_sent(**numbers)
    bench.advance(0.03)
    assert bench.arrive(ACK, seq=500, ack=70) is Verdict.UNACCEPTABLE_ACK
    bench.expect(RST, seq=70)
    bench.expect(
        SYN,
        seq=0,
        mss=1012,
        wscale=WSCALE,
        sack_permitted=True,
        note="retransmission: challenged",
    )
    bench.advance(0.03)
    bench.arrive_syn(SYN | ACK)
    bench.expect(ACK, seq=1, ack=1)
    bench.expect_state(S.ESTABLISHED)


def test_a_syn_is_repeated_at_once_only_once_and_then_by_its_timer() -> None:
    """As on Linux: what challenges it may not be what a RST ends, or forged."""
    bench = syn_sent()
    bench.arrive(ACK, seq=500, ack=70)
    assert [sent.segment.flags for sent in bench.drain()] == [RST, SYN]
    for _ in range(3):
        bench.arrive(ACK, seq=500, ack=70)
        bench.expect(RST, seq=70)
    bench.wait()
    [syn] = bench.drain()
    assert (syn.at, syn.segment.note) == (1.0, "retransmission: timeout")


def test_a_syn_that_waits_for_data_is_not_sent_for_what_challenges_it() -> None:
    bench = Bench()
    bench.connection.open_active()
    bench.connection.withhold_syn()
    assert bench.arrive(ACK, seq=500, ack=70) is Verdict.UNACCEPTABLE_ACK
    bench.expect(RST, seq=70)


@pytest.mark.parametrize("ack", [0, 2])
def test_reset_with_an_unacceptable_ack_does_not_refuse(ack: int) -> None:
    bench = syn_sent()
    assert bench.arrive(RST | ACK, seq=0, ack=ack) is Verdict.UNACCEPTABLE_ACK
    bench.expect_nothing()
    bench.expect_state(S.SYN_SENT)


@pytest.mark.parametrize("flags", [ACK, ACK | FIN, FIN, 0])
def test_what_is_neither_syn_nor_reset_is_dropped_in_syn_sent(flags: int) -> None:
    bench = syn_sent()
    assert bench.arrive(flags, seq=0) is Verdict.IGNORED
    bench.expect_state(S.SYN_SENT)


@pytest.mark.rfc("MUST-11")
def test_reset_returns_a_passive_open_to_listen(numbers: Numbers) -> None:
    """MUST-11. And it can begin anew."""
    bench = syn_received(**numbers)
    assert bench.arrive(RST, seq=1) is Verdict.RESET
    bench.expect_state(S.LISTEN)
    assert (bench.errno, bench.told) == (None, ["failed"])
    bench.advance(400.0)
    bench.expect_nothing()
    bench.arrive_syn()
    bench.expect(SYN | ACK, seq=0, ack=1, **OURS)
    bench.arrive(ACK, seq=1, ack=1)
    bench.expect_state(S.ESTABLISHED)


@pytest.mark.rfc("MUST-11")
def test_reset_refuses_an_active_open_that_crossed() -> None:
    """MUST-11."""
    bench = crossed()
    assert bench.arrive(RST, seq=1) is Verdict.RESET
    bench.expect_state(S.CLOSED)
    assert (bench.errno, bench.told) == (errno.ECONNREFUSED, ["failed"])


def test_syn_and_reset_in_one_batch_leave_nothing_to_send() -> None:
    bench = listening()
    with bench.batch():
        bench.arrive_syn()
        bench.arrive(RST, seq=1)
    bench.expect_nothing()
    bench.expect_state(S.LISTEN)
    assert bench.connection.finished


def test_a_challenge_is_not_sent_from_listen() -> None:
    bench = syn_received()
    with bench.batch():
        bench.arrive(RST, seq=500)
        bench.arrive(RST, seq=1)
    bench.expect_nothing()


def test_another_syn_in_the_window_returns_a_passive_open_to_listen() -> None:
    """Section 3.10.7.4, fourth: the peer has begun anew."""
    bench = syn_received()
    assert bench.arrive(SYN, seq=5000, ts_val=1) is Verdict.RESET
    bench.expect_nothing()
    bench.expect_state(S.LISTEN)


@pytest.mark.parametrize("make", [syn_received, crossed])
@pytest.mark.parametrize("ack", [0, 2, -5])
def test_unacceptable_ack_in_syn_received_draws_a_reset(
    make: Callable[..., Bench], ack: int, numbers: Numbers
) -> None:
    """Section 3.10.7.4, fifth."""
    bench = make(**numbers)
    assert bench.arrive(ACK, ack=ack) is Verdict.UNACCEPTABLE_ACK
    bench.expect(RST, seq=ack % 2**32)
    bench.expect_state(S.SYN_RECEIVED)


@pytest.mark.parametrize("flags", [RST, ACK, SYN | ACK, SYN | RST, FIN, 0])
def test_only_a_bare_syn_begins_in_listen(flags: int) -> None:
    bench = listening()
    assert bench.arrive(flags, seq=0, ack=0) is Verdict.IGNORED
    bench.expect_state(S.LISTEN)


def test_closed_connection_takes_nothing() -> None:
    bench = Bench()
    assert bench.arrive(SYN, seq=0) is Verdict.IGNORED
    bench.expect_nothing()


@pytest.mark.rfc("5461:4.1")
def test_icmp_error_in_syn_sent_ends_the_attempt() -> None:
    bench = syn_sent()
    bench.connection.icmp_error(OSError(errno.EHOSTUNREACH, "No route to host"))
    bench.expect_state(S.CLOSED)
    assert (bench.errno, bench.told) == (errno.EHOSTUNREACH, ["failed"])


@pytest.mark.rfc("MUST-56")
@pytest.mark.parametrize("make", [syn_received, established])
def test_icmp_error_later_is_only_noted(make: Callable[..., Bench]) -> None:
    """MUST-56."""
    bench = make()
    error = OSError(errno.EHOSTUNREACH, "No route to host")
    bench.connection.icmp_error(error)
    bench.expect_state(make().state)
    assert bench.connection.soft_error is error
