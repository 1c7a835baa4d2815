"""Urgent data between a socket of ours and one of the kernel's, both ways (RFC 6093)."""

from __future__ import annotations

from socket import MSG_OOB, SO_OOBINLINE, SOL_SOCKET
from typing import TYPE_CHECKING

import pytest
import trio

from tests.kernel.sockets import ROLES, SMALL, connected, exactly

if TYPE_CHECKING:
    from tests.kernel.judge import Judge
    from tests.kernel.sockets import Role
    from tunstack import Namespace

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.both_modes,
    pytest.mark.both_families,
    pytest.mark.parametrize("role", ROLES),
]


@pytest.mark.rfc("MUST-30", "MUST-62", "6093:3.1")
async def test_the_kernel_finds_our_urgent_octet(ns: Namespace, judge: Judge, role: Role) -> None:
    """And where it stands, if it was asked to leave it in the stream (SIOCATMARK)."""
    async with judge.open_host() as host, connected(ns, host, role) as (ours, theirs):
        await ours.send(b"before")
        await ours.send(b"!", MSG_OOB)
        await ours.send(b"after")
        await ours.wait_acknowledged()
        assert await theirs.recv(1, MSG_OOB) == b"!"
        assert await theirs.recv(100) == b"before"
        assert await theirs.recv(100) == b"after"
        theirs.setsockopt(SOL_SOCKET, SO_OOBINLINE, 1)
        await ours.send(b"stop", MSG_OOB)
        await ours.send(b" and go")
        await ours.wait_acknowledged()
        assert await theirs.recv(100) == b"sto"
        assert await theirs.recv(100) == b"p and go"
    await judge.acquit()


@pytest.mark.rfc("MUST-30", "MUST-32", "MUST-33", "MUST-62", "6093:3.1")
async def test_the_kernels_urgent_data_is_announced_and_read_in_line(
    ns: Namespace, judge: Judge, role: Role
) -> None:
    async with judge.open_host() as host, connected(ns, host, role) as (ours, theirs):
        await theirs.send(b"before")
        await theirs.send(b"now!", MSG_OOB)
        await theirs.send(b"after")
        await ours.wait_urgent()
        heard = b""
        while ours.urgent_remaining > 1:
            heard += await ours.recv(100)
        assert heard == b"beforenow"
        assert ours.at_mark()
        assert heard + await exactly(ours, 6) == b"beforenow!after"
        assert ours.urgent_remaining == 0
        assert not ours.at_mark()
    await judge.acquit()


@pytest.mark.rfc("MUST-30")
async def test_the_kernels_urgent_octet_is_read_apart(
    ns: Namespace, judge: Judge, role: Role
) -> None:
    async with (
        judge.open_host(urgent_inline=False) as host,
        connected(ns, host, role) as (ours, theirs),
    ):
        await theirs.send(b"before")
        await theirs.send(b"!", MSG_OOB)
        await theirs.send(b"after")
        await ours.wait_urgent()
        assert await ours.recv(1, MSG_OOB) == b"!"
        assert await exactly(ours, 11) == b"beforeafter"
    await judge.acquit()


@pytest.mark.rfc("MUST-66", "MUST-32")
async def test_the_kernel_announces_what_our_closed_window_keeps_out(
    ns: Namespace, judge: Judge, role: Role
) -> None:
    async with (
        judge.open_host(receive_buffer=SMALL, rto_min=0) as host,
        connected(ns, host, role) as (ours, theirs),
    ):
        stream = trio.SocketStream(theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(100_000))
            with trio.fail_after(30):
                while ours.tcp_info().unread < SMALL:  # noqa: ASYNC110
                    await trio.sleep(0.01)
                await theirs.send(b"!", MSG_OOB)
                await ours.wait_urgent()
            assert ours.urgent_remaining > SMALL
            ours.abort()
            nursery.cancel_scope.cancel()


@pytest.mark.rfc("MUST-31")
async def test_the_kernel_takes_urgent_data_of_any_length(
    ns: Namespace, judge: Judge, role: Role
) -> None:
    size = 300_000
    async with (
        judge.open_host() as host,
        connected(ns, host, role, ours=size) as (ours, theirs),
    ):
        theirs.setsockopt(SOL_SOCKET, SO_OOBINLINE, 1)
        assert await ours.send(bytes(size), MSG_OOB) == size
        assert await exactly(theirs, size) == bytes(size)
        await ours.wait_acknowledged()
    await judge.acquit()


@pytest.mark.rfc("MUST-31", "MUST-33")
async def test_the_kernels_urgent_data_may_be_of_any_length(
    ns: Namespace, judge: Judge, role: Role
) -> None:
    """The pointer reaches 65,535 octets ahead; what the kernel sends later moves it on."""
    size = 300_000

    async def send_urgently(sock: trio.socket.SocketType) -> None:
        left = size
        while left:
            left -= await sock.send(bytes(left), MSG_OOB)

    async with judge.open_host() as host, connected(ns, host, role) as (ours, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_urgently, theirs)
            await ours.wait_urgent()
            assert ours.urgent_remaining > 0
            assert await exactly(ours, size - 1) == bytes(size - 1)
            await ours.wait_urgent()  # It has moved on since.
        assert ours.urgent_remaining == 1
        assert ours.at_mark()
        assert await ours.recv(100) == b"\0"
        assert ours.urgent_remaining == 0
    await judge.acquit()
