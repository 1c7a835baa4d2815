"""The process of a worker: a host on one queue, and the service."""

from __future__ import annotations

import errno
import pickle
import random
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.deploy.namespace import impaired_link
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
from tunstack.host.host import Host, loop_of
from tunstack.ip.ratelimit import PeerRateLimit
from tunstack.link.forking import close_in_children
from tunstack.link.gated import GatedLink
from tunstack.link.tun import TunLink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_MAX_FORWARDED_PER_SECOND: Final = 1000
"""ICMP errors forwarded to the other workers, so that a flood of them does not load all."""


@final
class Worker:
    """One process of a multi-process host, as its service sees it.

    Attributes:
        host: Its host; all workers have the same address, and each has connections of its own.
        number: The worker's, from 0; a restarted worker has the same.
    """

    def __init__(self, host: Host, number: int, channel: Channel) -> None:
        self.host = host
        self.number = number
        self._channel = channel

    def tell(self, what: Any) -> None:
        """Send a value, which must be picklable, to the parent's `on_message` callback.

        It blocks, as `print` does, while the parent does not read.
        """
        self._channel.send(ServiceMessage(what))


def main(descriptor: int) -> None:
    """Run a worker for the process at the other end of the socket `descriptor`."""
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    close_in_children(sock, socket.socket.close)
    with sock:
        try:
            trio.run(_main, Channel(sock))
        except BaseExceptionGroup as group:
            if group.subgroup(_is_unexpected) is not None:
                raise
            sys.exit(1)


def _is_unexpected(error: BaseException) -> bool:
    """Whether to print an error's traceback; not ENETDOWN, which the parent reports."""
    if isinstance(error, BaseExceptionGroup):
        return False
    return not isinstance(error, OSError) or error.errno != errno.ENETDOWN


async def _main(channel: Channel) -> None:
    assignment = await channel.receive()
    if assignment is None:
        return
    assert isinstance(assignment, Assignment)
    tun = TunLink(assignment.descriptor, assignment.name, assignment.mtu, assignment.offload)
    link = GatedLink(tun)
    try:
        service = pickle.loads(assignment.service)
    except Exception as error:
        channel.send(Failed(f"the service is not found in a new process: {error}"))
        return
    await _run_host(assignment, link, service, channel)


async def _run_host(
    assignment: Assignment,
    link: GatedLink,
    service: Callable[..., Awaitable[object]],
    channel: Channel,
) -> None:
    seed = derived_seed(assignment.seed, assignment.number)
    host = Host(
        impaired_link(link, assignment.ways, seed),
        assignment.addresses,
        seed=seed,
        config=assignment.config,
        limits=assignment.limits,
        excluded=assignment.excluded,
        profiles=assignment.profiles,
    )

    limit = PeerRateLimit(_MAX_FORWARDED_PER_SECOND, b"")

    def forward(packet: bytes) -> None:
        if limit.allows(b"", trio.current_time()):  # One limit for all sources.
            channel.send(Forwarded(packet))

    loop_of(host).stack.share_addresses(forward)
    async with host, trio.open_nursery() as nursery:
        await nursery.start(service, Worker(host, assignment.number, channel))
        link.open()
        channel.send(Ready())
        await _serve_parent(host, channel)
        nursery.cancel_scope.cancel()
    channel.send(FinalStatistics(host.statistics()))


async def _serve_parent(host: Host, channel: Channel) -> None:
    """Serve the parent's messages until the channel ends."""
    while (message := await channel.receive()) is not None:
        match message:
            case Query(method):
                channel.send(Reply(getattr(host, method)()))
            case Forwarded(packet):
                loop_of(host).handle_forwarded(packet)


def derived_seed(seed: int | None, number: int) -> int | None:
    """Derive the seed of a worker, so that each has its own secrets, the same in each run."""
    return None if seed is None else random.Random(f"worker {number} {seed}").getrandbits(64)
