"""All workers together, as the process sees them that has started them."""

from __future__ import annotations

import pickle
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import trio

from tunstack.deploy.workers.channel import Stray
from tunstack.deploy.workers.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tunstack.deploy.workers.channel import Assignment
    from tunstack.link.multiqueue import Queues
    from tunstack.stack.flow import TcpInfo


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

    def __init__(self, name: str, mtu: int, crew: Sequence[Keeper]) -> None:
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

        async def ask(place: int, each: Keeper) -> None:
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
    crew: list[Keeper] = []

    def stray(giver: Keeper, packet: bytes) -> None:
        for each in crew:
            if each is not giver:
                each.offer(Stray(packet))

    for number, descriptor in enumerate(queues.descriptors):
        own = replace(assignment, number=number, descriptor=descriptor)
        crew.append(Keeper(own, told, stray))
    # The nursery is ours: nobody is to get what goes wrong wrapped by it.
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:

            async def keep(each: Keeper) -> None:
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
