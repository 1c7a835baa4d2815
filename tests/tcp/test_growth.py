"""No packet and no call takes more steps where more is held: at the most a logarithm's worth.

Steps are lines of the package: no clock is as exact. What is held is connections, listeners, ports,
orphans, narrow paths, or ranges of one connection; how busy connections do in a crowd is in
:mod:`.test_crowd`.
"""

from __future__ import annotations

from dataclasses import replace
from math import log2
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from tests.tcp.crowd import CONFIG, OURS, PORT, Crowd, Peer
from tests.tcp.flight import RTT
from tests.tcp.harness import CONFIG as ONE
from tests.tcp.harness import Bench, Offer, syn_sent
from tests.tcp.test_crowd import Steps
from tunstack.ip import icmp
from tunstack.ip.icmp import IcmpMessage
from tunstack.ip.path_mtu import LIFETIME
from tunstack.stack.eviction import IDLE
from tunstack.stack.flow import FLOW_SIZE
from tunstack.stack.limits import Limits
from tunstack.tcp.segment import ACK, FIN, RST, SYN
from tunstack.wire import encode_icmp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.stack.flow import Flow
    from tunstack.tcp.config import Config

FEW, MANY = 64, 1024
ALLOWED: Final = log2(MANY) / log2(FEW)
OTHER: Final = bytes((198, 51, 100, 254))
ROUTER: Final = bytes((198, 51, 100, 253))

Act: TypeAlias = "Callable[[], object]"


def steps(prepare: Callable[[int], Act], held: int) -> int:
    """How many steps something takes where so much is held."""
    act = prepare(held)
    with Steps() as counted:
        act()
    return counted.count


# A host with many connections


class Many:
    """A host with so many connections of one address, and somebody else.

    Attributes:
        crowd: The host and the others.
        peers: Those of the one address.
        flows: Our ends.
    """

    def __init__(self, count: int, config: Config = CONFIG, **limits: Any) -> None:
        limits = {"connections": 2 * MANY, "orphans": 2 * MANY} | limits
        self.crowd = Crowd(config, limits=Limits(**limits), backlog=4096)
        self.crowd.stack.set_tap(None)
        self.peers: list[Peer] = []
        self.flows: list[Flow] = []
        for _ in range(count):
            self.connects()

    def connects(self) -> None:
        peer = self.peer(len(self.peers))
        peer.syn()
        peer.ack()
        self.peers.append(peer)
        self.flows.append(self.crowd.accept())

    def peer(self, number: int) -> Peer:
        return Peer(self.crowd, OTHER, 1024 + number, PORT, {})

    def act(self, flow: Flow) -> None:
        self.crowd.act(flow)

    def close(self, number: int) -> None:
        self.flows[number].close()
        self.act(self.flows[number])

    def waits(self, number: int) -> None:
        """A connection goes into TIME-WAIT."""
        self.close(number)
        peer = self.peers[number]
        peer.expected += 1
        peer.ack(FIN | ACK)


def a_syn(count: int) -> Act:
    return Many(count).peer(50_000).syn


def a_syn_where_as_many_are_half_open_as_may_be(count: int, policy: str = "when full") -> Act:
    many = Many(0, half_open=count, syncookies=policy)
    for number in range(5):
        many.crowd.listen(1000 + number, 4096)
    for number in range(count):
        Peer(many.crowd, OTHER, 1024 + number, 1000 + number % 5, {}).syn()
    return many.peer(50_000).syn


def a_syn_that_takes_the_place_of_another(count: int) -> Act:
    return a_syn_where_as_many_are_half_open_as_may_be(count, "never")


def a_newcomer_where_one_peer_has_all_connections(count: int) -> Act:
    many = Many(count, connections=count)
    newcomer = many.crowd.peer()

    def act() -> None:
        assert newcomer.syn() is not None
        newcomer.ack()
        assert many.crowd.flow(newcomer) is not None

    return act


def a_newcomer_where_many_peers_have_all_connections(count: int) -> Act:
    crowd = Crowd(limits=Limits(connections=count), backlog=4096)
    crowd.stack.set_tap(None)
    for number in range(count):
        peer = Peer(crowd, bytes((10, 0, number >> 8, number & 0xFF)), 1024, PORT, {})
        peer.syn()
        peer.ack()
        crowd.accept()
    crowd.advance(IDLE + 1.0)
    newcomer = crowd.peer()

    def act() -> None:
        assert newcomer.syn() is not None
        newcomer.ack()
        assert crowd.flow(newcomer) is not None

    return act


