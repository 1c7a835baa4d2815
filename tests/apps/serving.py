"""One handler at the far end of a stream, and a client's stream to talk to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.testing

from tunstack import Host, Protocol, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tunstack import TcpStream
    from tunstack.apps import Handler

    _Client = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


_OPEN = frozenset({"ESTABLISHED", "CLOSE-WAIT", "FIN-WAIT-1", "FIN-WAIT-2"})


@asynccontextmanager
async def served(
    handler: Handler,
) -> AsyncIterator[_Client]:
    """Run `handler` at one end of a memory stream; the block gets the other, and waits for it.

    The handler's stream stays open when it returns, so that only what it sent itself is seen.
    """
    client, server = trio.testing.memory_stream_pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler, server)
            yield client


@asynccontextmanager
async def called(factory: Callable[[], Protocol]) -> AsyncIterator[TcpStream]:
    """Serve a protocol on a host; the block gets a client's stream, and waits for its end."""
    left, right = memory_pair()
    with trio.fail_after(5):
        async with (
            Host(left, ["198.51.100.2/24"], seed=1) as server,
            Host(right, ["198.51.100.1/24"], seed=2) as client,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(server.serve_protocol, factory, 80)
            yield await client.open_tcp_stream("198.51.100.2", 80)
            while any(info.state in _OPEN for info in server.connections()):  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([bytes(data) async for data in stream])
