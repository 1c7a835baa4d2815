"""Keeping one worker: its process and the next one, and what it says."""

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
    Answer,
    Ask,
    Assignment,
    Channel,
    Failed,
    Last,
    Ready,
    Stray,
    Told,
)
from tunstack.link.errors import SetupError
from tunstack.link.forking import not_for_children
from tunstack.link.multiqueue import is_deleted
from tunstack.stack.statistics import GAUGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.deploy.workers.channel import Message

logger = logging.getLogger("tunstack")

_START: Final = str(Path(__file__).resolve().parent / "_start.py")
_PATIENCE: Final = 5.0
"""Seconds that a worker has to end; a host takes up to one for its farewell."""


class Keeper:
    """Keeps one worker: starts it, listens to it, and starts it anew when it has died."""

    def __init__(
        self,
        assignment: Assignment,
        told: Callable[[int, Any], None] | None,
        stray: Callable[[Keeper, bytes], None],
    ) -> None:
        self.number = assignment.number
        self._assignment = assignment
        self._told = told
        self._stray = stray
        self._backoff = Backoff()
        self._process: trio.Process | None = None
        self._channel: Channel | None = None
        self._questions: deque[_Question] = deque()
        self._tried = trio.Event()
        self._failure: str | None = None
        self._serves = False
        self._now: dict[str, int] = {}
        self._past: Counter[str] = Counter()

    @property
    def pid(self) -> int | None:
        """The process that is the worker now."""
        return None if self._process is None else self._process.pid

    @property
    def statistics(self) -> dict[str, int]:
        """Its statistics as they were when last asked for, and what its predecessors counted."""
        return {what: self._past[what] + count for what, count in self._now.items()}

    async def started(self) -> None:
        """Wait until it serves for the first time.

        Raises:
            SetupError: it does not.
        """
        await self._tried.wait()
        if self._failure is not None:
            raise SetupError(self._failure)

    def offer(self, message: Message) -> None:
        """Send something to it, if it is there and has room for it."""
        if self._channel is not None and self._serves:
            self._channel.offer(message)

    async def ask(self, method: str) -> Any:
        """Return what the method of its host returns; None if it dies before it could answer."""
        if self._channel is None or not self._serves:
            return None
        question = _Question(method)
        self._questions.append(question)
        self._channel.send(Ask(method))
        await question.answered.wait()
        return question.answer

    async def keep(self) -> None:
        """Have it run until cancelled.

        Raises:
            OSError: ENODEV, its device was deleted.
        """
        while True:
            begun, self._failure = trio.current_time(), None
            how = await self._live()
            if not self._tried.is_set():  # One that never served is not given a second try.
                if self._failure is None:
                    self._failure = f"worker {self.number} {how} before it served: see what it said"
                self._tried.set()
                return
            if is_deleted(self._assignment.descriptor):
                raise OSError(errno.ENODEV, f"the device {self._assignment.name} was deleted")
            delay = self._backoff.delay_after(trio.current_time() - begun)
            when = f"in {delay:g} s" if delay else "now"
            logger.warning("worker %d %s; it is started anew %s", self.number, how, when)
            await trio.sleep(delay)

    async def _live(self) -> str:
        """Have a process, from its start to its end; returns how it ended."""
        ours, theirs = (not_for_children(each, socket.socket.close) for each in socket.socketpair())
        self._channel = channel = Channel(ours)
        try:
            with theirs:
                self._process = process = await _start(theirs, self._assignment.descriptor)
            try:
                channel.send(self._assignment)
                await self._listen(channel)
            finally:
                await self._end(process, channel)
        finally:
            channel.close()
            self._channel = self._process = None
            self._forget()
        status = process.returncode
        assert status is not None
        if self._failure is not None:
            return f"cannot serve: {self._failure}"
        if status >= 0:
            return f"(process {process.pid}) ended with status {status}"
        return f"(process {process.pid}) was killed by {_name_of(-status)}"

    async def _listen(self, channel: Channel) -> None:
        """Take what the worker says, until it says no more."""
        while (message := await channel.receive()) is not None:
            match message:
                case Ready():
                    self._serves = True
                    self._tried.set()
                case Failed(text):
                    self._failure = text
                case Told(what):
                    if self._told is not None:
                        self._told(self.number, what)
                case Answer(value):
                    question = self._questions.popleft()
                    if question.method == "statistics":
                        self._now = value
                    question.answer = value
                    question.answered.set()
                case Last(statistics):
                    self._now = statistics
                case Stray(packet):
                    self._stray(self, packet)

    async def _end(self, process: trio.Process, channel: Channel) -> None:
        """Let it come to its end, or bring it there."""
        channel.end()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_PATIENCE):
                await self._listen(channel)
                await process.wait()
            process.kill()
            await process.wait()

    def _forget(self) -> None:
        """It is dead: keep what it had counted; who waits for an answer gets none."""
        self._serves = False
        for what, count in self._now.items():
            if what in GAUGES:
                self._now[what] = 0
            else:
                self._past[what] += count
                self._now[what] = 0
        while self._questions:
            self._questions.popleft().answered.set()


class _Question:
    """What a worker was asked, and what it answered."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.answered = trio.Event()
        self.answer: Any = None


async def _start(theirs: socket.socket, queue: int) -> trio.Process:
    """Start the process of a worker.

    It is in a session of its own, for what a terminal sends to its foreground is for us.
    """
    return await trio.lowlevel.open_process(
        [sys.executable, _START, json.dumps(sys.path), str(theirs.fileno())],
        pass_fds=[theirs.fileno(), queue],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
