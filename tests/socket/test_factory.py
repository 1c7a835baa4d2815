"""Programs that know nothing of us, on a host of ours: trio's own helpers, and h11."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import h11
import pytest
import trio

from tests.socket.network import OURS, PORT, THEIRS, host_pair
from tunstack import Names, Socket

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


async def test_each_task_is_on_the_host_whose_block_it_began_in() -> None:
    made: list[tuple[str, Socket]] = []

    async def make(name: str) -> None:
        await trio.sleep(1)
        sock = trio.socket.socket()
        assert isinstance(sock, Socket)
        made.append((name, sock))

    async def program(host: Host, name: str, ends_after: float) -> None:
        with host.socket_factory():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(make, name)
                nursery.start_soon(make, name)
            await trio.sleep(ends_after)
            await make(name)

    async with host_pair() as (ours, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program, ours, OURS, 5)
            nursery.start_soon(program, theirs, THEIRS, 0)  # It ends first.
        for name, sock in made:
            await sock.bind((name, 0))
        assert sorted(name for name, _ in made) == [THEIRS] * 3 + [OURS] * 3


async def test_a_task_in_no_block_is_on_the_host_of_the_latest() -> None:
    go = trio.Event()
    made: list[trio.socket.SocketType] = []

    async def outside() -> None:
        for _ in range(2):
            await go.wait()
            made.append(trio.socket.socket())
            await trio.sleep(1)

    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(outside)
        with ours.socket_factory():
            with theirs.socket_factory():
                go.set()
                await trio.sleep(0.5)
            await trio.sleep(1)
        for name, sock in zip((THEIRS, OURS), made, strict=True):
            await sock.bind((name, 0))


async def test_a_task_that_outlives_its_block_has_the_kernels_sockets_again() -> None:
    async def outlive() -> None:
        await trio.sleep(1)
        with trio.socket.socket() as sock:
            assert not isinstance(sock, Socket)

    async with host_pair() as (ours, _), trio.open_nursery() as nursery:
        with ours.socket_factory():
            nursery.start_soon(outlive)


async def test_another_trio_run_with_the_same_context_has_the_kernels_sockets() -> None:
    async def other_run() -> None:
        with trio.socket.socket() as sock:
            assert not isinstance(sock, Socket)

    async with host_pair() as (ours, _):
        with ours.socket_factory(others="kernel"):
            await trio.to_thread.run_sync(trio.run, other_run)


async def test_names_are_looked_up_by_the_host_of_the_task() -> None:
    async def look_up(host: Host, address: str) -> None:
        with host.socket_factory():
            host.use_nameservers(names=Names({"here.test": address}))
            await trio.sleep(1)
            ((*_, found),) = await trio.socket.getaddrinfo("here.test", 1, 0, socket.SOCK_STREAM)
            assert found == (address, 1)

    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(look_up, ours, OURS)
        nursery.start_soon(look_up, theirs, THEIRS)


async def test_trios_own_resolver_goes_on_where_the_host_has_none() -> None:
    class Custom(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: Any) -> list[Any]:
            return [("of", *args[:2])]

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            return "by", "custom"

    address = ("127.0.0.1", 1)
    async with host_pair() as (ours, _):
        with ours.socket_factory():
            numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            assert await trio.socket.getnameinfo(address, numeric) == ("127.0.0.1", "1")
            found = await trio.socket.getaddrinfo("localhost", 1, socket.AF_INET, 1)
            assert found[0][4] == address
        trio.socket.set_custom_hostname_resolver(Custom())
        with ours.socket_factory():
            found = await trio.socket.getaddrinfo("any.test", 1)
            assert [*found[0]] == ["of", b"any.test", 1]
            assert await trio.socket.getnameinfo(address, 0) == ("by", "custom")
        assert await trio.socket.getnameinfo(address, 0) == ("by", "custom")


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
