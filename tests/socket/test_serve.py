"""`Host.serve_tcp`: a handler that fails takes its own connection with it, and no other."""

from __future__ import annotations

import errno
import logging
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, PORT, THEIRS, fails, host_pair
from tunstack import TcpListener, TcpStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tunstack import Host

Hosts = tuple["Host", "Host"]


async def moody(stream: trio.SocketStream) -> None:
    """Echo, until told otherwise."""
    async for data in stream:
        if data == b"raise":
            raise ValueError("the application has a bug")
        if data == b"group":
            async with trio.open_nursery():
                raise ValueError("and this one a nursery")
        if data == b"break":
            raise trio.BrokenResourceError("somebody else's connection")
        if data == b"return":
            return
        await stream.send_all(data)


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    async with host_pair() as hosts:
        yield hosts


@pytest.mark.parametrize(
    ("word", "logged"), [(b"raise", "has a bug"), (b"group", "and this one a nursery")]
)
async def test_a_handler_that_raises_resets_its_own_connection_and_no_other(
    hosts: Hosts, caplog: pytest.LogCaptureFixture, word: bytes, logged: str
) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(theirs.serve_tcp, moody, 0)
        port = listener.socket.getsockname()[1]
        doomed, other = [await ours.open_tcp_stream(THEIRS, port) for _ in range(2)]
        await other.send_all(b"before")
        assert await other.receive_some() == b"before"
        await doomed.send_all(word)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await doomed.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        await other.send_all(b"after")
        assert await other.receive_some() == b"after"
        assert len(theirs.connections()) == 1
        await ours.open_tcp_stream(THEIRS, port)
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tunstack", logging.ERROR)
    assert f"port {port} " in record.getMessage()
    assert logged in caplog.text  # With the traceback.


async def test_a_connection_that_breaks_is_no_bug_of_the_handlers(
    hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = hosts
    caplog.set_level(logging.INFO, "tunstack")
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_tcp, moody, PORT)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"break")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)


async def test_a_handler_that_returns_has_its_connection_closed(hosts: Hosts) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_tcp, moody, PORT)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"return")
        assert await stream.receive_some() == b""
        await wait_all_tasks_blocked()
        assert [info.state for info in theirs.connections()] == ["FIN-WAIT-2"]
        nursery.cancel_scope.cancel()


async def test_the_task_of_a_connection_has_the_handlers_name(hosts: Hosts) -> None:
    ours, theirs = hosts
    names: list[str] = []

    async def tells_its_name(stream: TcpStream) -> None:
        names.append(trio.lowlevel.current_task().name)

    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_tcp, tells_its_name, PORT)
        await nursery.start(theirs.serve_tcp, partial(tells_its_name), PORT + 1)
        for port in (PORT, PORT + 1):
            stream = await ours.open_tcp_stream(THEIRS, port)
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
    assert all("tells_its_name" in name for name in names)
    assert len(names) == 2


async def test_it_tells_where_it_listens(hosts: Hosts) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as nursery:
        serve = partial(theirs.serve_tcp, moody, 0, host=THEIRS, backlog=1)
        (listener,) = await nursery.start(serve)
        address, port = listener.socket.getsockname()
        assert address == THEIRS
        stream = await ours.open_tcp_stream(address, port)
        await stream.send_all(b"word")
        assert await stream.receive_some() == b"word"
        nursery.cancel_scope.cancel()


async def test_handlers_can_outlive_it_in_a_nursery_of_the_callers(hosts: Hosts) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as handlers:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(theirs.serve_tcp, moody, PORT, handler_nursery=handlers))
            stream = await ours.open_tcp_stream(THEIRS, PORT)
            await stream.send_all(b"before")
            assert await stream.receive_some() == b"before"
            nursery.cancel_scope.cancel()
        with fails(errno.ECONNREFUSED):
            await ours.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"after")
        assert await stream.receive_some() == b"after"
        await stream.aclose()


async def test_cancelled_it_closes_its_connections_and_its_port(hosts: Hosts) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_tcp, moody, PORT)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"x")
        await stream.receive_some()
        nursery.cancel_scope.cancel()
    assert await stream.receive_some() == b""
    with fails(errno.ECONNREFUSED):
        await ours.open_tcp_stream(THEIRS, PORT)


