"""Coroutines that wait for changes of state, and are resumed by the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tunstack.tcp.connection.coroutines import CoroutineRunner
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from collections.abc import Generator

S = State


class Left:
    """Waits until a state is left; interpreted code cannot await a compiled generator itself."""

    def __init__(self, machine: CoroutineRunner, state: State) -> None:
        self._waiting = machine.until_left(state)

    def __await__(self) -> Generator[None, None, None]:
        yield from self._waiting


class Log(CoroutineRunner):
    """A state machine whose coroutines log their progress."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    async def opening(self) -> None:
        self.lines.append(f"started in {self.state}")
        await Left(self, S.SYN_SENT)
        self.lines.append(f"left for {self.state}")
        await Left(self, S.SYN_RECEIVED)
        self.lines.append(f"now in {self.state}")

    async def closing(self) -> None:
        self.lines.append("closing")
        self.enter(S.FIN_WAIT_1)
        self.lines.append("FIN sent")
        await Left(self, S.FIN_WAIT_1)
        self.lines.append("FIN acknowledged")


def test_a_coroutine_starts_at_once_and_waits() -> None:
    log = Log()
    log.enter(S.SYN_SENT)
    log.run(log.opening())
    assert log.lines == ["started in SYN-SENT"]
    log.close_coroutines()


def test_a_change_of_state_resumes_the_coroutine() -> None:
    log = Log()
    log.enter(S.SYN_SENT)
    log.run(log.opening())
    log.enter(S.SYN_RECEIVED)
    assert log.lines[1:] == ["left for SYN-RECEIVED"]
    log.enter(S.ESTABLISHED)
    assert log.lines[2:] == ["now in ESTABLISHED"]


def test_a_state_that_was_skipped_is_not_waited_for() -> None:
    log = Log()
    log.enter(S.SYN_SENT)
    log.run(log.opening())
    log.enter(S.ESTABLISHED)
    assert log.lines[1:] == ["left for ESTABLISHED", "now in ESTABLISHED"]


def test_a_coroutine_may_change_the_state() -> None:
    log = Log()
    log.enter(S.SYN_SENT)
    log.enter(S.ESTABLISHED)
    log.run(log.closing())
    assert log.lines == ["closing", "FIN sent"]
    log.enter(S.FIN_WAIT_2)
    assert log.lines[2:] == ["FIN acknowledged"]


def test_a_second_coroutine_starts_after_the_first() -> None:
    log = Log()
    log.enter(S.SYN_SENT)
    log.run(log.opening())
    log.run(log.closing())
    assert log.lines == ["started in SYN-SENT"]
    log.enter(S.ESTABLISHED)
    assert log.lines[1:] == [
        "left for ESTABLISHED",
        "now in ESTABLISHED",
        "closing",
        "FIN sent",
    ]
    log.enter(S.FIN_WAIT_2)
    assert log.lines[-1] == "FIN acknowledged"


def test_closed_coroutines_are_not_resumed() -> None:
    """Both are closed, the one that waits and the one that has not started: no warning."""
    log = Log()
    log.enter(S.SYN_SENT)
    first, second = log.opening(), log.closing()
    log.run(first)
    log.run(second)
    log.close_coroutines()
    log.close_coroutines()
    for coroutine in (first, second):
        with pytest.raises(RuntimeError, match="already awaited"):
            coroutine.send(None)
    log.enter(S.ESTABLISHED)
    assert log.lines == ["started in SYN-SENT"]


def test_a_coroutine_may_close_all_coroutines() -> None:
    log = Log()

    async def giving_up() -> None:
        log.close_coroutines()
        log.lines.append("returned by itself")

    log.run(giving_up())
    log.run(giving_up())
    assert log.lines == ["returned by itself"] * 2
