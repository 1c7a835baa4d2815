"""Peers that break their word: reneging (RFC 2018 section 8), and SACK blocks that are nonsense."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tcp.flight import (
    RTT,
    STAMPING,
    TEXT,
    acknowledge,
    block,
    connected,
    expect_segments,
    flying,
    numbers_of,
    phase,
    sack,
    seq,
    windows,
)
from tests.tcp.harness import AUTO, MSS, WITHOUT_SACK, Bench, Numbers
from tunstack.tcp.connection.state import State
from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.segment import ACK

NEVER_SENT: Final = seq(10)
"""Where SND.NXT is with ten in flight."""


# Reneging


@pytest.mark.rfc("2018:8")
def test_what_a_peer_drops_after_it_was_sacked_is_sent_again_after_a_timeout() -> None:
    """It holds 5 to 9, then runs out of memory: the ACK of what filled the gap says 5."""
    bench = flying(10, queued=10)
    bench.advance(RTT)
    acknowledge(bench, 0, 5, 6, 7, 8, 9)
    assert numbers_of(bench) == [0, 1, 2, 3, 4]
    bench.advance(RTT)
    acknowledge(bench, 5)
    bench.expect_nothing()
    assert bench.sacked == 5 * MSS
    bench.wait()
    expect_segments(bench, 5, note="timeout")
    assert bench.sacked == 0
    for number in (6, 8):
        bench.advance(RTT)
        acknowledge(bench, number)
        bench.drain()
    bench.advance(RTT)
    acknowledge(bench, 10)
    assert bench.outstanding == 0


@pytest.mark.rfc("2018:8")
def test_sacked_data_stays_in_the_buffer_until_it_is_acknowledged() -> None:
    bench = flying(10, queued=10)
    bench.advance(RTT)
    sack(bench, *range(1, 10))
    bench.drain()
    assert bench.queued == 10 * MSS


@pytest.mark.rfc("2018:8")
def test_as_long_as_the_first_is_missing_sacks_outlast_a_timeout() -> None:
    """Only a peer that holds what it has not acknowledged must have reneged (RFC 6675 5.1)."""
    bench = flying(10, queued=10)
    bench.advance(RTT)
    acknowledge(bench, 0, 5, 6, 7, 8, 9)
    bench.drain()
    bench.wait()
    expect_segments(bench, 0, note="timeout")
    assert bench.sacked == 5 * MSS


@pytest.mark.rfc("2018:8", "6298:3")
def test_what_was_reneged_is_not_measured() -> None:
    """Nobody knows any more how often it was sent."""
    bench = flying(10, queued=10)
    bench.advance(RTT)
    acknowledge(bench, 0, *range(1, 10))
    bench.drain()
    bench.advance(RTT)
    acknowledge(bench, 1)
    bench.wait()
    bench.drain()
    srtt = bench.srtt
    acknowledge(bench, 10)
    assert bench.srtt == srtt


# Nonsense


@pytest.mark.rfc("2018:3", "6675:3")
@pytest.mark.parametrize(
    "lie",
    [
        (seq(3), seq(2)),
        (seq(3), seq(3)),
        (NEVER_SENT, NEVER_SENT + MSS),
        (seq(9), NEVER_SENT + 1),
        (1, seq(3)),
        (2**31, 2**31 + 1000),
        (seq(3), (seq(2) - 2**31) % 2**32),
    ],
    ids=[
        "reversed",
        "empty",
        "never sent",
        "in part never sent",
        "what it should have acknowledged",
        "far away",
        "too long",
    ],
)
def test_a_block_that_cannot_be_is_ignored(lie: tuple[int, int], numbers: Numbers) -> None:
    bench = flying(10, **numbers)
    bench.advance(RTT)
    for _ in range(4):
        bench.arrive(ACK, ack=1, sack=(lie,))
        bench.expect_nothing()
    board = bench.board
    assert (board.sacked, board.lost, board.pipe) == (0, 0, 10 * MSS)
    assert phase(bench) is Phase.OPEN
    bench.arrive(ACK, ack=1, sack=(block(3), lie))  # The others beside it count.
    assert board.sacked == MSS
    bench.drain()


@pytest.mark.rfc("2883:4")
@pytest.mark.parametrize("lie", [(seq(30), seq(30) + 5), (seq(0), seq(0)), (seq(2), seq(0))])
def test_a_d_sack_that_cannot_be_is_ignored(lie: tuple[int, int]) -> None:
    bench = flying(10)
    bench.advance(RTT)
    acknowledge(bench, 2)
    bench.drain()
    bench.reordering_seen = True
    bench.arrive(ACK, ack=seq(2), sack=(lie, (seq(0), seq(40))))
    bench.drain()
    sack(bench, 4, ack=2)
    bench.drain()
    bench.wait()
    assert bench.now == pytest.approx(2 * RTT + RTT / 4)  # As patient as before.
    bench.drain()


@pytest.mark.rfc("2018:2")
def test_blocks_of_a_peer_that_never_agreed_to_sack_are_ignored() -> None:
    bench = flying(10, peer=WITHOUT_SACK)
    bench.advance(RTT)
    bench.arrive(ACK, ack=1, sack=(block(3),))
    bench.drain()
    assert bench.sacked == 0


@pytest.mark.rfc("5681:3.2")
def test_d_sacks_do_not_open_the_window_for_more() -> None:
    """Nothing has arrived that was missing: PRR lets nothing go for them."""
    bench = flying(10)
    bench.advance(RTT)
    sack(bench, 1, 2, 3)
    bench.drain()
    for _ in range(10):
        acknowledge(bench, 0, 1, 2, 3, dsack=(block(1),))
        bench.expect_nothing()


def consistent(bench: Bench) -> None:
    """The scoreboard's counters are those of its ranges, which leave no gap."""
    board = bench.board
    position, sacked, lost, resent = board.una, 0, 0, 0
    for sent in board:
        assert sent.start == position < sent.end
        position = sent.end
        size = sent.end - sent.start
        assert not (sent.sacked and sent.lost)
        sacked += size * sent.sacked
        lost += size * sent.lost
        resent += size * (sent.retransmitted and not sent.sacked and not sent.lost)
    assert position == board.nxt
    assert (board.sacked, board.lost, board.resent) == (sacked, lost, resent)
    assert bench.pipe >= 0
    assert bench.cwnd >= 0
    assert bench.outstanding == board.nxt - board.una


