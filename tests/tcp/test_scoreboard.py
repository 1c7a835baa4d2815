"""The scoreboard against a model that keeps a note on each octet (RFC 6675 section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tunstack.tcp.recovery.scoreboard import Scoreboard

if TYPE_CHECKING:
    from tunstack.tcp.recovery.sent import Sent

FRACTION: Final = st.floats(0, 1, exclude_max=True)


@dataclass
class Octet:
    """What the model knows of one."""

    time: float | None
    """None where it does not matter."""
    retransmitted: bool = False
    sacked: bool = False
    lost: bool = False


class BoardAndModel(RuleBasedStateMachine):
    """Everything that can happen to a scoreboard, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Scoreboard()
        self.octets: dict[int, Octet] = {}
        self.una = self.nxt = self.highest = 0
        self.now = 0.0

    @rule(size=st.integers(1, 9), later=st.booleans())
    def send(self, size: int, later: bool) -> None:
        self.now += later
        self.board.on_sent(size, self.now)
        for position in range(self.nxt, self.nxt + size):
            self.octets[position] = Octet(self.now)
        self.nxt += size

    def delivered(self, ranges: list[Sent], positions: set[int]) -> None:
        """The board says that these arrived, and what was known of each."""
        seen = {at: sent for sent in ranges for at in range(sent.start, sent.end)}
        assert sum(sent.end - sent.start for sent in ranges) == len(seen)
        assert seen.keys() == positions
        for at, sent in seen.items():
            octet = self.octets[at]
            assert (sent.retransmitted, sent.lost) == (octet.retransmitted, octet.lost)
            assert octet.time in (None, sent.time)

    @rule(left=st.integers(-3, 12), size=st.integers(-2, 20), at=FRACTION)
    def sack(self, left: int, size: int, at: float) -> None:
        """Also of what never was, or is acknowledged: the sender lets through what it must not."""
        start = self.una + int(at * (self.nxt - self.una)) + left
        told = range(max(start, self.una), min(start + size, self.nxt))
        new = {position for position in told if not self.octets[position].sacked}
        self.delivered(self.board.mark_sacked(start, start + size), new)
        for position in told:
            octet = self.octets[position]
            octet.sacked, octet.lost = True, False
        if told:
            self.highest = max(self.highest, told.stop)

    @precondition(lambda self: self.nxt > self.una)
    @rule(at=FRACTION)
    def acknowledge(self, at: float) -> None:
        una = self.una + 1 + int(at * (self.nxt - self.una))
        before = range(self.una, una)
        new = {position for position in before if not self.octets[position].sacked}
        self.delivered(self.board.acknowledge(una), new)
        for position in before:
            del self.octets[position]
        self.una = una
        self.highest = max(self.highest, una)

    @rule(at=FRACTION)
    def lose(self, at: float) -> None:
        outstanding = [sent for sent in self.board if not sent.sacked]
        if outstanding:
            sent = outstanding[int(at * len(outstanding))]
            self.board.mark_lost(sent)
            for position in range(sent.start, sent.end):
                self.octets[position].lost = True

    @rule(size=st.integers(1, 9))
    def lose_the_head(self, size: int) -> None:
        """Without SACK."""
        for sent in self.board.head(size):
            if not sent.sacked:
                self.board.mark_lost(sent)
        for position in range(self.una, min(self.una + size, self.nxt)):
            octet = self.octets[position]
            octet.lost = not octet.sacked

    @rule(most=st.integers(1, 12))
    def send_the_first_lost_again(self, most: int) -> None:
        lost = [position for position in range(self.una, self.nxt) if self.octets[position].lost]
        found = self.board.next_lost(most)
        if not lost:
            assert found is None
            return
        start = end = lost[0]
        while end < self.nxt and self.octets[end].lost and end - start < most:
            end += 1
        assert found == (start, end)
        self.send_again(start, end)

    @rule(most=st.integers(1, 12))
    def send_the_last_again(self, most: int) -> None:
        last = self.board.last_unsacked()
        missing = [position for position, octet in self.octets.items() if not octet.sacked]
        if not missing:
            assert last is None
            return
        assert last is not None
        assert last.end == max(missing) + 1
        self.send_again(max(last.start, last.end - most), last.end)

    def send_again(self, start: int, end: int) -> None:
        self.now += 1
        self.board.on_retransmit(start, end, self.now)
        for position in range(start, end):
            self.octets[position] = Octet(self.now, retransmitted=True)

    @rule()
    def unmark_lost(self) -> None:
        self.board.unmark_lost()
        for octet in self.octets.values():
            octet.lost = False

    @rule()
    def forget_sacks(self) -> None:
        self.board.clear_sacked()
        for octet in self.octets.values():
            if octet.sacked:
                octet.time, octet.retransmitted, octet.sacked = None, True, False
        self.highest = self.una

    @invariant()
    def ranges_are_in_order_without_a_gap(self) -> None:
        position = self.una
        for sent in self.board:
            assert sent.start == position < sent.end
            position = sent.end
        assert position == self.nxt

    @invariant()
    def ranges_say_what_the_octets_say(self) -> None:
        for sent in self.board:
            for position in range(sent.start, sent.end):
                octet = self.octets[position]
                assert (sent.sacked, sent.lost) == (octet.sacked, octet.lost)
                if not sent.sacked:
                    assert sent.retransmitted == octet.retransmitted
                    assert octet.time in (None, sent.time)

    @invariant()
    def counters_are_those_of_the_octets(self) -> None:
        board, octets = self.board, self.octets.values()
        sacked = sum(octet.sacked for octet in octets)
        lost = sum(octet.lost for octet in octets)
        assert (board.una, board.nxt, board.highest) == (self.una, self.nxt, self.highest)
        assert (board.sacked, board.lost) == (sacked, lost)
        assert board.pipe == sum(not (octet.sacked or octet.lost) for octet in octets)
        assert board.resent == sum(
            octet.retransmitted and not (octet.sacked or octet.lost) for octet in octets
        )


