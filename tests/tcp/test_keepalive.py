"""Keep-alive: an idle peer is asked whether it is there (RFC 9293 section 3.8.4)."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.tcp.harness import CONFIG, Bench, Numbers, close_wait, established, fin_wait_2, time_wait
from tunstack.tcp.config import Config
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, PSH, RST

if TYPE_CHECKING:
    from collections.abc import Callable

S = State
KEPT: Final = replace(CONFIG, keepalive=True)
TWO_HOURS: Final = 7200.0


def kept(**parameters: Any) -> Bench:
    """An established connection with keep-alive."""
    return established(config=replace(KEPT, **parameters))


def expect_probe(bench: Bench, at: float, seq: int = 0) -> None:
    bench.expect(ACK, at=at, seq=seq, ack=1, note="keep-alive")


@pytest.mark.rfc("MUST-25")
def test_nothing_is_asked_unless_asked_for() -> None:
    assert not Config().keepalive
    bench = established()
    bench.advance(30 * 86400.0)
    bench.expect_nothing()
    assert bench.connection.deadline() is None


@pytest.mark.rfc("MUST-28")
@pytest.mark.rfc("SHLD-12")
@pytest.mark.rfc("MAY-5")
def test_after_two_hours_nine_probes_without_data_and_then_the_end(numbers: Numbers) -> None:
    """Each repeats a number that was acknowledged, so that it must be answered."""
    bench = established(config=KEPT, **numbers)
    bench.advance(TWO_HOURS + 9 * 75.0 - 0.1)
    for number in range(9):
        expect_probe(bench, TWO_HOURS + number * 75.0)
    bench.expect_state(S.ESTABLISHED)
    bench.advance(0.1)
    bench.expect(RST, seq=1)
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ETIMEDOUT


@pytest.mark.rfc("MUST-29")
def test_probes_that_are_lost_do_not_end_it_if_one_is_answered(numbers: Numbers) -> None:
    bench = established(config=KEPT, **numbers)
    for _ in range(3):
        bench.advance(TWO_HOURS + 8 * 75.0)
        assert len(bench.drain()) == 9
        bench.arrive(ACK)
        bench.expect_state(S.ESTABLISHED)
    bench.advance(TWO_HOURS - 0.1)
    bench.expect_nothing()


@pytest.mark.rfc("MUST-27")
def test_idle_time_interval_and_count_can_be_chosen() -> None:
    bench = kept(keepalive_idle=10.0, keepalive_interval=2.0, keepalive_count=3)
    bench.advance(16.0)
    for at in (10.0, 12.0, 14.0):
        expect_probe(bench, at)
    bench.expect(RST, at=16.0)


@pytest.mark.rfc("MUST-26")
@pytest.mark.parametrize("payload", [b"", b"news"])
def test_any_segment_postpones_it(payload: bytes) -> None:
    bench = kept(keepalive_idle=10.0)
    for _ in range(5):
        bench.advance(9.0)
        bench.arrive(ACK, payload=payload)
        bench.advance(0.5)
        bench.drain()
    at = bench.now - 0.5 + 10.0
    bench.advance(10.0)
    bench.expect(ACK, at=at, seq=0, note="keep-alive")


@pytest.mark.rfc("MUST-26")
def test_nothing_is_asked_while_data_is_outstanding() -> None:
    """The retransmissions ask, and the user timeout decides."""
    bench = kept(keepalive_idle=10.0, keepalive_interval=1.0, keepalive_count=1)
    bench.advance(9.9)
    bench.send(b"x")
    bench.expect(ACK | PSH, payload=b"x")
    bench.advance(60.0)
    assert {segment.payload for _, segment in bench.drain()} == {b"x"}
    bench.arrive(ACK)
    at = bench.now + 10.0
    bench.advance(10.0)
    expect_probe(bench, at, seq=1)


@pytest.mark.rfc("MUST-26")
def test_nothing_is_asked_while_a_closed_window_is_probed() -> None:
    bench = kept(keepalive_idle=10.0)
    bench.arrive(ACK, wnd=0)
    bench.send(b"x")
    bench.advance(60.0)
    assert {segment.note for _, segment in bench.drain()} == {"window probe"}


@pytest.mark.rfc("MUST-24")
def test_it_is_switched_on_and_off_in_the_midst_of_a_connection() -> None:
    bench = established()
    bench.advance(5000.0)
    bench.reconfigure(KEPT)
    bench.advance(TWO_HOURS)
    expect_probe(bench, 5000.0 + TWO_HOURS)
    bench.reconfigure(CONFIG)
    assert bench.connection.deadline() is None


def test_a_new_keepidle_counts_from_the_last_segment() -> None:
    """As on Linux: what has passed of it counts."""
    bench = kept()
    bench.advance(100.0)
    bench.reconfigure(replace(KEPT, keepalive_idle=130.0))
    bench.advance(50.0)
    expect_probe(bench, 130.0)
    bench.arrive(ACK)
    bench.advance(40.0)
    bench.reconfigure(replace(KEPT, keepalive_idle=30.0))
    bench.advance(0.0)
    expect_probe(bench, bench.now)


def test_another_idle_time_leaves_the_probes_that_go_on_alone() -> None:
    bench = kept(keepalive_idle=10.0, keepalive_interval=2.0, keepalive_count=3)
    bench.advance(11.0)
    expect_probe(bench, 10.0)
    bench.reconfigure(replace(bench.connection.config, keepalive_idle=100.0))
    bench.advance(5.0)
    for at in (12.0, 14.0):
        expect_probe(bench, at)
    bench.expect(RST, at=16.0)


def test_another_count_takes_effect_at_the_next_probe() -> None:
    bench = kept()
    bench.advance(TWO_HOURS + 75.0)
    assert len(bench.drain()) == 2
    bench.reconfigure(replace(KEPT, keepalive_count=2))
    bench.advance(75.0)
    bench.expect(RST)


@pytest.mark.parametrize(("make", "seq"), [(established, 0), (close_wait, 0), (fin_wait_2, 1)])
def test_both_halves_of_a_connection_are_kept(make: Callable[..., Bench], seq: int) -> None:
    bench = make(config=KEPT)
    bench.advance(TWO_HOURS)
    bench.expect(ACK, seq=seq, note="keep-alive")


def test_time_wait_is_left_alone() -> None:
    bench = time_wait(config=replace(KEPT, keepalive_idle=10.0))
    bench.advance(60.0)
    bench.expect_nothing()
    bench.expect_state(S.CLOSED)


@pytest.mark.parametrize(
    ("timeout", "ends"),
    [
        (5.0, 11.0),  # Longer ago than that, but one probe must have gone unanswered.
        (13.5, 14.0),
        (100.0, 110.0),
    ],
)
@pytest.mark.rfc("MUST-29")
@pytest.mark.rfc("MUST-21")
def test_a_user_timeout_decides_instead_of_the_count(timeout: float, ends: float) -> None:
    """As Linux documents; counted from when the peer was last heard, and looked at each probe."""
    bench = kept(
        keepalive_idle=10.0,
        keepalive_interval=100.0 if timeout == 100.0 else 1.0,
        keepalive_count=2,
        user_timeout=timeout,
    )
    bench.advance(ends - 0.1)
    bench.drain()
    bench.expect_state(S.ESTABLISHED)
    bench.advance(0.1)
    bench.expect(RST)
    assert bench.errno == errno.ETIMEDOUT


def test_the_icmp_error_is_the_connections_error() -> None:
    bench = kept(keepalive_idle=10.0, keepalive_interval=1.0, keepalive_count=1)
    bench.connection.icmp_error(OSError(errno.EHOSTUNREACH, "No route to host"))
    bench.advance(11.0)
    bench.drain()
    assert bench.errno == errno.EHOSTUNREACH


@pytest.mark.rfc("MAY-6")
@pytest.mark.parametrize("payload", [b"", b"?"])
def test_the_peers_probe_is_answered(numbers: Numbers, payload: bytes) -> None:
    """With an octet of garbage or without (MAY-6): what it repeats was read long ago."""
    bench = established(**numbers)
    bench.arrive(ACK | PSH, payload=b"read")
    assert bench.receive() == b"read"
    bench.advance(1.0)
    bench.drain()
    bench.arrive(ACK, seq=4, payload=payload)
    block = ((4, 5),) if payload else ()
    bench.expect(ACK, seq=1, ack=5, sack=block)
    assert not bench.connection.readable


def test_an_end_beyond_the_probes_ends_them() -> None:
    bench = kept(keepalive_idle=10.0)
    bench.advance(10.0)
    expect_probe(bench, 10.0)
    bench.arrive(FIN | ACK)
    bench.expect(ACK, ack=2)
    bench.shutdown()
    bench.expect(FIN | ACK)
    bench.arrive(ACK)
    bench.expect_state(S.CLOSED)
    assert bench.connection.deadline() is None
