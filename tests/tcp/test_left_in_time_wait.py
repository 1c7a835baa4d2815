"""TIME-WAIT without an owner: little is left of a connection, and nobody can tell."""

from __future__ import annotations

import gc
from dataclasses import asdict, fields, replace
from operator import attrgetter
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.allocated import allocated
from tests.tcp.crowd import CONFIG, ISN_STEP, OURS, PORT, Crowd
from tests.tcp.test_blind import icmp_error
from tunstack.stack.flow import FLOW_SIZE, Flow
from tunstack.stack.limits import Limits
from tunstack.stack.time_wait import WAIT_SIZE, TimeWaits
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.info import TcpInfo
from tunstack.tcp.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import encode_segment

if TYPE_CHECKING:
    from tests.compiled import PatchMethod
    from tests.tcp.crowd import Peer
    from tunstack.stack.observation import Observation

WAIT: Final = 2 * CONFIG.msl


def close(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """We close first, and the peer answers."""
    flow.close()
    crowd.act(flow)
    peer.expected = (peer.expected + 1) & MASK
    [last] = peer.ack(FIN | ACK)
    peer.nxt = (peer.nxt + 1) & MASK
    assert last.ack == peer.nxt


def left(crowd: Crowd, **offer: Any) -> Peer:
    """A peer whose connection we have closed; what it says now is `nxt`, and `expected`."""
    peer = crowd.peer(**offer)
    peer.syn()
    peer.ack()
    close(crowd, peer, crowd.accept())
    return peer


def states(crowd: Crowd) -> list[str]:
    return [info.state for info in crowd.stack.connections()]


def test_no_flow_is_left_and_still_it_is_listed() -> None:
    crowd = Crowd()
    peer = left(crowd)
    assert crowd.flow(peer) is None
    assert len(crowd.stack.time_waits) == 1
    [info] = crowd.stack.connections()
    assert info.state == "TIME-WAIT"
    assert (info.local[0].packed, info.local[1]) == (OURS, PORT)
    assert (info.remote[0].packed, info.remote[1]) == (peer.address, peer.sport)
    assert (info.timestamps, info.sack, info.snd_wscale, info.rcv_wscale) == (True, True, 7, 7)
    assert (info.rtt, info.snd_cwnd, info.bytes_acked, info.congestion) == (None, 0, 0, "")


@pytest.mark.parametrize("ecn", [True, False])
@pytest.mark.parametrize(
    "offer", [{}, {"wscale": 3}, {"ts_val": None}, {"sack_permitted": False}, {"wscale": None}]
)
def test_info_has_the_kept_fields_and_defaults(offer: dict[str, Any], ecn: bool) -> None:
    """As `TcpInfo` says: the names, the windows, what was agreed on, `rcv_mss` and `rcv_tos`."""
    crowd = Crowd()
    peer = crowd.peer(**offer)
    peer.syn(flags=ECE | CWR if ecn else 0)
    peer.ack()
    flow = crowd.accept()
    peer.send(bytes(700), wnd=1000)
    peer.send(bytes(300), wnd=1000)
    assert len(flow.receive(2000)) == 1000
    before = flow.info()
    assert before.ecn == ecn
    flow.close()
    crowd.act(flow)
    fin = Segment(peer.nxt, (peer.expected + 1) & MASK, FIN | ACK, 2000)
    if before.timestamps:
        fin.ts_val, fin.ts_ecr = peer.offer["ts_val"], 0
    packet = encode_segment(peer.address, OURS, peer.sport, PORT, fin, tos=0xB8)
    [last] = crowd.packet(b"".join(packet))
    assert crowd.flow(peer) is None
    [info] = crowd.stack.connections()
    nothing: dict[str, Any] = {
        field.name: {"rtt": None, "min_rtt": None, "soft_error": None, "congestion": ""}.get(
            field.name, 0
        )
        for field in fields(TcpInfo)
    }
    kept = {
        name: getattr(before, name)
        for name in (
            *("local", "remote", "timestamps", "sack", "ecn", "rcv_mss"),
            *("snd_wscale", "rcv_wscale"),
        )
    }
    own = {
        "state": "TIME-WAIT",
        "snd_wnd": 2000 << before.snd_wscale,  # As the peer's FIN has it.
        "rcv_wnd": last.segment.wnd << before.rcv_wscale,
        "rcv_tos": 0xB8,
    }
    assert asdict(info) == nothing | kept | own


def test_all_are_listed_in_the_order_in_which_they_began() -> None:
    crowd = Crowd()
    peers, flows = zip(*(crowd.connected() for _ in range(6)), strict=True)
    for number in (4, 1, 3):
        close(crowd, peers[number], flows[number])
    peers[3].ack(SYN)  # It is a flow for a moment.
    expected = [f"198.51.100.{peer.address[3]}" for peer in peers]
    assert [str(info.remote[0]) for info in crowd.stack.connections()] == expected
    assert states(crowd).count("TIME-WAIT") == 3


def with_something_unread() -> tuple[Crowd, Peer, Flow]:
    """A connection whose both halves have ended, the peer's with something to read."""
    crowd = Crowd()
    peer, flow = crowd.connected()
    flow.shutdown()
    crowd.act(flow)
    peer.expected += 1
    peer.ack(FIN | ACK, b"the rest")
    return crowd, peer, flow


def test_as_long_as_there_is_an_owner_all_of_it_is_left() -> None:
    """It may ask for what it wants to know, and read what came before the end."""
    crowd, peer, flow = with_something_unread()
    assert crowd.flow(peer) is flow
    assert flow.receive(100) == b"the rest"
    flow.changed = lambda: None
    flow.close()
    crowd.act(flow)
    assert crowd.flow(peer) is flow
    flow.changed = None
    crowd.act(flow)
    assert crowd.flow(peer) is None
    assert states(crowd) == ["TIME-WAIT"]


def test_what_was_not_read_does_not_keep_it() -> None:
    crowd, peer, flow = with_something_unread()
    flow.close()
    assert crowd.act(flow) == []
    assert crowd.flow(peer) is None
    assert crowd.stack.statistics()["memory_held"] == WAIT_SIZE


def test_it_is_as_small_as_it_is_accounted_for_and_needs_no_garbage_collection() -> None:
    crowd = Crowd(limits=Limits(connections=10_000))
    crowd.stack.set_tap(None)
    for _ in range(10):
        left(crowd)
    count = 1000
    gc.collect()
    objects = len(gc.get_objects())
    gc.disable()
    try:
        before = allocated(collect=False)
        for _ in range(count):
            left(crowd)
        crowd.latest.clear()
        taken = allocated(collect=False) - before
        objects = len(gc.get_objects()) - objects
    finally:
        gc.enable()
    assert 0.7 * WAIT_SIZE < taken / count < 1.3 * WAIT_SIZE
    assert objects < 1.1 * count


def test_memory_is_accounted_for_to_the_end() -> None:
    crowd = Crowd()
    left(crowd)
    crowd.connected()
    assert crowd.stack.statistics()["memory_held"] == WAIT_SIZE + FLOW_SIZE
    crowd.advance(WAIT)
    assert crowd.stack.statistics()["memory_held"] == FLOW_SIZE


@pytest.mark.rfc("MUST-13")
def test_it_ends_after_2_msl_each_at_its_time() -> None:
    crowd = Crowd()
    for _ in range(3):
        left(crowd)
        crowd.advance(1.0)
    crowd.advance(WAIT - 3.1)
    assert len(states(crowd)) == 3
    for count in (2, 1, 0):
        crowd.advance(0.2)
        assert len(states(crowd)) == count
        crowd.advance(0.8)
    assert crowd.stack.deadline() is None


def test_those_with_another_msl_end_at_their_own_time() -> None:
    crowd = Crowd()
    others = crowd.listen(81)
    others.config = replace(CONFIG, msl=1.0)
    left(crowd)
    peer = crowd.peer(port=81)
    peer.syn()
    peer.ack()
    flow = others.accept()
    assert isinstance(flow, Flow)
    close(crowd, peer, flow)
    peer.ack(FIN | ACK, seq=(peer.nxt - 1) & MASK)
    crowd.advance(1.9)
    assert len(states(crowd)) == 2
    crowd.advance(0.2)
    assert len(states(crowd)) == 1
    crowd.advance(WAIT)
    assert states(crowd) == []


def test_one_that_was_closed_later_ends_no_later() -> None:
    """The wait begins with the peer's FIN, and not when the application lets go."""
    crowd = Crowd()
    peer, flow = crowd.connected()
    flow.shutdown()
    crowd.act(flow)
    peer.expected += 1
    peer.ack(FIN | ACK)
    crowd.advance(10.0)
    left(crowd)
    flow.close()
    crowd.act(flow)
    assert len(crowd.stack.time_waits) == 2
    crowd.advance(WAIT - 9.9)
    [info] = crowd.stack.connections()
    assert info.remote[0].packed != peer.address
    crowd.advance(9.9)
    assert states(crowd) == []


# Segments come after all


def test_their_fin_again_is_acknowledged_and_restarts_the_wait() -> None:
    crowd = Crowd()
    peer = left(crowd)
    crowd.advance(WAIT - 1)
    [again] = peer.ack(FIN | ACK, seq=(peer.nxt - 1) & MASK)
    assert (again.flags, again.seq, again.ack) == (ACK, peer.expected, peer.nxt)
    assert crowd.flow(peer) is None
    crowd.advance(WAIT - 1)
    assert states(crowd) == ["TIME-WAIT"]
    crowd.advance(1.0)
    assert states(crowd) == []


def test_its_header_is_like_those_before() -> None:
    crowd = Crowd(replace(CONFIG, ttl=7, tos=0x20))
    peer, flow = crowd.connected()
    flow.reconfigure(replace(flow.config, ttl=9, tos=0x48))
    close(crowd, peer, flow)
    [before] = crowd.latest
    peer.ack(FIN | ACK, seq=(peer.nxt - 1) & MASK)
    [after] = crowd.latest
    assert (after.datagram.ttl, after.datagram.tos) == (9, 0x48)
    assert after.segment == before.segment


@pytest.mark.rfc("MAY-2", "SHLD-4", "6191:2")
@pytest.mark.parametrize("newer", [{"ts_val": 5001}, {"ts_val": None}])
def test_a_new_incarnation_takes_its_place(newer: dict[str, Any]) -> None:
    crowd = Crowd()
    peer = left(crowd)
    old = peer.expected
    peer.isn = (peer.nxt + 1) & MASK
    peer.offer |= newer
    answer = peer.syn()
    assert answer is not None
    assert answer.flags == SYN | ACK
    assert (answer.seq - old) & MASK >= ISN_STEP
    peer.ack()
    assert states(crowd) == ["ESTABLISHED"]
    assert crowd.statistics["tcp_new_incarnation"] == 1
    peer.send(b"again")
    assert crowd.accept().receive(10) == b"again"
    crowd.advance(WAIT)
    assert states(crowd) == ["ESTABLISHED"]


@pytest.mark.rfc("1337:3")
def test_a_reset_ends_it_unless_it_is_protected() -> None:
    crowd = Crowd()
    left(crowd).ack(RST)
    assert states(crowd) == []
    assert crowd.stack.deadline() is None
    crowd = Crowd(replace(CONFIG, rfc1337=True))
    left(crowd).ack(RST)
    assert states(crowd) == ["TIME-WAIT"]
    assert crowd.stack.counters[Verdict.RESET_IGNORED] == 1


@pytest.mark.parametrize("small", [True, False], ids=["what is left", "the whole"])
@pytest.mark.parametrize(
    ("flags", "ahead", "payload", "answered"),
    [
        (ACK, 0, b"", False),  # Their last ACK, or another: nobody waits for an answer.
        (ACK, 1, b"", True),
        (ACK, 60_000, b"", True),
        (ACK, -2, b"", True),
        (ACK, 5_000_000, b"", True),
        (ACK | PSH, 0, b"x", True),
        (ACK | PSH, 1, b"x", True),
        (FIN | ACK, 1, b"", True),
        (URG | ACK, 1, b"", True),
    ],
)
def test_what_is_not_at_rcv_nxt_draws_an_ack(
    flags: int,
    ahead: int,
    payload: bytes,
    answered: bool,
    small: bool,
    patch_method: PatchMethod,
) -> None:
    """RFC 9293 section 3.10.7.4, fifth; as on Linux."""
    if not small:
        patch_method(TimeWaits, "take", lambda *_: False)
    crowd = Crowd()
    peer = left(crowd)
    assert (crowd.flow(peer) is None) is small
    answers = peer.ack(flags, payload, seq=(peer.nxt + ahead) & MASK)
    assert [(each.flags, each.seq, each.ack) for each in answers] == [
        (ACK, peer.expected, peer.nxt)
    ] * answered
    assert states(crowd) == ["TIME-WAIT"]


@pytest.mark.rfc("5961:7")
def test_two_ends_in_time_wait_do_not_answer_each_other_for_ever() -> None:
    crowd = Crowd()
    peer = left(crowd)
    answers = [peer.ack(seq=(peer.nxt + 1) & MASK) for _ in range(20)]
    assert [len(each) for each in answers] == [1] * 10 + [0] * 10


@pytest.mark.rfc("5961:7")
def test_challenges_stay_limited() -> None:
    crowd = Crowd()
    peer = left(crowd)
    answers = [peer.ack(RST, seq=(peer.nxt + 1) & MASK) for _ in range(20)]
    assert [len(each) for each in answers] == [1] * 10 + [0] * 10
    crowd.advance(5.0)
    assert len(peer.ack(RST, seq=(peer.nxt + 1) & MASK)) == 1


def test_a_bug_of_ours_leaves_it_in_its_place(
    monkeypatch: pytest.MonkeyPatch, patch_method: PatchMethod
) -> None:
    crowd = Crowd()
    peer = left(crowd)

    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    patch_method(Flow, "segment_arrives", wrong)
    with pytest.raises(ZeroDivisionError):
        peer.ack()
    monkeypatch.undo()
    crowd.advance(WAIT)
    assert states(crowd) == []


def test_segments_without_end_leave_nothing_behind() -> None:
    crowd = Crowd()
    crowd.stack.set_tap(None)
    peer, other = left(crowd), left(crowd)
    before = allocated()
    for _ in range(500):
        peer.ack(FIN | ACK, seq=(peer.nxt - 1) & MASK)
        other.ack(ACK, seq=(other.nxt - 100) & MASK)
        crowd.now += 0.01
    taken = allocated() - before
    assert taken < 50 * WAIT_SIZE
    assert len(states(crowd)) == 2


# Others


def test_a_syn_fin_does_not_reopen() -> None:
    """It is challenged, as any SYN that is none of a new connection's."""
    crowd = Crowd()
    peer = left(crowd)
    [answer] = peer.ack(SYN | FIN, seq=(peer.nxt + 1000) & MASK)
    assert answer.flags == ACK
    assert states(crowd) == ["TIME-WAIT"]


def test_an_icmp_error_about_it_is_of_no_use() -> None:
    """Nothing of it is outstanding: whoever sent the error has guessed, or is late."""
    crowd = Crowd()
    peer, flow = crowd.connected()
    close(crowd, peer, flow)
    icmp_error(crowd, crowd.latest[0].segment, flow)
    assert crowd.statistics["icmp_unmatched"] == 1
    assert states(crowd) == ["TIME-WAIT"]


def test_when_memory_runs_out_they_go_first_the_oldest_before_the_others() -> None:
    crowd = Crowd()
    first, second = left(crowd), left(crowd)
    budget = crowd.stack.memory.budget
    budget.add(budget.limit - budget.used)
    assert crowd.flush() == []
    assert budget.used == budget.limit - WAIT_SIZE
    assert [info.remote[0].packed for info in crowd.stack.connections()] == [second.address]
    [reset] = first.ack()
    assert reset.flags == RST
    assert crowd.statistics["time_wait_pruned"] == 1


def test_all_are_removed_at_once() -> None:
    crowd = Crowd()
    for _ in range(3):
        left(crowd)
    crowd.stack.time_waits.clear()
    assert states(crowd) == []
    assert crowd.stack.deadline() is None


# With it and without it


Listed = tuple[object, ...]


def infos(crowd: Crowd) -> list[Listed]:
    """What is not forgotten."""
    kept = attrgetter(
        *("state", "local", "remote", "snd_wnd", "rcv_wnd", "rcv_mss", "timestamps", "sack"),
        *("ecn", "rcv_tos", "snd_wscale", "rcv_wscale"),
    )
    return [kept(each) for each in crowd.stack.connections()]


def random_segment(rng: Random, peer: Peer) -> Segment:
    """Something that a peer, old or new, or an attacker may say in TIME-WAIT."""
    flags = rng.choice((ACK, ACK, FIN | ACK, FIN | ACK, RST, RST | ACK, SYN, SYN | ACK, 0, FIN))
    flags |= rng.choice((0, 0, 0, PSH, URG, ECE))
    near = rng.choice((0, 0, -1, -1, -2, 1, 5, -100, 1000, 70_000, 1 << 31))
    ack = peer.expected + rng.choice((0, 0, 0, 0, -1, 1, -70_000, -5_000_000, -9_000_000, 1 << 31))
    segment = Segment((peer.nxt + near) & MASK, ack & MASK, flags, rng.choice((0, 100, 65535)))
    segment.ecn = rng.choice((0, 0, 3))
    segment.payload = bytes(rng.choice((0, 0, 0, 1, 50, 1400)))
    if rng.random() < 0.7:
        segment.ts_val = (5000 + rng.choice((0, 0, 1, -1, 100))) & MASK
        segment.ts_ecr = rng.getrandbits(32)
    if flags & ACK and rng.random() < 0.3:
        left = (peer.expected - rng.choice((1, 50, 3000))) & MASK
        segment.sack = ((left, (left + rng.choice((1, 20))) & MASK),)
    return segment


def play(seed: int) -> tuple[list[Observation], list[list[Listed]], dict[str, int]]:
    """Some peers whose connections we close talk on; what they get, the states, and the counts."""
    rng = Random(seed)
    config = replace(
        CONFIG,
        receive_buffer=rng.choice((None, 3000, 5000, 1 << 20)),
        rfc1337=rng.random() < 0.3,
        ecn=rng.choice((0, 2)),
        tos=rng.choice((0, 0x20)),
        sack=rng.random() < 0.7,
        timestamps=rng.random() < 0.7,
    )
    crowd = Crowd(config, seed=seed)
    offers: list[dict[str, Any]] = [{}, {"ts_val": None}, {"sack_permitted": False}, {"wscale": 0}]
    peers = []
    for offer in offers:
        peer = crowd.peer(**offer)
        peer.syn()
        peer.ack()
        flow = crowd.accept()
        for _ in range(rng.randrange(4)):
            size = rng.choice((10, 1000))
            peer.send(bytes(size))
            flow.send(flow.receive(1 << 20), crowd.now)
            crowd.act(flow)
            peer.expected = (peer.expected + size) & MASK
            peer.ack()
        close(crowd, peer, flow)
        peers.append(peer)
    listed = []
    for _ in range(200):
        peer = rng.choice(peers)
        peer.arrive(random_segment(rng, peer))
        listed.append(infos(crowd))
        crowd.advance(rng.choice((0.0, 0.0, 0.0, 0.001, 0.1, 0.1, 3.0)))
    counts = crowd.statistics
    counts.pop("memory_held", None)
    return crowd.observed, listed, counts


@pytest.mark.parametrize("seed", range(60))
def test_a_time_wait_replies_as_a_flow_does(seed: int, patch_method: PatchMethod) -> None:
    """The same segments draw the same answers from what is left as from the whole."""
    small = play(seed)
    assert len(small[1][0]) >= 3
    patch_method(TimeWaits, "take", lambda *_: False)
    assert play(seed) == small
