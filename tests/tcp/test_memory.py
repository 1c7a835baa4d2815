"""The memory of a host: a budget that peers cannot exceed, and connections that survive it."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.allocated import allocated
from tests.tcp.crowd import CONFIG, MSS, Crowd, state
from tests.tcp.inspection import Tcb
from tunstack.stack.flow import FLOW_SIZE, GAP_SIZE
from tunstack.stack.limits import Limits
from tunstack.tcp.budget import SMALL_BUFFER, SMALLEST_BUFFER, Budget
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, RST
from tunstack.tcp.sequence import MASK, diff

if TYPE_CHECKING:
    from tests.tcp.crowd import Peer
    from tunstack.stack.flow import Flow

S = State
MIB: Final = 1 << 20
SEGMENT: Final = MSS - 12


def held(crowd: Crowd) -> int:
    return crowd.stack.statistics()["memory_held"]


def crowded(limit: int, count: int, *, backlog: int = 4096) -> tuple[Crowd, list[Peer], list[Flow]]:
    """A stack with a memory of `limit` octets, and `count` connections that hold nothing yet."""
    crowd = Crowd(limits=Limits(memory=limit), backlog=backlog)
    crowd.stack.set_tap(None)
    pairs = [crowd.connected() for _ in range(count)]
    return crowd, [peer for peer, _ in pairs], [flow for _, flow in pairs]


def fill(crowd: Crowd, peers: list[Peer]) -> None:
    """The peers send in order, as much as they may, until there is no memory left."""
    for peer in peers:
        for _ in range(65535 // SEGMENT):
            if crowd.stack.memory.budget.full:
                return
            peer.send(bytes(SEGMENT))
    raise AssertionError("there is still room")


class Upload:
    """An honest peer that sends a stream, and sends again what was not acknowledged."""

    def __init__(self, crowd: Crowd, size: int) -> None:
        self.crowd = crowd
        self.peer, self.flow = crowd.connected()
        self.data = Random(1).randbytes(size)
        self.sent = 0
        self.received = bytearray()
        self.begin = self.peer.nxt

    def step(self) -> None:
        """Send one segment, and have the application read."""
        payload = self.data[self.sent : self.sent + SEGMENT]
        self.peer.ack(payload=payload)
        self.received += self.crowd.stack.read(self.flow, 1 << 20)
        self.crowd.act(self.flow)
        self.sent = diff(Tcb(self.flow).rcv_nxt, self.begin)
        self.peer.nxt = Tcb(self.flow).rcv_nxt

    @property
    def done(self) -> bool:
        return self.received == self.data


# The account


def test_all_that_is_held_is_counted_and_given_back() -> None:
    crowd = Crowd()
    assert held(crowd) == 0
    peer, flow = crowd.connected()
    assert held(crowd) == FLOW_SIZE
    peer.send(bytes(1000))
    assert held(crowd) == FLOW_SIZE + 1000
    peer.beyond(1000, bytes(500))
    assert held(crowd) == FLOW_SIZE + 1500 + GAP_SIZE  # A gap costs something by itself.
    flow.send(bytes(700), crowd.now)
    crowd.act(flow)
    assert held(crowd) == FLOW_SIZE + 2200 + GAP_SIZE
    crowd.stack.read(flow, 400)
    assert held(crowd) == FLOW_SIZE + 1800 + GAP_SIZE
    peer.ack(ack=(peer.expected + 700) & MASK)
    assert held(crowd) == FLOW_SIZE + 1100 + GAP_SIZE
    flow.abort()
    crowd.act(flow)
    assert held(crowd) == 0


def test_what_may_still_be_read_counts_until_it_is() -> None:
    """The connection is over, but its socket is not."""
    crowd = Crowd()
    peer, flow = crowd.connected()
    peer.send(bytes(3000))
    peer.ack(RST)
    assert crowd.flow(peer) is None
    assert held(crowd) == FLOW_SIZE + 3000
    crowd.stack.read(flow, 1000)
    assert held(crowd) == FLOW_SIZE + 2000
    flow.close()
    crowd.act(flow)
    assert held(crowd) == 0


@pytest.mark.parametrize("end", ["read", "closed", "closed with its listener"])
def test_what_waits_to_be_accepted_counts_too(end: str) -> None:
    crowd = Crowd()
    peer = crowd.peer()
    peer.syn()
    peer.ack()
    peer.send(bytes(5000))
    peer.ack(RST)
    assert held(crowd) == FLOW_SIZE + 5000
    if end == "closed with its listener":
        crowd.stack.unlisten(None, 80, crowd.listener)
        crowd.flush()
    else:
        flow = crowd.accept()
        if end == "read":
            crowd.stack.read(flow, 10_000)
        else:
            flow.close()
            crowd.act(flow)
    assert held(crowd) == 0


def test_a_connection_that_holds_nothing_takes_about_what_is_counted_for_it() -> None:
    count = 500
    crowd, _, flows = crowded(64 * MIB, 50)
    before = allocated()
    flows += [crowd.connected()[1] for _ in range(count)]
    taken = allocated() - before
    assert FLOW_SIZE * 0.8 < taken / count < FLOW_SIZE * 1.2


@pytest.mark.parametrize("size", [1, 100, SEGMENT])
@pytest.mark.parametrize("gap", [0, 1])
def test_the_account_matches_the_memory(size: int, gap: int) -> None:
    """What Python takes for it is about what is counted, however the peer cuts its data."""
    count = 20
    crowd, peers, _ = crowded(64 * MIB, count)
    before = allocated()
    for peer in peers:
        for number in range(40):
            if gap:
                peer.beyond(1 + number * (size + gap), bytes(size))
            else:
                peer.send(bytes(size))
    taken = allocated() - before
    counted = held(crowd) - count * FLOW_SIZE
    assert counted >= count * 40 * size
    assert taken < counted * 1.5 + count * 1024


def test_the_account_of_small_requests_may_stay_where_the_largest_of_them_was() -> None:
    """Never below what is held, and at most 2 KiB above it; under pressure it is exact."""
    limit = 1 * MIB
    crowd, [peer], [flow] = crowded(limit, 1)
    crowd.stack.immediate = True
    kept = 0
    for size in (100, 30, 700, 5, 1200, 300, 1, 3 * SEGMENT, 10, 90):
        for begin in range(0, size, SEGMENT):
            peer.send(bytes(min(SEGMENT, size - begin)))
        assert 0 <= held(crowd) - FLOW_SIZE - size < 2048
        kept += held(crowd) != FLOW_SIZE + size
        crowd.stack.read(flow, 10_000)
    assert kept > 2
    assert crowd.statistics["tcp_predicted"] == 12
    budget = crowd.stack.memory.budget
    budget.add(limit - held(crowd) - 1)
    assert budget.tight
    beside = budget.used - flow.accounted
    for size in (50, 100, 10):
        peer.send(bytes(size))
        assert budget.used == beside + FLOW_SIZE + size
        crowd.stack.read(flow, 10_000)
        assert budget.used == beside + FLOW_SIZE


# Marks


def test_marks_of_the_budget() -> None:
    budget = Budget(1000)
    seen = []
    for used in (0, 749, 750, 999, 1000, 1500, 999, 501, 500, 749, 750):
        budget.add(used - budget.used)
        seen.append((used, budget.tight, budget.full))
    assert seen == [
        (0, False, False),
        (749, False, False),
        (750, True, False),
        (999, True, False),
        (1000, True, True),
        (1500, True, True),
        (999, True, False),
        (501, True, False),
        (500, False, False),
        (749, False, False),
        (750, True, False),
    ]


def test_shares_of_a_buffer() -> None:
    budget = Budget(1000)
    assert budget.share(1 << 20) == 1 << 20
    budget.add(800)
    assert (budget.share(1 << 20), budget.share(100)) == (SMALL_BUFFER, 100)
    budget.add(200)
    assert (budget.share(1 << 20), budget.share(100)) == (SMALLEST_BUFFER, 100)


# Attacks


@pytest.mark.rfc("2018:8")
def test_a_thousand_who_send_out_of_order_do_not_exceed_it_and_a_good_one_goes_on() -> None:
    limit = 8 * MIB
    crowd, attackers, _ = crowded(limit, 1000)
    good = Upload(crowd, 100_000)
    most = 0
    for round_ in range(8):
        for number, attacker in enumerate(attackers):
            attacker.beyond(1 + round_ * (SEGMENT + 1), bytes(SEGMENT))
            most = max(most, held(crowd))
            if number % 50 == 0 and not good.done:
                good.step()
    assert good.done
    assert most <= limit + 65536
    statistics = crowd.statistics
    assert statistics["memory_tight"] >= 1
    assert statistics["out_of_order_pruned"] > 0
    assert "tcp_too_many" not in statistics
    # None of them was hurt for it: what was dropped comes again, and all is delivered.
    victim = attackers[0]
    flow = crowd.flow(victim)
    assert flow is not None
    victim.send(b"after all")
    assert flow.receive(100) == b"after all"


def test_the_oldest_gap_goes_first() -> None:
    crowd, peers, flows = crowded(200_000, 3)
    for peer in peers:
        for number in range(43):
            peer.beyond(1 + number * SEGMENT, bytes(SEGMENT))
    assert [bool(Tcb(flow).reassembly) for flow in flows] == [False, True, True]
    assert crowd.statistics["out_of_order_pruned"] == 43 * SEGMENT


def test_what_was_dropped_out_of_order_comes_again_and_the_stream_is_whole() -> None:
    """Also the FIN behind it: an ACK promises to keep data, a SACK block does not."""
    crowd, (peer, *others), (flow, *_) = crowded(MIB, 40)
    data = Random(2).randbytes(10_000)
    for start in range(1000, 10_000, 1000):
        peer.beyond(start, data[start : start + 1000])
    peer.ack(FIN | ACK, seq=(peer.nxt + 10_000) & MASK)
    assert Tcb(flow).out_of_order == 9000
    while Tcb(flow).reassembly:
        for other in others:
            other.beyond(
                1 + crowd.stack.statistics()["packets_received"] * 9 % 60000, bytes(SEGMENT)
            )
    for start in range(0, 10_000, 1000):
        answers = peer.send(data[start : start + 1000])
        assert all(answer.sack == () for answer in answers)
    assert state(flow) is S.CLOSE_WAIT
    assert flow.receive(20_000) == data


def test_those_who_send_and_are_not_read_do_not_exceed_it_and_a_good_one_goes_on() -> None:
    """Nothing can be given up here: what is acknowledged must be kept."""
    limit = 4 * MIB
    crowd, peers, flows = crowded(limit, 200)
    good = Upload(crowd, 100_000)
    fill(crowd, peers)
    for peer in peers:
        peer.send(bytes(SEGMENT))
        peer.nxt = (peer.nxt - SEGMENT) & MASK
    assert held(crowd) <= limit + 200 * SMALLEST_BUFFER
    assert crowd.statistics["tcp_no_memory"] > 0
    for _ in range(200):
        good.step()
    assert good.done
    assert all(flow.state is S.ESTABLISHED for flow in flows)


def test_new_connections_are_refused_last_and_may_try_again() -> None:
    crowd, peers, flows = crowded(4 * MIB, 200)
    fill(crowd, peers)
    newcomer = crowd.peer()
    assert newcomer.syn() is None
    assert crowd.statistics["tcp_no_memory"] == 1
    for flow in flows:
        crowd.stack.read(flow, 1 << 20)
        if flow.pending:
            crowd.act(flow)
    assert newcomer.syn() is not None


def test_time_wait_and_orphans_go_before_anything_is_refused() -> None:
    crowd, peers, flows = crowded(4 * MIB, 200)
    stuck, closed, *others = zip(peers, flows, strict=True)
    closed[1].close()
    crowd.act(closed[1])
    closed[0].expected += 1
    closed[0].ack(FIN | ACK)
    assert state(closed[1]) is S.TIME_WAIT
    stuck[0].ack(wnd=0)
    stuck[1].send(bytes(200_000), crowd.now)
    stuck[1].close()
    crowd.act(stuck[1])
    fill(crowd, [peer for peer, _ in others])
    others[-1][0].send(bytes(SEGMENT))
    assert "TIME-WAIT" not in [info.state for info in crowd.stack.connections()]
    assert state(stuck[1]) is S.CLOSED
    assert crowd.statistics["time_wait_pruned"] == crowd.statistics["orphans_pruned"] == 1
    assert all(flow.state is S.ESTABLISHED for _, flow in others)


def in_time_wait_and_owned(crowd: Crowd) -> Flow:
    """A connection whose application has shut down its half, has the peer's end, and not closed."""
    peer, flow = crowd.connected()
    flow.changed = lambda: None
    flow.shutdown()
    crowd.act(flow)
    peer.expected = (peer.expected + 1) & MASK
    peer.send(b"unread", flags=FIN | ACK)
    assert state(flow) is S.TIME_WAIT
    return flow


