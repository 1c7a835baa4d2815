"""The process that starts the workers, and knows what became of them."""

from __future__ import annotations

import errno
import json
import logging
import pickle
import signal
import socket
import subprocess
import sys
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.errors import SetupError
from tunstack.link.multiqueue import is_deleted
from tunstack.stack import GAUGES
from tunstack.workers.backoff import Backoff
from tunstack.workers.channel import (
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

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tunstack.flow import TcpInfo
    from tunstack.link.multiqueue import Queues
    from tunstack.workers.channel import Message

logger = logging.getLogger("tunstack")

_START: Final = str(Path(__file__).resolve().parent / "_start.py")
_PATIENCE: Final = 5.0
"""Seconds that a worker has to end; a host takes up to one for its farewell."""


def pickled(value: object, what: str) -> bytes:
    """The value as it travels to the workers: functions and classes by name.

    Args:
        value: A service, or something else.
        what: What to call it in an error.

    Raises:
        ValueError: there is something in it that another process could not import.
    """
    function = getattr(value, "func", value)  # of a partial
    if getattr(function, "__module__", None) == "__main__":
        raise ValueError(
            f"{what} is in the program's main module, which the workers do not run: "
            "put it into a module that can be imported"
        )
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{what} has something in it that other processes cannot import: {error}"
        ) from error


@final
class Workers:
    """The processes that are a host together; see :func:`tunstack.open_workers`."""

    def __init__(self, name: str, mtu: int, crew: Sequence[_Keeper]) -> None:
        self._name = name
        self._mtu = mtu
        self._crew = crew

    def __repr__(self) -> str:
        return f"<tunstack.Workers: {len(self._crew)} on {self._name}>"

    @property
    def name(self) -> str:
        """The device's name."""
        return self._name

    @property
    def mtu(self) -> int:
        """The largest packet that the device carries, in octets."""
        return self._mtu

    @property
    def pids(self) -> list[int | None]:
        """The workers' process ids; None for one that is not there now."""
        return [each.pid for each in self._crew]

    async def statistics(self) -> dict[str, int]:
        """What `Host.statistics` returns, added up over all workers.

        What workers had counted that are dead is in it, as far as it was asked for while they
        lived.
        """
        await self._ask("statistics")
        total: Counter[str] = Counter()
        for each in self._crew:
            total.update(each.statistics)
        return dict(total)

    async def connections(self) -> list[TcpInfo]:
        """What `Host.connections` returns, of all workers."""
        answers = await self._ask("connections")
        return [info for answer in answers if answer is not None for info in answer]

    async def _ask(self, method: str) -> list[Any]:
        """Ask all of them; None is the answer of those that are not there."""
        answers: list[Any] = [None] * len(self._crew)

        async def ask(place: int, each: _Keeper) -> None:
            answers[place] = await each.ask(method)

        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            for place, each in enumerate(self._crew):
                nursery.start_soon(ask, place, each)
        return answers


@asynccontextmanager
async def supervised(
    queues: Queues, assignment: Assignment, told: Callable[[int, Any], None] | None
) -> AsyncIterator[Workers]:
    """Run a worker on each of the queues, which are closed in the end.

    Args:
        queues: Of one device.
        assignment: Of the first worker; the others have the same, but for queue and number.
        told: Called with a worker's number and what it tells.

    Raises:
        SetupError: a worker could not begin to serve.
        OSError: ENODEV, the device was deleted meanwhile.
    """
    crew: list[_Keeper] = []

    def stray(giver: _Keeper, packet: bytes) -> None:
        for each in crew:
            if each is not giver:
                each.offer(Stray(packet))

    for number, descriptor in enumerate(queues.descriptors):
        own = replace(assignment, number=number, descriptor=descriptor)
        crew.append(_Keeper(own, told, stray))
    # The nursery is ours: nobody is to get what goes wrong wrapped by it.
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:

            async def keep(each: _Keeper) -> None:
                nonlocal failure
                try:
                    await each.keep()
                except OSError as error:
                    failure = error
                    nursery.cancel_scope.cancel()

            for each in crew:
                nursery.start_soon(keep, each, name=f"worker {each.number}")
            try:
                for each in crew:
                    await each.started()
                yield Workers(queues.name, queues.mtu, crew)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        queues.close()
    if failure is not None:
        raise failure


class _Keeper:
    """Keeps one worker: starts it, listens to it, and starts it anew when it has died."""

    def __init__(
        self,
        assignment: Assignment,
        told: Callable[[int, Any], None] | None,
        stray: Callable[[_Keeper, bytes], None],
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
        ours, theirs = socket.socketpair()
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
