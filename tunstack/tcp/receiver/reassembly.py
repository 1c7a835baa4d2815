"""What has arrived out of order, until the gaps before it fill (RFC 9293 section 3.10.7.4)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final

from tunstack.tcp.receiver.receive_buffer import gather, own
from tunstack.tcp.sequence import MASK, diff

if TYPE_CHECKING:
    from tunstack.tcp.segment import Buffer


class _Run:
    """Octets without a gap: [start, end), as chunks."""

    __slots__ = ("chunks", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.chunks: list[Buffer] = []


class Reassembly:
    """The runs of octets beyond RCV.NXT, in order and apart from one another.

    The receive window bounds the octets; `max_runs` bounds how many runs there may be, since a peer
    that sends every second octet would make each of them a run. Whatever it sends, an arrival costs
    no search through all of them.
    """

    __slots__ = ("_latest", "_max_runs", "_runs", "size", "twice")

    def __init__(self, max_runs: int) -> None:
        self._max_runs = max_runs
        self._runs: list[_Run] = []
        self._latest: dict[_Run, None] = {}
        """The same runs, in the order of the latest arrival in each."""
        self.size = 0
        """Octets held."""
        self.twice: tuple[int, int] | None = None
        """[start, end): of what the latest arrival had in common with this, the first octets."""

    def __len__(self) -> int:
        return len(self._runs)

    def insert(self, seq: int, data: Buffer) -> bool:
        """Keep what is new in `data`, whose first octet is `seq`.

        Returns False when nothing was kept: it was all there already, or there are too many runs.
        """
        runs = self._runs
        end = (seq + len(data)) & MASK
        self.twice = None
        index = len(runs)
        if index and diff(runs[-1].start, seq) > 0:  # Most extend the last run, or follow it.
            index = bisect_right(runs, 0, key=lambda run: diff(run.start, seq))
        # runs[index - 1] starts at or before seq, runs[index] after it.
        if index and (overlap := diff(runs[index - 1].end, seq)) >= 0:
            run = runs[index - 1]
            self._touch(run)
            if overlap >= len(data):
                self.twice = seq, end
                return False
            if overlap:
                self.twice = seq, run.end
                data = own(memoryview(data)[overlap:])
            gather(run.chunks, data)
            run.end = end
            index -= 1
        else:
            if len(runs) >= self._max_runs:
                return False
            run = _Run(seq, end)
            self._touch(run)
            gather(run.chunks, data)
            runs.insert(index, run)
        self.size += len(data)
        self._absorb(index)
        return True

    def _touch(self, run: _Run) -> None:
        self._latest.pop(run, None)
        self._latest[run] = None

    def _absorb(self, index: int) -> None:
        """Join to the run at `index` those after it that it now touches."""
        runs = self._runs
        run = runs[index]
        while index + 1 < len(runs):
            after = runs[index + 1]
            overlap = diff(run.end, after.start)
            if overlap < 0:
                return
            if overlap and self.twice is None:
                self.twice = after.start, run.end if diff(after.end, run.end) > 0 else after.end
            del runs[index + 1], self._latest[after]
            for chunk in after.chunks:
                size = len(chunk)
                if overlap >= size:
                    overlap -= size
                    self.size -= size
                    continue
                if overlap:
                    chunk = own(memoryview(chunk)[overlap:])
                    self.size -= overlap
                    overlap = 0
                gather(run.chunks, chunk)
                run.end = (run.end + len(chunk)) & MASK

    def take(self, nxt: int) -> list[Buffer]:
        """Remove and return the chunks that continue at `nxt`; drop what lies before it."""
        runs = self._runs
        taken: list[Buffer] = []
        self.twice = None
        if runs and diff(runs[0].start, nxt) < 0:
            first = runs[0]
            self.twice = first.start, nxt if diff(first.end, nxt) > 0 else first.end
        while runs and diff(runs[0].start, nxt) <= 0:
            run = runs.pop(0)
            del self._latest[run]
            stale = diff(nxt, run.start)
            for chunk in run.chunks:
                size = len(chunk)
                self.size -= size
                if stale >= size:
                    stale -= size
                    continue
                taken.append(own(memoryview(chunk)[stale:]) if stale else chunk)
                nxt = (nxt + size - stale) & MASK
                stale = 0
        return taken

    def blocks(self, limit: int) -> tuple[tuple[int, int], ...]:
        """At most `limit` SACK blocks, that of the latest arrival first (RFC 2018 section 4)."""
        return tuple((run.start, run.end) for run in islice(reversed(self._latest), limit))

    def clear(self) -> None:
        """Drop everything."""
        self._runs.clear()
        self._latest.clear()
        self.size = 0


NOTHING: Final = Reassembly(0)
"""That of a connection to which nothing has come out of order yet: it takes nothing."""
