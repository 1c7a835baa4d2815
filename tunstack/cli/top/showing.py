"""Show a host on the terminal while a block runs."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import trio

from tunstack.cli.output.terminal import console
from tunstack.cli.top.frame import Frames
from tunstack.cli.top.keys import Keys
from tunstack.cli.top.looking import MOST, Looking
from tunstack.cli.top.output import Output, collected
from tunstack.cli.top.screen import Screen
from tunstack.ladder import symbols_for
from tunstack.live import View, Wanted, pause_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tunstack import Host

_TERMINAL: Final = 2
"""The descriptor of the terminal: standard error, as that of --trace."""
_ESCAPE: Final = 0.05
"""Seconds after which an escape is a key, and not the beginning of one."""


def check_terminal() -> str:
    """Return why nothing can be shown here, for the user; empty if it can.

    Standard error must be a terminal whose cursor can be moved.
    """
    instead = "--trace prints the packets as lines, --stats the times of connections at the end"
    if not os.isatty(_TERMINAL):
        return f"--watch needs a terminal on standard error; {instead}"
    if console(stderr=True).is_dumb_terminal:
        term = os.environ.get("TERM", "")
        return f"--watch cannot draw on a terminal of TERM={term!r}; {instead}"
    return ""


@asynccontextmanager
async def show(
    host: Host, program: str, quit: Callable[[], None], *, without: int | None = None
) -> AsyncIterator[None]:
    """Show a host on the terminal while the block runs.

    What is written there meanwhile is collected, shown in a few lines, and written at the end;
    standard input is empty, if it is the terminal.

    Args:
        host: The host.
        program: What is written in the first line.
        quit: Called when the user wants to leave.
        without: A port whose connections are left out.
    """
    output, shown = Output(), console(stderr=True)
    symbols = symbols_for(sys.stderr.encoding)
    wanted = Wanted(most=MOST, without=without)
    looking = Looking(View(host, trio.current_time(), symbols), quit, wanted)
    with (
        _drawn_on(colors=shown.color_system is not None and not shown.no_color) as screen,
        collected(output),
    ):
        async with trio.open_nursery() as nursery:
            top = _Top(screen, looking, Frames(program, symbols), output)
            nursery.start_soon(top.read_keys)
            nursery.start_soon(top.receive_signals)
            nursery.start_soon(top.show)
            try:
                yield
            finally:
                looking.view.close()
                screen.leave()  # Before what was collected is written.
                nursery.cancel_scope.cancel()


@contextmanager
def _drawn_on(*, colors: bool) -> Iterator[Screen]:
    screen = Screen(_TERMINAL, colors=colors)
    try:
        screen.enter()
        yield screen
    finally:
        screen.close()


class _Top:
    """The tasks.

    Args:
        screen: The terminal.
        looking: What is looked at.
        frames: Makes the frames.
        output: What was written meanwhile.
    """

    def __init__(self, screen: Screen, looking: Looking, frames: Frames, output: Output) -> None:
        self._screen = screen
        self._looking = looking
        self._frames = frames
        self._output = output
        self._changed = trio.Event()

    async def show(self) -> None:
        """Take samples, and draw after each of them, and after each key."""
        looking, due = self._looking, trio.current_time()
        while True:
            began, now = time.thread_time(), trio.current_time()
            if looking.due or (now >= due and not looking.paused):
                looking.take(looking.view.sample(now, looking.needed))
            size = self._screen.size
            lines = self._frames.lines(looking, *size, self._output.tail())
            cost = time.thread_time() - began
            await self._screen.draw(lines, size)
            due = max(due, now + pause_after(cost)) if now >= due else due
            with trio.move_on_at(due):
                await self._changed.wait()
            self._changed = trio.Event()

    async def read_keys(self) -> None:
        """Do what keys mean, until the terminal is gone."""
        keys = Keys()
        while True:
            pressed: list[str] = []
            with trio.move_on_after(_ESCAPE if keys.waiting else float("inf")) as pause:
                data = await self._screen.read()
                if not data:
                    return
                pressed = keys.feed(data)
            if pause.cancelled_caught:
                pressed = keys.flush()
            for key in pressed:
                if key == "redraw":
                    self._screen.forget()
                else:
                    self._looking.press(key)
            self._changed.set()

    async def receive_signals(self) -> None:
        """Draw for another size; be suspended."""
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGTSTP) as signals:
            async for number in signals:
                if number == signal.SIGTSTP:
                    self._screen.suspend()
                self._changed.set()
