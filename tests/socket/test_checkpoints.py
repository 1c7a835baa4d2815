"""Every call that succeeds is a checkpoint, whether it had to wait or not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from tests.socket.network import PORT, THEIRS, connected, host_pair, listening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tunstack import Socket


async def test_opening_and_accepting() -> None:
    async with host_pair() as (ours, theirs):
        listener, client = await listening(theirs), ours.socket()
        with assert_checkpoints():
            await client.bind(("", 0))
        with assert_checkpoints():
            await client.connect((THEIRS, PORT))
        await wait_all_tasks_blocked()
        with assert_checkpoints():  # At once.
            await listener.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_later, listener)
            await wait_all_tasks_blocked()
            await ours.socket().connect((THEIRS, PORT))
        with assert_checkpoints():
            await theirs.open_tcp_listeners(81)
        with assert_checkpoints():
            stream = await ours.open_tcp_stream(THEIRS, 81)
        with assert_checkpoints():
            await stream.aclose()


async def accept_later(listener: Socket) -> None:
    with assert_checkpoints():
        await listener.accept()


CALLS: list[Callable[[Socket], Awaitable[object]]] = [
    lambda sock: sock.recv(1),
    lambda sock: sock.recv(0),
    lambda sock: sock.recv_into(bytearray(1)),
    lambda sock: sock.recvfrom(1),
    lambda sock: sock.recvfrom_into(bytearray(1)),
    lambda sock: sock.recvmsg(1),
    lambda sock: sock.recvmsg_into([bytearray(1)]),
    lambda sock: sock.recv(1, socket.MSG_PEEK),
    lambda sock: sock.recv(1, socket.MSG_DONTWAIT),
    lambda sock: sock.send(b"x"),
    lambda sock: sock.send(b""),
    lambda sock: sock.sendto(b"x", (THEIRS, PORT)),
    lambda sock: sock.sendmsg([b"x", b"y"]),
    lambda sock: sock.wait_writable(),
]


@pytest.mark.parametrize("call", CALLS)
async def test_transfer(call: Callable[[Socket], Awaitable[object]]) -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        await server.send(b"there is something to read")
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            await call(client)


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_that_is_cancelled_as_it_begins_does_nothing(
    call: Callable[[Socket], Awaitable[object]],
) -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        await server.send(b"word")
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(client)
        assert scope.cancelled_caught
        assert await client.recv(100) == b"word"
        client.close()
        assert await server.recv(100) == b""
