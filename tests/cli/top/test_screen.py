"""What is written on a terminal, and when."""

from __future__ import annotations

import os
import pty
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyte
import trio
import trio.testing

from tests.cli.terminals import set_size
from tunstack.cli.top.screen import Screen
from tunstack.ladder import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.ladder import Line


@contextmanager
def screen(*, colors: bool = True) -> Iterator[tuple[Screen, int]]:
    """A screen, and our side of its terminal."""
    ours, terminal = pty.openpty()
    set_size(terminal, 80, 24)
    made = Screen(terminal, colors=colors)
    try:
        yield made, ours
    finally:
        os.close(ours)
        made.close()
        os.close(terminal)


def lines(*texts: str) -> list[Line]:
    return [(Piece(text),) for text in texts]


def test_only_lines_that_have_changed_are_drawn() -> None:
    with screen() as (made, _):
        assert "one" in made.encode(lines("one", "two"), (10, 2))
        assert made.encode(lines("one", "two"), (10, 2)) == ""
        again = made.encode(lines("one", "new"), (10, 2))
        assert "one" not in again
        assert "new" in again
        made.forget()
        assert "one" in made.encode(lines("one", "new"), (10, 2))
        assert "one" in made.encode(lines("one", "new"), (11, 2))


def test_full_lines_keep_their_last_character_and_short_ones_nothing_of_before() -> None:
    seen = pyte.Screen(10, 2)
    stream = pyte.Stream(seen)
    with screen() as (made, _):
        stream.feed(made.encode(lines("0123456789", "0123456789"), (10, 2)))
        assert seen.display == ["0123456789", "0123456789"]
        stream.feed(made.encode(lines("short", "9876543210"), (10, 2)))
        assert seen.display == ["short     ", "9876543210"]


def test_without_colors_there_are_bold_and_reverse() -> None:
    frame: list[Line] = [(Piece("a", "bold red"), Piece("b", "reverse cyan"), Piece("c", "red"))]
    with screen() as (made, _):
        assert "\x1b[1;31ma\x1b[0m\x1b[7;36mb\x1b[0m\x1b[31mc\x1b[0m" in made.encode(frame, (9, 1))
    with screen(colors=False) as (made, _):
        assert "\x1b[1ma\x1b[0m\x1b[7mb\x1b[0mc" in made.encode(frame, (9, 1))


def test_its_size_is_the_terminals() -> None:
    with screen() as (made, ours):
        assert made.size == (80, 24)
        set_size(ours, 140, 30)
        assert made.size == (140, 30)


async def test_a_terminal_that_nobody_reads_delays_the_drawing_only() -> None:
    drawn = False
    frame = lines(*["x" * 1000] * 1000)

    async def draw(made: Screen) -> None:
        nonlocal drawn
        await made.draw(frame, (1000, 1000))
        drawn = True

    with screen() as (made, ours):
        os.set_blocking(ours, False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(draw, made)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not drawn
            seen = 0
            while seen < 1_000_000:
                await trio.lowlevel.wait_readable(ours)
                seen += len(os.read(ours, 65536))
        assert drawn


async def test_what_is_typed_is_read_and_the_end_of_a_terminal_is_an_end() -> None:
    ours, terminal = pty.openpty()
    made = Screen(terminal)
    os.close(terminal)
    made.enter()
    os.write(ours, b"q")
    assert await made.read() == b"q"
    os.close(ours)
    assert await made.read() == b""
    await made.draw(lines("x"), (80, 1))
    made.close()
