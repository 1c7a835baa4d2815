"""Stories: coroutines that wait for changes of state, and go on at the moment of the change."""

from __future__ import annotations

import pytest

from tunstack.tcp.connection.narration import Narrator
from tunstack.tcp.connection.state import State

S = State


class Chronicle(Narrator):
    """A narrator, and what was told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    async def opening(self) -> None:
        self.lines.append(f"begun in {self.state}")
        await self.until_left(S.SYN_SENT)
        self.lines.append(f"left for {self.state}")
        await self.until_left(S.SYN_RECEIVED)
        self.lines.append(f"now in {self.state}")

    async def closing(self) -> None:
        self.lines.append("closing")
        self.enter(S.FIN_WAIT_1)
        self.lines.append("FIN sent")
        await self.until_left(S.FIN_WAIT_1)
        self.lines.append("FIN acknowledged")


def test_a_story_begins_at_once_and_waits() -> None:
    chronicle = Chronicle()
    chronicle.enter(S.SYN_SENT)
    chronicle.run(chronicle.opening())
    assert chronicle.lines == ["begun in SYN-SENT"]
    chronicle.close_coroutines()


def test_a_story_goes_on_within_the_change_of_state() -> None:
    chronicle = Chronicle()
    chronicle.enter(S.SYN_SENT)
    chronicle.run(chronicle.opening())
    chronicle.enter(S.SYN_RECEIVED)
    assert chronicle.lines[1:] == ["left for SYN-RECEIVED"]
    chronicle.enter(S.ESTABLISHED)
    assert chronicle.lines[2:] == ["now in ESTABLISHED"]


def test_a_state_that_never_was_is_not_waited_for() -> None:
    chronicle = Chronicle()
    chronicle.enter(S.SYN_SENT)
    chronicle.run(chronicle.opening())
    chronicle.enter(S.ESTABLISHED)
    assert chronicle.lines[1:] == ["left for ESTABLISHED", "now in ESTABLISHED"]


def test_a_story_may_change_the_state_itself() -> None:
    chronicle = Chronicle()
    chronicle.enter(S.SYN_SENT)
    chronicle.enter(S.ESTABLISHED)
    chronicle.run(chronicle.closing())
    assert chronicle.lines == ["closing", "FIN sent"]
    chronicle.enter(S.FIN_WAIT_2)
    assert chronicle.lines[2:] == ["FIN acknowledged"]


def test_a_second_story_follows_the_first() -> None:
    chronicle = Chronicle()
    chronicle.enter(S.SYN_SENT)
    chronicle.run(chronicle.opening())
    chronicle.run(chronicle.closing())
    assert chronicle.lines == ["begun in SYN-SENT"]
    chronicle.enter(S.ESTABLISHED)
    assert chronicle.lines[1:] == [
        "left for ESTABLISHED",
        "now in ESTABLISHED",
        "closing",
        "FIN sent",
    ]
    chronicle.enter(S.FIN_WAIT_2)
    assert chronicle.lines[-1] == "FIN acknowledged"


def test_stories_end_untold() -> None:
    """None of them is left waiting, and none complains that it was never awaited."""
    chronicle = Chronicle()
    chronicle.enter(S.SYN_SENT)
    first, second = chronicle.opening(), chronicle.closing()
    chronicle.run(first)
    chronicle.run(second)
    chronicle.close_coroutines()
    chronicle.close_coroutines()
    for story in (first, second):
        with pytest.raises(RuntimeError, match="already awaited"):
            story.send(None)
    chronicle.enter(S.ESTABLISHED)
    assert chronicle.lines == ["begun in SYN-SENT"]


def test_a_story_may_end_all_stories_itself() -> None:
    chronicle = Chronicle()

    async def giving_up() -> None:
        chronicle.close_coroutines()
        chronicle.lines.append("returned by itself")

    chronicle.run(giving_up())
    chronicle.run(giving_up())
    assert chronicle.lines == ["returned by itself"] * 2
