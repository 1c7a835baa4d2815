"""Peers that acknowledge what nobody honest would: they must not make us keep account of octets."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.tcp.scoreboard import Scoreboard
from tunstack.tcp.segment import ACK, Segment
from tunstack.tcp.sequence import MASK

from .harness import MSS, established

if TYPE_CHECKING:
    from .harness import Bench

examples = settings(derandomize=True, max_examples=300)


def sacked(board: Scoreboard) -> set[int]:
    return {octet for sent in board for octet in range(sent.start, sent.end) if sent.sacked}


def selective(bench: Bench, *blocks: tuple[int, int]) -> None:
    """The peer acknowledges nothing but says that it holds `blocks`."""
    connection = bench.connection
    una = connection.sender.una
    segment = Segment(connection.receiver.nxt, una, ACK, 65535)
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
    board = Scoreboard()
    whole: list[tuple[int, int]] = []
    for size in sizes:
        start = board.nxt
        board.sent(size, 0.0)
        edges = [*range(start, start + size, grain), start + size]
        whole += pairwise(edges)
    said: set[int] = set()
    held: set[int] = set()
    for start, size in blocks:
        said |= set(range(start, start + size))
        for left, right in whole:
            if start <= left and right <= start + size:
                held |= set(range(left, right))
        board.sack(start, start + size, grain)
        assert held <= sacked(board) <= said
        assert board.sacked == len(sacked(board))
    assert len([*board]) <= len(whole)
    assert [sent.start for sent in board] == [0, *[sent.end for sent in board][:-1]]


@pytest.mark.rfc("2018:5")
def test_blocks_of_an_octet_do_not_make_the_scoreboard_grow() -> None:
    """As many as the peer likes: what it holds of a segment is all of it, or nothing."""
    bench = established()
    bench.connection.sender.congestion.cwnd = 1 << 20
    bench.connection.sender.wnd = 1 << 20
    bench.send(bytes(50 * MSS))
    bench.drain()
    board = bench.connection.sender.recovery.board
    assert len([*board]) == 50
    for start in range(5, 50 * MSS, 97):
        selective(bench, (start, start + 1), (start + 10, start + 12))
    assert len([*board]) == 50
    assert board.sacked == 0
    selective(bench, (7 * MSS, 9 * MSS), (20 * MSS - 5, 21 * MSS + 5))
    assert board.sacked == 3 * MSS
    bench.connection.end(None)


def test_a_segment_of_segments_is_cut_where_they_meet() -> None:
    """With offload 64 KiB go out together; what arrives of them is whole segments."""
    board = Scoreboard()
    board.sent(44 * MSS, 0.0)
    board.sack(3 * MSS, 5 * MSS, MSS)
    board.sack(7 * MSS + 1, 9 * MSS - 1, MSS)
    board.sack(43 * MSS, 44 * MSS, MSS)
    assert board.sacked == 3 * MSS
    assert [sent.start // MSS for sent in board if sent.sacked] == [3, 43]
