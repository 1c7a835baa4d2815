"""Urgent data at the socket (RFC 6093): sent, heard of, and read in line or apart."""

from __future__ import annotations

import ast
import errno
from pathlib import Path
from socket import MSG_OOB, SHUT_WR, SO_OOBINLINE, SOL_SOCKET
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

import tunstack
from tests.socket.network import connected, fails, host_and_peer, host_pair, listening
from tunstack.tcp.segment import ACK, RST, URG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack import Socket

Pair = tuple["Socket", "Socket"]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Both ends of a connection between two hosts."""
    async with host_pair() as (ours, theirs):
        yield await connected(ours, theirs)


def out_of_line(sock: Socket) -> None:
    sock.setsockopt(SOL_SOCKET, SO_OOBINLINE, 0)


@pytest.mark.rfc("MUST-30")
@pytest.mark.rfc("MUST-32")
@pytest.mark.rfc("MUST-33")
async def test_urgent_data_is_announced_and_read_in_line(pair: Pair) -> None:
    client, server = pair
    assert server.getsockopt(SOL_SOCKET, SO_OOBINLINE) == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_urgent)
        await wait_all_tasks_blocked()
        await client.send(b"stop", MSG_OOB)
    assert server.urgent_remaining == 4
    await client.send(b" and go")
    heard = b""
    while server.urgent_remaining:
        assert server.at_mark() == (heard == b"sto")
        heard += await server.recv(100)
    assert heard == b"stop and go"
    assert not server.at_mark()


@pytest.mark.rfc("MUST-32")
async def test_each_announcement_is_reported_once(pair: Pair) -> None:
    client, server = pair
    for word in (b"one", b"two"):
        await client.send(word, MSG_OOB)
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            await server.wait_urgent()
        with trio.move_on_after(0.01) as scope:
            await server.wait_urgent()
        assert scope.cancelled_caught


async def test_out_of_line_the_octet_comes_when_it_is_asked_for(pair: Pair) -> None:
    client, server = pair
    out_of_line(server)
    await client.send(b"ab!", MSG_OOB)
    await client.send(b"cd")
    await wait_all_tasks_blocked()
    with assert_checkpoints():
        assert await server.recv(10, MSG_OOB) == b"!"
    assert await server.recv(100) == b"ab"
    assert server.at_mark()
    assert await server.recv(100) == b"cd"
    with fails(errno.EINVAL):
        await server.recv(1, MSG_OOB)


async def test_it_is_waited_for_once_it_is_announced() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        out_of_line(listener)
        await peer.connect()
        server, _ = await listener.accept()
        with fails(errno.EINVAL):
            await server.recv(1, MSG_OOB)
        peer.send(ACK | URG, up=3)
        await server.wait_urgent()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def asking() -> None:
                assert await server.recv(1, MSG_OOB) == b"!"

            await wait_all_tasks_blocked()
            peer.send(ACK, b"ab!")
        assert await server.recv(100) == b"ab"


@pytest.mark.parametrize("turns", range(3))
async def test_the_question_and_the_announcement_may_cross(turns: int) -> None:
    """There is none, or it is waited for; but ``b""`` is the end, and that has not come."""
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        out_of_line(listener)
        await peer.connect()
        server, _ = await listener.accept()
        peer.send(ACK | URG, up=1)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        with trio.move_on_after(1), fails(errno.EINVAL):
            await server.recv(1, MSG_OOB)


async def test_who_reads_is_not_disturbed_by_it(pair: Pair) -> None:
    client, server = pair
    out_of_line(server)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def reading() -> None:
            assert await server.recv(100) == b"data"

        await wait_all_tasks_blocked()
        await client.send(b"!", MSG_OOB)
        await wait_all_tasks_blocked()
        assert not server.is_readable()
        assert await server.recv(1, MSG_OOB) == b"!"
        await client.send(b"data")


async def test_an_abort_beside_a_reader(pair: Pair) -> None:
    """What it is for: a word that overtakes what the reader has not got to."""
    client, server = pair
    await client.send(bytes(100_000))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def watching() -> None:
            await server.wait_urgent()
            while server.urgent_remaining > 1:
                assert await server.recv(server.urgent_remaining - 1) != b""
            assert await server.recv(1) == b"\xf2"

        await client.send(b"\xf2", MSG_OOB)


@pytest.mark.parametrize("how", ["end", "reset", "close"])
async def test_nothing_urgent_comes_after_the_end(how: str) -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        server, _ = await listener.accept()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def waiting() -> None:
                if how == "close":
                    with pytest.raises(trio.ClosedResourceError):
                        await server.wait_urgent()
                else:
                    with fails(errno.ENOTCONN):
                        await server.wait_urgent()

            await wait_all_tasks_blocked()
            if how == "close":
                server.abort()
            else:
                peer.send(ACK | 0x01 if how == "end" else RST)


async def test_there_is_nothing_urgent_without_a_connection() -> None:
    async with host_and_peer() as (host, _):
        sock = host.socket()
        with fails(errno.ENOTCONN):
            await sock.wait_urgent()
        with fails(errno.ENOTCONN):
            sock.at_mark()
        with fails(errno.ENOTCONN):
            _ = sock.urgent_remaining


async def test_one_task_waits_for_it(pair: Pair) -> None:
    _, server = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_urgent)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await server.wait_urgent()
        nursery.cancel_scope.cancel()


async def test_after_our_own_end_nothing_is_urgent(pair: Pair) -> None:
    client, _ = pair
    client.shutdown(SHUT_WR)
    with fails(errno.EPIPE):
        await client.send(b"!", MSG_OOB)


@pytest.mark.rfc("SHLD-13")
def test_what_is_new_does_not_use_it() -> None:
    """Nothing in the package or in the examples sends urgent data of its own accord."""
    root = Path(tunstack.__file__).parent
    names = {
        path.relative_to(root.parent): {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        for folder in (root, root.parent / "examples")
        for path in folder.rglob("*.py")
    }
    assert {str(path) for path, used in names.items() if "MSG_OOB" in used} == {
        "tunstack/socket/datagram.py",  # It refuses it.
        "tunstack/socket/transfer.py",
    }
