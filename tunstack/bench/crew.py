"""Processes that run transfers, and how many of them may at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.bench.lane import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tunstack.bench.lane import Lane

_PATIENCE: Final = 60.0
"""Seconds that a transfer may take longer than it should: SYNs get lost as well."""


class LaneError(Exception):
    """A transfer failed; the message says how."""


@asynccontextmanager
async def open_crew(size: int, most: float) -> AsyncIterator[Crew]:
    """Start so many processes; when the block ends, what was begun is seen to its end.

    Args:
        size: How many.
        most: Bits per second that they may bring together.

    Raises:
        LaneError: a transfer failed.
    """
    try:
        async with trio.open_nursery() as processes:
            workers = [Worker(await _start(processes)) for _ in range(size)]
            async with trio.open_nursery() as nursery:
                yield Crew(workers, most, nursery)
            processes.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failures, rest = group.split(LaneError)
        if failures is None or rest is not None:
            raise
        while isinstance(failures, BaseExceptionGroup):
            failures = failures.exceptions[0]  # type: ignore[assignment]
        raise failures from None


async def _start(nursery: trio.Nursery) -> trio.Process:
    async def run(task_status: trio.TaskStatus[trio.Process]) -> None:
        await trio.run_process(
            [sys.executable, "-m", "tunstack.bench.lane"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            check=False,
            start_new_session=True,  # a terminal's interrupt is for us, who end it
            task_status=task_status,
        )

    process: trio.Process = await nursery.start(run)
    return process


@final
class Crew:
    """Who runs transfers; made by :func:`open_crew`."""

    def __init__(self, workers: list[Worker], most: float, nursery: trio.Nursery) -> None:
        self._idle = workers
        self._most = most
        self._running: list[float] = []
        self._changed = trio.Event()
        self._nursery = nursery

    async def begin(self, load: float, run: Callable[[Worker], Awaitable[None]]) -> None:
        """Have a worker do `run`, as soon as there is one, and room for its `load`.

        One that is larger than all that may run at once has the crew for itself.
        """
        await trio.lowlevel.checkpoint()
        while not self._idle or (self._running and sum(self._running) + load > self._most):
            await self._changed.wait()
        self._running.append(load)
        self._nursery.start_soon(self._carry_out, self._idle.pop(0), load, run)

    async def _carry_out(
        self, worker: Worker, load: float, run: Callable[[Worker], Awaitable[None]]
    ) -> None:
        await run(worker)
        self._running.remove(load)
        self._idle.append(worker)
        self._changed.set()
        self._changed = trio.Event()


@final
class Worker:
    """A process that runs one transfer after the other."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def run(self, lane: Lane) -> Outcome:
        """Run one.

        Raises:
            LaneError: it failed.
        """
        try:
            with trio.fail_after(lane.seconds + _PATIENCE):
                outcome = json.loads(await self._ask(json.dumps(asdict(lane)).encode()))
        except trio.TooSlowError:
            raise LaneError(f"{lane} did not end in time") from None
        except (trio.BrokenResourceError, EOFError):
            raise LaneError(f"the process of {lane} ended") from None
        if "error" in outcome:
            raise LaneError(f"{lane}: {outcome['error']}")
        return Outcome(**outcome)

    async def _ask(self, question: bytes) -> bytes:
        """Write a line, and read one."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        await stdin.send_all(question + b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n"):
            data = await stdout.receive_some()
            if not data:
                raise EOFError
            answer += data
        return bytes(answer)