edges: Final = st.integers(-2000, 31_000)
blocks: Final = st.lists(st.tuples(edges, edges), max_size=4).map(tuple)
acks: Final = st.tuples(
    st.sampled_from([0.0, 0.0005, 0.03, 0.1, 0.4]),
    st.integers(0, 3000),
    blocks,
    st.booleans(),
)


@pytest.mark.rfc("2018:8", "6675:3", "2883:4")
@settings(deadline=None, derandomize=True, max_examples=150, print_blob=False)
@given(
    story=st.lists(acks, max_size=15),
    knows_sack=st.booleans(),
    iss=st.sampled_from([0, 2**32 - 9000]),
)
def test_no_nonsense_breaks_anything(
    story: list[tuple[float, int, tuple[tuple[int, int], ...], bool]],
    knows_sack: bool,
    iss: int,
) -> None:
    """SACK blocks at random, and then an honest peer: the transfer ends, and all is delivered."""
    bench = connected(iss=iss, peer=STAMPING if knows_sack else WITHOUT_SACK)
    bench.send(TEXT[:30_000])
    bench.drain()
    una = 1
    for pause, more, told, old_echo in story:
        bench.advance(pause)
        bench.drain()
        una = min(una + more, bench.snd_nxt)
        absolute = tuple((left % 2**32, right % 2**32) for left, right in told)
        bench.arrive(ACK, ack=una, sack=absolute, ts_ecr=1 if old_echo else AUTO)
        bench.drain()
        consistent(bench)
    got = bytearray(30_000)
    for _ in range(200):
        if bench.snd_una == bench.snd_end:
            break
        if not bench.pending:
            bench.wait()
        for _, segment in bench.drain():
            start = segment.seq - 1
            got[start : start + len(segment.payload)] = segment.payload
            if start <= una - 1 < start + len(segment.payload):
                una = start + len(segment.payload) + 1
        bench.advance(0.01)
        bench.drain()
        bench.arrive(ACK, ack=una)
        consistent(bench)
    assert bench.snd_una == bench.snd_end
    assert bench.connection.state is State.ESTABLISHED
    bench.drain()
    assert windows(bench)[0] > 0
