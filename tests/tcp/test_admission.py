"""Who may come in: bounds on what is half open, on what waits, and on all connections together."""

from __future__ import annotations

import errno
import gc
from dataclasses import replace

import pytest

from tests.allocated import allocated
from tests.tcp.crowd import CONFIG, OURS, PORT, Crowd, Peer, state
from tunstack.ip.demux import FourTuple
from tunstack.stack.flow import FLOW_SIZE, Flow
from tunstack.stack.limits import Limits
from tunstack.tcp.connection.state import State
from tunstack.tcp.listen.listener import MAX_BACKLOG, SYN_QUEUE_SIZES
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN

S = State
FEWEST, MOST = SYN_QUEUE_SIZES[0], SYN_QUEUE_SIZES[-1]
"""Bounds of what is half open, whatever the backlog."""


# What is half open


@pytest.mark.rfc("4987:3.2")
@pytest.mark.parametrize(
    ("backlog", "bound"),
    [(0, FEWEST), (FEWEST + 44, FEWEST + 44), (MOST, MOST), (MAX_BACKLOG, MOST)],
)
def test_what_is_half_open_is_bounded_by_the_backlog_within_reason(
    backlog: int, bound: int
) -> None:
    crowd = Crowd(backlog=backlog)
    for peer in crowd.peers(bound + 10):
        peer.syn()
    assert crowd.statistics["half_open"] == bound
    assert crowd.statistics["syncookies_sent"] == 10


def test_what_is_half_open_is_bounded_for_all_listeners_together() -> None:
    crowd = Crowd(limits=Limits(half_open=300))
    crowd.listen(81)
    for number in range(310):
        crowd.peer(port=80 + number % 2).syn()
    assert crowd.statistics["half_open"] == 300
    assert crowd.statistics["syncookies_sent"] == 10


def test_the_oldest_of_all_goes_when_all_together_are_too_many() -> None:
    crowd = Crowd(limits=Limits(half_open=3, syncookies="never"))
    crowd.listen(81)
    first, second, third = (crowd.peer(port=port) for port in (80, 81, 80))
    for peer in (first, second, third):
        peer.syn()
    for port in (81, 81):
        crowd.peer(port=port).syn()
    assert crowd.flow(first) is None
    assert crowd.flow(second) is None
    assert crowd.flow(third) is not None
    assert crowd.statistics["half_open"] == 3


@pytest.mark.parametrize("end", ["opens", "is reset", "gives up", "is closed with its listener"])
def test_who_is_half_open_no_more_makes_room(end: str) -> None:
    crowd = Crowd(backlog=1000, limits=Limits(half_open=2))
    peers = crowd.peers(2)
    for peer in peers:
        peer.syn()
    match end:
        case "opens":
            peers[0].ack()
        case "is reset":
            peers[0].ack(RST)
        case "gives up":
            crowd.advance(200.0)
        case _:
            crowd.stack.unlisten(None, PORT, crowd.listener)
            crowd.flush()
            crowd.listener = crowd.stack.listen(None, PORT, 5)
    crowd.peer().syn()
    assert "syncookies_sent" not in crowd.statistics


def test_a_half_open_connection_is_cheap() -> None:
    """So the whole of them costs a host no more than 16 MiB, give or take."""
    crowd = Crowd(limits=Limits())
    crowd.stack.set_tap(None)
    peers = crowd.peers(FEWEST)
    before = allocated()
    for peer in peers:
        peer.syn()
        peer.answer = None
    size = (allocated() - before) / 256
    assert crowd.statistics["memory_held"] == 256 * FLOW_SIZE
    assert size < FLOW_SIZE * 1.5


def flows_in_memory() -> int:
    """How many are referred to by anything."""
    gc.collect()
    return sum(isinstance(each, Flow) for each in gc.get_objects())


def test_what_lived_for_a_moment_leaves_nothing_behind() -> None:
    """SYN and RST, again and again: not even a timer remembers them."""
    crowd = Crowd(config=replace(CONFIG, keepalive=True))
    crowd.stack.set_tap(None)
    before = flows_in_memory()
    for peer in crowd.peers(500):
        peer.syn()
        peer.ack(RST)
    assert flows_in_memory() < before + 10
    assert not crowd.stack.demux.connections
    assert "memory_held" not in crowd.statistics


# What waits to be accepted


