"""Listening: a connection for each SYN, a backlog, and what waits when it ends."""

from __future__ import annotations

from typing import Final

import pytest

from tests.tcp.harness import CONFIG, DELAYED_ACK
from tests.tcp.stack_bench import PORT, StackBench
from tunstack.stack.limits import Limits
from tunstack.tcp.connection.state import State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.listen.listener import MAX_BACKLOG, Listener
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, URG

S = State
HALF_OPEN_LEAST: Final = 256


def test_backlog_is_bounded() -> None:
    listener = Listener(-5, CONFIG)
    assert listener.backlog == 0
    for backlog, bounded in [(7, 7), (4096, 4096), (1 << 20, MAX_BACKLOG)]:
        listener.set_backlog(backlog)
        assert listener.backlog == bounded


def test_each_syn_begets_a_connection() -> None:
    bench = StackBench()
    for sport in (4000, 4001):
        bench.arrive_syn(sport=sport)
        bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)
    assert len(bench.stack.demux.connections) == 2
    assert len(bench.listener) == 0


@pytest.mark.parametrize(
    "flags", [0, FIN, PSH, URG, FIN | PSH | URG, SYN | FIN, SYN | FIN | PSH | URG], ids=bin
)
@pytest.mark.parametrize("cookies", [False, True])
def test_what_is_no_syn_of_a_connection_draws_nothing(flags: int, cookies: bool) -> None:
    """Section 3.10.7.2, fourth, and Linux: not even a RST, which would tell who is there."""
    bench = StackBench(limits=Limits(syncookies="always" if cookies else "when full"))
    bench.arrive(flags, payload=b"text")
    bench.expect_nothing()
    assert len(bench.stack.demux.connections) == 0
    assert bench.stack.counters[Verdict.IGNORED] == 1


@pytest.mark.parametrize(
    ("flags", "ack"), [(0, 4), (FIN, 5), (SYN | FIN, 6), (FIN | PSH | URG, 5)], ids=str
)
def test_without_a_listener_it_draws_a_reset(flags: int, ack: int) -> None:
    """Section 3.10.7.1: SEG.SEQ + SEG.LEN, control bits included."""
    bench = StackBench()
    bench.arrive(flags, dport=PORT + 1, payload=b"text")
    bench.expect(RST | ACK, seq=0, ack=ack)


def test_connections_are_accepted_in_the_order_in_which_they_opened() -> None:
    bench = StackBench()
    for sport in (4000, 4001, 4002):
        bench.arrive_syn(sport=sport)
        bench.drain()
    for sport in (4002, 4000, 4001):
        bench.arrive(ACK, sport=sport, seq=1, ack=1)
    assert len(bench.listener) == 3
    flows = [bench.accept() for _ in range(3)]
    assert [flow and flow.four_tuple.remote_port for flow in flows] == [4002, 4000, 4001]
    assert bench.accept() is None


def test_a_listener_reports_each_connection_that_opened() -> None:
    bench = StackBench()
    told: list[int] = []
    bench.listener.changed = lambda: told.append(len(bench.listener))
    bench.arrive_syn()
    bench.drain()
    assert told == []
    bench.arrive(ACK, seq=1, ack=1)
    bench.handshake(sport=4001)
    assert told == [1, 2]


def test_data_waits_for_the_application() -> None:
    bench = StackBench()
    bench.handshake()
    bench.arrive(ACK | PSH, seq=1, ack=1, payload=b"GET /")
    flow = bench.accept()
    assert flow is not None
    assert flow.receive(100) == b"GET /"
    bench.advance(DELAYED_ACK)
    bench.expect(ACK, ack=6)


@pytest.mark.parametrize("backlog", [0, 1, 5])
def test_a_syn_is_dropped_when_the_backlog_is_full(backlog: int) -> None:
    """One more than its number may wait, as on Linux; the peer will try again."""
    bench = StackBench(backlog=backlog)
    for sport in range(4000, 4001 + backlog):
        bench.handshake(sport=sport)
    bench.arrive_syn(sport=5000)
    bench.expect_nothing()
    assert bench.stack.counters[Verdict.BACKLOG_FULL] == 1
    assert bench.accept() is not None
    bench.arrive_syn(sport=5000)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)


def test_what_is_half_open_is_bounded() -> None:
    bench = StackBench(backlog=0)
    for sport in range(4000, 4000 + HALF_OPEN_LEAST):
        bench.arrive_syn(sport=sport)
        bench.drain()
    bench.arrive_syn(sport=5000)
    bench.drain()  # A cookie: it leaves nothing here.
    assert len(bench.stack.demux.connections) == HALF_OPEN_LEAST
    bench.arrive(RST, sport=4000, seq=1)
    bench.arrive_syn(sport=5000)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)
    assert len(bench.stack.demux.connections) == HALF_OPEN_LEAST


def test_what_never_opens_is_forgotten() -> None:
    bench = StackBench(backlog=0)
    for sport in range(4000, 4000 + HALF_OPEN_LEAST):
        bench.arrive_syn(sport=sport)
        bench.drain()
    bench.advance(180.0)
    bench.drain()
    assert len(bench.stack.demux.connections) == 0
    bench.arrive_syn(sport=5000)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)


@pytest.mark.rfc("MUST-11")
@pytest.mark.parametrize("flags", [RST, SYN])
def test_what_is_broken_off_returns_to_listen_and_is_forgotten(flags: int) -> None:
    """MUST-11: this listener goes on without it."""
    bench = StackBench()
    bench.arrive_syn()
    bench.drain()
    bench.arrive(flags, seq=1)
    bench.expect_nothing()
    assert len(bench.stack.demux.connections) == 0
    bench.advance(200.0)
    bench.arrive_syn()
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)


def test_what_ended_while_it_waited_is_still_accepted() -> None:
    """As on Linux: its data may be read, and its error is told."""
    bench = StackBench()
    bench.handshake()
    bench.arrive(ACK | PSH, seq=1, ack=1, payload=b"in vain")
    bench.arrive(RST, seq=8)
    connection = bench.listener.accept()
    assert connection is not None
    assert connection.state is S.CLOSED
    assert connection.receive(100) == b"in vain"
    with pytest.raises(ConnectionResetError):
        connection.receive(100)


def test_closing_a_listener_resets_what_waits() -> None:
    bench = StackBench()
    bench.handshake(sport=4000)
    bench.arrive_syn(sport=4001)
    bench.drain()
    bench.handshake(sport=4002)
    accepted = bench.accept()
    bench.stack.unlisten(None, PORT, bench.listener)
    bench.flush()
    assert sorted(sent.segment.flags for sent in bench.drain()) == [RST, RST | ACK]
    assert [*bench.stack.demux.connections] == [accepted]
    bench.arrive(SYN, sport=5000)
    bench.expect(RST | ACK, seq=0, ack=1)
