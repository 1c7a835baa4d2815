"""Every RST that we send is one that the peer takes, and has timestamps where they were agreed on.

The peer takes it exactly at its RCV.NXT (RFC 5961 section 3.2), and in SYN-SENT with the ACK of its
SYN. In the rest of its window it challenges it, and beyond that it drops it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    NO_OPTIONS,
    Bench,
    Numbers,
    Offer,
    close_wait,
    established,
    fin_wait_1,
    fin_wait_2,
    last_ack,
    listening,
    syn_received,
    syn_sent,
)
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, PSH, RST, SYN

if TYPE_CHECKING:
    from collections.abc import Callable

S = State


def until_the_end(bench: Bench) -> Bench:
    """Nothing comes any more; what was sent before the end is drained."""
    while bench.state is not S.CLOSED:
        bench.drain()
        deadline = bench.connection.deadline()
        assert deadline is not None
        bench.run_until(max(bench.now, deadline))
    return bench


def aborted(make: Callable[..., Bench]) -> Callable[..., Bench]:
    def end(**setup: Any) -> Bench:
        bench = make(**setup)
        bench.abort()
        return bench

    return end


def aborted_with_data_out(**setup: Any) -> Bench:
    """It arrives before the RST."""
    bench = established(**setup)
    bench.send(bytes(500))
    bench.drain()
    bench.abort()
    return bench


def aborted_with_the_window_taken_back(wnd: int) -> Callable[..., Bench]:
    def end(**setup: Any) -> Bench:
        bench = established(**setup)
        bench.send(bytes(500))
        bench.drain()
        bench.arrive(ACK, ack=101, wnd=wnd)
        bench.abort()
        return bench

    return end


def data_after_close(*acks: int, sent: int = 0) -> Callable[..., Bench]:
    """After our `close`, ACKs come, the last one with data."""

    def end(**setup: Any) -> Bench:
        bench = established(**setup)
        if sent:
            bench.send(bytes(sent))
        bench.close()
        bench.drain()
        for ack in acks[:-1]:
            bench.arrive(ACK, ack=ack)
        bench.arrive(ACK | PSH, ack=acks[-1], payload=b"x")
        return bench

    return end


def unread(**setup: Any) -> Bench:
    bench = established(**setup)
    bench.arrive(ACK | PSH, payload=b"unread")
    bench.close()
    return bench


def keep_alive(**setup: Any) -> Bench:
    config = replace(CONFIG, keepalive=True, keepalive_idle=100.0)
    return until_the_end(established(config=config, **setup))


def lingering(**setup: Any) -> Bench:
    bench = established(**setup)
    with bench.batch():
        bench.connection.close(5.0)
    return until_the_end(bench)


def bad_ack_in_syn_sent(**setup: Any) -> Bench:
    bench = syn_sent(**setup)
    bench.arrive(ACK, seq=700, ack=5000)
    return bench


def bad_ack_in_syn_received(**setup: Any) -> Bench:
    bench = syn_received(**setup)
    bench.arrive(ACK, ack=5000)
    return bench


def answered_in_vain(**setup: Any) -> Bench:
    """A SYN and the end come in one batch: our SYN,ACK never leaves."""
    bench = listening(**setup)
    with bench.batch():
        bench.arrive_syn()
        bench.connection.abort()
    return bench


AT_RCV_NXT: Final[dict[str, tuple[Callable[..., Bench], int]]] = {
    "abort in ESTABLISHED": (aborted(established), 1),
    "abort with data out": (aborted_with_data_out, 501),
    "abort in FIN-WAIT-1": (aborted(fin_wait_1), 2),
    "abort in FIN-WAIT-2": (aborted(fin_wait_2), 2),
    "abort in CLOSE-WAIT": (aborted(close_wait), 1),
    "abort in LAST-ACK": (aborted(last_ack), 2),
    "unread data": (unread, 1),
    "data that our FIN has crossed": (data_after_close(1), 1),
    "data that our data has crossed": (data_after_close(201, sent=500), 201),
    "data after our FIN": (data_after_close(2), 2),
    "data with an ACK that was overtaken": (data_after_close(502, 201, sent=500), 502),
    "keep-alive": (keep_alive, 1),
    "lingering": (lingering, 2),
    "window taken back to nothing": (aborted_with_the_window_taken_back(0), 101),
}
WITH_ACK: Final[dict[str, tuple[Callable[..., Bench], int]]] = {
    "our SYN,ACK was lost": (aborted(syn_received), 1),
    "our SYN,ACK never left": (answered_in_vain, 0),
}


@pytest.mark.rfc("7323:3.2")
@pytest.mark.parametrize("case", AT_RCV_NXT)
@pytest.mark.parametrize("stamped", [True, False], ids=["timestamps", "none"])
def test_it_is_at_their_rcv_nxt(case: str, stamped: bool, numbers: Numbers) -> None:
    end, seq = AT_RCV_NXT[case]
    bench = end(peer=Offer() if stamped else NO_OPTIONS, **numbers)
    reset = bench.expect(RST, seq=seq)
    assert (reset.ts_val is not None) is stamped
    bench.expect_nothing()


@pytest.mark.parametrize("case", WITH_ACK)
def test_it_has_an_ack_where_they_may_be_in_syn_sent(case: str, numbers: Numbers) -> None:
    end, seq = WITH_ACK[case]
    bench = end(**numbers)
    bench.expect(RST | ACK, seq=seq, ack=1, ts_val=0, ts_ecr=0)


@pytest.mark.rfc("7323:3.2")
def test_it_answers_an_ack_that_cannot_be_ours(numbers: Numbers) -> None:
    bench = bad_ack_in_syn_sent(**numbers)
    bench.expect(RST, seq=5000, ts_val=None)
    [again] = bench.drain()  # Behind the RST, which ends what was in its way.
    assert again.segment.flags == SYN
    bad_ack_in_syn_received(**numbers).expect(RST, seq=5000, ts_val=0)


def test_it_lies_within_a_window_that_they_have_taken_back(numbers: Numbers) -> None:
    """What is beyond, they would drop without an answer; this they challenge at the least."""
    bench = aborted_with_the_window_taken_back(50)(**numbers)
    bench.expect(RST, seq=150)


@pytest.mark.rfc("7323:3.2")
def test_its_timestamps_are_of_now_and_echo_the_latest() -> None:
    bench = established()
    bench.advance(3.0)
    bench.arrive(ACK, ts_val=2990)
    bench.advance(1.0)
    bench.abort()
    bench.expect(RST, seq=1, ts_val=4000, ts_ecr=2990)
