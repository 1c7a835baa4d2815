"""Passive opens: ports, listeners, and what waits in them."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import (
    OURS,
    PORT,
    THEIRS,
    connected,
    fails,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)
from tunstack import Host, State, memory_pair
from tunstack.tcp.segment import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from tunstack import Socket

OTHER = "198.51.100.130"
LINGER_0 = (trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
SHARED = (trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)


async def bound(host: Host, address: str, port: int, *, reuse: bool = False) -> Socket:
    sock = host.socket()
    if reuse:
        sock.setsockopt(*SHARED)
    await sock.bind((address, port))
    return sock


async def test_connections_are_accepted_in_the_order_in_which_they_opened() -> None:
    async with host_pair() as (ours, theirs):
        listener = await listening(theirs)
        clients = [ours.socket() for _ in range(5)]
        for client in clients:
            await client.connect((THEIRS, PORT))
        accepted = [(await listener.accept())[1] for _ in clients]
        assert accepted == [client.getsockname() for client in clients]


async def test_accept_waits_for_the_handshake_and_not_for_data() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        peer.host_port = PORT
        peer.send(SYN)
        assert (await peer.segment()).flags == SYN | ACK
        await wait_all_tasks_blocked()
        assert not listener.is_readable()
        peer.send()
        await wait_all_tasks_blocked()
        assert listener.is_readable()
        await listener.accept()


async def test_one_task_accepts_at_a_time() -> None:
    async with host_and_peer() as (host, _), trio.open_nursery() as nursery:
        listener = await listening(host)
        nursery.start_soon(listener.accept)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await listener.accept()
        nursery.cancel_scope.cancel()


async def test_a_cancelled_accept_loses_no_connection() -> None:
    async with host_pair() as (ours, theirs):
        listener = await listening(theirs)
        with trio.move_on_after(0.01):
            await listener.accept()
        client = ours.socket()
        await client.connect((THEIRS, PORT))
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.accept()
        assert scope.cancelled_caught
        assert (await listener.accept())[1] == client.getsockname()


async def test_closing_wakes_who_accepts() -> None:
    async with host_and_peer() as (host, _), trio.open_nursery() as nursery:
        listener = await listening(host)

        @nursery.start_soon
        async def accepting() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()

        await wait_all_tasks_blocked()
        listener.close()
        with fails(errno.EBADF):
            await listener.accept()


async def test_what_waits_in_a_listener_that_closes_is_reset() -> None:
    async with host_pair() as (ours, theirs):
        listener, client = await listening(theirs), ours.socket()
        await client.connect((THEIRS, PORT))
        listener.close()
        with fails(errno.ECONNRESET):
            await client.recv(1)
        assert theirs.connections() == []
        with fails(errno.ECONNREFUSED):
            await ours.socket().connect((THEIRS, PORT))


async def test_what_was_accepted_survives_its_listener() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)  # which closes the listener
        await client.send(b"still there?")
        assert await server.recv(100) == b"still there?"


async def test_a_connection_that_was_reset_is_accepted_and_raises_its_error() -> None:
    """As on Linux: the one who accepts learns what became of it from the socket."""
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        peer.send(ACK, b"last words")
        peer.send(RST)
        await wait_all_tasks_blocked()
        server, address = await listener.accept()
        assert address == (THEIRS, PORT)
        assert await server.recv(100) == b"last words"
        with fails(errno.ECONNRESET):
            await server.recv(100)


@pytest.mark.parametrize("backlog", [0, 3])
async def test_a_full_backlog_drops_and_the_client_succeeds_later(backlog: int) -> None:
    async with host_pair() as (ours, theirs):
        listener = await listening(theirs, backlog=backlog)
        clients = [ours.socket() for _ in range(backlog + 2)]
        async with trio.open_nursery() as nursery:
            for client in clients[:-1]:  # One more than the backlog, as on Linux.
                await client.connect((THEIRS, PORT))
            nursery.start_soon(clients[-1].connect, (THEIRS, PORT))
            await trio.sleep(0.5)
            assert clients[-1].tcp_info().state == "SYN-SENT"
            assert theirs.statistics()["tcp_backlog_full"] == 1
            await listener.accept()
        assert trio.current_time() == pytest.approx(1, abs=0.1)  # When it sent its SYN again.
        for client in clients[1:]:
            assert (await listener.accept())[1] == client.getsockname()


async def test_open_tcp_listeners_has_a_backlog_as_well() -> None:
    async with host_pair() as (ours, theirs):
        await theirs.open_tcp_listeners(PORT, backlog=1)
        for _ in range(2):
            await ours.open_tcp_stream(THEIRS, PORT)
        with trio.move_on_after(0.5) as scope:
            await ours.open_tcp_stream(THEIRS, PORT)
        assert scope.cancelled_caught


async def test_the_backlog_can_be_changed() -> None:
    async with host_pair() as (ours, theirs):
        listener = await listening(theirs, backlog=0)
        await ours.socket().connect((THEIRS, PORT))
        listener.listen(5)
        await ours.socket().connect((THEIRS, PORT))
        assert theirs.statistics()["tcp_backlog_full"] == 0


@pytest.mark.rfc("MUST-22")
async def test_a_half_open_connection_times_out() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        peer.host_port = PORT
        peer.send(SYN)
        await peer.segment()
        await trio.sleep(200)
        assert host.connections() == []
        assert not listener.is_readable()
        assert {answer.flags for answer in peer.segments()} == {SYN | ACK}


# Ports


async def test_port_0_is_a_free_one() -> None:
    async with host_and_peer() as (host, _):
        ports = [(await bound(host, "", 0)).getsockname()[1] for _ in range(5)]
        assert len(set(ports)) == 5
        assert all(32768 <= port < 61000 for port in ports)
        unbound = host.socket()
        unbound.listen()
        assert unbound.getsockname()[1] in range(32768, 61000)
        (listener,) = await host.open_tcp_listeners(0)
        assert listener.socket.getsockname()[1] != 0


@pytest.mark.rfc("MUST-41")
@pytest.mark.parametrize(
    ("first", "second", "reuse", "free"),
    [
        ("", "", (False, False), False),
        ("", OURS, (False, False), False),
        (OURS, "0.0.0.0", (False, False), False),
        (OURS, OURS, (False, False), False),
        (OURS, OURS, (True, False), False),
        (OURS, OURS, (False, True), False),
        (OURS, OURS, (True, True), True),
        ("", OURS, (True, True), True),
    ],
)
async def test_a_port_is_shared_only_by_those_who_all_say_so(
    first: str, second: str, reuse: tuple[bool, bool], free: bool
) -> None:
    async with host_and_peer() as (host, _):
        holder = await bound(host, first, PORT, reuse=reuse[0])
        if free:
            await bound(host, second, PORT, reuse=reuse[1])
        else:
            with fails(errno.EADDRINUSE):
                await bound(host, second, PORT, reuse=reuse[1])
            holder.close()
            await bound(host, second, PORT)


@pytest.mark.rfc("MUST-41")
async def test_only_one_listens() -> None:
    async with host_and_peer() as (host, _):
        one, other = [await bound(host, "", PORT, reuse=True) for _ in range(2)]
        one.listen()
        with fails(errno.EADDRINUSE):
            other.listen()
        with fails(errno.EADDRINUSE):
            await bound(host, "", PORT, reuse=True)
        with fails(errno.EADDRINUSE):
            await host.open_tcp_listeners(PORT)
        one.close()
        other.listen()


async def test_only_our_own_addresses_can_be_bound() -> None:
    async with host_and_peer() as (host, _):
        for address in (THEIRS, "198.51.100.3", "127.0.0.1", "198.51.100.255"):
            with fails(errno.EADDRNOTAVAIL):
                await bound(host, address, PORT)
        with fails(errno.EADDRNOTAVAIL):
            await host.open_tcp_listeners(PORT, host=THEIRS)


async def test_a_socket_is_bound_once() -> None:
    async with host_pair() as (ours, theirs):
        sock = await bound(ours, "", PORT)
        with fails(errno.EINVAL):
            await sock.bind(("", 81))
        client, _ = await connected(ours, theirs)
        with fails(errno.EINVAL):
            await client.bind(("", 81))
        with fails(errno.EINVAL):
            client.listen()


async def test_only_a_listener_accepts() -> None:
    async with host_and_peer() as (host, _):
        for sock in (host.socket(), await bound(host, "", PORT)):
            with fails(errno.EINVAL):
                await sock.accept()


@pytest.mark.parametrize("state", [State.ESTABLISHED, State.TIME_WAIT])
async def test_connections_hold_their_port_but_for_so_reuseaddr(state: State) -> None:
    async with host_pair() as (ours, theirs):
        listener, client = await listening(theirs), ours.socket()
        await client.connect((THEIRS, PORT))
        server, _ = await listener.accept()
        listener.close()
        if state is State.TIME_WAIT:
            server.close()
            await read_to_end(client)
            client.close()
            await wait_all_tasks_blocked(0.01)
        assert [info.state for info in theirs.connections()] == [state.value]
        with fails(errno.EADDRINUSE):
            await bound(theirs, "", PORT)
        again = await bound(theirs, "", PORT, reuse=True)
        again.listen()
        await ours.socket().connect((THEIRS, PORT))
        await again.accept()
        again.close()
        await theirs.open_tcp_listeners(PORT)  # It says so by itself.


@pytest.mark.rfc("MUST-13")
async def test_time_wait_ends_and_the_port_is_free() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        _, port = server.getsockname()
        server.close()
        await read_to_end(client)
        client.close()
        await trio.sleep(59)
        assert [info.state for info in theirs.connections()] == ["TIME-WAIT"]
        await trio.sleep(2)
        assert theirs.connections() == ours.connections() == []
        await bound(theirs, "", port)


@pytest.mark.rfc("MUST-43", "MUST-44")
async def test_a_listener_on_one_address_is_deaf_on_others() -> None:
    link, _ = memory_pair()
    async with Host(link, [f"{OURS}/25", f"{OTHER}/25"]) as host:
        (one,) = await host.open_tcp_listeners(PORT, host=OTHER)
        await host.open_tcp_stream(OTHER, PORT)
        assert (await one.accept()).socket.getsockname() == (OTHER, PORT)
        with fails(errno.ECONNREFUSED):
            await host.open_tcp_stream(OURS, PORT)
        (all_,) = await host.open_tcp_listeners(81)
        for address in (OURS, OTHER):
            await host.open_tcp_stream(address, 81)
            assert (await all_.accept()).socket.getsockname() == (address, 81)
        # Which of ours a connection comes from: the one in the remote's network.
        await host.open_tcp_listeners(82, host=OTHER)
        stream = await host.open_tcp_stream(OTHER, 82)
        assert stream.socket.getsockname()[0] == OTHER


async def test_accepted_connections_inherit_the_listeners_options() -> None:
    async with host_pair() as (ours, theirs):
        listener = theirs.socket()
        options = {
            (trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF): 9000,
            (trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF): 8000,
            (trio.socket.SOL_SOCKET, trio.socket.SO_KEEPALIVE): 1,
            (trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY): 1,
            (trio.socket.IPPROTO_TCP, trio.socket.TCP_NOTSENT_LOWAT): 7000,
            (trio.socket.IPPROTO_TCP, trio.socket.TCP_USER_TIMEOUT): 6000,
        }
        await listener.bind(("", PORT))
        listener.listen()
        for option, value in options.items():
            listener.setsockopt(*option, value)
        listener.setsockopt(*LINGER_0)
        await ours.socket().connect((THEIRS, PORT))
        server, _ = await listener.accept()
        for option, value in options.items():
            assert server.getsockopt(*option) == value
        assert server.getsockopt(*LINGER_0[:2], 8) == LINGER_0[2]


# TCP_DEFER_ACCEPT


async def defers(host: Host, seconds: int) -> Socket:
    listener = await listening(host)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)
    return listener


@pytest.mark.parametrize("flags", [ACK, ACK | FIN])
async def test_deferred_accept_waits_for_data(flags: int) -> None:
    """TCP_DEFER_ACCEPT: the ACK that would end the handshake needs data with it, or the end."""
    async with host_and_peer() as (host, peer):
        listener = await defers(host, 10)
        await peer.connect(mss=1460)
        await trio.sleep(0.5)
        assert not listener.is_readable()
        assert host.statistics()["tcp_deferred"] == 1
        peer.send(flags, b"" if flags & FIN else b"hello")
        server, _ = await listener.accept()
        assert await server.recv(100) == (b"" if flags & FIN else b"hello")


@pytest.mark.parametrize(("seconds", "number"), [(1, 1), (3, 2), (10, 4)])
async def test_a_connection_without_data_is_accepted_after_that_time(
    seconds: int, number: int
) -> None:
    """When its SYN,ACK was sent again so often as these seconds allow, and acknowledged again."""
    async with host_and_peer() as (host, peer):
        listener = await defers(host, seconds)
        await peer.connect(mss=1460)
        with trio.fail_after(100):
            for _ in range(number):
                assert not listener.is_readable()
                assert (await peer.segment()).flags == SYN | ACK
                peer.send()
            await listener.accept()
        assert trio.current_time() == pytest.approx(2**number - 1)
