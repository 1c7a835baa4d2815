"""One peer does not shut out the others: who is given up when the host is full."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.tcp.crowd import MSS, PORT, Crowd, Peer, state
from tests.tcp.inspection import Tcb
from tunstack.stack.eviction import IDLE
from tunstack.stack.flow import FLOW_SIZE
from tunstack.stack.limits import Limits
from tunstack.stack.peers import peer_key
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, RST

if TYPE_CHECKING:
    from tunstack.stack.flow import Flow

S = State
MIB: Final = 1 << 20
HOG: Final = bytes((198, 51, 100, 253))
ALONE: Final = bytes((198, 51, 100, 254))
WINDOW: Final = 50_000


class Hog:
    """One address with many ports."""

    def __init__(self, crowd: Crowd, address: bytes = HOG) -> None:
        self.crowd = crowd
        self.address = address
        self.peers: list[Peer] = []
        self.flows: list[Flow] = []

    def peer(self) -> Peer:
        return Peer(self.crowd, self.address, 1024 + len(self.peers), PORT, {})

    def connects(self, count: int = 1) -> None:
        for _ in range(count):
            peer = self.peer()
            self.peers.append(peer)
            peer.syn()
            peer.ack()
            self.flows.append(self.crowd.accept())

    def shuts_windows(self, count: int) -> None:
        """It asks for something each time, and takes nothing of it."""
        for _ in range(count):
            self.connects()
            self.peers[-1].ack(wnd=0)
            self.flows[-1].send(bytes(WINDOW), self.crowd.now)
            self.crowd.act(self.flows[-1])

    @property
    def alive(self) -> list[int]:
        return [number for number, flow in enumerate(self.flows) if state(flow) is not S.CLOSED]


def full(count: int = 20, **limits: Any) -> tuple[Crowd, Hog]:
    """A host whose connections are all of one peer."""
    crowd = Crowd(limits=Limits(connections=count, **limits), backlog=4096)
    hog = Hog(crowd)
    hog.connects(count)
    return crowd, hog


def hoarded(count: int = 100, **limits: Any) -> tuple[Crowd, Hog]:
    """A host whose memory is full of what one peer does not take."""
    memory = count * (FLOW_SIZE + WINDOW)
    crowd = Crowd(limits=Limits(memory=memory, **limits), backlog=4096)
    crowd.stack.set_tap(None)
    hog = Hog(crowd)
    while not crowd.stack.memory.budget.full:
        hog.shuts_windows(1)
    return crowd, hog


def is_served(crowd: Crowd, peer: Peer) -> bool:
    """Whether a peer gets in, asks, and is answered."""
    if peer.syn() is None:
        return False
    peer.ack()
    flow = crowd.flow(peer)
    if flow is None:
        return False
    assert crowd.accept() is flow
    peer.send(b"question")
    assert flow.receive(100) == b"question"
    flow.send(b"answer", crowd.now)
    sent = [out.segment for out in crowd.act(flow) if out.datagram.dst == peer.address]
    return [bytes(segment.payload) for segment in sent] == [b"answer"]


# Connections


def test_whoever_has_fewer_takes_the_place_of_one_of_whoever_has_most() -> None:
    crowd, hog = full()
    assert is_served(crowd, crowd.peer())
    assert len(hog.alive) == 19
    assert crowd.statistics["connections_evicted"] == 1
    assert len(crowd.stack.connections()) == 20


def test_all_of_a_hundred_others_are_served_by_a_host_full_of_one() -> None:
    crowd, hog = full(200)
    assert all(is_served(crowd, crowd.peer()) for _ in range(100))
    assert len(hog.alive) == 100


def test_it_is_the_one_that_was_idle_longest() -> None:
    crowd, hog = full()
    for number in range(20):
        if number != 13:
            crowd.advance(1.0)
            hog.peers[number].send(b"busy")
    assert is_served(crowd, crowd.peer())
    assert [*set(range(20)) - set(hog.alive)] == [13]


def test_eviction_is_reported_to_the_application_and_the_peer() -> None:
    crowd, hog = full(1)
    hog.peers[0].send(b"not read")
    hog.peers[0].ack(FIN | ACK)
    crowd.advance(IDLE + 1.0)
    newcomer = crowd.peer()
    newcomer.syn()
    assert state(hog.flows[0]) is S.CLOSE_WAIT
    told: list[str] = []
    hog.flows[0].changed = lambda: told.append("changed")
    newcomer.ack()
    assert [out.segment.flags for out in crowd.latest if out.datagram.dst == HOG] == [RST]
    assert told == ["changed"]
    with pytest.raises(ConnectionAbortedError, match="the host is full"):
        hog.flows[0].receive(100)  # And not the end of the stream, for some of it is lost.


def test_no_syn_ends_a_connection_for_it_may_be_forged() -> None:
    crowd, hog = full()
    for _ in range(50):
        answer = crowd.peer().syn()
        assert answer is not None
    assert len(hog.alive) == 20
    assert crowd.statistics["syncookies_sent"] == 50
    assert "connections_evicted" not in crowd.statistics


def test_without_cookies_a_syn_has_to() -> None:
    crowd, hog = full(syncookies="never")
    assert crowd.peer().syn() is not None
    assert len(hog.alive) == 19


def test_whoever_has_most_takes_no_place_of_others_but_of_its_own() -> None:
    """And of its own only one that is idle."""
    crowd, hog = full(5)
    other = crowd.peer()
    assert is_served(crowd, other)
    assert hog.peer().syn() is None
    assert crowd.statistics["tcp_too_many"] == 1
    crowd.advance(IDLE + 1.0)
    other.ack()
    more = Peer(crowd, HOG, 9999, PORT, {})
    assert is_served(crowd, more)
    assert len(hog.alive) == 3
    assert crowd.flow(other) is not None


def test_where_everybody_has_one_only_one_idle_for_a_minute_goes() -> None:
    crowd = Crowd(limits=Limits(connections=10), backlog=100)
    pairs = [crowd.connected() for _ in range(10)]
    assert crowd.peer().syn() is None
    crowd.advance(59.0)
    for number, (peer, _) in enumerate(pairs):
        if number != 4:
            peer.send(b"here")
    assert crowd.peer().syn() is None
    crowd.advance(1.0)
    assert is_served(crowd, crowd.peer())
    assert [state(flow) is S.CLOSED for _, flow in pairs] == [number == 4 for number in range(10)]


def test_orphans_go_before_what_is_in_use_those_of_whoever_has_most_first() -> None:
    crowd = Crowd(limits=Limits(connections=12), backlog=100)
    few = Hog(crowd, ALONE)
    hog = Hog(crowd)
    few.shuts_windows(2)
    hog.shuts_windows(10)
    for flow in [*few.flows, *hog.flows[:5]]:
        flow.close()
        crowd.act(flow)
    for _ in range(3):
        crowd.connected()
    assert few.alive == [0, 1]
    assert hog.alive == [3, 4, 5, 6, 7, 8, 9]
    assert crowd.statistics["orphans_pruned"] == 3
    assert "connections_evicted" not in crowd.statistics


def test_a_user_may_have_it_otherwise() -> None:
    crowd, hog = full(evict=False)
    crowd.advance(3600.0)
    assert crowd.peer().syn() is None
    assert len(hog.alive) == 20


def test_our_own_connections_may_take_a_place_too() -> None:
    crowd, hog = full()
    crowd.stack.connect(bytes((198, 51, 100, 9)), 7, crowd.now)
    assert len(hog.alive) == 19


def test_one_address_with_many_syns_does_not_evict_others_handshakes() -> None:
    crowd = Crowd(limits=Limits(half_open=10, syncookies="never"), backlog=100)
    other = crowd.peer()
    assert other.syn() is not None
    for number in range(100):
        Peer(crowd, HOG, 1024 + number, PORT, {}).syn()
    assert crowd.statistics["half_open_dropped"] == 91
    other.ack()
    assert state(crowd.accept()) is S.ESTABLISHED


# Limits by peer


def test_one_peer_may_have_so_many_connections_and_no_more() -> None:
    crowd = Crowd(limits=Limits(peer_connections=3), backlog=100)
    hog = Hog(crowd)
    hog.connects(3)
    assert hog.peer().syn() is None
    assert crowd.statistics["peer_limited"] == crowd.statistics["tcp_too_many"] == 1
    assert is_served(crowd, crowd.peer())
    with pytest.raises(OSError, match="buffer space") as error:
        crowd.stack.connect(HOG, 7, crowd.now)
    assert error.value.errno == errno.ENOBUFS
    hog.flows[0].abort()
    crowd.act(hog.flows[0])
    assert hog.peer().syn() is not None


def test_nor_by_cookies() -> None:
    crowd = Crowd(limits=Limits(peer_connections=1, syncookies="always"), backlog=100)
    hog = Hog(crowd)
    hog.connects()
    late = Peer(crowd, HOG, 9999, PORT, {})
    late.syn()
    late.ack()
    assert crowd.flow(late) is None
    assert crowd.statistics["peer_limited"] == 1


def test_time_wait_does_not_count_against_a_peer() -> None:
    crowd = Crowd(limits=Limits(peer_connections=2), backlog=100)
    hog = Hog(crowd)
    hog.connects(2)
    for peer, flow in zip(hog.peers, hog.flows, strict=True):
        flow.close()
        crowd.act(flow)
        peer.expected += 1
        peer.ack(FIN | ACK)
    assert [info.state for info in crowd.stack.connections()] == ["TIME-WAIT", "TIME-WAIT"]
    hog.peers[0].ack()  # It is looked at, and then only waits again.
    hog.connects(2)
    assert hog.peer().syn() is None


def test_a_peer_is_an_ipv4_address_or_a_network_of_ipv6() -> None:
    assert peer_key(HOG) == HOG
    assert peer_key(HOG) != peer_key(ALONE)
    network = bytes.fromhex("20010db8000000010000000000000000")
    host, elsewhere = network[:15] + b"\1", network[:7] + b"\2" + network[8:]
    assert peer_key(network) == peer_key(host) != peer_key(elsewhere)


@pytest.mark.parametrize("name", ["orphans", "peer_connections", "fragment_memory"])
def test_a_limit_is_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        Limits(**{name: 0})  # type: ignore[arg-type]


# Memory


def test_another_is_served_though_one_has_filled_the_memory() -> None:
    crowd, hog = hoarded()
    before = len(hog.alive)
    assert is_served(crowd, crowd.peer())
    assert before - len(hog.alive) == crowd.statistics["connections_evicted"] == 1


def test_a_day_of_answered_probes_changes_nothing_about_that() -> None:
    crowd, hog = hoarded(20)
    for _ in range(24):
        for peer in hog.peers:
            peer.ack(wnd=0)
        crowd.advance(3600.0)
        assert is_served(crowd, crowd.peer())


def test_what_holds_most_goes_first() -> None:
    crowd = Crowd(limits=Limits(memory=2 * MIB), backlog=4096)
    hog = Hog(crowd)
    hog.connects(50)
    crowd.advance(10.0)  # They are idle for longer; but there is little to be had.
    while not crowd.stack.memory.budget.full:
        hog.shuts_windows(1)
    assert is_served(crowd, crowd.peer())
    [evicted] = {*range(len(hog.flows))} - {*hog.alive}
    assert evicted >= 50


def test_no_syn_frees_memory_either() -> None:
    crowd, hog = hoarded(20)
    before = len(hog.alive)
    for _ in range(30):
        assert crowd.peer().syn() is not None
    assert len(hog.alive) == before


def test_whoever_holds_most_takes_nothing_of_others() -> None:
    crowd, _ = hoarded()
    assert Peer(crowd, HOG, 60_000, PORT, {}).syn() is None
    assert crowd.statistics["tcp_no_memory"] == 1


def test_a_small_connection_is_not_evicted() -> None:
    """A sixteenth of the memory is everybody's, and so is what came a moment ago."""
    crowd = Crowd(limits=Limits(memory=20 * (FLOW_SIZE + WINDOW)), backlog=4096)
    hogs: list[Hog] = []
    while not crowd.stack.memory.budget.full:
        hogs.append(Hog(crowd, bytes((203, 0, 113, len(hogs)))))
        hogs[-1].shuts_windows(1)
    assert crowd.peer().syn() is None
    crowd.advance(IDLE + 1.0)
    assert is_served(crowd, crowd.peer())
    assert sum(len(hog.alive) for hog in hogs) == len(hogs) - 1


