"""Whoever still has an interest in a connection hears that data was lost, by whatever it asks."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import pytest
import trio
from trio.socket import SHUT_WR, SO_ERROR, SOL_SOCKET
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import PORT, THEIRS, accepted, fails, host_and_peer
from tunstack.tcp.segment import ACK, FIN, RST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.socket.network import Peer
    from tunstack import Socket

DATA: Final = bytes(1000)
STATES: Final = ("ESTABLISHED", "FIN-WAIT-1", "CLOSE-WAIT", "CLOSING", "LAST-ACK")


async def take_error(sock: Socket) -> None:
    number = sock.getsockopt(SOL_SOCKET, SO_ERROR)
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == 0  # It is told once.
    raise OSError(number, "SO_ERROR")


async def send(sock: Socket) -> None:
    await sock.send(b"more")


ASKING: Final[dict[str, Callable[[Socket], Awaitable[object]]]] = {
    "SO_ERROR": take_error,
    "wait_acknowledged": lambda sock: sock.wait_acknowledged(),
    "send": send,
}


async def into(state: str, sock: Socket, peer: Peer) -> None:
    """Bring a connection with 1,000 octets on their way into `state`."""
    await sock.send(DATA)
    await wait_all_tasks_blocked()
    una = peer.expected
    if state in ("CLOSE-WAIT", "LAST-ACK"):
        peer.send(FIN | ACK)
        await wait_all_tasks_blocked()
    if state not in ("ESTABLISHED", "CLOSE-WAIT"):
        sock.shutdown(SHUT_WR)
        await wait_all_tasks_blocked()
    if state == "CLOSING":
        peer.send(FIN | ACK, ack=una)
        await wait_all_tasks_blocked()
    assert sock.tcp_info().state == state


@pytest.mark.parametrize("waiting", [False, True], ids=["asks later", "waits"])
@pytest.mark.parametrize("way", ASKING)
@pytest.mark.parametrize("state", STATES)
async def test_a_reset_of_what_the_peer_did_not_acknowledge(
    state: str, way: str, waiting: bool
) -> None:
    async with host_and_peer() as (host, peer):
        sock = await accepted(host, peer)
        await into(state, sock, peer)
        heard: list[int | None] = []

        async def ask() -> None:
            try:
                await ASKING[way](sock)
            except OSError as error:
                heard.append(error.errno)

        async with trio.open_nursery() as nursery:
            if waiting and way == "wait_acknowledged":
                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
            peer.send(RST)
            await wait_all_tasks_blocked()
            if not heard:
                nursery.start_soon(ask)
        assert heard == [errno.ECONNRESET]


@pytest.mark.parametrize("state", ["ESTABLISHED", "FIN-WAIT-1"])
@pytest.mark.parametrize("first", ["recv", "SO_ERROR"])
async def test_wait_acknowledged_raises_though_recv_has_raised(state: str, first: str) -> None:
    """`recv` and SO_ERROR tell it once; that all has arrived, nobody says after that either."""
    async with host_and_peer() as (host, peer):
        sock = await accepted(host, peer)
        await into(state, sock, peer)

        async def read() -> None:
            with fails(errno.ECONNRESET):
                await sock.recv(1)

        async def wait() -> None:
            with fails(errno.ECONNRESET):
                await sock.wait_acknowledged()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            if first == "recv":
                nursery.start_soon(read)
            await wait_all_tasks_blocked()
            peer.send(RST)
            await wait_all_tasks_blocked()
            if first == "SO_ERROR":
                assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.ECONNRESET
        await wait()
        assert await sock.recv(1) == b""
        with fails(errno.EPIPE):
            await sock.send(b"x")


@pytest.mark.parametrize("state", ["CLOSING", "LAST-ACK"])
async def test_the_end_of_the_stream_is_waited_for_as_well(state: str) -> None:
    """All data is acknowledged, the FIN is not: that is no error, but it is not what it awaits."""
    async with host_and_peer() as (host, peer):
        sock = await accepted(host, peer)
        await into(state, sock, peer)
        peer.expected += len(DATA)
        peer.send()
        await wait_all_tasks_blocked()
        peer.send(RST)
        await wait_all_tasks_blocked()
        assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == 0
        with fails(errno.ECONNRESET):
            await sock.wait_acknowledged()


async def test_a_connect_that_another_task_shuts_down_has_not_succeeded() -> None:
    """As on Linux."""
    async with host_and_peer() as (host, peer):
        sock = host.socket()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def connect() -> None:
                with fails(errno.ECONNABORTED):
                    await sock.connect((THEIRS, PORT))

            await peer.segment()
            sock.shutdown(SHUT_WR)