def test_time_wait_that_is_owned_is_not_cut_short_for_memory() -> None:
    """To end it would free nothing while the application has its socket."""
    crowd, peers, flows = crowded(4 * MIB, 200)
    owned = in_time_wait_and_owned(crowd)
    peers[-1].ack(wnd=0)
    flows[-1].send(bytes(100_000), crowd.now)
    flows[-1].close()
    crowd.act(flows[-1])
    fill(crowd, peers[:-1])
    peers[0].send(bytes(SEGMENT))
    assert (state(owned), state(flows[-1])) == (S.TIME_WAIT, S.CLOSED)
    assert crowd.statistics["orphans_pruned"] == 1
    assert "time_wait_pruned" not in crowd.statistics
    assert owned.receive(100) == b"unread"


def test_time_wait_that_is_owned_makes_room_for_a_new_connection() -> None:
    """The oldest of them; what it has not read can still be read, and counts until it is closed."""
    crowd = Crowd(limits=Limits(connections=3))
    first, second = in_time_wait_and_owned(crowd), in_time_wait_and_owned(crowd)
    crowd.connected()
    before = held(crowd)
    crowd.connected()
    assert (state(first), state(second)) == (S.CLOSED, S.TIME_WAIT)
    assert crowd.statistics["time_wait_pruned"] == 1
    assert held(crowd) == before + FLOW_SIZE
    assert first.receive(100) == b"unread"
    assert first.receive(100) == b""
    first.changed = None
    first.close()
    crowd.act(first)
    assert held(crowd) == before - len(b"unread")


