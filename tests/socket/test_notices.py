"""What a program may wait for beside data: that all arrived, and that something is wrong."""

from __future__ import annotations

import errno
from dataclasses import replace
from socket import IPPROTO_TCP, SHUT_WR, SO_ERROR, SOL_SOCKET, TCP_USER_TIMEOUT
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from tests.socket.network import SMALL, accepted, connected, fails, fill, host_and_peer, host_pair
from tunstack.ip.icmp import DESTINATION_UNREACHABLE, HOST_UNREACHABLE, IcmpMessage
from tunstack.tcp.segment import ACK, RST

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from tests.socket.network import Peer


async def unreachable(peer: Peer) -> None:
    """Tell the host that the segment which it has sent last did not arrive."""
    await peer.segment()
    assert peer.latest is not None
    quoted = replace(peer.latest, payload=bytes(peer.latest.payload[:8]))
    peer.send_icmp(IcmpMessage(DESTINATION_UNREACHABLE, HOST_UNREACHABLE, quoted=quoted))


# All that was sent


async def test_it_is_acknowledged_once_the_peer_has_it_all(autojump_clock: MockClock) -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        await fill(client)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def reading() -> None:
                while client.tcp_info().unacked or client.tcp_info().notsent:
                    await trio.sleep(1)
                    await server.recv(SMALL)

            await client.wait_acknowledged()
            assert client.tcp_info().unacked == client.tcp_info().notsent == 0
        with assert_checkpoints():
            await client.wait_acknowledged()


async def test_the_end_is_acknowledged_as_well() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        server.shutdown(SHUT_WR)
        await peer.segment()
        with trio.move_on_after(0.01) as scope:
            await server.wait_acknowledged()
        assert scope.cancelled_caught
        peer.send()
        await server.wait_acknowledged()
        assert server.tcp_info().state == "FIN-WAIT-2"


async def test_it_never_is_when_the_connection_breaks() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        await server.send(b"x")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def waiting() -> None:
                with fails(errno.ECONNRESET):
                    await server.wait_acknowledged()

            await wait_all_tasks_blocked()
            peer.send(RST)
        with fails(errno.ECONNRESET):
            await server.recv(1)  # It is still told to who reads.


# Soft errors


@pytest.mark.rfc("MUST-47")
@pytest.mark.rfc("MUST-56")
@pytest.mark.rfc("SHLD-25")
async def test_an_icmp_error_wakes_wait_soft_error() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        told: list[int | None] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def waiting() -> None:
                for _ in range(2):
                    told.append((await server.wait_soft_error()).errno)

            for _ in range(2):
                await server.send(b"x")
                await unreachable(peer)
                await wait_all_tasks_blocked()
                peer.send()
        assert told == [errno.EHOSTUNREACH] * 2
        peer.send(ACK, b"y")
        assert await server.recv(1) == b"y"


@pytest.mark.rfc("MUST-47")
async def test_an_earlier_soft_error_is_returned_once() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        await server.send(b"x")
        await unreachable(peer)
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            assert (await server.wait_soft_error()).errno == errno.EHOSTUNREACH
        with trio.move_on_after(0.01) as scope:
            await server.wait_soft_error()
        assert scope.cancelled_caught


@pytest.mark.rfc("SHLD-20")
async def test_who_does_not_ask_is_not_disturbed() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        for word in (b"one", b"two"):
            await server.send(word)
            await unreachable(peer)
            peer.send()
            await wait_all_tasks_blocked()
        peer.send(ACK, b"y")
        assert await server.recv(1) == b"y"
        assert server.getsockopt(SOL_SOCKET, SO_ERROR) == 0


@pytest.mark.rfc("MUST-47")
async def test_so_error_reports_it_once() -> None:
    """As on Linux."""
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        await server.send(b"x")
        await unreachable(peer)
        await wait_all_tasks_blocked()
        assert server.getsockopt(SOL_SOCKET, SO_ERROR) == errno.EHOSTUNREACH
        assert server.getsockopt(SOL_SOCKET, SO_ERROR) == 0


@pytest.mark.rfc("SHLD-9")
@pytest.mark.rfc("SHLD-10")
async def test_r1_is_reported_before_r2(autojump_clock: MockClock) -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        server.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, 60_000)
        begin = trio.current_time()
        await server.send(b"x")
        assert (await server.wait_soft_error()).errno == errno.ETIMEDOUT
        told_after = trio.current_time() - begin
        assert len(peer.segments()) == 1 + 3
        info = server.tcp_info()
        assert isinstance(info.soft_error, OSError)
        with fails(errno.ETIMEDOUT):
            await server.recv(1)
        assert told_after < 10 < trio.current_time() - begin == pytest.approx(60)


# Any of them


@pytest.mark.parametrize("name", ["wait_acknowledged", "wait_soft_error"])
async def test_there_is_nothing_to_wait_for_without_a_connection(name: str) -> None:
    async with host_and_peer() as (host, _):
        sock = host.socket()
        with fails(errno.ENOTCONN):
            await getattr(sock, name)()
        sock.close()
        with fails(errno.EBADF):
            await getattr(sock, name)()


@pytest.mark.parametrize("name", ["wait_acknowledged", "wait_soft_error"])
async def test_one_task_waits_and_is_woken_by_the_close(name: str) -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        await server.send(b"x")
        wait: Callable[[], object] = getattr(server, name)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def waiting() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await wait()  # type: ignore[misc]

            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await wait()  # type: ignore[misc]
            server.abort()


async def test_there_are_no_soft_errors_after_the_hard_one() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def waiting() -> None:
                with fails(errno.ENOTCONN):
                    await server.wait_soft_error()

            await wait_all_tasks_blocked()
            peer.send(RST)
