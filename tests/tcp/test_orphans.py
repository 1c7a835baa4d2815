"""How long a connection is tried for that its application has closed: as long as on Linux.

The times were seen on Linux 6.18, over a device whose other end acknowledged nothing, or kept its
window shut, with and without answers to the probes (tcp_orphan_retries at its default).
"""

from __future__ import annotations

import errno
from dataclasses import replace
from itertools import accumulate
from typing import Final

import pytest

from tests.tcp.harness import CONFIG, Bench, established, fin_wait_1
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN

S = State
RTO: Final = 0.2
"""After a round trip of no time: all that is left is its least."""
SENT: Final = [*accumulate(RTO * 2**n for n in range(9))]
"""When the first nine timers fire, in seconds after the first transmission: the ninth gives up."""


def shut() -> Bench:
    """A bench whose peer has closed its window, with data waiting."""
    bench = established()
    bench.arrive(ACK, wnd=0)
    bench.send(b"waiting")
    return bench


def expect_end(bench: Bench, at: float) -> None:
    """It is given up at that time, in silence, and not before."""
    bench.drain()
    bench.run_until(at - 0.001)
    assert bench.state is not S.CLOSED
    bench.drain()
    bench.run_until(at)
    bench.expect_nothing()
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ETIMEDOUT


def test_an_orphan_is_retransmitted_eight_times() -> None:
    bench = established()
    bench.send(b"some data")
    bench.close()
    assert SENT[-1] == pytest.approx(102.2)
    expect_end(bench, SENT[-1])


def test_so_is_a_fin_alone() -> None:
    bench = fin_wait_1()
    bench.close()
    expect_end(bench, SENT[-1])


def test_what_was_tried_before_the_application_closed_counts() -> None:
    bench = established()
    bench.send(b"some data")
    bench.drain()
    bench.advance(40.0)
    bench.drain()
    bench.close()
    expect_end(bench, SENT[-1])


def test_one_closed_later_than_that_goes_with_the_next_timer() -> None:
    bench = established()
    bench.send(b"some data")
    bench.drain()
    bench.advance(300.0)
    bench.drain()
    bench.close()
    at = bench.connection.deadline()
    assert at is not None
    assert at > 300.0
    expect_end(bench, at)


def test_an_ack_of_new_data_restarts_it() -> None:
    bench = established()
    bench.send(b"ab")
    bench.close()
    bench.drain()
    bench.advance(100.0)
    bench.drain()
    bench.arrive(ACK, ack=2)
    bench.drain()
    bench.drain()
    bench.advance(100.0)
    bench.drain()
    bench.expect_state(S.FIN_WAIT_1)


def test_one_with_an_owner_is_tried_for_as_long_as_ever() -> None:
    bench = established()
    bench.send(b"some data")
    bench.shutdown()
    expect_end(bench, CONFIG.data_timeout)


def test_a_shut_window_is_probed_eight_times() -> None:
    bench = shut()
    bench.close()
    bench.run_until(SENT[-1] - 0.001)
    assert [sent.at for sent in bench.drain()] == pytest.approx(SENT[:-1])
    expect_end(bench, SENT[-1])


def test_an_orphans_closed_window_times_out_when_rto_is_at_its_maximum() -> None:
    """324.6 s, as on Linux: ten probes with twice the time between, and one wait of 120 s."""
    bench = shut()
    bench.close()
    for _ in range(10):
        bench.wait()
        bench.expect(ACK, note="window probe")
        bench.arrive(ACK, wnd=0)
    assert bench.now == pytest.approx(RTO * (2**10 - 1))
    expect_end(bench, bench.now + 120.0)


def test_an_open_window_resets_r2() -> None:
    bench = shut()
    bench.close()
    for _ in range(6):
        bench.wait()
        bench.drain()
    bench.arrive(ACK, wnd=1000)
    [sent] = bench.drain()
    assert sent.segment.flags & FIN
    expect_end(bench, bench.now + SENT[-1])


def test_a_user_timeout_is_the_users_for_an_orphan_as_well() -> None:
    bench = established(config=replace(CONFIG, user_timeout=400.0))
    bench.send(b"some data")
    bench.close()
    expect_end(bench, 400.0)


def test_more_or_fewer_retries_are_for_the_user_to_say() -> None:
    bench = established(config=replace(CONFIG, orphan_retries=3))
    bench.send(b"some data")
    bench.close()
    expect_end(bench, SENT[3])
