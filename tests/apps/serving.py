"""One handler at the far end of a stream, and a client's stream to talk to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack.apps import Handler

    _Client = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


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


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([bytes(data) async for data in stream])
