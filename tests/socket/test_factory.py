"""Programs that know nothing of us, on a host of ours: trio's own helpers, and h11."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import h11
import pytest
import trio

from tests.socket.network import OURS, PORT, THEIRS, host_pair
from tunstack import Socket

if TYPE_CHECKING:
    from tunstack import Host


async def test_what_trio_makes_within_the_block_is_on_the_host() -> None:
    async with host_pair() as (ours, _):
        with ours.socket_factory():
            sock = trio.socket.socket()
            assert isinstance(sock, Socket)
            await sock.bind((OURS, PORT))
            for arguments in ((), (socket.AF_INET,), (socket.AF_INET, socket.SOCK_STREAM, 6)):
                assert isinstance(trio.socket.socket(*arguments), Socket)
        assert [info.state for info in ours.connections()] == []


async def test_after_the_block_all_is_as_before() -> None:
    async with host_pair() as (ours, theirs):
        with pytest.raises(KeyError), ours.socket_factory():  # noqa: PT012
            with theirs.socket_factory():
                inner = trio.socket.socket()
            outer = trio.socket.socket()
            raise KeyError
        await inner.bind((THEIRS, PORT))
        await outer.bind((OURS, PORT))
        with trio.socket.socket() as sock:
            assert not isinstance(sock, Socket)


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def serve(
    host: Host,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]],
) -> None:
    """An echo server by trio's own means."""
    with host.socket_factory():
        listeners = await trio.open_tcp_listeners(0, host=str(host.addresses[0].ip))
    await trio.serve_listeners(echo, listeners, task_status=task_status)


async def test_trio_serves_and_connects_over_it() -> None:
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve, theirs)
        _, port = listener.socket.getsockname()
        with ours.socket_factory():
            stream = await trio.open_tcp_stream(THEIRS, port)
        assert isinstance(stream.socket, Socket)
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        assert len(theirs.connections()) == 1
        await stream.send_eof()
        assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()


async def test_trios_serve_tcp_listens_on_it() -> None:
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        with theirs.socket_factory():
            (listener,) = await nursery.start(partial(trio.serve_tcp, echo, PORT, host=THEIRS))
        assert isinstance(listener.socket, Socket)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


async def test_trio_reports_connection_refused() -> None:
    async with host_pair() as (ours, _):
        with ours.socket_factory(), pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(THEIRS, PORT)
        assert ours.connections() == []


async def test_an_exchange_of_http_by_h11() -> None:
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_tcp, answer, PORT)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        client = h11.Connection(h11.CLIENT)
        headers = [("Host", THEIRS), ("Content-Length", "5")]
        await stream.send_all(
            client.send(h11.Request(method="POST", target="/", headers=headers)) or b""
        )
        await stream.send_all(client.send(h11.Data(data=b"12345")) or b"")
        client.send(h11.EndOfMessage())
        body = b""
        while not isinstance(event := await next_event(client, stream), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
        assert body == b"54321"
        nursery.cancel_scope.cancel()


async def next_event(connection: h11.Connection, stream: trio.abc.ReceiveStream) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some()))
    return event


async def answer(stream: trio.SocketStream) -> None:
    """An HTTP server that turns one body around."""
    server = h11.Connection(h11.SERVER)
    body = b""
    while not isinstance(event := await next_event(server, stream), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += event.data
    for event in (
        h11.Response(status_code=200, headers=[("Content-Length", str(len(body)))]),
        h11.Data(data=body[::-1]),
        h11.EndOfMessage(),
    ):
        await stream.send_all(server.send(event) or b"")
