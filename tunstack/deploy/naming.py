"""The names of a namespace: served by its hosts, found by the programs in it.

dnspython is imported when there are names, and not before.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, final

import trio

from tunstack.link.plan import parse_place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping

    from tunstack.dns.names import Names
    from tunstack.host.host import Host
    from tunstack.link.netns import NetworkNamespace
    from tunstack.link.plan import AddressLike

    NamesLike: TypeAlias = "Names | Mapping[str, str | Iterable[str]]"

logger = logging.getLogger("tunstack")

_MOST_SERVERS: Final = 3
"""The most name servers that glibc and musl read (MAXNS)."""


class HasHost(Protocol):
    """A worker, as far as names go."""

    host: Host


def as_names(names: NamesLike) -> Names:
    """Return `Names` of what they are made of.

    Raises:
        SetupError: dnspython is not installed.
        ValueError: they are malformed.
    """
    from tunstack.dns.names import Names

    return names if isinstance(names, Names) else Names(names)


def resolv_conf(addresses: Iterable[AddressLike]) -> str:
    """Return the resolv.conf of programs that are to ask these addresses.

    They search the domain ``test``, so that ``peer`` is ``peer.test``. Without ``search`` glibc
    would take the machine's own domain.
    """
    servers = [f"nameserver {each}\n" for each in own_addresses(addresses)][:_MOST_SERVERS]
    return "".join(["# tunstack\n", *servers, "search test\n", "options timeout:2 attempts:2\n"])


@final
class Naming:
    """Which names a namespace has at the moment: those of the host that was opened last.

    Programs that are started in the namespace ask that host, and `Namespace.sockets` knows the same
    names without asking.

    Args:
        network: Whose programs are told.
        names: The names; None if there are none.
    """

    def __init__(self, network: NetworkNamespace, names: Names | None) -> None:
        self._network = network
        self._names = names
        self._opened: list[tuple[tuple[AddressLike, ...], Names]] = []

    @property
    def current(self) -> Names | None:
        """The names at the addresses of the host that was opened last; None without a host."""
        return self._opened[-1][1] if self._opened else None

    @contextmanager
    def served_at(self, addresses: Iterable[AddressLike]) -> Iterator[None]:
        """A host with these addresses serves the names while the block runs."""
        if self._names is None:
            yield
            return
        mine = tuple(addresses), self._names.at(own_addresses(addresses))
        self._opened.append(mine)
        self._tell()
        try:
            yield
        finally:
            self._opened.remove(mine)
            self._tell()

    def _tell(self) -> None:
        asked = self._opened[-1][0] if self._opened else None
        self._network.resolv_conf = None if asked is None else resolv_conf(asked)


def own_addresses(addresses: Iterable[AddressLike]) -> list[str]:
    """Return one address for each of a host's; of a whole network the second.

    The first is the kernel's, by default.
    """
    places = [parse_place(address) for address in addresses]
    return [str(place.address or place.network[2]) for place in places]


@asynccontextmanager
async def serving_names(
    host: Host, names: Names | None, addresses: Iterable[AddressLike]
) -> AsyncIterator[None]:
    """Serve names, if any, on port 53 of a host while the block runs; it knows them itself, too.

    What the block raises comes out as it is: the nursery is for the server alone.
    """
    if names is None:
        yield
        return
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()
    try:
        known = names.at(own_addresses(addresses))
        await _start(nursery, host, known)
        host.use_nameservers(names=known)
        yield
    finally:
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        await manager.__aexit__(None, None, None)


async def serve_with_names(
    worker: HasHost,
    *,
    service: Callable[..., Awaitable[object]],
    names: Names,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve names beside a worker's service; `names` are at the host's addresses already."""
    async with trio.open_nursery() as nursery:
        await _start(nursery, worker.host, names)
        task_status.started(await nursery.start(service, worker))


async def _start(nursery: trio.Nursery, host: Host, names: Names) -> None:
    """Serve UDP and TCP; the end of the device ends that, and no more."""
    from tunstack.dns.server import PORT, DnsServer

    server = DnsServer(names)

    for serve, handler in (
        (host.serve_udp, server.datagram_handler),
        (host.serve_tcp, server.handler),
    ):
        await nursery.start(_until_gone, serve, handler, PORT)


async def _until_gone(
    serve: Callable[..., Awaitable[None]],
    handler: Callable[..., Awaitable[None]],
    port: int,
    *,
    task_status: trio.TaskStatus[Any],
) -> None:
    """Serve until cancelled, or until the device is gone."""
    started = False

    class Status:
        def started(self, value: Any = None) -> None:
            nonlocal started
            started = True
            task_status.started(value)

    try:
        await serve(handler, port, task_status=Status())
    except OSError:
        if not started:
            raise
        logger.info("the name server has ended", exc_info=True)
