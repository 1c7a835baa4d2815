"""What is sent waits for the application to have a turn, where that makes it fewer segments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.tcp.crowd import CONFIG, MSS, Crowd, Packet, Peer
from tests.tcp.inspection import Tcb

if TYPE_CHECKING:
    from tunstack.stack.flow import Flow

SIZE = 40_960
PIECE = MSS - 12
"""Octets in a full segment, beside timestamps."""


def ordinary() -> tuple[Crowd, Peer, Flow]:
    """A connection of which nothing is to be said but that data comes."""
    crowd = Crowd(replace(CONFIG, receive_buffer=SIZE))
    crowd.stack.defer_acks = True
    peer, flow = crowd.connected()
    assert Tcb(flow).on_fast_path
    return crowd, peer, flow


def turn(crowd: Crowd) -> list[Packet]:
    """What is sent in a turn of an application: after it, nothing more is deferred."""
    crowd.stack.defer_acks = False
    sent = crowd.flush()
    crowd.stack.defer_acks = True
    return sent


def fill(crowd: Crowd, peer: Peer, octets: int) -> None:
    """Data comes, batch by batch, and waits; all of it is acknowledged."""
    for _ in range(0, octets, 2 * PIECE):
        [ack] = peer.send(bytes(2 * PIECE))
        assert ack.ack == peer.nxt
    assert crowd.advance(1.0) == []


@pytest.mark.rfc("SHLD-19", "MUST-58")
def test_what_fits_in_half_of_the_buffer_is_acknowledged_at_once() -> None:
    crowd, peer, flow = ordinary()
    fill(crowd, peer, SIZE // 2 - 2 * PIECE)
    assert Tcb(flow).unread > SIZE // 4


@pytest.mark.rfc("MUST-58")
def test_what_fills_more_is_acknowledged_when_it_is_read() -> None:
    """One ACK, with the room that there is then; two would say little more than one."""
    crowd, peer, flow = ordinary()
    fill(crowd, peer, SIZE // 2 - 2 * PIECE)
    assert peer.send(bytes(4 * PIECE)) == []
    assert flow in crowd.stack.deferred
    crowd.stack.read(flow, SIZE)
    assert flow.pending
    [packet] = turn(crowd)
    assert packet.segment.ack == peer.nxt
    assert packet.segment.wnd << Tcb(flow).rcv_wscale >= SIZE
    assert crowd.advance(1.0) == []


@pytest.mark.rfc("MUST-58")
def test_unread_data_is_acknowledged_after_the_turns() -> None:
    crowd, peer, _flow = ordinary()
    fill(crowd, peer, SIZE // 2 - 2 * PIECE)
    assert peer.send(bytes(4 * PIECE)) == []
    crowd.stack.resume_deferred()
    [packet] = turn(crowd)
    assert packet.segment.ack == peer.nxt
    assert crowd.advance(1.0) == []


def test_without_turns_nothing_waits_for_them() -> None:
    crowd, peer, _flow = ordinary()
    crowd.stack.defer_acks = False
    fill(crowd, peer, SIZE - 2 * PIECE)


def test_who_has_little_to_read_is_not_behind() -> None:
    crowd, peer, _flow = ordinary()
    peer.send(b"request")
    assert not crowd.stack.deferred


def with_a_rest() -> tuple[Crowd, Peer, Flow]:
    """Two large segments are on their way, and a small rest waits for their ACK."""
    crowd = Crowd(replace(CONFIG, max_payload=4 * PIECE, nodelay=True))
    crowd.stack.defer_acks = True
    peer, flow = crowd.connected()
    sent = given(crowd, flow, 8 * PIECE + 100)
    assert sent == [4 * PIECE, 4 * PIECE]
    return crowd, peer, flow


def given(crowd: Crowd, flow: Flow, size: int) -> list[int]:
    """The application gives so much, or has a turn; returns the sizes of what goes out then."""
    if size:
        crowd.stack.send(flow, bytes(size), crowd.now)
    else:
        crowd.stack.resume_deferred()
    return [len(packet.segment.payload) for packet in turn(crowd)]


def test_the_rest_of_large_segments_waits_for_what_follows_it() -> None:
    """When they are acknowledged, it would be a segment by itself, and so would be the next one."""
    crowd, peer, flow = with_a_rest()
    assert peer.ack(ack=Tcb(flow).snd_nxt) == []
    assert given(crowd, flow, 5 * PIECE) == [4 * PIECE, PIECE + 100]


def test_the_rest_of_large_segments_waits_for_one_turn_only() -> None:
    crowd, peer, flow = with_a_rest()
    assert peer.ack(ack=Tcb(flow).snd_nxt) == []
    assert crowd.stack.deferred == [flow]
    assert given(crowd, flow, 0) == [100]


def test_the_rest_of_large_segments_takes_an_ack_along() -> None:
    _crowd, peer, flow = with_a_rest()
    [segment] = peer.ack(ack=Tcb(flow).snd_nxt, payload=bytes(2 * PIECE))
    assert len(segment.payload) == 100
    assert segment.ack == Tcb(flow).rcv_nxt