def test_unread_data_of_a_closed_connection_can_be_evicted() -> None:
    crowd = Crowd(limits=Limits(memory=MIB), backlog=4096)
    hog = Hog(crowd)
    while not crowd.stack.memory.budget.full:
        hog.connects()
        for _ in range(40):
            hog.peers[-1].send(bytes(MSS - 12))
        hog.peers[-1].ack(RST)
    assert is_served(crowd, crowd.peer())
    lost = [flow for flow in hog.flows if not Tcb(flow).unread]
    assert len(lost) == crowd.statistics["connections_evicted"]
    with pytest.raises(ConnectionResetError):
        lost[0].receive(MIB)


# Orphans


def test_there_may_be_so_many_orphans_and_the_oldest_of_most_go() -> None:
    crowd = Crowd(limits=Limits(orphans=6), backlog=100)
    few, hog = Hog(crowd, ALONE), Hog(crowd)
    few.shuts_windows(2)
    hog.shuts_windows(8)
    for flow in [*few.flows, *hog.flows]:
        flow.close()
        crowd.act(flow)
    assert few.alive == [0, 1]
    assert hog.alive == [4, 5, 6, 7]
    assert crowd.statistics["orphans_pruned"] == 4


def test_an_orphan_counts_until_it_is_over() -> None:
    crowd = Crowd(limits=Limits(orphans=2), backlog=100)
    hog = Hog(crowd)
    for _ in range(5):
        hog.connects()
        flow, peer = hog.flows[-1], hog.peers[-1]
        flow.close()
        crowd.act(flow)
        peer.expected += 1
        peer.ack(FIN | ACK)
    assert "orphans_pruned" not in crowd.statistics
