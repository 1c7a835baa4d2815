"""What runs in the process of a worker."""

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
from tunstack.host.host import Host
from tunstack.ip.ratelimit import PeerRateLimit
from tunstack.link.forking import not_for_children
from tunstack.link.gated import GatedLink
from tunstack.link.tun import TunLink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_STRAYS_PER_SECOND: Final = 1000
"""ICMP errors that are passed on: a flood of them must not keep all the others busy, too."""


@final
class Worker:
    """One of the processes that are a host together, seen from inside.

    Attributes:
        host: Its host; all workers have the same address, and each has flows of its own.
        number: Which one it is, from 0. Its successor has the same.
    """

    def __init__(self, host: Host, number: int, channel: Channel) -> None:
        self.host = host
        self.number = number
        self._channel = channel

    def tell(self, what: Any) -> None:
        """Have the parent's `told` called with something that can be pickled.

        It waits, as `print` does, while the parent does not get round to it.
        """
        self._channel.send(Told(what))


def main(descriptor: int) -> None:
    """Work for the process at the other end of the socket `descriptor`, until that ends."""
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    not_for_children(sock, socket.socket.close)
    with sock:
        try:
            trio.run(_main, Channel(sock))
        except BaseExceptionGroup as group:
            if group.subgroup(_is_news) is not None:
                raise
            sys.exit(1)


def _is_news(error: BaseException) -> bool:
    """Not so the end of the device: the host has told it, and the parent will see it."""
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
    await _work(assignment, link, service, channel)


async def _work(
    assignment: Assignment,
    link: GatedLink,
    service: Callable[..., Awaitable[object]],
    channel: Channel,
) -> None:
    seed = derived_seed(assignment.seed, assignment.number)
    host = Host(
        impaired_link(link, assignment.ways, seed),
        [assignment.address],
        seed=seed,
        config=assignment.config,
        limits=assignment.limits,
    )

    limit = PeerRateLimit(_STRAYS_PER_SECOND, b"")

    def pass_on(packet: bytes) -> None:
        if limit.allows(b"", trio.current_time()):  # All of them count as one peer's.
            channel.send(Stray(packet))

    host.stack.share_addresses(pass_on)
    async with host, trio.open_nursery() as nursery:
        await nursery.start(service, Worker(host, assignment.number, channel))
        link.open()
        channel.send(Ready())
        await _obey(host, channel)
        nursery.cancel_scope.cancel()
    channel.send(Last(host.statistics()))


async def _obey(host: Host, channel: Channel) -> None:
    """Do what the parent says, until it has no more to say."""
    while (message := await channel.receive()) is not None:
        match message:
            case Ask(method):
                channel.send(Answer(getattr(host, method)()))
            case Stray(packet):
                host.take_stray(packet)


def derived_seed(seed: int | None, number: int) -> int | None:
    """The seed of a worker: each has its own secrets, and the same ones in each run."""
    return None if seed is None else random.Random(f"worker {number} {seed}").getrandbits(64)
