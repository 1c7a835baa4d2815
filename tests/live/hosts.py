"""Two hosts on a virtual network, and views of them."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

import tunstack
from tunstack.host.host import loop_of
from tunstack.live import Sample, View, Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack import Host, Network


async def _echo(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)


async def _serve(*, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
    await trio.serve_tcp(_echo, 7, task_status=task_status)


@dataclass
class Pair:
    """A client, and a server of echo on port 7, each with a view."""

    net: Network
    client: Host
    server: Host
    seen: View
    streams: list[trio.SocketStream] = field(default_factory=list)

    @property
    def view(self) -> View:
        """The view of the server."""
        return self.seen

    @property
    def tap(self) -> object:
        """What the server's stack calls for each packet."""
        return loop_of(self.server).stack.output.tap

    def look(self, **wanted: object) -> Sample:
        """Sample the server now."""
        return self.seen.sample(trio.current_time(), Wanted(**wanted))  # type: ignore[arg-type]

    async def echoed(self, stream: trio.SocketStream, octets: int) -> None:
        """Send octets, and receive them back."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(octets))
            while octets:
                octets -= len(await stream.receive_some(65536))

    async def connect(self, port: int = 0) -> trio.SocketStream:
        """Connect from a port, or from any."""
        sock = self.client.socket()
        if port:
            await sock.bind(("0.0.0.0", port))
        await sock.connect((str(self.server.addresses[0].ip), 7))
        self.streams.append(trio.SocketStream(sock))
        return self.streams[-1]


@asynccontextmanager
async def pair(link: str = "delay=10ms") -> AsyncIterator[Pair]:
    """A client and a server, for the block."""
    async with tunstack.open_network(link=link) as net:
        client = await net.add_host("client", "198.51.100.1")
        server = await net.add_host("server", "198.51.100.2")
        await net.start(server, _serve)
        yield Pair(net, client, server, View(server, trio.current_time()))