TestBoardAndModel: Any = pytest.mark.rfc("6675:3", "6675:4", "2018:8")(BoardAndModel.TestCase)
TestBoardAndModel.settings = settings(
    deadline=None, derandomize=True, max_examples=100, stateful_step_count=40, print_blob=False
)


def ranges(board: Scoreboard) -> list[tuple[int, int]]:
    return [(sent.start, sent.end) for sent in board]


def test_what_was_sent_together_is_one_range_until_a_part_is_sacked() -> None:
    """A segment of 64 KiB, or many in one batch."""
    board = Scoreboard()
    board.on_sent(65000, 1.0)
    board.on_sent(1000, 1.0)
    assert ranges(board) == [(0, 66000)]
    board.mark_sacked(10_000, 20_000)
    assert ranges(board) == [(0, 10_000), (10_000, 20_000), (20_000, 66_000)]


def test_a_thousand_sacked_segments_are_one_range() -> None:
    """However they were sent: each ACK costs as much as there are holes, not segments."""
    board = Scoreboard()
    for number in range(1001):
        board.on_sent(10, float(number))
    for number in range(1, 1001):
        assert len(board.mark_sacked(10, (number + 1) * 10)) == 1
    assert ranges(board) == [(0, 10), (10, 10_010)]
    assert board.mark_sacked(10, 10_010) == []


def test_sacks_that_come_in_any_order_leave_one_range() -> None:
    board = Scoreboard()
    for number in range(6):
        board.on_sent(10, float(number))
    for start, end in ((10, 20), (30, 40), (50, 60), (40, 50), (10, 60)):
        board.mark_sacked(start, end)
    assert ranges(board) == [(0, 10), (10, 60)]
    assert board.sacked == 50


def test_what_is_sent_again_in_one_go_is_one_range() -> None:
    board = Scoreboard()
    for number in range(3):
        board.on_sent(10, float(number))
    for sent in board:
        board.mark_lost(sent)
    board.on_retransmit(0, 20, 9.0)
    board.on_retransmit(20, 30, 9.0)
    assert ranges(board) == [(0, 30)]
    assert (board.lost, board.resent, board.pipe) == (0, 30, 30)