def a_newcomer_where_one_peer_has_all_memory(count: int) -> Act:
    many = Many(0, memory=count * (FLOW_SIZE + 3000))
    while not many.crowd.stack.memory.budget.full:
        many.connects()
        many.peers[-1].ack(wnd=0)
        many.flows[-1].send(bytes(3000), many.crowd.now)
        many.act(many.flows[-1])
    newcomer = many.crowd.peer()

    def act() -> None:
        assert newcomer.syn() is not None
        newcomer.ack()
        assert many.crowd.flow(newcomer) is not None

    return act


def one_more_orphan_than_there_may_be(count: int) -> Act:
    many = Many(count + 1, orphans=count)
    for number in range(count):
        many.close(number)
    return lambda: many.close(count)


def a_close(count: int) -> Act:
    many = Many(count)
    return lambda: many.close(count // 2)


def an_abort(count: int) -> Act:
    many = Many(count)
    flow = many.flows[count // 2]

    def act() -> None:
        flow.abort()
        many.act(flow)

    return act


def a_reset(count: int) -> Act:
    many = Many(count)
    return lambda: many.peers[count // 2].ack(RST)


def a_segment_for_one_in_time_wait(count: int) -> Act:
    """The first one's: its wait ends before all others'."""
    many = Many(count)
    for number in range(count):
        many.waits(number)
        many.crowd.advance(0.001)
    return many.peers[0].ack


def a_segment_for_another_in_time_wait(count: int) -> Act:
    many = Many(count)
    for number in range(count):
        many.waits(number)
        many.crowd.advance(0.001)
    return many.peers[count // 2].ack


def a_syn_for_one_in_time_wait(count: int) -> Act:
    many = Many(count)
    for number in range(count):
        many.waits(number)
    peer = many.peers[count // 2]
    peer.isn += 1 << 20
    peer.offer["ts_val"] += 1000
    return peer.syn


def a_newcomer_where_all_is_in_time_wait(count: int) -> Act:
    many = Many(count, connections=count)
    for number in range(count):
        many.waits(number)
    return many.crowd.peer().syn


def _unreachable(many: Many, number: int, code: int, mtu: int = 0) -> bytes:
    flow = many.flows[number]
    flow.send(bytes(3000), many.crowd.now)
    many.crowd.stack.mark_pending(flow)
    many.crowd.stack.flush(many.crowd.now)
    sent = b"".join(many.crowd.stack.outgoing[0])
    many.crowd.stack.outgoing.clear()
    message = IcmpMessage(icmp.DESTINATION_UNREACHABLE, code, mtu, sent[:60])
    return b"".join(encode_icmp(ROUTER, OURS, message, identification=1))


def a_believed_fragmentation_needed(count: int) -> Act:
    many = Many(count)
    packet = _unreachable(many, count // 2, icmp.FRAGMENTATION_NEEDED, 1400)

    def act() -> None:
        many.crowd.packet(packet)
        assert many.crowd.statistics["path_mtu_lowered"] == 1

    return act


def an_unreachable(count: int) -> Act:
    many = Many(count)
    packet = _unreachable(many, count // 2, 1)
    return lambda: many.crowd.packet(packet)


def a_path_that_may_be_wider_again(count: int) -> Act:
    many = Many(count)
    many.crowd.packet(_unreachable(many, 0, icmp.FRAGMENTATION_NEEDED, 1400))
    while many.crowd.stack.paths.pmtu_pending:
        many.crowd.stack.handle_timers(many.crowd.now)
    many.crowd.flush()
    at = many.crowd.now + LIFETIME + 1.0

    def act() -> None:
        many.crowd.stack.paths.expire(at)
        assert many.crowd.stack.paths.size_for(OTHER) == 1460

    return act


def memory_that_eases(count: int) -> Act:
    many = Many(count, memory=1 << 30)
    budget = many.crowd.stack.memory.budget
    budget.add(budget.ease - budget.used)
    for peer in many.peers:
        peer.send(b"unread")
    assert many.crowd.stack.memory.was_tight
    budget.add(-budget.ease // 2)
    return lambda: many.crowd.stack.flush(many.crowd.now)


def a_connect(count: int) -> Act:
    """To where all the others are."""
    many = Many(0, connections=8 * MANY)
    connect = many.crowd.stack.connect
    for _ in range(6 * count):
        connect(OTHER, 7, many.crowd.now)
    return lambda: [connect(OTHER, 7, many.crowd.now) for _ in range(20)]


def a_bind_of_any_port(count: int) -> Act:
    demux = Many(0).crowd.stack.demux
    for _ in range(6 * count):
        demux.bind(None, 0, reuse=False)
    return lambda: [demux.bind(None, 0, reuse=False) for _ in range(20)]


def one_more_bound_to_a_shared_port(count: int) -> Act:
    demux = Many(0).crowd.stack.demux
    for _ in range(count):
        demux.bind(OURS, 99, reuse=True)

    def act() -> None:
        demux.bind(OURS, 99, reuse=True)
        demux.unbind(OURS, 99, reuse=True)

    return act


def one_more_listener(count: int) -> Act:
    crowd = Many(0).crowd
    for number in range(count):
        crowd.listen(2000 + number)

    def act() -> None:
        listener = crowd.listen(50_000)
        crowd.stack.unlisten(None, 50_000, listener)
        crowd.stack.unbind(None, 50_000, reuse=True)

    return act


def the_statistics(count: int) -> Act:
    return Many(count).crowd.stack.statistics


@pytest.mark.parametrize(
    "prepare",
    [
        a_syn,
        a_syn_where_as_many_are_half_open_as_may_be,
        a_syn_that_takes_the_place_of_another,
        a_newcomer_where_one_peer_has_all_connections,
        a_newcomer_where_many_peers_have_all_connections,
        a_newcomer_where_one_peer_has_all_memory,
        a_newcomer_where_all_is_in_time_wait,
        one_more_orphan_than_there_may_be,
        a_close,
        an_abort,
        a_reset,
        a_segment_for_one_in_time_wait,
        a_segment_for_another_in_time_wait,
        a_syn_for_one_in_time_wait,
        a_believed_fragmentation_needed,
        an_unreachable,
        a_path_that_may_be_wider_again,
        memory_that_eases,
        a_connect,
        a_bind_of_any_port,
        one_more_bound_to_a_shared_port,
        one_more_listener,
        the_statistics,
    ],
)
def test_with_many_connections_it_takes_as_many_steps(prepare: Callable[[int], Act]) -> None:
    few = steps(prepare, FEW)
    assert few > 10
    assert steps(prepare, MANY) <= few * ALLOWED


# What is done bit by bit is done in the end


def test_all_hear_in_the_end_that_their_path_is_narrow_and_that_it_may_be_wider() -> None:
    many = Many(300)
    for mtu in (1400, 1300):  # The second comes before all have heard of the first.
        many.crowd.packet(_unreachable(many, 299, icmp.FRAGMENTATION_NEEDED, mtu))
    assert {flow.info().pmtu for flow in many.flows} == {1300, 1500}
    many.flows[7].abort()  # Another takes its place meanwhile.
    many.act(many.flows[7])
    many.connects()
    many.crowd.advance(0.0)
    del many.flows[7]
    assert {flow.info().pmtu for flow in many.flows} == {1300}
    del many.flows[298]  # It will not have been answered by then, and tries smaller ones.
    many.crowd.advance(LIFETIME + 1.0)
    assert {flow.info().pmtu for flow in many.flows} == {1500}


def test_all_who_were_held_back_hear_in_the_end_that_there_is_memory() -> None:
    many = Many(300, memory=1 << 30)
    budget = many.crowd.stack.memory.budget
    budget.add(budget.ease - budget.used)
    told: list[int] = []
    for number, (peer, flow) in enumerate(zip(many.peers, many.flows, strict=True)):
        flow.send(bytes(100_000), many.crowd.now)
        peer.send(b"something")
        flow.changed = lambda number=number: told.append(number)
    budget.add(-budget.ease // 2)
    many.crowd.flush()
    assert 0 < len(told) < 300
    many.crowd.advance(0.0)
    assert sorted({*told}) == [*range(300)]
    assert not many.crowd.stack.memory.was_tight


# One connection with many holes

MSS: Final = 100
BLOCKS: Final = 3
SMALL: Final = replace(ONE, mss=MSS + 12, send_buffer=4 << 20, tail_loss_probe=False)
PEER: Final = Offer(mss=MSS, wscale=8, timestamps=False)


def seq(number: int) -> int:
    return 1 + number * MSS


def held_blocks(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    return tuple((seq(number), seq(number + 1)) for number in numbers)


def flying(segments: int, *, apart: float = 0.0) -> Bench:
    """So many segments are out, sent at one moment, or each so many seconds after the other."""
    bench = syn_sent(config=SMALL, peer=PEER)
    bench.advance(RTT)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    bench.arrive(ACK, wnd=65535)
    bench.cwnd = 4 * segments * MSS
    if apart:
        for _ in range(segments):
            bench.send(bytes(MSS))
            bench.drain()
            bench.now += apart
    else:
        bench.send(bytes(segments * MSS))
    bench.drain()
    return bench


def sacked(bench: Bench, numbers: list[int]) -> None:
    """The peer holds these segments, and says so with as many ACKs as that takes."""
    for first in range(0, len(numbers), BLOCKS):
        bench.arrive(ACK, ack=1, sack=held_blocks(numbers[first : first + BLOCKS]))
        bench.drain()


def with_holes(count: int, *, apart: float = 0.0) -> Bench:
    """Every second segment has not arrived."""
    bench = flying(2 * count + 20, apart=apart)
    bench.now += RTT
    sacked(bench, [*range(1, 2 * count, 2)])
    return bench


def resent(count: int) -> Bench:
    """All the holes were sent again."""
    bench = with_holes(count)
    bench.cwnd = 8 * count * MSS
    bench.now += RTT
    sacked(bench, [2 * count + 1])
    return bench


def arrives(bench: Bench, **fields: Any) -> Act:

    def act() -> None:
        bench.arrive(ACK, **({"ack": 1} | fields))
        bench.drain()

    return act


def a_block_that_is_known(count: int) -> Act:
    return arrives(with_holes(count), sack=held_blocks([count + 1 - count % 2]))


def a_new_block(count: int) -> Act:
    return arrives(with_holes(count), sack=held_blocks([2 * count + 5]))


def a_new_block_at_the_beginning(count: int) -> Act:
    """Of a flight that went out in one moment: all the rest may be on its way."""
    bench = flying(2 * count + 20)
    bench.now += RTT
    sacked(bench, [*range(2 * count, 3, -2)])
    bench.now += RTT
    sacked(bench, [3])
    return arrives(bench, sack=held_blocks([1]))


def a_block_of_much_that_is_on_its_way(count: int) -> Act:
    """The peer lies: what it holds of one moment, in pieces, is always the beginning."""
    bench = flying(2 * count + 20)
    sacked(bench, [*range(2 * count, 2, -2)])
    bench.now += RTT
    bench.drain()
    sacked(bench, [1])
    return arrives(bench, sack=held_blocks([1]))


def an_acknowledgement(count: int) -> Act:
    return arrives(with_holes(count), ack=seq(2))


def a_block_of_much_that_was_sent_again_together(count: int) -> Act:
    bench = with_holes(count)
    bench.now += RTT
    sacked(bench, [2])
    return arrives(bench, sack=held_blocks([4]))


def a_duplicate_report(count: int) -> Act:
    return arrives(resent(count), sack=((seq(count), seq(count + 1)), (1, seq(2 * count))))


def a_duplicate_report_of_the_first(count: int) -> Act:
    bench = resent(count)
    arrives(bench, ack=seq(2), sack=((seq(0), seq(1)),))()
    return arrives(bench, ack=seq(4), sack=((seq(2), seq(3)),))


def a_timer(count: int) -> Act:
    """The second: with the first all that is on its way becomes lost, once."""
    bench = resent(count)
    sacked(bench, [2 * count + 3])

    def act() -> None:
        bench.run_until(bench.retransmit_at or bench.now)
        bench.drain()

    act()
    assert bench.unanswered == 1
    return act


def data_beyond_a_gap(count: int) -> Act:
    """As many runs as may wait."""
    bench = syn_sent(config=replace(SMALL, max_out_of_order_runs=2 * MANY), peer=PEER)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    for number in range(count):
        bench.arrive(ACK, seq=11 + 20 * number, payload=b"run")
        bench.drain()
    return arrives(bench, seq=11 + 20 * (count // 2) + 10, payload=b"another")


@pytest.mark.parametrize(
    "prepare",
    [
        a_block_that_is_known,
        a_new_block,
        a_new_block_at_the_beginning,
        a_block_of_much_that_is_on_its_way,
        a_block_of_much_that_was_sent_again_together,
        an_acknowledgement,
        a_duplicate_report,
        a_duplicate_report_of_the_first,
        a_timer,
        data_beyond_a_gap,
    ],
)
def test_with_many_ranges_it_takes_as_many_steps(prepare: Callable[[int], Act]) -> None:
    few = steps(prepare, FEW)
    assert few > 10
    assert steps(prepare, MANY) <= few * ALLOWED
