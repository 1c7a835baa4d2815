"""Connecting again from the port of a connection of ours that is in TIME-WAIT."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.tcp.crowd import CONFIG, ISN_STEP, Crowd
from tests.tcp.inspection import Tcb
from tests.tcp.test_left_in_time_wait import WAIT, close, states
from tunstack.ip.demux import EPHEMERAL_PORTS
from tunstack.stack.flow import FLOW_SIZE, Flow
from tunstack.tcp.segment import ACK, SYN, Segment
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tests.tcp.crowd import Peer


def ours_left(crowd: Crowd, **answer: Any) -> Peer:
    """As `left`, of a connection that we opened, from port 40000, to the peer's port 7."""
    peer = crowd.peer()
    flow = again(crowd, peer, **answer)
    close(crowd, peer, flow)
    return peer


def again(crowd: Crowd, peer: Peer, **answer: Any) -> Flow:
    """We open that connection; the peer's SYN,ACK has the options in `answer`."""
    flow = crowd.stack.connect(peer.address, 7, crowd.now, local_port=40000)
    [syn] = crowd.flush()
    peer.port, peer.sport, peer.expected = 40000, 7, (syn.segment.seq + 1) & MASK
    peer.nxt = (peer.isn + 1) & MASK
    peer.arrive(Segment(peer.isn, peer.expected, SYN | ACK, 65535, **answer))
    return flow


def test_its_name_is_taken_and_its_port_too() -> None:
    """As on Linux, where it has no timestamps."""
    crowd = Crowd()
    peer = ours_left(crowd)
    stack = crowd.stack
    assert len(stack.time_waits) == 1
    with pytest.raises(OSError, match="Cannot assign") as error:
        stack.connect(peer.address, 7, crowd.now, local_port=40000)
    assert error.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(OSError, match="in use"):
        stack.bind(None, 40000, reuse=False)
    crowd.advance(WAIT)
    stack.bind(None, 40000, reuse=False)


@pytest.mark.rfc("6191:2")
def test_time_wait_is_reused_with_timestamps() -> None:
    """PAWS keeps what is left of the old one out of the new; the numbers are beyond the old."""
    crowd = Crowd()
    peer = ours_left(crowd, ts_val=5000)
    assert len(crowd.stack.time_waits) == 1
    old = peer.expected
    flow = again(crowd, peer, ts_val=5001)
    assert (Tcb(flow).initial_seq - old) & MASK < 2 * ISN_STEP
    assert (Tcb(flow).initial_seq - old) & MASK >= ISN_STEP - 1
    assert states(crowd) == ["ESTABLISHED"]
    assert crowd.stack.statistics()["memory_held"] == FLOW_SIZE
    assert peer.send(b"to the new one") is not None
    assert flow.receive(100) == b"to the new one"
    crowd.advance(WAIT)
    assert states(crowd) == ["ESTABLISHED"]


def test_time_wait_is_reused_while_it_has_a_socket() -> None:
    crowd = Crowd()
    peer = crowd.peer()
    flow = again(crowd, peer, ts_val=5000)
    flow.changed = lambda: None
    close(crowd, peer, flow)
    assert crowd.flow(peer) is flow
    new = again(crowd, peer, ts_val=5001)
    assert crowd.flow(peer) is new
    assert states(crowd) == ["ESTABLISHED"]
    assert flow.receive(100) == b""


def test_time_wait_is_not_reused_without_timestamps_of_our_own() -> None:
    crowd = Crowd()
    peer = ours_left(crowd, ts_val=5000)
    with pytest.raises(OSError, match="Cannot assign"):
        crowd.stack.connect(
            peer.address, 7, crowd.now, local_port=40000, config=replace(CONFIG, timestamps=False)
        )
    assert states(crowd) == ["TIME-WAIT"]


def test_its_port_is_chosen_when_there_is_no_other_and_a_second_has_passed() -> None:
    """What Linux does with net.ipv4.tcp_tw_reuse=1: else 28,232 connections a minute are all."""
    crowd = Crowd()
    peer = ours_left(crowd, ts_val=5000)
    opening, demux = crowd.stack.opening, crowd.stack.demux
    for port in EPHEMERAL_PORTS:
        if port != 40000:
            demux.bind(None, port, reuse=True)
    crowd.advance(0.9)
    with pytest.raises(OSError, match="Cannot assign"):
        opening.connect(peer.address, 7, crowd.now)
    crowd.advance(0.2)
    assert opening.connect(peer.address, 7, crowd.now).four_tuple.local_port == 40000
    with pytest.raises(OSError, match="Cannot assign"):
        opening.connect(peer.address, 7, crowd.now)


def test_without_timestamps_its_port_is_never_chosen() -> None:
    crowd = Crowd()
    peer = ours_left(crowd)
    for port in EPHEMERAL_PORTS:
        if port != 40000:
            crowd.stack.bind(None, port, reuse=True)
    crowd.advance(2.0)
    with pytest.raises(OSError, match="Cannot assign"):
        crowd.stack.connect(peer.address, 7, crowd.now)
