"""What a tap of a running host feeds: a capture file, the live ladder, times of connections."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from tunstack.cli.options.parameters import STANDARD
from tunstack.cli.output.files import open_output, output_title
from tunstack.cli.output.keylog import key_log
from tunstack.cli.output.terminal import console, print_lines, report_left_out
from tunstack.cli.output.timings import print_timings
from tunstack.cli.status import Failure, OutputClosed, print_error
from tunstack.ladder import Ladder, step_from_observation, symbols_for
from tunstack.link.forking import close_in_children
from tunstack.path.pcapng import PcapngWriter, redirect_to_devnull

if TYPE_CHECKING:
    from os import PathLike

    from tunstack.ladder.timing import Timings
    from tunstack.stack.observation import Observation

_INTERVAL: Final = 0.05
"""Seconds between updates of the ladder."""
_HELD_SECONDS: Final = 0.1
"""Seconds that packets on a pipe wait for TLS keys, some of which are logged after Finished."""
_MOST_HELD: Final = 1000
_IDLE_INTERVALS: Final = 5
"""Intervals without a packet, after which a folded run is printed."""


class Capture:
    """A capture file, which ends at the first error.

    Raises:
        Failure: the file cannot be opened or written.
        OutputClosed: standard output was closed by its reader.
    """

    def __init__(self, path: str | PathLike[str], program: str = "tunstack") -> None:
        self._name = name = os.fspath(path)
        self._program = program
        self._keys = key_log()
        self._held: deque[tuple[float, Observation]] | None = None
        self._file = open_output(name)
        if self._keys is not None and (name == STANDARD or not os.path.isfile(name)):
            self._held = deque()
        close_in_children(self._file, redirect_to_devnull)
        try:
            self._writer: PcapngWriter | None = PcapngWriter(self._file)
        except BrokenPipeError:
            self.close()
            raise OutputClosed from None
        except OSError as error:
            self.close()
            raise Failure(f"cannot write {output_title(name)}: {error.strerror}") from None

    @property
    def holds(self) -> bool:
        """Whether :meth:`release` must be called at intervals."""
        return self._held is not None

    def write(self, seen: Observation) -> None:
        """Append a packet; an error ends the capture, but not the host."""
        if self._held is None:
            self._write_now(seen)
            return
        self._held.append((trio.current_time(), seen))
        if len(self._held) > _MOST_HELD:
            self._write_now(self._held.popleft()[1])

    def release(self, after: float = _HELD_SECONDS) -> None:
        """Write what was held for so many seconds."""
        while self._held and self._held[0][0] <= trio.current_time() - after:
            self._write_now(self._held.popleft()[1])

    def _write_now(self, seen: Observation) -> None:
        if self._writer is None:
            return
        try:
            if self._keys is not None and (keys := self._keys.take()):
                self._writer.write_secrets(keys)
            self._writer.write(seen.packet, seen.time, seen.comment, seen.direction == "out")
        except OSError as error:
            print_error(self._program, f"the capture ends here: {error.strerror}")
            self.close()

    def close(self) -> None:
        """Close the file; errors of flushing were reported before."""
        self._writer = None
        with suppress(OSError):
            self._file.close()

    def finish(self) -> None:
        """Close the file, and write the TLS keys before its packets.

        Raises:
            Failure: the keys cannot be written.
        """
        self.release(after=0.0)
        complete = self._writer is not None
        self.close()
        if complete and self._keys is not None:
            self._keys.put_first(self._name)


class Watcher:
    """Queues a host's packets, and prints them in a task of its own, to not delay the host.

    Args:
        capture: The capture file, or None.
        names: Of the ladder's columns; None for no ladder.
        program: The prefix of messages.
        timings: Collects the times of connections, or None.
    """

    def __init__(
        self,
        capture: Capture | None,
        names: tuple[str, str] | None,
        program: str,
        timings: Timings | None,
    ) -> None:
        self._program = program
        self._timings = timings
        self._capture = capture
        self._seen: deque[Observation] = deque()
        self._ladder: Ladder | None = None
        self._console = console(stderr=True)
        if names is not None:
            self._ladder = Ladder(
                width=self._console.width, symbols=symbols_for(self._console.encoding), names=names
            )

    def tap(self, seen: Observation) -> None:
        """Record a packet."""
        if self._capture is not None:
            self._capture.write(seen)
        if self._ladder is not None or self._timings is not None:
            self._seen.append(seen)

    @property
    def _works_at_intervals(self) -> bool:
        holds = self._capture is not None and self._capture.holds
        return holds or self._ladder is not None or self._timings is not None

    async def draw_continuously(self) -> None:
        """Print queued packets at regular intervals, and write those held for TLS keys."""
        idle = 0
        while self._works_at_intervals:
            await trio.sleep(_INTERVAL)
            idle = 0 if self._seen else idle + 1
            self._draw()
            if self._capture is not None:
                self._capture.release()
            if idle == _IDLE_INTERVALS and self._ladder is not None:
                print_lines(self._console, self._ladder.flush())

    def finish(self) -> None:
        """Print the rest, and close the file."""
        self._draw()
        if self._ladder is not None:
            print_lines(self._console, self._ladder.flush())
            report_left_out(self._program, self._ladder.left_out)
        if self._timings is not None and self._timings.connections:
            print_timings(self._console, self._timings)
        if self._capture is not None:
            self._capture.finish()

    def _draw(self) -> None:
        while self._seen:
            step = step_from_observation(self._seen.popleft())
            if self._ladder is not None:
                print_lines(self._console, self._ladder.add(step))
            if self._timings is not None:
                self._timings.add(step)
