"""The reassembly queue: out-of-order data (RFC 9293 section 3.10.7.4; Linux's ofo queue)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final

from tunstack.tcp.receiver.receive_buffer import append_coalescing, copy_if_wasteful
from tunstack.tcp.sequence import MASK, diff

if TYPE_CHECKING:
    from tunstack.tcp.segment import Buffer


class _Run:
    """A run of contiguous octets: the sequence numbers [start, end), as chunks."""

    __slots__ = ("chunks", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.chunks: list[Buffer] = []


class Reassembly:
    """Runs of octets beyond RCV.NXT, sorted and disjoint.

    The receive window bounds the octets; `max_runs` bounds the number of runs, since a peer that
    sends every second octet would make each of them a run. An insertion costs a binary search at
    most, whatever the peer sends.
    """

    __slots__ = ("_latest", "_max_runs", "_runs", "duplicate", "size")

    def __init__(self, max_runs: int) -> None:
        self._max_runs = max_runs
        self._runs: list[_Run] = []
        self._latest: dict[_Run, None] = {}
        """The same runs, by their latest arrival, the latest last: for the order of SACK blocks."""
        self.size = 0
        """Octets held."""
        self.duplicate: tuple[int, int] | None = None
        """[start, end): the first octets that the latest data duplicated, for a D-SACK; or None."""

    def __len__(self) -> int:
        return len(self._runs)

    def insert(self, seq: int, data: Buffer) -> bool:
        """Insert the new octets of `data`, which begins at `seq`.

        Returns False when there are none, or when there would be too many runs.
        """
        runs = self._runs
        end = (seq + len(data)) & MASK
        self.duplicate = None
        index = len(runs)
        if index and diff(runs[-1].start, seq) > 0:  # Most extend the last run, or follow it.
            index = bisect_right(runs, 0, key=lambda run: diff(run.start, seq))
        # runs[index - 1] starts at or before seq, runs[index] after it.
        if index and (overlap := diff(runs[index - 1].end, seq)) >= 0:
            run = runs[index - 1]
            self._touch(run)
            if overlap >= len(data):
                self.duplicate = seq, end
                return False
            if overlap:
                self.duplicate = seq, run.end
                data = copy_if_wasteful(memoryview(data)[overlap:])
            append_coalescing(run.chunks, data)
            run.end = end
            index -= 1
        else:
            if len(runs) >= self._max_runs:
                return False
            run = _Run(seq, end)
            self._touch(run)
            append_coalescing(run.chunks, data)
            runs.insert(index, run)
        self.size += len(data)
        self._merge(index)
        return True

    def _touch(self, run: _Run) -> None:
        self._latest.pop(run, None)
        self._latest[run] = None

    def _merge(self, index: int) -> None:
        """Merge the run at `index` with the following runs that it now touches."""
        runs = self._runs
        run = runs[index]
        while index + 1 < len(runs):
            after = runs[index + 1]
            overlap = diff(run.end, after.start)
            if overlap < 0:
                return
            if overlap and self.duplicate is None:
                self.duplicate = after.start, run.end if diff(after.end, run.end) > 0 else after.end
            del runs[index + 1], self._latest[after]
            for chunk in after.chunks:
                size = len(chunk)
                if overlap >= size:
                    overlap -= size
                    self.size -= size
                    continue
                if overlap:
                    chunk = copy_if_wasteful(memoryview(chunk)[overlap:])
                    self.size -= overlap
                    overlap = 0
                append_coalescing(run.chunks, chunk)
                run.end = (run.end + len(chunk)) & MASK

    def take(self, nxt: int) -> list[Buffer]:
        """Remove and return the chunks contiguous with `nxt`; octets before it are dropped."""
        runs = self._runs
        taken: list[Buffer] = []
        self.duplicate = None
        if runs and diff(runs[0].start, nxt) < 0:
            first = runs[0]
            self.duplicate = first.start, nxt if diff(first.end, nxt) > 0 else first.end
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
                taken.append(copy_if_wasteful(memoryview(chunk)[stale:]) if stale else chunk)
                nxt = (nxt + size - stale) & MASK
                stale = 0
        return taken

    def blocks(self, limit: int) -> tuple[tuple[int, int], ...]:
        """Return at most `limit` SACK blocks, the latest arrival's first (RFC 2018 section 4)."""
        return tuple((run.start, run.end) for run in islice(reversed(self._latest), limit))

    def clear(self) -> None:
        """Drop everything."""
        self._runs.clear()
        self._latest.clear()
        self.size = 0


EMPTY: Final[Reassembly] = Reassembly(0)
"""Shared by connections that have received nothing out of order yet; it accepts no data."""
