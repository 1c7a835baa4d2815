"""Packets that are to be dropped, of both families: in any state of a connection, it stays so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.families import each_family
from tests.socket.network import Peer as Sender
from tests.socket.test_hostile import SPOILED as SPOILED_IPV4
from tests.socket.test_hostile_ipv6 import SPOILED as SPOILED_IPV6
from tests.tcp.crowd import Crowd, Peer
from tunstack.ip.family import IPV4, IPV6
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, PSH
from tunstack.wire import Reason

if TYPE_CHECKING:
    from tunstack.ip.family import Family
    from tunstack.stack.flow import Flow

_SENDER: Final = Sender(None)  # type: ignore[arg-type]
PACKETS: Final[dict[Family, list[tuple[Reason, bytes]]]] = {
    IPV4: [(reason, spoiled(_SENDER)) for reason, spoiled in SPOILED_IPV4],
    IPV6: [(reason, packet) for reason, packet, _ in SPOILED_IPV6.values()],
}


def opening(crowd: Crowd) -> tuple[Peer, Flow]:
    """A connection in SYN-SENT, and its peer."""
    peer = crowd.peer()
    flow = crowd.stack.connect(peer.address, 7, crowd.now)
    [packet] = crowd.flush()
    peer.sport, peer.port = 7, packet.sport
    peer.expected = (packet.segment.seq + 1) % 2**32
    return peer, flow


def in_state(crowd: Crowd, state: State) -> Peer:
    """A peer whose connection with us is in a state."""
    if state is State.SYN_SENT:
        return opening(crowd)[0]
    if state is State.SYN_RECEIVED:
        peer = crowd.peer()
        peer.syn()
        return peer
    peer, flow = crowd.connected()
    if state in (State.CLOSE_WAIT, State.LAST_ACK):
        peer.ack(FIN | ACK)
        peer.nxt += 1
    if state not in (State.ESTABLISHED, State.CLOSE_WAIT):
        crowd.stack.shutdown(flow)
        crowd.flush()
    if state in (State.FIN_WAIT_2, State.TIME_WAIT):
        peer.expected += 1
        peer.ack()
    if state in (State.CLOSING, State.TIME_WAIT):
        peer.ack(FIN | ACK)
        peer.nxt += 1
    return peer


STATES: Final = [state for state in State if state not in (State.CLOSED, State.LISTEN)]


def state_of(crowd: Crowd, peer: Peer) -> str:
    [info] = [each for each in crowd.stack.connections() if each.remote[0].packed == peer.address]
    return info.state


def own_packets(peer: Peer) -> list[tuple[Reason, bytes]]:
    """What the peer's own segments are spoiled to."""
    packet = bytes(peer.packet(peer.next(ACK | PSH, b"data")))
    flipped = packet[:-1] + bytes((packet[-1] ^ 1,))
    return [(Reason.BAD_TCP_CHECKSUM, flipped), (Reason.TRUNCATED, packet[:-1])]


@each_family
@pytest.mark.parametrize("state", STATES, ids=str)
def test_what_is_dropped_changes_no_state(family: Family, state: State) -> None:
    crowd = Crowd(family=family)
    peer = in_state(crowd, state)
    assert state_of(crowd, peer) == state.value
    for reason, packet in [*PACKETS[IPV4], *PACKETS[IPV6], *own_packets(peer)]:
        before = crowd.statistics.get(reason.value, 0)
        for datagram in crowd.packet(packet):
            raise AssertionError(f"a segment is sent for {reason}: {datagram}")
        assert crowd.statistics[reason.value] == before + 1, reason
    assert state_of(crowd, peer) == state.value
