"""How connections end: half by half, at once, or because the network says so."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

import pytest
import trio
from trio.socket import SHUT_RD, SHUT_RDWR, SHUT_WR, SO_ERROR, SO_LINGER, SOL_SOCKET
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import (
    PORT,
    SMALL,
    connected,
    fails,
    fill,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)
from tunstack.tcp.segment import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.socket.network import Peer
    from tunstack import Host, Socket

Pair = tuple["Socket", "Socket"]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Both ends of a connection between two hosts."""
    async with host_pair() as (ours, theirs):
        yield await connected(ours, theirs)


async def accepted(host: Host, peer: Peer) -> Socket:
    """Our end of a connection that the peer opened."""
    listener = await listening(host)
    await peer.connect(mss=1460)
    server, _ = await listener.accept()
    listener.close()
    return server


# Each half on its own


async def test_each_half_closes_on_its_own(pair: Pair) -> None:
    client, server = pair
    client.shutdown(SHUT_WR)
    assert await server.recv(100) == b""
    for word in (b"one", b"two"):
        await server.send(word)
        assert await client.recv(100) == word
    with fails(errno.EPIPE):
        await client.send(b"x")
    server.shutdown(SHUT_WR)
    assert await client.recv(100) == b""
    client.shutdown(SHUT_WR)  # Again, and no matter.


async def test_both_halves_at_once(pair: Pair) -> None:
    for sock in pair:
        sock.shutdown(SHUT_WR)
    for sock in pair:
        assert await sock.recv(100) == b""
        sock.close()


async def test_shut_down_for_reading_it_hands_out_what_there_is_and_waits_for_nothing(
    pair: Pair,
) -> None:
    """As on Linux: the peer notices nothing."""
    client, server = pair
    await client.send(b"unread")
    await wait_all_tasks_blocked()
    server.shutdown(SHUT_RD)
    assert await server.recv(100) == b"unread"
    assert await server.recv(100) == b""
    await client.send(b"more")
    await trio.sleep(1)  # Nagle's algorithm has it wait for the delayed ACK.
    assert await server.recv(100) == b"more"
    assert await server.recv(100) == b""
    await server.send(b"and back")
    assert await client.recv(100) == b"and back"


async def test_shut_down_for_reading_and_closed_with_data_unread_it_resets(pair: Pair) -> None:
    client, server = pair
    server.shutdown(SHUT_RD)
    await client.send(b"unread")
    await wait_all_tasks_blocked()
    server.close()
    with fails(errno.ECONNRESET):
        await client.recv(1)


async def test_shutting_down_wakes_who_reads(pair: Pair) -> None:
    _, server = pair
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def reading() -> None:
            assert await server.recv(1) == b""

        await wait_all_tasks_blocked()
        server.shutdown(SHUT_RD)


async def test_shutting_down_wakes_who_waits_to_send() -> None:
    async with host_pair() as (ours, theirs):
        client, _ = await connected(ours, theirs, buffer=SMALL)
        await fill(client)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def sending() -> None:
                with fails(errno.EPIPE):
                    await client.send(b"x")

            await wait_all_tasks_blocked()
            client.shutdown(SHUT_WR)


async def test_shut_down_both_ways(pair: Pair) -> None:
    client, server = pair
    client.shutdown(SHUT_RDWR)
    assert client.did_shutdown_SHUT_WR
    assert await client.recv(1) == await server.recv(1) == b""
    with fails(errno.EPIPE):
        await client.send(b"x")
    with fails(errno.EINVAL):
        client.shutdown(7)


async def test_what_was_sent_before_the_end_arrives() -> None:
    """Though the socket is closed, and its last data waits for a reader who takes his time."""
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        total = await fill(client)
        client.close()
        await trio.sleep(30)
        assert await read_to_end(server) == bytes(total)
        server.close()
        await trio.sleep(1)
        assert [info.state for info in ours.connections()] == ["TIME-WAIT"]
        assert theirs.connections() == []


# At once


@pytest.mark.rfc("SHLD-3")
async def test_unread_data_at_close_resets(pair: Pair) -> None:
    """RFC 9293 SHLD-3: the peer learns that what it sent was not read."""
    client, server = pair
    await client.send(b"unread")
    await wait_all_tasks_blocked()
    server.close()
    with fails(errno.ECONNRESET):
        await client.recv(1)


@pytest.mark.rfc("SHLD-3")
async def test_data_after_close_is_answered_with_a_reset() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        server.close()
        assert (await peer.segment()).flags == FIN | ACK
        peer.send()
        peer.send(ACK, b"nobody reads this")
        reset = await peer.segment()
        assert (reset.flags & RST, reset.seq) == (RST, peer.expected)
        assert host.connections() == []
        peer.send(ACK, b"nor this")
        assert (await peer.segment()).flags == RST


