"""Watching a host while it runs: a capture file, and the ladder drawn as it grows."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from rich.console import Console
from rich.text import Text

from tunstack.cli.ladder import Ladder, Line, step_from_observation, symbols_for
from tunstack.cli.running import Failure, complain
from tunstack.link.pcapng import PcapngWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from tunstack.observation import Observation

    Tap: TypeAlias = Callable[[Observation], None]

_INTERVAL: Final = 0.05
_PATIENCE: Final = 5  # intervals without a packet, after which a run is not waited for any longer


def console(*, stderr: bool = False) -> Console:
    """A console that prints what it is given as it is, and has colours only on a terminal."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_lines(to: Console, lines: Iterable[Line]) -> None:
    """Print lines of a ladder."""
    for line in lines:
        text = Text.assemble(*line)
        text.rstrip()
        to.print(text)


@asynccontextmanager
async def watching(
    *, pcap: Path | None, trace: bool, names: tuple[str, str] = ("peer", "tunstack")
) -> AsyncIterator[Tap | None]:
    """Make the tap for a host; when the block ends, all that it saw is written and drawn.

    Args:
        pcap: The file for the capture, or None.
        trace: Whether to draw the ladder on standard error.
        names: Of its columns.

    Raises:
        Failure: the file cannot be written.
    """
    if pcap is None and not trace:
        yield None
        return
    watcher = _Watcher(None if pcap is None else _open_capture(pcap), names if trace else None)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.draw_as_it_grows)
            yield watcher.tap
            nursery.cancel_scope.cancel()
    finally:
        watcher.finish()


def _open_capture(path: Path) -> PcapngWriter:
    try:
        return PcapngWriter(path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from None


class _Watcher:
    """Takes notes of what a host sees, and tells them at leisure: it must not make the host wait.

    Args:
        capture: Where to write, or None.
        names: Of the ladder's columns; None for no ladder.
    """

    def __init__(self, capture: PcapngWriter | None, names: tuple[str, str] | None) -> None:
        self._capture = capture
        self._seen: deque[Observation] = deque()
        self._ladder: Ladder | None = None
        if names is not None:
            self._console = console(stderr=True)
            self._ladder = Ladder(
                width=self._console.width, symbols=symbols_for(self._console.encoding), names=names
            )

    def tap(self, seen: Observation) -> None:
        """Take note of a packet."""
        if self._capture is not None:
            try:
                outbound = seen.direction == "out"
                self._capture.write(seen.packet, seen.time, seen.comment, outbound)
            except OSError as error:  # The disk is full. The host goes on, without a capture.
                complain("tunstack", f"the capture ends here: {error.strerror}")
                self._close_capture()
        if self._ladder is not None:
            self._seen.append(seen)

    async def draw_as_it_grows(self) -> None:
        """Draw what was noted, again and again."""
        idle = 0
        while self._ladder is not None:
            await trio.sleep(_INTERVAL)
            idle = 0 if self._seen else idle + 1
            self._draw()
            if idle == _PATIENCE:
                print_lines(self._console, self._ladder.flush())

    def finish(self) -> None:
        """Draw the rest, and close the file."""
        self._draw()
        if self._ladder is not None:
            print_lines(self._console, self._ladder.flush())
        self._close_capture()

    def _draw(self) -> None:
        while self._seen and self._ladder is not None:
            seen = self._seen.popleft()
            print_lines(self._console, self._ladder.add(step_from_observation(seen)))

    def _close_capture(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()
