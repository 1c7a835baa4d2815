"""A host with little memory: everybody waits, nobody loses anything, and whoever reads goes on."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from tests.socket.network import OURS, PORT, THEIRS, listening, read_to_end
from tunstack import Config, Host, Limits, Socket, memory_pair
from tunstack.host.host import loop_of
from tunstack.stack.flow import FLOW_SIZE
from tunstack.stack.memory import SOCKET_SIZE
from tunstack.tcp.budget import SMALLEST_BUFFER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

LIMIT = 1 << 20
CONFIG = Config(receive_buffer=65536)


@asynccontextmanager
async def small_server(memory: int = LIMIT) -> AsyncIterator[tuple[Host, Host]]:
    """A client with all the memory in the world, and a server with little."""
    left, right = memory_pair()
    async with (
        Host(left, [f"{OURS}/24"], seed=1) as client,
        Host(
            right, [f"{THEIRS}/24"], seed=2, config=CONFIG, limits=Limits(memory=memory)
        ) as server,
    ):
        yield client, server


async def exchange_begins(client: Host, listener: Socket) -> tuple[Socket, Socket]:
    near = client.socket()
    await near.connect((THEIRS, PORT))
    far, _ = await listener.accept()
    return near, far


async def test_uploads_that_are_not_read_wait_and_one_that_is_read_continues(
    autojump_clock: MockClock,
) -> None:
    data = Random(1).randbytes(200_000)
    async with small_server() as (client, server):
        listener = await listening(server)
        pairs = [await exchange_begins(client, listener) for _ in range(30)]
        near, far = await exchange_begins(client, listener)

        async def upload(sock: Socket) -> None:
            await trio.SocketStream(sock).send_all(data)
            sock.shutdown(trio.socket.SHUT_WR)

        async with trio.open_nursery() as nursery:
            for sock, _ in pairs:
                nursery.start_soon(upload, sock)
            await trio.sleep(5)
            statistics = server.statistics()
            assert LIMIT * 3 // 4 < statistics["memory_held"] < LIMIT + 31 * FLOW_SIZE + 64 * 1500
            assert statistics["memory_tight"] == 1

            nursery.start_soon(upload, near)
            assert await read_to_end(far) == data

            async def download(sock: Socket) -> None:
                assert await read_to_end(sock) == data

            for _, sock in pairs:
                nursery.start_soon(download, sock)
        for one, other in [*pairs, (near, far)]:
            one.close()
            other.close()
        listener.close()
        await trio.sleep(70)
        assert client.connections() == server.connections() == []
        assert server.statistics()["memory_held"] == 0
        assert client.statistics()["memory_held"] == 0


async def test_downloads_that_are_not_read_wait_and_one_that_is_read_continues(
    autojump_clock: MockClock,
) -> None:
    """Send buffers count as well, and who waits to send is told when there is room again."""
    data = Random(2).randbytes(500_000)
    async with small_server() as (client, server):
        listener = await listening(server)
        pairs = []
        for _ in range(20):
            near = client.socket()
            near.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await near.connect((THEIRS, PORT))
            pairs.append((near, (await listener.accept())[0]))

        async def download(sock: Socket) -> None:
            await trio.SocketStream(sock).send_all(data)
            sock.shutdown(trio.socket.SHUT_WR)

        async with trio.open_nursery() as nursery:
            for _, far in pairs:
                nursery.start_soon(download, far)
            await trio.sleep(5)
            held = server.statistics()["memory_held"]
            assert LIMIT // 2 < held <= LIMIT + 21 * FLOW_SIZE
            near, far = await exchange_begins(client, listener)
            nursery.start_soon(download, far)
            assert await read_to_end(near) == data

            async def take(sock: Socket) -> None:
                assert await read_to_end(sock) == data

            for near, _ in pairs:
                nursery.start_soon(take, near)


async def test_a_socket_counts_until_it_lets_go_of_its_connection(
    autojump_clock: MockClock,
) -> None:
    """Closed, refused, or forgotten by everybody when its connection was over."""
    async with small_server() as (client, server):
        listener = await listening(server)
        near, far = await exchange_begins(client, listener)
        assert server.statistics()["memory_held"] == FLOW_SIZE + SOCKET_SIZE
        near.abort()
        await trio.sleep(1)
        assert client.statistics()["memory_held"] == 0
        assert server.connections() == []
        assert server.statistics()["memory_held"] == FLOW_SIZE + SOCKET_SIZE
        del far
        gc.collect()
        assert server.statistics()["memory_held"] == 0
        near = client.socket()
        with pytest.raises(ConnectionRefusedError):
            await near.connect((THEIRS, PORT + 1))
        assert client.statistics()["memory_held"] == 0


async def test_when_memory_is_short_an_application_gets_little_at_once(
    autojump_clock: MockClock,
) -> None:
    """What it has in its hands, and perhaps cannot pass on, nobody counts."""
    async with small_server() as (client, server):
        listener = await listening(server)
        near, far = await exchange_begins(client, listener)
        await near.send(bytes(30_000))
        await trio.sleep(1)
        assert len(await far.recv(10_000)) == 10_000
        held = loop_of(server).stack.memory.budget
        held.add(held.ease - held.used)
        assert len(await far.recv(10_000)) == SMALLEST_BUFFER
        assert len(await read_some(far, 15_904)) == 15_904
        held.add(-held.used)


async def read_some(sock: Socket, size: int) -> bytes:
    pieces = b""
    while len(pieces) < size:
        pieces += await sock.recv(size - len(pieces))
    return pieces
