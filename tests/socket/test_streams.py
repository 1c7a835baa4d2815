"""trio's own judgement: the streams over our sockets behave as streams do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import check_half_closeable_stream

from tests.socket.network import SMALL, connected, fill, host_pair

if TYPE_CHECKING:
    Streams = tuple[trio.SocketStream, trio.SocketStream]


async def test_streams_between_two_hosts() -> None:
    async with host_pair() as (ours, theirs):

        async def make() -> Streams:
            client, server = await connected(ours, theirs)
            return trio.SocketStream(client), trio.SocketStream(server)

        async def make_clogged() -> Streams:
            client, server = await connected(ours, theirs, buffer=SMALL)
            for sock in (client, server):
                await fill(sock)
            return trio.SocketStream(client), trio.SocketStream(server)

        await check_half_closeable_stream(make, make_clogged)


async def test_a_host_to_itself() -> None:
    async with host_pair() as (ours, _):

        async def make() -> Streams:
            client, server = await connected(ours, ours)
            return trio.SocketStream(client), trio.SocketStream(server)

        await check_half_closeable_stream(make, None)
