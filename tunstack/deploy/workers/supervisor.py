"""Supervise one worker: start its process, receive its messages, restart it when it dies."""

from __future__ import annotations

import errno
import json
import logging
import signal
import socket
import subprocess
import sys
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from tunstack.deploy.workers.backoff import Backoff
from tunstack.deploy.workers.channel import (
    Assignment,
    Channel,
    Failed,
    FinalStatistics,
    Forwarded,
    Query,
    Ready,
    Reply,
    ServiceMessage,
)
from tunstack.link.errors import SetupError
from tunstack.link.forking import close_in_children
from tunstack.link.multiqueue import is_deleted
from tunstack.stack.statistics import GAUGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.deploy.workers.channel import Message

logger = logging.getLogger("tunstack")

_START_SCRIPT: Final = str(Path(__file__).resolve().parent / "_start.py")
_STOP_TIMEOUT: Final = 5.0
"""Seconds before a worker is killed; a host may take one to close its connections."""


class Supervisor:
    """Starts one worker, receives its messages, and restarts it when it dies."""

    def __init__(
        self,
        assignment: Assignment,
        on_message: Callable[[int, Any], None] | None,
        forward: Callable[[Supervisor, bytes], None],
    ) -> None:
        self.number = assignment.number
        self._assignment = assignment
        self._on_message = on_message
        self._forward = forward
        self._backoff = Backoff()
        self._process: trio.Process | None = None
        self._channel: Channel | None = None
        self._queries: deque[_PendingQuery] = deque()
        self._first_start_done = trio.Event()
        self._failure: str | None = None
        self._is_ready = False
        self._counts: dict[str, int] = {}
        self._previous_counts: Counter[str] = Counter()

    @property
    def pid(self) -> int | None:
        """The worker's present process id, or None."""
        return None if self._process is None else self._process.pid

    @property
    def statistics(self) -> dict[str, int]:
        """The statistics of the last query, and the counters of its predecessors."""
        return {what: self._previous_counts[what] + count for what, count in self._counts.items()}

    async def started(self) -> None:
        """Wait until the worker is ready for the first time.

        Raises:
            SetupError: it could not start.
        """
        await self._first_start_done.wait()
        if self._failure is not None:
            raise SetupError(self._failure)

    def send_nowait(self, message: Message) -> None:
        """Send a message that may be lost, if the worker is ready."""
        if self._channel is not None and self._is_ready:
            self._channel.send_nowait(message)

    async def ask(self, method: str) -> Any:
        """Call a method of the worker's host; None if the worker dies before it replies."""
        if self._channel is None or not self._is_ready:
            return None
        query = _PendingQuery(method)
        self._queries.append(query)
        self._channel.send(Query(method))
        await query.answered.wait()
        return query.answer

    async def run(self) -> None:
        """Run the worker, with restarts, until cancelled.

        Raises:
            OSError: ENODEV, its device was deleted.
        """
        while True:
            begun, self._failure = trio.current_time(), None
            how = await self._run_process()
            if not self._first_start_done.is_set():  # Do not restart one that was never ready.
                if self._failure is None:
                    self._failure = f"worker {self.number} {how} before it served: see what it said"
                self._first_start_done.set()
                return
            if is_deleted(self._assignment.descriptor):
                raise OSError(errno.ENODEV, f"the device {self._assignment.name} was deleted")
            delay = self._backoff.delay_after(trio.current_time() - begun)
            when = f"in {delay:g} s" if delay else "now"
            logger.warning("worker %d %s; it is restarted %s", self.number, how, when)
            await trio.sleep(delay)

    async def _run_process(self) -> str:
        """Run a process until it ends; returns a description of how it ended."""
        ours, theirs = (
            close_in_children(each, socket.socket.close) for each in socket.socketpair()
        )
        self._channel = channel = Channel(ours)
        try:
            with theirs:
                self._process = process = await _start(theirs, self._assignment.descriptor)
            try:
                channel.send(self._assignment)
                await self._receive_messages(channel)
            finally:
                await self._stop(process, channel)
        finally:
            channel.close()
            self._channel = self._process = None
            self._reset()
        status = process.returncode
        assert status is not None
        if self._failure is not None:
            return f"cannot serve: {self._failure}"
        if status >= 0:
            return f"(process {process.pid}) ended with status {status}"
        return f"(process {process.pid}) was killed by {_signal_name(-status)}"

    async def _receive_messages(self, channel: Channel) -> None:
        """Process the worker's messages until the channel ends."""
        while (message := await channel.receive()) is not None:
            match message:
                case Ready():
                    self._is_ready = True
                    self._first_start_done.set()
                case Failed(text):
                    self._failure = text
                case ServiceMessage(what):
                    if self._on_message is not None:
                        self._on_message(self.number, what)
                case Reply(value):
                    query = self._queries.popleft()
                    if query.method == "statistics":
                        self._counts = value
                    query.answer = value
                    query.answered.set()
                case FinalStatistics(statistics):
                    self._counts = statistics
                case Forwarded(packet):
                    self._forward(self, packet)

    async def _stop(self, process: trio.Process, channel: Channel) -> None:
        """Let the process exit; kill it after a timeout."""
        channel.send_eof()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_STOP_TIMEOUT):
                await self._receive_messages(channel)
                await process.wait()
            process.kill()
            await process.wait()

    def _reset(self) -> None:
        """After a process has ended: keep its counters, and fail pending queries."""
        self._is_ready = False
        for what, count in self._counts.items():
            if what in GAUGES:
                self._counts[what] = 0
            else:
                self._previous_counts[what] += count
                self._counts[what] = 0
        while self._queries:
            self._queries.popleft().answered.set()


class _PendingQuery:
    """A query that was sent to a worker, and its result."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.answered = trio.Event()
        self.answer: Any = None


async def _start(theirs: socket.socket, queue: int) -> trio.Process:
    """Start the process of a worker, in a session of its own: Ctrl-C is for the parent."""
    return await trio.lowlevel.open_process(
        [sys.executable, _START_SCRIPT, json.dumps(sys.path), str(theirs.fileno())],
        pass_fds=[theirs.fileno(), queue],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
