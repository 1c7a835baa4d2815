"""The parent's side of all workers: start, statistics, ICMP errors between them."""

from __future__ import annotations

import pickle
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import trio

from tunstack.deploy.workers.channel import Forwarded
from tunstack.deploy.workers.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tunstack.deploy.workers.channel import Assignment
    from tunstack.link.multiqueue import Queues
    from tunstack.tcp.info import TcpInfo


def pickled(value: object, what: str) -> bytes:
    """Pickle a value for the workers: functions and classes by name.

    Args:
        value: The service, or the configuration.
        what: Its name in errors.

    Raises:
        ValueError: another process could not import a part of it.
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
    """The processes of a multi-process host; see :func:`tunstack.open_workers`."""

    def __init__(self, name: str, mtu: int, supervisors: Sequence[Supervisor]) -> None:
        self._name = name
        self._mtu = mtu
        self._supervisors = supervisors

    def __repr__(self) -> str:
        return f"<tunstack.Workers: {len(self._supervisors)} on {self._name}>"

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
        """The workers' process ids; None for one that is not running."""
        return [each.pid for each in self._supervisors]

    async def statistics(self) -> dict[str, int]:
        """Return `Host.statistics`, summed over all workers.

        Counters of workers that have died are included as of the last query before.
        """
        await self._ask("statistics")
        total: Counter[str] = Counter()
        for each in self._supervisors:
            total.update(each.statistics)
        return dict(total)

    async def connections(self) -> list[TcpInfo]:
        """Return `Host.connections` of all workers."""
        answers = await self._ask("connections")
        return [info for answer in answers if answer is not None for info in answer]

    async def _ask(self, method: str) -> list[Any]:
        """Query all workers; the result is None for those that are not running."""
        answers: list[Any] = [None] * len(self._supervisors)

        async def ask(place: int, each: Supervisor) -> None:
            answers[place] = await each.ask(method)

        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            for place, each in enumerate(self._supervisors):
                nursery.start_soon(ask, place, each)
        return answers


@asynccontextmanager
async def supervised(
    queues: Queues, assignment: Assignment, on_message: Callable[[int, Any], None] | None
) -> AsyncIterator[Workers]:
    """Run a supervised worker on each of the queues, and close them after the block.

    Args:
        queues: Of one device.
        assignment: The first worker's; the others differ by queue and number.
        on_message: Called with a worker's number and its service's values.

    Raises:
        SetupError: a worker could not start.
        OSError: ENODEV, the device was deleted.
    """
    supervisors: list[Supervisor] = []

    def forward(origin: Supervisor, packet: bytes) -> None:
        for each in supervisors:
            if each is not origin:
                each.send_nowait(Forwarded(packet))

    for number, descriptor in enumerate(queues.descriptors):
        own = replace(assignment, number=number, descriptor=descriptor)
        supervisors.append(Supervisor(own, on_message, forward))
    # The nursery is internal: callers get the error itself, not an exception group.
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:

            async def run(each: Supervisor) -> None:
                nonlocal failure
                try:
                    await each.run()
                except OSError as error:
                    failure = error
                    nursery.cancel_scope.cancel()

            for each in supervisors:
                nursery.start_soon(run, each, name=f"worker {each.number}")
            try:
                for each in supervisors:
                    await each.started()
                yield Workers(queues.name, queues.mtu, supervisors)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        queues.close()
    if failure is not None:
        raise failure
