"""Signals, errors and exit statuses of every command."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from tunstack.cli.running.execution import execute, leaves
from tunstack.cli.status import Failure
from tunstack.link.errors import SetupError


async def fail(error: Exception, *, deep: bool) -> int:
    if not deep:
        raise error
    async with trio.open_nursery():
        await fail(error, deep=False)
    raise AssertionError


async def interrupted(number: int, cleaned_up: list[str]) -> int:
    try:
        os.kill(os.getpid(), number)
        await trio.sleep_forever()
    finally:
        cleaned_up.append("yes")
    raise AssertionError


def test_the_status_is_what_the_command_says() -> None:
    async def main() -> int:
        return 7

    assert execute("x", main) == 7


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("error", "status"),
    [(SetupError("no /dev/net/tun:\n  load it"), 2), (Failure("refused", 3), 3)],
)
def test_a_mistake_is_one_line_and_a_status(
    deep: bool, error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute("tunstack x", lambda: fail(error, deep=deep)) == status
    assert capsys.readouterr().err == f"tunstack x: {' '.join(str(error).split())}\n"


@pytest.mark.parametrize("deep", [False, True])
def test_a_bug_keeps_its_traceback(deep: bool) -> None:
    with pytest.raises((ZeroDivisionError, ExceptionGroup)) as caught:
        execute("x", lambda: fail(ZeroDivisionError("bug"), deep=deep))
    assert [type(error) for error in leaves(caught.value)] == [ZeroDivisionError]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_command_and_is_the_status(number: int) -> None:
    cleaned_up: list[str] = []
    assert execute("x", lambda: interrupted(number, cleaned_up)) == 128 + number
    assert cleaned_up == ["yes"]


def test_a_signal_that_is_the_commands_own_is_left_to_it() -> None:
    seen: list[int] = []
    was_seen = trio.Event()

    def ignore(number: int) -> bool:
        seen.append(number)
        was_seen.set()
        return number == signal.SIGINT

    async def main() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        await was_seen.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep_forever()
        raise AssertionError

    assert execute("x", main, ignore=ignore) == 143
    assert seen == [signal.SIGINT, signal.SIGTERM]
