"""`open_workers`: validate the arguments of a multi-process host, and create its device."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from tunstack.deploy.addresses import default_addresses, read_sysctl
from tunstack.deploy.workers.channel import Assignment
from tunstack.deploy.workers.parent import pickled, supervised
from tunstack.link.errors import SetupError
from tunstack.link.multiqueue import open_queues
from tunstack.path.impair import both_ways

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from tunstack.deploy.workers.parent import Workers
    from tunstack.link.multiqueue import Queues
    from tunstack.link.plan import AddressLike, PeerLike
    from tunstack.path.impair import Impairments, ImpairmentsLike
    from tunstack.stack.limits import Limits
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config

    Service: TypeAlias = Callable[..., Awaitable[object]]


@asynccontextmanager
async def open_workers(
    service: Service,
    workers: int,
    *addresses: AddressLike,
    name: str | None = None,
    peer: PeerLike | Sequence[PeerLike] | None = None,
    mtu: int | None = None,
    seed: int | None = None,
    config: Config | None = None,
    profiles: Mapping[str, Profile] | None = None,
    limits: Limits | None = None,
    impair: ImpairmentsLike = None,
    offload: bool = True,
    on_message: Callable[[int, Any], None] | None = None,
) -> AsyncIterator[Workers]:
    """Run a host in several processes, on a TUN device in the current network namespace.

    Each worker runs the service on a host of its own; all have the same address. The kernel
    distributes connections among them, and each stays with its worker. A worker that dies loses its
    own connections only, and is restarted. Workers only listen: connecting raises OSError
    (EOPNOTSUPP); :mod:`tunstack.deploy.workers` says why. Example::

        async def serve(worker, task_status):        # in a module that can be imported
            await worker.host.serve_tcp(handler, 80, task_status=task_status)

        async with tunstack.open_workers(serve, 4) as workers:
            ...

    Args:
        service: What each worker runs until it is cancelled: an async function of a module, or a
            `functools.partial` of one. It is called as ``service(worker, task_status=...)`` with a
            :class:`tunstack.Worker`, and reports its start as `trio.Nursery.start` requires.
        workers: The number of processes.
        addresses: The host's, as in :func:`tunstack.open_host`.
        name: The device's. A persistent one must have been created with IFF_MULTI_QUEUE.
        peer: The kernel's address in that network, or one for each family; by default the first
            that is free.
        mtu: Octets; by default the device's, or 1500.
        seed: Of all randomness; each worker's own seed is derived from it.
        config: The initial configuration of connections.
        profiles: What differs from that in connections from some addresses, as in
            :func:`tunstack.open_host`.
        limits: The limits of *each* worker's connections together.
        impair: The path's impairments, as in :func:`tunstack.open_host`; without a rate, as each
            worker has a path of its own.
        offload: Whether to enable TSO and checksum offload on the device.
        on_message: Called with a worker's number and what it gave to :meth:`tunstack.Worker.tell`.

    Raises:
        SetupError: one line that says what to do.
        ValueError: `impair` is invalid, or the service cannot be imported.
        OSError: ENODEV, the device was deleted.
    """
    await trio.lowlevel.checkpoint()
    ways = check_impairments(impair)
    addresses = addresses or default_addresses(mtu, sysctl=read_sysctl, name=name)
    queues = open_queues(workers, *addresses, name=name, peer=peer, mtu=mtu, offload=offload)
    async with run_workers(
        service,
        queues,
        addresses,
        seed=seed,
        config=config,
        profiles=profiles,
        limits=limits,
        ways=ways,
        on_message=on_message,
    ) as running:
        yield running


@asynccontextmanager
async def run_workers(
    service: Service,
    queues: Queues,
    addresses: Iterable[AddressLike],
    *,
    seed: int | None,
    config: Config | None,
    profiles: Mapping[str, Profile] | None,
    limits: Limits | None,
    ways: tuple[Impairments, Impairments],
    on_message: Callable[[int, Any], None] | None,
) -> AsyncIterator[Workers]:
    """Run a worker on each of the queues, and close them after the block."""
    try:
        pickled((config, limits, profiles), "the configuration")
        assignment = Assignment(
            0,
            pickled(service, "the service"),
            queues.descriptors[0],
            queues.name,
            queues.mtu,
            queues.offload,
            tuple(map(str, addresses)),
            seed,
            config,
            limits,
            ways,
            queues.kernel_addresses,
            profiles,
        )
    except BaseException:
        queues.close()
        raise
    async with supervised(queues, assignment, on_message) as running:
        yield running


def check_impairments(impair: ImpairmentsLike) -> tuple[Impairments, Impairments]:
    """Return the impairments of both directions.

    Raises:
        ValueError: they are invalid.
        SetupError: they have a rate, which would apply to each worker separately.
    """
    ways = both_ways(impair)
    if any(way.rate != math.inf for way in ways):
        raise SetupError(
            "each worker has a path of its own, and a rate would be each one's: leave it out"
        )
    return ways
