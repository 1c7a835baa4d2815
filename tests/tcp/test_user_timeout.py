"""How long a peer may be silent, and what the application hears of it before (RFC 9293 3.8.3)."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    NO_OPTIONS,
    WITHOUT_SACK,
    Bench,
    Numbers,
    established,
    syn_received,
    syn_sent,
)
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN

if TYPE_CHECKING:
    from tunstack.tcp.config import Config

S = State
RTO: Final = 0.2


def wishing(timeout: float, **parameters: Any) -> Config:
    return replace(CONFIG, user_timeout=timeout, **parameters)


def shut(**setup: Any) -> Bench:
    """A bench whose peer has closed its window, with data waiting."""
    bench = established(**setup)
    bench.arrive(ACK, wnd=0)
    bench.send(b"waiting")
    return bench


def silence(bench: Bench, seconds: float) -> None:
    """Let time pass in which nothing is heard of the peer, whatever we send."""
    bench.drain()
    bench.advance(seconds)
    bench.drain()


def ends_at(bench: Bench, when: float) -> None:
    """It ends for want of an answer at `when`, and not before."""
    silence(bench, when - bench.now - 0.001)
    assert bench.state is not S.CLOSED
    bench.run_until(when)
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ETIMEDOUT


# R2, and the user's own


@pytest.mark.rfc("MUST-20")
@pytest.mark.rfc("SHLD-11")
def test_without_a_wish_data_has_long_to_be_acknowledged(numbers: Numbers) -> None:
    assert CONFIG.data_timeout >= 100.0
    bench = established(**numbers)
    bench.send(b"x")
    bench.drain()
    ends_at(bench, CONFIG.data_timeout)


@pytest.mark.rfc("MUST-21")
@pytest.mark.rfc("5482:3")
@pytest.mark.parametrize("timeout", [0.05, 5.0, 3600.0])
def test_a_wish_shortens_and_lengthens_it(timeout: float, numbers: Numbers) -> None:
    bench = established(config=wishing(timeout), **numbers)
    bench.advance(10.0)
    bench.send(b"x")
    bench.drain()
    ends_at(bench, 10.0 + timeout)


def test_each_ack_restarts_it() -> None:
    bench = established(config=wishing(5.0))
    bench.send(bytes(2000))
    silence(bench, 4.0)
    bench.arrive(ACK, ack=1001)
    ends_at(bench, 4.0 + 5.0)


@pytest.mark.rfc("MUST-21")
def test_it_can_be_changed_while_data_waits() -> None:
    bench = established()
    bench.send(b"x")
    silence(bench, 20.0)
    bench.reconfigure(wishing(30.0))
    silence(bench, 40.0)  # By the next retransmission at the latest.
    bench.expect_state(S.CLOSED)


@pytest.mark.rfc("5482:3")
def test_a_user_timeout_limits_a_closed_window(numbers: Numbers) -> None:
    """As Linux documents TCP_USER_TIMEOUT: data "may remain untransmitted" for so long."""
    bench = shut(config=wishing(10.0), **numbers)
    while bench.now < 6.0:
        bench.wait()
        bench.expect(ACK, note="window probe")
        bench.arrive(ACK, wnd=0)
    ends_at(bench, 10.0)


def test_a_window_that_opens_in_time_keeps_it() -> None:
    bench = shut(config=wishing(10.0))
    bench.advance(9.0)
    bench.drain()
    bench.arrive(ACK, wnd=100)
    bench.expect(ACK | PSH, payload=b"waiting")
    bench.arrive(ACK, wnd=0)
    bench.advance(3600.0)
    bench.expect_state(S.ESTABLISHED)


@pytest.mark.rfc("6429:3")
def test_an_orphans_data_does_not_wait_forever_for_a_window() -> None:
    """A peer that answers, and never opens its window, would hold us for nothing (RFC 6429)."""
    bench = shut(config=replace(CONFIG, data_timeout=100.0))
    while bench.now < 300.0:
        bench.wait()
        bench.expect(ACK, note="window probe")
        bench.arrive(ACK, wnd=0)
    bench.expect_state(S.ESTABLISHED)
    begin = bench.now
    bench.close()
    for _ in range(99):
        bench.advance(1.0)
        bench.expect_state(S.FIN_WAIT_1)
        if bench.drain():
            bench.arrive(ACK, wnd=0)
    bench.run_until(begin + 100.0)
    bench.expect_state(S.CLOSED)


# A SYN (MUST-22, MUST-23)


@pytest.mark.rfc("MUST-23")
@pytest.mark.parametrize("make", [syn_sent, syn_received])
def test_a_syn_is_sent_for_three_minutes(make: Any) -> None:
    bench = make()
    ends_at(bench, 180.0)
    assert bench.told == ["failed"]


@pytest.mark.rfc("MUST-21")
@pytest.mark.rfc("MUST-22")
@pytest.mark.parametrize(("timeout", "ends"), [(10.0, 10.0), (3600.0, 180.0)])
def test_a_wish_shortens_it_for_a_syn(timeout: float, ends: float) -> None:
    ends_at(syn_sent(config=wishing(timeout)), ends)


# R1, and other soft errors


@pytest.mark.rfc("SHLD-9")
@pytest.mark.rfc("SHLD-10")
@pytest.mark.rfc("MUST-20")
def test_the_third_retransmission_is_reported(numbers: Numbers) -> None:
    bench = established(peer=WITHOUT_SACK, **numbers)
    connection = bench.connection
    bench.send(b"x")
    silence(bench, RTO * (1 + 2))
    assert connection.soft_error is None
    silence(bench, RTO * 4)
    assert connection.reports == 1
    assert connection.soft_error is not None
    assert connection.soft_error.errno == errno.ETIMEDOUT
    silence(bench, 60.0)
    assert connection.reports == 1  # Of one trouble once.
    bench.expect_state(S.ESTABLISHED)


@pytest.mark.rfc("SHLD-9")
def test_it_is_forgotten_when_data_gets_through_and_reported_again_when_it_does_not() -> None:
    bench = established(peer=NO_OPTIONS)
    connection = bench.connection
    for reports, seconds in ((1, 10.0), (2, 400.0)):  # The RTO is still backed off then.
        bench.send(b"x")
        silence(bench, seconds)
        assert connection.reports == reports
        bench.arrive(ACK)
        assert connection.soft_error is None


@pytest.mark.rfc("MUST-22")
@pytest.mark.rfc("SHLD-9")
def test_a_syn_without_an_answer_is_reported() -> None:
    bench = syn_sent()
    silence(bench, 1.0 + 2.0)
    assert bench.connection.reports == 0
    silence(bench, 4.0)
    assert bench.connection.reports == 1
    bench.arrive_syn(SYN | ACK)
    bench.expect(ACK)
    assert bench.connection.soft_error is None


def test_unanswered_probes_of_a_window_are_reported_and_answered_ones_are_not() -> None:
    bench = shut()
    for _ in range(6):
        bench.wait()
        bench.drain()
        bench.arrive(ACK, wnd=0)
    assert bench.connection.reports == 0
    silence(bench, 300.0)
    assert bench.connection.reports == 1


@pytest.mark.rfc("MUST-47", "SHLD-9", "5461:2.1")
def test_r1_does_not_replace_the_icmp_error() -> None:
    """The attempts that came to nothing are news, but the reason is what ICMP said."""
    bench = established(peer=WITHOUT_SACK)
    connection = bench.connection
    bench.send(b"x")
    unreachable = OSError(errno.EHOSTUNREACH, "No route to host")
    connection.icmp_error(unreachable)
    silence(bench, RTO * (1 + 2 + 4))
    assert connection.reports == 2
    assert connection.latest_report is not None
    assert connection.latest_report.errno == errno.ETIMEDOUT
    assert connection.soft_error is unreachable


def test_how_many_are_too_many_can_be_chosen() -> None:
    bench = established(peer=WITHOUT_SACK, config=replace(CONFIG, r1=5))
    bench.send(b"x")
    silence(bench, RTO * (1 + 2 + 4 + 8))
    assert bench.connection.reports == 0
    silence(bench, RTO * 16)
    assert bench.connection.reports == 1


@pytest.mark.rfc("MUST-56")
@pytest.mark.rfc("SHLD-25")
def test_an_icmp_error_is_a_soft_error() -> None:
    bench = established()
    bench.send(b"x")
    unreachable = OSError(errno.EHOSTUNREACH, "No route to host")
    bench.connection.icmp_error(unreachable)
    assert bench.connection.soft_error is bench.connection.latest_report is unreachable
    bench.expect_state(S.ESTABLISHED)
    bench.drain()
    bench.arrive(ACK)
    assert bench.connection.soft_error is None
    assert bench.connection.latest_report is unreachable  # For who has not asked yet.


@pytest.mark.parametrize("known", [True, False])
def test_a_user_timeout_ends_with_the_icmp_error_if_any(known: bool) -> None:
    bench = established(config=wishing(30.0))
    bench.send(b"x")
    silence(bench, 20.0)  # "No answer" is reported.
    if known:
        bench.connection.icmp_error(OSError(errno.EHOSTUNREACH, "No route to host"))
    silence(bench, 10.0)
    assert bench.connection.error is not None
    assert bench.errno == (errno.EHOSTUNREACH if known else errno.ETIMEDOUT)
    assert known or bench.connection.error.strerror == "Connection timed out"


# Lingering (SO_LINGER), and FIN-WAIT-2 (TCP_LINGER2)


def lingering(seconds: float, **setup: Any) -> Bench:
    """A connection that nobody owns, which may linger so long; its FIN is not acknowledged."""
    bench = established(**setup)
    bench.send(b"the end")
    bench.connection.close(seconds)
    bench.flush()
    bench.drain()
    return bench


def test_unacknowledged_data_is_reset_after_linger(numbers: Numbers) -> None:
    bench = lingering(3.0, **numbers)
    bench.advance(2.9)
    assert bench.drain()
    bench.expect_state(S.FIN_WAIT_1)
    bench.advance(0.1)
    bench.expect(RST, at=3.0, seq=9)
    bench.expect_state(S.CLOSED)


def test_what_is_acknowledged_in_time_ends_as_ever() -> None:
    bench = lingering(3.0)
    bench.arrive(ACK, ack=9)
    bench.expect_state(S.FIN_WAIT_2)
    bench.advance(10.0)
    bench.expect_state(S.FIN_WAIT_2)
    bench.arrive(FIN | ACK, ack=9)
    bench.expect(ACK)
    bench.expect_state(S.TIME_WAIT)
    bench.advance(59.9)
    bench.expect_state(S.TIME_WAIT)


def test_a_close_of_both_sides_at_once_lingers_no_longer() -> None:
    bench = lingering(3.0)
    bench.advance(2.0)
    bench.drain()
    bench.arrive(FIN | ACK, ack=1)
    bench.expect(ACK)
    bench.expect_state(S.CLOSING)
    bench.advance(0.9)
    bench.drain()
    bench.advance(0.1)
    bench.expect(RST, at=3.0)


def test_it_lingers_without_an_answer_to_its_own_fin_as_well() -> None:
    bench = established(config=replace(CONFIG, keepalive=True))
    bench.arrive(FIN | ACK)
    bench.expect(ACK)
    bench.connection.close(3.0)
    bench.flush()
    bench.expect_state(S.LAST_ACK)
    bench.drain()
    bench.advance(2.9)
    bench.drain()
    bench.advance(0.1)
    bench.expect(RST, at=3.0)


def test_fin_wait_2_of_an_orphan_is_limited() -> None:
    bench = established(config=replace(CONFIG, fin_wait_2_timeout=7.0))
    bench.close()
    bench.drain()
    bench.arrive(ACK)
    bench.advance(6.9)
    bench.expect_state(S.FIN_WAIT_2)
    bench.advance(0.1)
    bench.expect_state(S.CLOSED)
    bench.expect_nothing()
    assert bench.connection.finished


def test_or_for_no_time_at_all() -> None:
    """A negative TCP_LINGER2: the peer is told, as on Linux."""
    bench = established(config=replace(CONFIG, fin_wait_2_timeout=-1.0))
    bench.close()
    bench.drain()
    bench.arrive(ACK)
    bench.advance(0.0)
    bench.expect(RST, at=0.0, seq=2)
    bench.expect_state(S.CLOSED)


def test_who_still_owns_it_waits_in_fin_wait_2_for_ever() -> None:
    bench = established(config=replace(CONFIG, fin_wait_2_timeout=7.0))
    bench.shutdown()
    bench.drain()
    bench.arrive(ACK)
    bench.advance(86400.0)
    bench.expect_state(S.FIN_WAIT_2)
