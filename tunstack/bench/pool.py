"""A pool of processes that run transfers, with a limit on their total load."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.bench.transfer import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tunstack.bench.transfer import Transfer

_TIMEOUT_MARGIN: Final = 60.0
"""Seconds that a transfer may exceed its duration, for lost SYNs among others."""


class TransferError(Exception):
    """A transfer failed; the message says why."""


@asynccontextmanager
async def open_pool(size: int, max_load: float) -> AsyncIterator[TransferPool]:
    """Start a pool of processes; the end of the block waits for all transfers.

    Args:
        size: The number of processes.
        max_load: Bits per second of all running transfers together.

    Raises:
        TransferError: a transfer failed.
    """
    try:
        async with trio.open_nursery() as processes:
            workers = [Worker(await _start(processes)) for _ in range(size)]
            async with trio.open_nursery() as nursery:
                yield TransferPool(workers, max_load, nursery)
            processes.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failures, rest = group.split(TransferError)
        if failures is None or rest is not None:
            raise
        while isinstance(failures, BaseExceptionGroup):
            failures = failures.exceptions[0]  # type: ignore[assignment]
        raise failures from None


async def _start(nursery: trio.Nursery) -> trio.Process:
    async def run(task_status: trio.TaskStatus[trio.Process]) -> None:
        await trio.run_process(
            [sys.executable, "-m", "tunstack.bench.transfer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            check=False,
            start_new_session=True,  # Ctrl-C is for us, who end it.
            task_status=task_status,
        )

    process: trio.Process = await nursery.start(run)
    return process


@final
class TransferPool:
    """A pool of processes for transfers; returned by :func:`open_pool`."""

    def __init__(self, workers: list[Worker], max_load: float, nursery: trio.Nursery) -> None:
        self._idle = workers
        self._max_load = max_load
        self._running: list[float] = []
        self._changed = trio.Event()
        self._nursery = nursery

    async def start(self, load: float, run: Callable[[Worker], Awaitable[None]]) -> None:
        """Run a transfer as soon as a process is idle and its `load` is within the limit.

        A load above the limit runs alone.
        """
        await trio.lowlevel.checkpoint()
        while not self._idle or (self._running and sum(self._running) + load > self._max_load):
            await self._changed.wait()
        self._running.append(load)
        self._nursery.start_soon(self._run, self._idle.pop(0), load, run)

    async def _run(
        self, worker: Worker, load: float, run: Callable[[Worker], Awaitable[None]]
    ) -> None:
        await run(worker)
        self._running.remove(load)
        self._idle.append(worker)
        self._changed.set()
        self._changed = trio.Event()


@final
class Worker:
    """A process that runs transfers one after the other."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def run(self, transfer: Transfer) -> Outcome:
        """Run one transfer.

        Raises:
            TransferError: it failed.
        """
        try:
            with trio.fail_after(transfer.seconds + _TIMEOUT_MARGIN):
                outcome = json.loads(await self._ask(json.dumps(asdict(transfer)).encode()))
        except trio.TooSlowError:
            raise TransferError(f"{transfer} did not end in time") from None
        except (trio.BrokenResourceError, EOFError):
            raise TransferError(f"the process of {transfer} ended") from None
        if "error" in outcome:
            raise TransferError(f"{transfer}: {outcome['error']}")
        return Outcome(**outcome)

    async def _ask(self, question: bytes) -> bytes:
        """Write a line, and read a line."""
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
