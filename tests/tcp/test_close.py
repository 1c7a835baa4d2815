"""Closing: each half on its own, from either side or both; and letting go of a connection."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    IN_STATE,
    MSS,
    WITHOUT_SACK,
    Bench,
    Numbers,
    accepted,
    close_wait,
    crossed,
    established,
    fin_wait_1,
    fin_wait_2,
    last_ack,
    listening,
    syn_sent,
    time_wait,
)
from tunstack.tcp.connection.state import CAN_SEND, State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN

if TYPE_CHECKING:
    from collections.abc import Callable

S = State
TWO_MSL: Final = 2 * CONFIG.msl

# The exchanges (section 3.6)


@pytest.mark.rfc("MUST-13")
def test_our_side_closes_first(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.shutdown()
    bench.expect(FIN | ACK, seq=1, ack=1)
    bench.expect_state(S.FIN_WAIT_1)
    bench.arrive(ACK, ack=2)
    bench.expect_state(S.FIN_WAIT_2)
    assert bench.connection.deadline() is None
    bench.arrive(FIN | ACK, seq=1)
    bench.expect(ACK, seq=2, ack=2)
    bench.expect_state(S.TIME_WAIT)
    assert bench.receive() == b""
    bench.advance(TWO_MSL)
    bench.expect_state(S.CLOSED)
    assert (bench.errno, bench.connection.finished) == (None, True)


def test_their_side_closes_first(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(FIN | ACK, seq=1)
    bench.expect(ACK, seq=1, ack=2)
    bench.expect_state(S.CLOSE_WAIT)
    assert bench.receive() == b""
    bench.shutdown()
    bench.expect(FIN | ACK, seq=1, ack=2)
    bench.expect_state(S.LAST_ACK)
    bench.arrive(ACK, ack=2)
    bench.expect_state(S.CLOSED)
    assert (bench.errno, bench.connection.finished) == (None, True)
    assert bench.connection.deadline() is None


def test_both_sides_close_at_once(numbers: Numbers) -> None:
    """RFC 9293 figure 13."""
    bench = fin_wait_1(**numbers)
    bench.arrive(FIN | ACK, seq=1, ack=1)
    bench.expect(ACK, seq=2, ack=2)
    bench.expect_state(S.CLOSING)
    bench.arrive(ACK, seq=2, ack=2)
    bench.expect_state(S.TIME_WAIT)
    bench.advance(TWO_MSL)
    bench.expect_state(S.CLOSED)


def test_fin_and_ack_of_ours_in_one_segment() -> None:
    bench = fin_wait_1()
    bench.arrive(FIN | ACK, ack=2)
    bench.expect(ACK, seq=2, ack=2)
    bench.expect_state(S.TIME_WAIT)


def test_fin_goes_with_the_last_data(numbers: Numbers) -> None:
    bench = established(**numbers)
    with bench.batch():
        bench.send(bytes(MSS) + b"the end")
        bench.shutdown()
    bench.expect(ACK, seq=1, size=MSS)
    bench.expect(FIN | ACK | PSH, seq=1001, payload=b"the end")
    bench.arrive(ACK, ack=1008)
    bench.expect_state(S.FIN_WAIT_1)
    bench.arrive(ACK, ack=1009)
    bench.expect_state(S.FIN_WAIT_2)


def test_fin_follows_data_that_has_to_wait(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK, wnd=MSS)
    bench.send(bytes(2 * MSS))
    bench.expect(ACK, size=MSS)
    bench.shutdown()
    bench.expect_state(S.FIN_WAIT_1)
    bench.arrive(ACK, ack=1001)
    bench.expect(ACK | PSH, seq=1001, size=MSS)  # No room for the FIN.
    bench.arrive(ACK, ack=2001)
    bench.expect(FIN | ACK, seq=2001)
    bench.arrive(ACK, ack=2002)
    bench.expect_state(S.FIN_WAIT_2)


def test_close_flushes_what_nagle_held_back() -> None:
    bench = established()
    bench.send(b"first")
    bench.expect(ACK | PSH, payload=b"first")
    bench.send(b"second")
    bench.expect_nothing()
    bench.shutdown()
    bench.expect(FIN | ACK | PSH, payload=b"second")


def test_shutdown_again_changes_nothing() -> None:
    for state in (S.FIN_WAIT_1, S.FIN_WAIT_2, S.CLOSING, S.LAST_ACK, S.TIME_WAIT, S.CLOSED):
        bench = IN_STATE[state]()
        bench.shutdown()
        bench.expect_nothing()
        bench.expect_state(state)


@pytest.mark.parametrize("make", [fin_wait_1, fin_wait_2, last_ack, time_wait])
def test_nothing_can_be_sent_after_close(make: Callable[..., Bench]) -> None:
    bench = make()
    assert bench.connection.writable_size == 0
    with pytest.raises(BrokenPipeError):
        bench.send(b"x")


def test_nothing_can_be_sent_before_the_handshake_ends() -> None:
    bench = syn_sent()
    assert bench.connection.writable_size == 0
    with pytest.raises(BrokenPipeError):
        bench.send(b"x")


# Half closed


def test_they_go_on_sending_for_long_after_our_fin(numbers: Numbers) -> None:
    bench = fin_wait_2(**numbers)
    for _ in range(100):
        bench.advance(3600.0)
        bench.arrive(ACK | PSH, payload=bytes(2 * MSS))
        bench.expect(ACK, seq=2)
        assert len(bench.receive()) == 2 * MSS
    bench.arrive(FIN | ACK)
    bench.expect(ACK, ack=200_002)
    bench.expect_state(S.TIME_WAIT)


def test_we_go_on_sending_for_long_after_their_fin(numbers: Numbers) -> None:
    bench = close_wait(**numbers)
    for _ in range(100):
        bench.advance(3600.0)
        bench.send(b"x")
        bench.expect(ACK | PSH, ack=2, payload=b"x")
        bench.arrive(ACK)
    bench.shutdown()
    bench.expect(FIN | ACK, seq=101)
    bench.arrive(ACK)
    bench.expect_state(S.CLOSED)


def test_reading_can_be_shut_down_alone() -> None:
    """As on Linux: what is there, or comes, may be read, and else it is as if at the end."""
    bench = established(config=replace(CONFIG, receive_buffer=4096))
    bench.arrive(ACK, payload=b"unread")
    bench.connection.shutdown_receive()
    assert bench.connection.readable
    assert bench.receive() == b"unread"
    assert bench.receive() == b""
    for number in range(2):
        bench.arrive(ACK, payload=bytes(2048))
        bench.expect(ACK, ack=7 + 2048 * (number + 1))
    assert bench.rcv_wnd <= 32  # Like anybody's who does not read.
    assert bench.receive() == bytes(4096)
    assert bench.receive() == b""
    bench.drain()
    bench.close()
    bench.expect(FIN | ACK, seq=1)


# The FIN is lost


@pytest.mark.parametrize("make", [fin_wait_1, last_ack])
def test_fin_is_sent_again(make: Callable[..., Bench], numbers: Numbers) -> None:
    bench = make(peer=WITHOUT_SACK, **numbers)
    ack = bench.rcv_nxt
    bench.advance(0.2)
    bench.expect(FIN | ACK, at=0.2, seq=1, ack=ack, note="retransmission: timeout")
    bench.advance(0.4)
    bench.expect(FIN | ACK, at=0.6, seq=1, ack=ack, note="retransmission: timeout")


def test_fin_with_data_is_sent_again() -> None:
    bench = established()
    with bench.batch():
        bench.send(b"the end")
        bench.shutdown()
    bench.expect(FIN | ACK | PSH, payload=b"the end")
    bench.advance(0.2)
    bench.expect(FIN | ACK | PSH, seq=1, payload=b"the end")
    bench.arrive(ACK, ack=8)  # All but the FIN.
    bench.advance(0.4)
    bench.expect(FIN | ACK, seq=8)


@pytest.mark.rfc("MUST-20")
@pytest.mark.parametrize("make", [fin_wait_1, last_ack])
def test_an_unacknowledged_fin_times_out(make: Callable[..., Bench]) -> None:
    bench = make(config=replace(CONFIG, user_timeout=100.0), peer=WITHOUT_SACK)
    bench.advance(99.9)
    assert len(bench.drain()) == 8
    bench.advance(0.1)
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ETIMEDOUT


# TIME-WAIT


@pytest.mark.rfc("MUST-13")
def test_time_wait_lasts_2_msl() -> None:
    bench = time_wait(config=replace(CONFIG, msl=7.0))
    bench.advance(13.9)
    bench.expect_state(S.TIME_WAIT)
    bench.advance(0.1)
    bench.expect_state(S.CLOSED)


@pytest.mark.rfc("MUST-13")
def test_a_retransmitted_fin_in_time_wait_is_acknowledged_and_restarts_it(numbers: Numbers) -> None:
    bench = time_wait(**numbers)
    bench.advance(59.0)
    assert bench.arrive(FIN | ACK, seq=1) is Verdict.DUPLICATE
    bench.expect(ACK, seq=2, ack=2)
    bench.advance(59.0)
    bench.expect_state(S.TIME_WAIT)
    bench.advance(1.0)
    bench.expect_state(S.CLOSED)


def test_another_fin_in_time_wait_restarts_it_as_well() -> None:
    """Section 3.10.7.4, eighth, to the letter: it should not occur."""
    bench = time_wait()
    bench.advance(59.0)
    assert bench.arrive(FIN | ACK, seq=2) is Verdict.DUPLICATE
    bench.expect(ACK, seq=2, ack=2)
    bench.advance(59.0)
    bench.expect_state(S.TIME_WAIT)


@pytest.mark.parametrize("flags", [ACK, ACK | PSH, SYN | ACK])
def test_nothing_else_prolongs_time_wait(flags: int) -> None:
    bench = time_wait()
    bench.advance(59.0)
    bench.arrive(flags, seq=1, payload=b"x" if flags & PSH else b"")
    bench.drain()
    bench.advance(1.0)
    bench.expect_state(S.CLOSED)


def test_reset_ends_time_wait() -> None:
    """As on Linux by default; RFC 1337 would ignore it."""
    bench = time_wait()
    bench.arrive(RST)
    bench.expect_state(S.CLOSED)
    assert bench.errno is None


# Letting go


@pytest.mark.rfc("SHLD-3")
@pytest.mark.parametrize("make", [established, accepted, fin_wait_1, fin_wait_2])
def test_close_with_unread_data_resets(make: Callable[..., Bench]) -> None:
    """SHLD-3."""
    bench = make()
    bench.arrive(ACK, ack=1, payload=b"unread")
    at = bench.snd_nxt
    bench.close()
    bench.expect(RST, seq=at)
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ECONNABORTED


@pytest.mark.rfc("SHLD-3")
def test_close_after_their_fin_with_unread_data_resets() -> None:
    bench = established()
    bench.arrive(FIN | ACK, payload=b"unread")
    bench.expect(ACK, ack=8)
    bench.close()
    bench.expect(RST, seq=1)
    bench.expect_state(S.CLOSED)


def test_close_with_all_data_read_says_fin() -> None:
    bench = established()
    bench.arrive(ACK, payload=b"read")
    assert bench.receive() == b"read"
    bench.close()
    bench.expect(FIN | ACK, seq=1, ack=5)


def test_close_with_unread_data_leaves_time_wait_alone() -> None:
    """MUST-13: the peer had its answer; whoever repeats the FIN is still to be answered."""
    bench = fin_wait_2()
    bench.arrive(FIN | ACK, payload=b"unread")
    bench.expect(ACK, ack=8)
    bench.close()
    bench.expect_nothing()
    bench.expect_state(S.TIME_WAIT)
    bench.arrive(FIN | ACK, seq=1, payload=b"unread")
    bench.expect(ACK, ack=8, sack=((1, 7),))


RESETS: Final = {
    S.SYN_RECEIVED,
    S.ESTABLISHED,
    S.FIN_WAIT_1,
    S.FIN_WAIT_2,
    S.CLOSE_WAIT,
    S.CLOSING,
    S.LAST_ACK,
}


@pytest.mark.parametrize("state", sorted(S, key=str))
def test_abort(state: State, numbers: Numbers) -> None:
    """Section 3.10.5, whose RST CLOSING and LAST-ACK need not send, but may.

    In SYN-RECEIVED it has an ACK, as Linux sends it: the peer may be in SYN-SENT still.
    """
    bench = IN_STATE[state](**numbers)
    nxt = bench.snd_nxt
    if state in CAN_SEND:
        bench.send(b"lost")
        bench.drain()
        nxt += 4
    bench.abort()
    if state in RESETS:
        flags = RST | ACK if state is S.SYN_RECEIVED else RST
        bench.expect(flags, seq=nxt)
    bench.expect_nothing()
    bench.expect_state(S.CLOSED)
    assert bench.connection.deadline() is None
    assert bench.connection.finished
    assert bench.errno == (None if state is S.CLOSED else errno.ECONNABORTED)


def test_abort_drops_what_was_not_sent() -> None:
    bench = established()
    with bench.batch():
        bench.send(b"lost")
        bench.abort()
    bench.expect(RST, seq=1)


def test_abort_after_both_syns_crossed() -> None:
    bench = crossed()
    bench.abort()
    bench.expect(RST | ACK, seq=1, ack=1)
    assert bench.told == ["failed"]


def test_calls_after_an_abort_raise() -> None:
    bench = established()
    bench.abort()
    bench.expect(RST)
    with pytest.raises(ConnectionAbortedError):
        bench.send(b"x")
    with pytest.raises(ConnectionAbortedError):
        bench.receive()
    assert bench.connection.readable


@pytest.mark.rfc("MUST-12")
def test_data_that_came_before_a_reset_can_still_be_read() -> None:
    bench = established()
    bench.arrive(ACK, payload=b"last words")
    bench.arrive(RST)
    assert bench.receive(4) == b"last"
    assert bench.receive() == b" words"
    with pytest.raises(ConnectionResetError):
        bench.receive()
    with pytest.raises(ConnectionResetError):
        bench.send(b"x")


@pytest.mark.rfc("MUST-12")
def test_reset_after_the_end_of_stream_spoils_no_read() -> None:
    """MUST-12: the end was normal, and stays so."""
    bench = close_wait()
    bench.arrive(RST)
    assert bench.receive() == b""
    with pytest.raises(ConnectionResetError):
        bench.send(b"x")


def test_close_and_abort_of_a_listening_connection_say_nothing() -> None:
    for act in (Bench.close, Bench.abort):
        bench = listening()
        act(bench)
        bench.expect_state(S.CLOSED)