async def test_a_port_in_use_is_an_error(hosts: Hosts) -> None:
    ours, _ = hosts
    await ours.open_tcp_listeners(PORT)
    with fails(errno.EADDRINUSE):
        await ours.serve_tcp(moody, PORT)
    with fails(errno.EADDRNOTAVAIL):
        await ours.serve_tcp(moody, 81, host=THEIRS)
    await ours.open_tcp_listeners(81, host=OURS)  # Nothing is left of the attempt.


NAME: ContextVar[str] = ContextVar("NAME", default="nobody's")


async def test_handlers_have_the_context_of_the_caller(hosts: Hosts) -> None:
    """As tasks that a nursery of the caller would start."""
    ours, theirs = hosts
    seen = []

    async def handler(stream: trio.SocketStream) -> None:
        seen.append(NAME.get())

    async def serve(*, task_status: trio.TaskStatus[object]) -> None:
        NAME.set("the caller's")
        await theirs.serve_tcp(handler, PORT, task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        for _ in range(2):
            stream = await ours.open_tcp_stream(THEIRS, PORT)
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
    assert seen == ["the caller's", "the caller's"]


async def test_handlers_begin_in_the_order_of_the_connections(hosts: Hosts) -> None:
    ours, theirs = hosts
    begun = []

    class Handlers:
        """A nursery that notes for which connections it was asked."""

        def start_soon(
            self, function: Callable[..., Awaitable[object]], *args: object, name: str
        ) -> None:
            (stream,) = args
            assert isinstance(stream, TcpStream)
            begun.append(stream.socket.getpeername()[1])
            nursery.start_soon(function, stream, name=name)

    async with trio.open_nursery() as nursery:
        handlers = cast("trio.Nursery", Handlers())
        await nursery.start(partial(theirs.serve_tcp, moody, PORT, handler_nursery=handlers))
        streams = [await ours.open_tcp_stream(THEIRS, PORT) for _ in range(3)]
        await wait_all_tasks_blocked()
        assert begun == [stream.socket.getsockname()[1] for stream in streams]
        nursery.cancel_scope.cancel()


async def test_a_handler_nursery_that_is_closed_ends_the_service_and_resets_the_connection(
    hosts: Hosts,
) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as closed:
        pass
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[object]) -> None:
            with pytest.raises(ExceptionGroup) as caught:
                await theirs.serve_tcp(moody, PORT, handler_nursery=closed, task_status=task_status)
            assert caught.group_contains(RuntimeError, match="closed")

        await nursery.start(serve)
        with pytest.raises((ConnectionResetError, trio.BrokenResourceError)):
            await (await ours.open_tcp_stream(THEIRS, PORT)).receive_some()
    with fails(errno.ECONNREFUSED):
        await ours.open_tcp_stream(THEIRS, PORT)


async def test_a_listener_that_is_served_cannot_be_accepted_from_and_can_be_closed(
    hosts: Hosts,
) -> None:
    _, theirs = hosts
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[list[TcpListener]]) -> None:
            with pytest.raises(ExceptionGroup) as caught:
                await theirs.serve_tcp(moody, PORT, task_status=task_status)
            assert caught.group_contains(trio.ClosedResourceError)

        (listener,) = await nursery.start(serve)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await listener.accept()
        await listener.aclose()


async def test_streams_have_the_options_that_trios_have_and_listeners_their_own(
    hosts: Hosts,
) -> None:
    ours, theirs = hosts
    options = [trio.socket.TCP_NODELAY, trio.socket.TCP_NOTSENT_LOWAT]

    def of(stream: TcpStream | trio.SocketStream | TcpListener) -> list[int]:
        sock = stream.socket
        return [int(sock.getsockopt(trio.socket.IPPROTO_TCP, option)) for option in options]

    served: list[TcpStream] = []

    async def handler(stream: TcpStream) -> None:
        served.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(theirs.serve_tcp, handler, PORT)
        client = await ours.open_tcp_stream(THEIRS, PORT)
        await wait_all_tasks_blocked()
        sock = ours.socket()
        await sock.connect((THEIRS, PORT))
        assert of(client) == of(served[0]) == of(trio.SocketStream(sock)) == [1, 1 << 14]
        assert of(listener) == [0, 0]
        nursery.cancel_scope.cancel()
