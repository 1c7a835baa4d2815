"""Peers that acknowledge what nobody honest would: they must not make us keep account of octets."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tcp.harness import MSS, established
from tests.tcp.inspection import Tcb
from tunstack.tcp.recovery.scoreboard import Scoreboard
from tunstack.tcp.segment import ACK, Segment
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tests.tcp.harness import Bench

MANY: Final = 1024
"""Ranges from which on the scoreboard is on its guard."""

examples = settings(derandomize=True, max_examples=100)


def crowded() -> tuple[Scoreboard, int]:
    """A scoreboard with as many ranges as it takes, and the position behind them."""
    board = Scoreboard()
    for number in range(MANY):
        board.on_sent(1, float(number))
    assert len([*board]) == MANY
    return board, board.nxt


def sacked(board: Scoreboard) -> set[int]:
    return {octet for sent in board if sent.sacked for octet in range(sent.start, sent.end)}


def selective(bench: Bench, *blocks: tuple[int, int]) -> None:
    """The peer acknowledges nothing but says that it holds `blocks`."""
    connection = bench.connection
    una = Tcb(connection).snd_una
    segment = Segment(Tcb(connection).rcv_nxt, una, ACK, 65535)
    segment.sack = tuple(((una + left) & MASK, (una + right) & MASK) for left, right in blocks)
    segment.ts_val, segment.ts_ecr = 0, connection.timestamp(bench.now)
    connection.segment_arrives(segment, bench.now)


@examples
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=20),
    st.integers(1, 20),
)
def test_of_a_sack_block_no_more_is_believed_than_it_says_and_all_whole_segments_are(
    sizes: list[int], blocks: list[tuple[int, int]], grain: int
) -> None:
    board, begin = crowded()
    whole: list[tuple[int, int]] = []
    for number, size in enumerate(sizes):
        start = board.nxt
        board.on_sent(size, float(MANY + number))
        edges = [*range(start, start + size, grain), start + size]
        whole += pairwise(edges)
    said: set[int] = set()
    held: set[int] = set()
    for offset, size in blocks:
        start = begin + offset
        said |= set(range(start, start + size))
        for left, right in whole:
            if start <= left and right <= start + size:
                held |= set(range(left, right))
        board.mark_sacked(start, start + size, grain)
        assert held <= sacked(board) <= said
        assert board.sacked == len(sacked(board))
    assert len([*board]) <= MANY + len(whole)
    assert [sent.start for sent in board] == [0, *[sent.end for sent in board][:-1]]


@pytest.mark.rfc("2018:5")
def test_blocks_of_an_octet_do_not_make_the_scoreboard_grow_without_bound() -> None:
    """As many as the peer likes: there comes a moment from which on only whole segments count."""
    bench = established()
    bench.cwnd = 1 << 20
    bench.snd_wnd = 1 << 20
    bench.send(bytes(50 * MSS))
    bench.drain()
    board = bench.board
    for start in range(5, 50 * MSS, 37):
        selective(bench, (start, start + 1), (start + 10, start + 12))
        bench.drain()
        assert len([*board]) < MANY + 50
    before = len([*board])
    assert before >= MANY
    selective(bench, (MSS, 5 * MSS))  # A block of an honest one still makes them fewer.
    assert len([*board]) < before - 400
    assert {*range(MSS + 37, 5 * MSS - 37)} <= sacked(board)
    bench.connection.end(None)


def test_few_blocks_of_an_octet_are_believed() -> None:
    """A peer without memory for whole segments may well hold a part of one."""
    board = Scoreboard()
    board.on_sent(4 * MSS, 0.0)
    board.mark_sacked(5, 6, MSS)
    assert sacked(board) == {5}


def test_a_segment_of_segments_is_cut_where_they_meet() -> None:
    """With offload 64 KiB go out together; what arrives of them is whole segments."""
    board, begin = crowded()
    board.on_sent(44 * MSS, float(MANY))
    board.mark_sacked(begin + 3 * MSS, begin + 5 * MSS, MSS)
    board.mark_sacked(begin + 7 * MSS + 1, begin + 9 * MSS - 1, MSS)
    board.mark_sacked(begin + 43 * MSS, begin + 44 * MSS, MSS)
    assert board.sacked == 3 * MSS
    assert [(sent.start - begin) // MSS for sent in board if sent.sacked] == [3, 43]
