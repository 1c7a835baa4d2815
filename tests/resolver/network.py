"""A host with a resolver, and another with the name server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from tunstack import DnsServer, Host, Names, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tunstack.resolver.resolver import Resolver

OURS, THEIRS = ("198.51.100.2", "2001:db8::2"), ("198.51.100.1", "2001:db8::1")

NAMES = {
    "www.test": ["198.51.100.9", "2001:db8::9"],
    "four.test": "198.51.100.4",
    "six.test": "2001:db8::6",
    "alias.test": "CNAME www.test",
    "big.test": [f"203.0.113.{number}" for number in range(1, 101)],
    "loop.test": "CNAME pool.test",
    "pool.test": "CNAME loop.test",
    "text.test": "TXT x",
}


class Network(NamedTuple):
    """The resolver's host, the resolver, the other host, and the server there."""

    host: Host
    resolver: Resolver
    other: Host
    server: DnsServer


@asynccontextmanager
async def network(
    names: dict[str, Any] | None = None,
    *,
    faults: dict[str, str] | None = None,
    ours: tuple[str, ...] = OURS,
    ttl: int = 60,
    **parameters: Any,
) -> AsyncIterator[Network]:
    left, right = memory_pair()
    async with (
        Host(left, [f"{each}/{64 if ':' in each else 24}" for each in ours], seed=1) as host,
        Host(right, [f"{THEIRS[0]}/24", f"{THEIRS[1]}/64"], seed=2) as other,
        trio.open_nursery() as nursery,
    ):
        server = DnsServer(Names(NAMES if names is None else names, faults=faults, ttl=ttl))
        await nursery.start(other.serve_udp, server.datagram_handler, 53)
        await nursery.start(other.serve_tcp, server.handler, 53)
        yield Network(host, host.use_nameservers(**parameters), other, server)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def scripted(
    reply: Callable[[bytes], list[bytes]],
    *,
    reply_port: int = 53,
    sources: list[Any] | None = None,
    **parameters: Any,
) -> AsyncIterator[Network]:
    """A name server that sends what `reply` makes of each query over UDP, and has no TCP.

    Args:
        reply: Makes the replies.
        reply_port: The port that they are sent from.
        sources: Gets the source of each query.
        parameters: Of `Host.use_nameservers`.
    """
    left, right = memory_pair()
    async with (
        Host(left, [f"{OURS[0]}/24"], seed=1) as host,
        Host(right, [f"{THEIRS[0]}/24"], seed=2) as other,
        trio.open_nursery() as nursery,
    ):

        async def serve(sock: trio.socket.SocketType) -> None:
            with other.socket(sock.family, sock.type) as another:
                await another.bind(("", 0 if reply_port == 53 else reply_port))
                while True:
                    query, source = await sock.recvfrom(4096)
                    if sources is not None:
                        sources.append(source)
                    for octets in reply(query):
                        await (sock if reply_port == 53 else another).sendto(octets, source)

        serving: Callable[[trio.socket.SocketType], Awaitable[None]] = serve
        await nursery.start(other.serve_udp, serving, 53)
        server = DnsServer(Names())
        yield Network(host, host.use_nameservers(**parameters), other, server)
        nursery.cancel_scope.cancel()


def addresses(found: list[Any]) -> list[str]:
    """The addresses of entries, each once."""
    return list(dict.fromkeys(each[4][0] for each in found))