async def test_linger_0_resets(pair: Pair) -> None:
    client, server = pair
    client.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    await client.send(b"lost?")
    client.close()
    assert await server.recv(100) == b"lost?"
    with fails(errno.ECONNRESET):
        await server.recv(100)


@pytest.mark.parametrize("linger", [(0, 0), (1, 10)])
async def test_any_other_linger_does_not(pair: Pair, linger: tuple[int, int]) -> None:
    client, server = pair
    client.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", *linger))
    client.close()
    assert await server.recv(1) == b""


async def test_abort_resets(pair: Pair) -> None:
    client, server = pair
    client.abort()
    assert client.fileno() == -1
    with fails(errno.ECONNRESET):
        await server.recv(1)
    client.abort()  # Again, and no matter.


@pytest.mark.rfc("MUST-12")
async def test_a_reset_is_raised_once_and_then_end_of_stream() -> None:
    """As on Linux: ECONNRESET, then the end of the stream, and EPIPE."""
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        peer.send(ACK, b"data")
        peer.send(RST)
        assert await server.recv(100) == b"data"
        with fails(errno.ECONNRESET):
            await server.recv(100)
        assert await server.recv(100) == b""
        with fails(errno.EPIPE):
            await server.send(b"x")
        with fails(errno.ENOTCONN):
            server.getpeername()
        with fails(errno.ENOTCONN):
            server.shutdown(SHUT_WR)


async def test_a_reset_is_raised_by_send() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        peer.send(RST)
        await wait_all_tasks_blocked()
        with fails(errno.ECONNRESET):
            await server.send(b"x")
        with fails(errno.EPIPE):
            await server.send(b"x")


async def test_so_error_reports_once() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        assert server.getsockopt(SOL_SOCKET, SO_ERROR) == 0
        peer.send(RST)
        await wait_all_tasks_blocked()
        assert server.getsockopt(SOL_SOCKET, SO_ERROR) == errno.ECONNRESET
        assert server.getsockopt(SOL_SOCKET, SO_ERROR) == 0
        assert await server.recv(1) == b""


@pytest.mark.rfc("MUST-20", "MUST-21", "5482:3.1")
async def test_a_silent_peer_times_out() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        server.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_USER_TIMEOUT, 5000)
        await server.send(b"is anybody there?")
        with fails(errno.ETIMEDOUT):
            await server.recv(1)
        assert trio.current_time() == pytest.approx(5)
        assert host.connections() == []


@pytest.mark.rfc("MUST-20", "SHLD-11")
async def test_without_a_user_timeout_it_takes_linux_time() -> None:
    """RFC 9293 SHLD-11: 100 s at the least; what 15 retransmissions add up to."""
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        await server.send(b"is anybody there?")
        with fails(errno.ETIMEDOUT):
            await server.recv(1)
        assert 920 < trio.current_time() < 930


@pytest.mark.rfc("MUST-36", "MUST-37")
async def test_a_zero_window_is_probed_for_as_long_as_the_peer_answers() -> None:
    """RFC 9293 MUST-37."""
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        total = await fill(client)
        await trio.sleep(5000)
        assert client.tcp_info().state == "ESTABLISHED"
        assert ours.statistics()["window_probe"] > 10
        client.shutdown(SHUT_WR)
        assert await read_to_end(server) == bytes(total)


# Closed


async def test_closing_is_final_and_idempotent(pair: Pair) -> None:
    client, _ = pair
    assert client.fileno() != -1
    for _ in range(2):
        client.close()
        assert client.fileno() == -1


async def test_with_closes() -> None:
    async with host_pair() as (ours, _):
        with ours.socket() as sock:
            assert sock.fileno() != -1
        assert sock.fileno() == -1


async def test_descriptors_are_unique_and_not_real_ones(pair: Pair) -> None:
    client, server = pair
    assert client.fileno() != server.fileno()
    assert min(client.fileno(), server.fileno()) > 1 << 20
    for call in (client.detach, client.dup):
        with fails(errno.EOPNOTSUPP):
            call()
    assert not client.get_inheritable()
    client.set_inheritable(False)
    with fails(errno.EOPNOTSUPP):
        client.set_inheritable(True)


