"""An ACK waits for the application only where reading makes a difference to what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from .crowd import CONFIG, MSS, Crowd, Peer

if TYPE_CHECKING:
    from tunstack.flow import Flow

SIZE = 40_960
PIECE = MSS - 12
"""Octets in a full segment, beside timestamps."""


def ordinary() -> tuple[Crowd, Peer, Flow]:
    """A connection of which nothing is to be said but that data comes."""
    crowd = Crowd(replace(CONFIG, receive_buffer=SIZE))
    crowd.stack.lets_read = True
    peer, flow = crowd.connected()
    assert flow.ordinary
    return crowd, peer, flow


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
    assert flow.receiver.buffer.size > SIZE // 4


@pytest.mark.rfc("MUST-58")
def test_what_fills_more_is_acknowledged_when_it_is_read() -> None:
    """One ACK, with the room that there is then; two would say little more than one."""
    crowd, peer, flow = ordinary()
    fill(crowd, peer, SIZE // 2 - 2 * PIECE)
    assert peer.send(bytes(4 * PIECE)) == []
    assert flow in crowd.stack.behind
    flow.receive(SIZE)
    assert crowd.stack.took(flow)
    crowd.stack.gave(flow, crowd.now)
    [packet] = crowd.flush()
    assert packet.segment.ack == peer.nxt
    assert packet.segment.wnd << flow.receiver.shift >= SIZE
    assert crowd.advance(1.0) == []


@pytest.mark.rfc("MUST-40", "SHLD-18")
def test_what_nobody_reads_is_acknowledged_after_40_ms() -> None:
    crowd, peer, _flow = ordinary()
    fill(crowd, peer, SIZE // 2 - 2 * PIECE)
    assert peer.send(bytes(4 * PIECE)) == []
    assert crowd.advance(0.039) == []
    [packet] = crowd.advance(0.001)
    assert packet.segment.ack == peer.nxt


def test_without_time_to_read_nothing_waits_for_it() -> None:
    crowd, peer, _flow = ordinary()
    crowd.stack.lets_read = False
    fill(crowd, peer, SIZE - 2 * PIECE)


def test_who_has_little_to_read_is_not_behind() -> None:
    crowd, peer, _flow = ordinary()
    peer.send(b"request")
    assert not crowd.stack.behind
