"""`Host.serve_tcp`: a handler that fails takes its own connection with it, and no other."""

from __future__ import annotations

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, PORT, THEIRS, fails, host_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
        await nursery.start(theirs.serve_tcp, moody, PORT)
        doomed, other = [await ours.open_tcp_stream(THEIRS, PORT) for _ in range(2)]
        await other.send_all(b"before")
        assert await other.receive_some() == b"before"
        await doomed.send_all(word)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await doomed.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        await other.send_all(b"after")
        assert await other.receive_some() == b"after"
        assert len(theirs.connections()) == 1
        await ours.open_tcp_stream(THEIRS, PORT)
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tunstack", logging.ERROR)
    assert str(PORT) in record.getMessage()
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