def test_a_handshake_does_not_end_while_too_many_wait_to_be_accepted() -> None:
    """As on Linux the ACK is dropped; our SYN,ACK, sent again, draws another."""
    crowd = Crowd(backlog=1)
    peers = crowd.peers(4)
    for peer in peers:
        peer.syn()
    for peer in peers:
        assert peer.ack() == []
    assert len(crowd.listener) == 2
    late = peers[2]
    flow = crowd.flow(late)
    assert flow is not None
    assert state(flow) is S.SYN_RECEIVED
    assert crowd.statistics["tcp_backlog_full"] == 2
    assert late.ack(ACK | PSH, b"early") == []
    assert state(flow) is S.SYN_RECEIVED
    crowd.accept()
    again = crowd.advance(1.0)
    assert (again[0].segment.flags, again[0].dport) == (SYN | ACK, late.sport)
    assert late.send(b"early") == []
    assert state(flow) is S.ESTABLISHED
    assert flow.receive(100) == b"early"


def test_a_reset_still_ends_a_handshake_that_may_not_end_well() -> None:
    crowd = Crowd(backlog=0)
    first, second = crowd.peers(2)
    for peer in (first, second):
        peer.syn()
        peer.ack()
    second.ack(RST)
    assert crowd.flow(second) is None


# All connections together


def time_wait(crowd: Crowd) -> Peer:
    peer, flow = crowd.connected()
    flow.close()
    crowd.act(flow)
    peer.expected += 1
    peer.ack(FIN | ACK)
    assert state(flow) is S.TIME_WAIT
    return peer


def test_one_connection_more_takes_the_place_of_the_oldest_in_time_wait() -> None:
    crowd = Crowd(limits=Limits(connections=3))
    time_wait(crowd)
    younger = time_wait(crowd)
    crowd.connected()
    peer, _ = crowd.connected()
    listed = crowd.stack.connections()
    assert [info.state for info in listed] == ["TIME-WAIT", "ESTABLISHED", "ESTABLISHED"]
    assert listed[0].remote[0].packed == younger.address
    assert crowd.statistics["time_wait_pruned"] == 1
    assert peer.ack() == []


def test_then_of_the_oldest_orphan() -> None:
    """It was closed, and its peer takes nothing: it could stay for ever."""
    crowd = Crowd(limits=Limits(connections=2))
    peer, flow = crowd.connected()
    peer.ack(wnd=0)
    flow.send(bytes(1000), crowd.now)
    flow.close()
    crowd.act(flow)
    crowd.connected()
    newcomer = crowd.peer()
    assert newcomer.syn() is not None
    assert state(flow) is S.CLOSED
    assert crowd.flow(peer) is None
    assert len(crowd.stack.demux.connections) == 2
    assert crowd.statistics["orphans_pruned"] == 1
    [reset] = peer.ack()
    assert reset.flags == RST


def test_an_evicted_connection_raises() -> None:
    crowd = Crowd(limits=Limits(connections=1))
    peer, flow = crowd.connected()
    flow.send(b"not taken yet", crowd.now)
    flow.close()
    crowd.act(flow)
    crowd.peer().syn()
    [told] = [out for out in crowd.latest if out.datagram.dst == peer.address]
    assert told.segment.flags == RST


def test_else_a_syn_is_dropped_and_may_come_again() -> None:
    crowd = Crowd(limits=Limits(connections=2))
    _, flow = crowd.connected()
    crowd.connected()
    newcomer = crowd.peer()
    assert newcomer.syn() is None
    assert crowd.statistics["tcp_too_many"] == 1
    flow.abort()
    crowd.act(flow)
    assert newcomer.syn() is not None


def test_a_cookie_takes_no_place_but_its_ack_does() -> None:
    crowd = Crowd(limits=Limits(connections=1, syncookies="always"))
    first, second = crowd.peers(2)
    for peer in (first, second):
        assert peer.syn() is not None
    assert first.ack() == second.ack() == []
    assert len(crowd.stack.demux.connections) == 1
    assert crowd.statistics["tcp_too_many"] == 1


def test_our_own_connections_count_as_well() -> None:
    crowd = Crowd(limits=Limits(connections=1))
    crowd.stack.connect(bytes((198, 51, 100, 9)), 7, crowd.now)
    with pytest.raises(OSError, match="buffer space") as error:
        crowd.stack.connect(bytes((198, 51, 100, 9)), 8, crowd.now)
    assert error.value.errno == errno.ENOBUFS
    assert crowd.stack.demux.find(FourTuple(OURS, 8, OURS, 8)) is None