AFTER_CLOSE: list[Callable[[Socket], object]] = [
    lambda sock: sock.recv(1),
    lambda sock: sock.recv_into(bytearray(1)),
    lambda sock: sock.recvfrom(1),
    lambda sock: sock.recvmsg(1),
    lambda sock: sock.send(b"x"),
    lambda sock: sock.sendto(b"x", ("198.51.100.1", 1)),
    lambda sock: sock.sendmsg([b"x"]),
    lambda sock: sock.wait_writable(),
    lambda sock: sock.accept(),
    lambda sock: sock.bind(("", 0)),
    lambda sock: sock.connect(("198.51.100.1", 1)),
    lambda sock: sock.listen(),
    lambda sock: sock.getsockname(),
    lambda sock: sock.getpeername(),
    lambda sock: sock.getsockopt(SOL_SOCKET, SO_ERROR),
    lambda sock: sock.setsockopt(SOL_SOCKET, SO_LINGER, bytes(8)),
    lambda sock: sock.shutdown(SHUT_WR),
    lambda sock: sock.is_readable(),
    lambda sock: sock.tcp_info(),
]


@pytest.mark.parametrize("call", AFTER_CLOSE)
async def test_after_close_every_call_is_ebadf(
    pair: Pair, call: Callable[[Socket], Awaitable[object]]
) -> None:
    client, _ = pair
    client.close()
    with fails(errno.EBADF):
        await call(client)


BLOCKED: list[Callable[[Socket], Awaitable[object]]] = [
    lambda sock: sock.recv(1),
    lambda sock: sock.recv_into(bytearray(1)),
    lambda sock: sock.recvmsg(1),
    lambda sock: sock.send(b"x"),
    lambda sock: sock.sendmsg([b"x"]),
    lambda sock: sock.wait_writable(),
]


@pytest.mark.parametrize("call", BLOCKED)
@pytest.mark.parametrize("end", ["close", "abort"])
async def test_closing_wakes_who_is_blocked(
    call: Callable[[Socket], Awaitable[object]], end: str
) -> None:
    async with host_pair() as (ours, theirs):
        client, _ = await connected(ours, theirs, buffer=SMALL)
        await fill(client)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def blocked() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await call(client)

            await wait_all_tasks_blocked()
            getattr(client, end)()


@pytest.mark.parametrize("call", BLOCKED)
async def test_a_reset_wakes_who_is_blocked(call: Callable[[Socket], Awaitable[object]]) -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        await fill(client)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def blocked() -> None:
                if call is BLOCKED[-1]:
                    await call(client)  # What there is to know, `send` tells.
                    return
                with fails(errno.ECONNRESET):
                    await call(client)

            await wait_all_tasks_blocked()
            server.abort()


async def test_streams_distinguish_our_close_from_network_errors(pair: Pair) -> None:
    client, server = map(trio.SocketStream, pair)
    server.socket.close()
    await client.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError) as caught:  # noqa: PT012
        while True:
            await client.send_all(b"x")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.ECONNRESET, errno.EPIPE)
    await client.aclose()
    for call in (client.send_all(b"x"), client.receive_some(), client.send_eof()):
        with pytest.raises(trio.ClosedResourceError):
            await call


@pytest.mark.rfc("MUST-13")
async def test_time_wait_and_the_last_fin_outlive_aclose() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        await trio.SocketStream(server).aclose()
        fin = await peer.segment()
        again = await peer.segment()  # Nobody has acknowledged it.
        assert (fin.flags, again.flags) == (FIN | ACK, FIN | ACK)
        assert fin.seq == again.seq
        peer.send(FIN | ACK)
        assert (await peer.segment()).ack == peer.nxt
        assert [info.state for info in host.connections()] == ["TIME-WAIT"]
        await trio.sleep(30)
        peer.link.send([peer.packet(FIN | ACK, seq=peer.nxt - 1)])  # Our ACK of it was lost.
        assert (await peer.segment()).ack == peer.nxt
        await trio.sleep(59)
        assert [info.state for info in host.connections()] == ["TIME-WAIT"]
        await trio.sleep(2)
        assert host.connections() == []


@pytest.mark.rfc("MAY-2")
async def test_a_new_connection_from_the_same_port_takes_the_place_of_time_wait() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        server, _ = await listener.accept()
        server.close()
        await peer.segment()
        peer.send(FIN | ACK)
        last = await peer.segment()
        peer.nxt += 10_000
        peer.send(SYN)
        first = await peer.segment()
        assert first.flags == SYN | ACK
        # Its numbers lie beyond all that the old one used, or its late packets would be taken.
        assert 1 << 16 < (first.seq - last.seq) % 2**32 < 1 << 31
        peer.send()
        again, address = await listener.accept()
        assert address[1] == PORT
        assert [info.state for info in host.connections()] == ["ESTABLISHED"]
        peer.send(ACK, b"new")
        assert await again.recv(100) == b"new"
