"""TIME-WAIT in a stack: who may take the four-tuple before its time is up, and who may not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.crowd import ISN_STEP
from tests.tcp.harness import CONFIG, DELAYED_ACK
from tests.tcp.stack_bench import PEER, PORT, StackBench
from tunstack.tcp.connection.state import State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN

if TYPE_CHECKING:
    from tunstack.stack.flow import Flow
    from tunstack.tcp.config import Config

S = State
ORIGINS: Final = [0, 2**31 - 1, 2**32 - 3]


def in_time_wait(
    irs: int, ts_val: int | None = None, config: Config = CONFIG
) -> tuple[StackBench, Flow]:
    """A connection that we closed first; its numbers end at 101, its timestamps at `ts_val`."""
    bench = StackBench(config)
    bench.handshake(irs, ts_val=ts_val)
    flow = bench.accept()
    assert flow is not None
    flow.shutdown()
    bench.stack.mark_pending(flow)
    bench.flush()
    bench.drain()
    bench.arrive(FIN | ACK, seq=1, ack=2, payload=bytes(99), ts_val=ts_val)
    bench.expect(ACK, seq=2, ack=101)
    assert flow.state is S.TIME_WAIT
    return bench, flow


def states(bench: StackBench) -> list[State]:
    return [flow.state for flow in bench.stack.demux.connections]


@pytest.mark.rfc("MAY-2")
@pytest.mark.parametrize("irs", ORIGINS)
def test_a_syn_with_a_later_number_reopens(irs: int) -> None:
    """Section 3.6.1 (MAY-2); our numbers begin beyond all that the old connection used."""
    bench, flow = in_time_wait(irs)
    old = bench.origins[4000].iss
    bench.arrive_syn(irs + 102)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)
    assert (bench.origins[4000].iss - old) % 2**32 >= ISN_STEP
    assert flow.state is S.CLOSED
    assert states(bench) == [S.SYN_RECEIVED]
    assert bench.stack.counters[Verdict.NEW_INCARNATION] == 1
    bench.arrive(ACK | PSH, seq=1, ack=1, payload=b"again")
    again = bench.accept()
    assert again is not None
    assert again.receive(10) == b"again"
    bench.advance(DELAYED_ACK)
    bench.expect(ACK, ack=6)


@pytest.mark.parametrize("irs", ORIGINS)
@pytest.mark.parametrize("step", [101, 100, 1, -1000])
def test_syn_with_an_old_number_is_refused(irs: int, step: int) -> None:
    bench, flow = in_time_wait(irs)
    bench.arrive(SYN, seq=step)
    bench.expect(ACK, seq=2, ack=101)
    assert flow.state is S.TIME_WAIT


@pytest.mark.rfc("SHLD-4", "MAY-2", "6191:2")
@pytest.mark.parametrize("ts_val", ORIGINS)
def test_a_syn_with_a_newer_timestamp_reopens_whatever_its_number(ts_val: int) -> None:
    """RFC 6191."""
    bench, flow = in_time_wait(5000, ts_val)
    bench.arrive_syn(1000, ts_val=(ts_val + 1) % 2**32)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)
    assert flow.state is S.CLOSED


@pytest.mark.rfc("6191:2")
@pytest.mark.parametrize("ts_val", ORIGINS)
def test_syn_with_the_same_timestamp_needs_a_later_number(ts_val: int) -> None:
    bench, _ = in_time_wait(5000, ts_val)
    bench.arrive(SYN, seq=101, ts_val=ts_val)
    bench.expect(ACK, seq=2, ack=101)
    bench.arrive_syn(5000 + 102, ts_val=ts_val)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)


@pytest.mark.rfc("6191:2")
def test_syn_with_an_older_timestamp_is_refused_whatever_its_number() -> None:
    bench, flow = in_time_wait(5000, 1000)
    bench.arrive(SYN, seq=102, ts_val=999)
    bench.expect(ACK, seq=2, ack=101)
    assert flow.state is S.TIME_WAIT


@pytest.mark.rfc("6191:2")
def test_syn_without_a_timestamp_needs_a_later_number() -> None:
    """RFC 6191 section 2: the peer has begun anew, and without them."""
    bench, _ = in_time_wait(5000, 1000)
    bench.arrive(SYN, seq=101)
    bench.expect(ACK, seq=2, ack=101)
    bench.arrive_syn(5000 + 102)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)


@pytest.mark.parametrize("flags", [SYN | ACK, SYN | RST, ACK])
def test_only_a_bare_syn_reopens(flags: int) -> None:
    bench, flow = in_time_wait(0)
    bench.arrive(flags, seq=102, ack=2)
    bench.drain()
    assert flow.state is S.TIME_WAIT


def test_a_syn_without_a_listener_does_not_end_time_wait() -> None:
    """As on Linux: nobody can open anew, so it is answered like any other segment."""
    bench, flow = in_time_wait(0)
    bench.stack.unlisten(None, PORT, bench.listener)
    bench.arrive(SYN, seq=102)
    bench.expect(ACK, seq=2, ack=101)
    assert flow.state is S.TIME_WAIT


def test_syn_in_time_wait_finds_the_backlog_full() -> None:
    """The old connection makes way, and the peer will try again."""
    bench, _ = in_time_wait(0)
    bench.listener.set_backlog(0)
    for sport in (5000, 5001):
        bench.handshake(sport=sport)
    bench.arrive_syn(102)
    bench.expect_nothing()
    assert states(bench) == [S.ESTABLISHED]
    assert bench.accept() is not None
    bench.arrive_syn(102)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)


@pytest.mark.rfc("MUST-13")
def test_the_four_tuple_is_free_after_2_msl() -> None:
    bench, _ = in_time_wait(5000)
    bench.advance(2 * CONFIG.msl - 0.1)
    assert states(bench) == [S.TIME_WAIT]
    bench.advance(0.1)
    assert states(bench) == []
    assert bench.stack.deadline() is None
    bench.arrive_syn(1)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)


def test_data_for_a_closed_connection_draws_a_reset() -> None:
    bench, _ = in_time_wait(0)
    bench.advance(2 * CONFIG.msl)
    bench.arrive(ACK | PSH, seq=101, ack=2, payload=b"anybody there?")
    bench.expect(RST, seq=2)


@pytest.mark.rfc("6056:2.1")
def test_our_own_new_connection_avoids_a_four_tuple_in_time_wait() -> None:
    bench = StackBench()
    flow = bench.stack.connect(PEER, 7, bench.now, local_port=40000)
    with pytest.raises(OSError, match="Cannot assign"):
        bench.stack.connect(PEER, 7, bench.now, local_port=40000)
    other = bench.stack.connect(PEER, 8, bench.now, local_port=40000)
    assert flow.four_tuple != other.four_tuple
    bench.flush()
    assert [sent.segment.flags for sent in bench.drain()] == [SYN, SYN]


@pytest.mark.rfc("1337:3")
@pytest.mark.parametrize("ts_val", [None, 1000])
def test_a_reset_ends_time_wait_unless_it_is_to_be_protected(ts_val: int | None) -> None:
    """RFC 9293 section 3.10.7.4 lets it, and so does Linux; RFC 1337 warns of that."""
    bench, flow = in_time_wait(0, ts_val)
    bench.arrive(RST, seq=101)
    assert (flow.state, states(bench)) == (S.CLOSED, [])

    bench, flow = in_time_wait(0, ts_val, replace(CONFIG, rfc1337=True))
    bench.arrive(RST, seq=101)
    assert (flow.state, states(bench)) == (S.TIME_WAIT, [S.TIME_WAIT])
    assert bench.stack.counters[Verdict.RESET_IGNORED] == 1
    bench.advance(2 * CONFIG.msl)
    assert states(bench) == []


def test_protected_time_wait_is_still_reopened_by_a_syn() -> None:
    bench, flow = in_time_wait(0, config=replace(CONFIG, rfc1337=True))
    bench.arrive_syn(102)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)
    assert flow.state is S.CLOSED


def test_a_peer_that_was_refused_gets_in_by_its_reset() -> None:
    """Why it is not protected by default: no timestamps, and a lower number than last time."""
    bench, _ = in_time_wait(5000)
    bench.arrive(SYN, seq=-100)
    bench.expect(ACK, seq=2, ack=101)
    bench.arrive(RST, seq=101)  # As RFC 9293 section 3.10.7.3 makes it answer that ACK.
    bench.arrive_syn(4900)
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012)
