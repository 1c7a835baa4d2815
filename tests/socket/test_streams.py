"""trio's own judgement: the streams over our sockets behave as streams do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import check_half_closeable_stream

from tests.socket.network import (
    PORT,
    SMALL,
    THEIRS,
    connected,
    fill,
    host_pair,
)
from tunstack import Socket, TcpListener, TcpStream

if TYPE_CHECKING:
    from collections.abc import Callable

    Streams = tuple[trio.SocketStream, trio.SocketStream]
    Wrap = Callable[[Socket], trio.SocketStream]

both_classes = pytest.mark.parametrize("wrap", [TcpStream, trio.SocketStream])
"""Those that a host gives, and trio's own over its sockets."""


@both_classes
async def test_streams_between_two_hosts(wrap: Wrap) -> None:
    async with host_pair() as (ours, theirs):

        async def make() -> Streams:
            client, server = await connected(ours, theirs)
            return wrap(client), wrap(server)

        async def make_clogged() -> Streams:
            client, server = await connected(ours, theirs, buffer=SMALL)
            for sock in (client, server):
                await fill(sock)
            return wrap(client), wrap(server)

        await check_half_closeable_stream(make, make_clogged)


async def test_a_host_to_itself() -> None:
    async with host_pair() as (ours, _):

        async def make() -> Streams:
            client, server = await connected(ours, ours)
            return TcpStream(client), TcpStream(server)

        await check_half_closeable_stream(make, None)


async def test_a_host_gives_streams_that_are_trios_and_know_its_sockets() -> None:
    """By `isinstance`, for which libraries ask; in each way to get one."""
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        served = trio.Event()
        given: list[TcpStream] = []

        async def handler(stream: TcpStream) -> None:
            given.append(stream)
            served.set()
            await trio.sleep_forever()

        listeners: list[TcpListener] = await nursery.start(theirs.serve_tcp, handler, PORT)
        (listener,) = await theirs.open_tcp_listeners(PORT + 1)
        assert all(isinstance(each, trio.SocketListener) for each in (*listeners, listener))
        given.append(await ours.open_tcp_stream(THEIRS, PORT))
        await served.wait()
        given.append(await ours.open_tcp_stream(THEIRS, PORT + 1))
        given.append(await listener.accept())
        assert len(given) == 4
        for stream in given:
            assert isinstance(stream, trio.SocketStream)
            assert isinstance(stream, TcpStream)
            assert isinstance(stream.socket, Socket)
            assert f"{THEIRS}:8" in repr(stream)
            await stream.aclose()
            assert "closed" in repr(stream)
        await listener.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
        nursery.cancel_scope.cancel()


async def test_a_stream_is_over_a_hosts_socket_only() -> None:
    async with host_pair() as (ours, _):
        with trio.socket.socket() as kernels, pytest.raises(TypeError, match=r"tunstack\.Socket"):
            TcpStream(kernels)  # type: ignore[arg-type]
        with ours.socket() as sock, pytest.raises(ValueError, match="listening"):
            TcpListener(sock)


async def test_aborting_a_stream_resets_its_connection() -> None:
    async with host_pair() as (ours, theirs):
        client, server = map(TcpStream, await connected(ours, theirs))
        client.abort()
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await server.receive_some()
