"""RACK looks only at what may be overdue, and finds what looking at everything would."""

from __future__ import annotations

import gc
from math import inf
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.tcp.test_scoreboard import BoardAndModel
from tunstack.tcp.recovery.rack import Rack
from tunstack.tcp.recovery.scoreboard import Scoreboard
from tunstack.tcp.recovery.sent import Sent
from tunstack.tcp.recovery.sent_by_time import SentByTime
from tunstack.tcp.sender.rtt import RttEstimator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.compiled import PatchMethod


SAMPLE: Final = 8.0
"""Seconds: the one measurement of the round-trip time that there is."""


def estimator() -> RttEstimator:
    rtt = RttEstimator(1.0, 0.2, 60.0)
    rtt.sample(SAMPLE)
    return rtt


def simple(
    board: Scoreboard, now: float, timeout: float, *, before: tuple[float, int]
) -> tuple[list[Sent], float | None]:
    """Step 5 of RFC 8985 section 6.2 as it reads: what is overdue, and when to look again."""
    overdue = []
    again: float | None = None
    for sent in board:
        if sent.sacked or sent.lost or (sent.time, sent.end) >= before:
            continue
        due = sent.time + timeout
        if due <= now:
            overdue.append(sent)
        elif again is None or due > again:
            again = due
    return overdue, again


def held(by_time: SentByTime) -> dict[float, set[Sent]]:
    return {time: moment.ranges for time, moment in by_time._sent.items()}


class Detection(BoardAndModel):
    """Everything that can happen to a scoreboard, and RACK looks at it now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.rack = Rack()
        self.rtt = estimator()
        self.elapsed = 0.0
        """RACK.rtt."""
        self.latest = -inf, 0
        """RACK.xmit_ts and RACK.end_seq."""

    def delivered(self, ranges: list[Sent], positions: set[int]) -> None:
        super().delivered(ranges, positions)
        for sent in sorted(ranges, key=lambda sent: (sent.time, sent.end)):
            self.rack.on_delivered(sent, self.highest, self.now, None, self.rtt)
            elapsed = self.now - sent.time
            if not sent.retransmitted or elapsed >= SAMPLE:  # Step 2.
                self.elapsed = elapsed
                self.latest = max(self.latest, (sent.time, sent.end))

    @rule(later=st.integers(0, 9), without_reordering=st.booleans())
    def detect(self, later: int, without_reordering: bool) -> None:
        self.now += later
        rack, board = self.rack, self.board
        timeout = self.elapsed
        if rack.reordering_seen or not without_reordering:
            timeout += SAMPLE / 4  # Step 4: a quarter of the shortest; no D-SACK makes it longer.
        overdue, again = simple(board, self.now, timeout, before=self.latest)
        edges = [(sent.start, sent.end) for sent in overdue]
        assert (
            rack.detect_loss(board, self.now, self.rtt, without_reordering=without_reordering)
            == again
        )
        assert all(sent.lost for sent in overdue)
        for start, end in edges:
            for position in range(start, end):
                self.octets[position].lost = True  # And nothing else: the model will tell.

    @invariant()
    def by_time_holds_what_is_in_flight(self) -> None:
        here = [sent for sent in self.board if not (sent.sacked or sent.lost)]
        by_time = self.board.by_time
        listed = [*by_time]
        assert len(listed) == len(here)
        assert {*listed} == {*here}
        assert [sent.time for sent in listed] == sorted(sent.time for sent in here)
        for time, end in {(sent.time, sent.end) for sent in self.board}:
            before = [sent.time for sent in here if (sent.time, sent.end) < (time, end)]
            assert by_time.latest(time, end) == max(before, default=None)


TestDetection: Any = pytest.mark.rfc("8985:6.2")(Detection.TestCase)
TestDetection.settings = settings(
    deadline=None, derandomize=True, max_examples=60, stateful_step_count=40, print_blob=False
)


def test_with_much_on_its_way_only_the_first_look_goes_through_all(
    patch_method: PatchMethod,
) -> None:
    board, rack, rtt = Scoreboard(), Rack(), estimator()
    rack.reordering_seen = True
    for number in range(10_000):
        board.on_sent(48, number * 1e-4)
    looks = 0
    right = Scoreboard.__iter__

    def counted(board: Scoreboard) -> Iterator[Sent]:
        nonlocal looks
        looks += 1
        return right(board)

    patch_method(Scoreboard, "__iter__", counted)
    for number in range(1, 1000, 2):
        now = 10.0 + number * 1e-4
        (sent,) = board.mark_sacked(number * 48, number * 48 + 48)
        rack.on_delivered(sent, board.highest, now, None, rtt)
        rack.detect_loss(board, now, rtt, without_reordering=True)
    assert looks == 1
    assert board.lost == 0
    assert rack.detect_loss(board, 20.0, rtt, without_reordering=True) is None
    assert board.lost == 500 * 48


def test_the_first_that_is_lost_is_found_without_passing_all_before_it() -> None:
    board = Scoreboard()
    for number in range(1000):
        board.on_sent(10, float(number))
    for number in (500, 700, 900):
        board.mark_lost([*board][number])
    assert board.next_lost(10) == (5000, 5010)
    board.on_retransmit(5000, 5010, 2000.0)
    assert board.next_lost(10) == (7000, 7010)
    board.mark_lost([*board][100])
    assert board.next_lost(10) == (1000, 1010)


def test_what_was_sent_at_one_moment_goes_by_its_place() -> None:
    """RFC 8985 section 6.2: RACK_sent_after."""
    sent = [Sent(number, number + 1, 1.0) for number in range(4)]
    by_time = SentByTime(sent)
    assert {one.start for one in by_time.overdue(1.0, 3, 0.0, 1.0)} == {0, 1}
    assert by_time.latest(1.0, 1) is None
    assert by_time.latest(1.0, 2) == 1.0


def test_what_comes_late_stands_where_it_belongs() -> None:
    """A clock may stand still, and what was cut off was sent when the rest was."""
    by_time = SentByTime([])
    for time in (3.0, 1.0, 2.0, 2.0):
        by_time.add(Sent(0, 1, time))
    assert [one.time for one in by_time.overdue(9.0, 0, 0.0, 2.5)] == [1.0, 2.0, 2.0]


def test_moments_of_which_nothing_is_left_are_forgotten() -> None:
    by_time = SentByTime([])
    for number in range(10_000):
        sent = Sent(number, number + 1, float(number))
        by_time.add(sent)
        by_time.remove(sent)
    assert max(len(each) for each in gc.get_referents(by_time) if isinstance(each, list)) < 100
    assert by_time.latest(1e9, 0) is None