# Windows and send buffers


def make_tight(crowd: Crowd) -> None:
    """Somebody else holds so much that memory is tight, and not full."""
    budget = crowd.stack.memory.budget
    budget.add(budget.limit - budget.used - 100_000)
    crowd.flush()
    assert (budget.tight, budget.full) == (True, False)


def make_easy(crowd: Crowd) -> None:
    budget = crowd.stack.memory.budget
    budget.add(-budget.used // 2)


@pytest.mark.rfc("SHLD-14")
@pytest.mark.parametrize("size", [1, 100, SEGMENT])
def test_a_window_never_shrinks_when_memory_is_short(size: int) -> None:
    """What was offered stands; but it does not open."""
    crowd, (peer,), (flow,) = crowded(MIB, 1)
    make_tight(crowd)
    tcb = Tcb(flow)
    told, window = tcb.rcv_edge, tcb.rcv_wnd
    for _ in range(40):
        peer.send(bytes(size))
        for out in [*crowd.latest, *crowd.advance(0.05)]:  # Also what a delayed ACK says.
            answer = out.segment
            edge = (answer.ack + (answer.wnd << tcb.rcv_wscale)) & MASK
            assert diff(edge, told) >= 0
            offered = answer.wnd << tcb.rcv_wscale
            assert offered < window + (1 << tcb.rcv_wscale)  # What the field cannot say.
            told, window = edge, offered


def test_a_transfer_continues_in_small_windows() -> None:
    crowd = Crowd(limits=Limits(memory=MIB))
    good = Upload(crowd, 300_000)
    make_tight(crowd)
    while not good.done:
        good.step()
        assert Tcb(good.flow).rcv_wnd <= 65535
    assert Tcb(good.flow).rcv_wnd <= SMALL_BUFFER


def test_who_was_held_back_hears_that_there_is_room_again() -> None:
    """The peer of its window, and the application that waits to send."""
    crowd, (peer, other), (flow, _) = crowded(MIB, 2)
    make_tight(crowd)
    for _ in range(44):
        peer.send(bytes(SEGMENT))
    crowd.stack.read(flow, 1 << 20)
    assert flow.pending
    flow.send(bytes(100_000), crowd.now)
    told = []
    flow.changed = lambda: told.append(flow.writable_size)
    update, *_ = [out.segment for out in crowd.act(flow)]
    assert update.wnd << Tcb(flow).rcv_wscale == SMALL_BUFFER
    assert told == [0]
    make_easy(crowd)
    other.send(b"whatever wakes us")
    [update] = [out.segment for out in crowd.latest if out.datagram.dst == peer.address]
    assert update.wnd << Tcb(flow).rcv_wscale > 500_000
    assert told == [0, (1 << 20) - SMALL_BUFFER]


@pytest.mark.parametrize(
    ("share", "octets"), [(0.5, 1 << 20), (0.8, SMALL_BUFFER), (1, SMALLEST_BUFFER)]
)
def test_send_buffers_are_smaller_when_memory_is_short(share: float, octets: int) -> None:
    crowd, _, (flow,) = crowded(10 * MIB, 1)
    budget = crowd.stack.memory.budget
    budget.add(round(budget.limit * share) - budget.used)
    assert flow.writable_size == octets
    assert flow.send(bytes(2 << 20), crowd.now) == octets
    assert flow.writable_size == 0


def test_one_connection_cannot_hold_more_than_its_buffers() -> None:
    """However small the pieces are, and in whatever order: bounded by octets and by runs."""
    crowd = Crowd(replace(CONFIG, receive_buffer=65536, max_out_of_order_runs=100))
    peer, _ = crowd.connected()
    for number in range(500):
        peer.beyond(2 + 2 * number, b"x")
    assert held(crowd) == FLOW_SIZE + 100 * (GAP_SIZE + 1)
