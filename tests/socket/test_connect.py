"""Active opens: what `connect` comes to, and how it fails."""

from __future__ import annotations

import errno
import socket
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import (
    OURS,
    OURS_PACKED,
    PORT,
    THEIRS,
    THEIRS_PACKED,
    connected,
    fails,
    host_and_peer,
    host_pair,
    listening,
)
from tunstack.ip import icmp
from tunstack.ip.datagram import TCP, Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.tcp.segment import ACK, RST, SYN

if TYPE_CHECKING:
    from tests.socket.network import Peer


async def test_both_ends_know_both_addresses() -> None:
    async with host_pair() as (ours, theirs):
        listener, client = await listening(theirs), ours.socket()
        await client.connect((THEIRS, PORT))
        server, address = await listener.accept()
        assert client.getpeername() == server.getsockname() == (THEIRS, PORT)
        assert server.getpeername() == client.getsockname() == address
        assert address[0] == OURS


async def test_it_returns_when_the_connection_is_established_and_not_before() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.connect, (THEIRS, PORT))
            await peer.segment()
            await wait_all_tasks_blocked()
            assert client.tcp_info().state == "SYN-SENT"
            with fails(errno.ENOTCONN):
                client.getpeername()
            peer.send(SYN | ACK)
        assert client.tcp_info().state == "ESTABLISHED"


async def test_refused_and_the_socket_may_try_again() -> None:
    async with host_pair() as (ours, theirs):
        client = ours.socket()
        with fails(errno.ECONNREFUSED):
            await client.connect((THEIRS, PORT))
        assert ours.connections() == []
        assert theirs.statistics()["tcp_refused"] == 1
        await listening(theirs)
        await client.connect((THEIRS, PORT))


@pytest.mark.rfc("MUST-22", "MUST-23")
async def test_nobody_answers() -> None:
    async with host_and_peer() as (host, peer):
        with fails(errno.ETIMEDOUT):
            await host.socket().connect((THEIRS, PORT))
        # RFC 9293 MUST-23: a SYN is repeated for three minutes at least.
        assert 180 <= trio.current_time() < 200
        syns = peer.segments()
        assert len(syns) > 5
        assert {(syn.seq, syn.flags) for syn in syns} == {(syns[0].seq, SYN)}
        assert host.connections() == []


def about(peer: Peer, seq: int, kind: int, code: int) -> IcmpMessage:
    """An ICMP error about the segment with sequence number `seq` that the host sent."""
    ports = peer.host_port.to_bytes(2, "big") + peer.port.to_bytes(2, "big")
    head = ports + seq.to_bytes(4, "big")
    return IcmpMessage(kind, code, quoted=Datagram(OURS_PACKED, THEIRS_PACKED, TCP, head))


@pytest.mark.rfc("MUST-54", "SHLD-26", "1122:3.2.2.1-3")
@pytest.mark.parametrize(
    ("kind", "code", "number"),
    [
        (icmp.DESTINATION_UNREACHABLE, 0, errno.ENETUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 1, errno.EHOSTUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 2, errno.ENOPROTOOPT),
        (icmp.DESTINATION_UNREACHABLE, 3, errno.ECONNREFUSED),
        (icmp.DESTINATION_UNREACHABLE, 5, errno.EOPNOTSUPP),
        (icmp.DESTINATION_UNREACHABLE, 6, errno.ENETUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 7, errno.EHOSTDOWN),
        (icmp.DESTINATION_UNREACHABLE, 8, errno.ENONET),
        (icmp.DESTINATION_UNREACHABLE, 13, errno.EHOSTUNREACH),
        (icmp.TIME_EXCEEDED, 0, errno.EHOSTUNREACH),
        (icmp.PARAMETER_PROBLEM, 0, errno.EPROTO),
    ],
)
async def test_icmp_says_that_it_cannot_be(kind: int, code: int, number: int) -> None:
    async with host_and_peer() as (host, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def attempt() -> None:
            with fails(number):
                await host.socket().connect((THEIRS, PORT))

        syn = await peer.segment()
        peer.send_icmp(about(peer, syn.seq, kind, code))


@pytest.mark.rfc("5927:4.1")
async def test_icmp_about_data_never_sent_is_ignored() -> None:
    """RFC 5927: whoever does not see our packets has to guess the sequence number."""
    async with host_and_peer() as (host, peer), trio.open_nursery() as nursery:
        nursery.start_soon(host.socket().connect, (THEIRS, PORT))
        syn = await peer.segment()
        peer.send_icmp(about(peer, syn.seq + 1, icmp.DESTINATION_UNREACHABLE, 1))
        await wait_all_tasks_blocked()
        assert host.statistics()["icmp_unmatched"] == 1
        peer.send(SYN | ACK)


@pytest.mark.rfc("MUST-54", "MUST-56", "1122:3.2.2.1-4")
async def test_icmp_about_an_open_connection_is_noted_and_ends_nothing() -> None:
    """RFC 9293 MUST-56; it is what the connection is given up for, should it come to that."""
    async with host_and_peer() as (host, peer), trio.open_nursery() as nursery:
        client = host.socket()
        nursery.start_soon(client.connect, (THEIRS, PORT))
        await peer.accept()
        await wait_all_tasks_blocked()
        await client.send(b"x")
        data = await peer.segment()
        peer.send_icmp(about(peer, data.seq, icmp.DESTINATION_UNREACHABLE, 1))
        await wait_all_tasks_blocked()
        info = client.tcp_info()
        assert info.state == "ESTABLISHED"
        assert isinstance(info.soft_error, OSError)
        assert info.soft_error.errno == errno.EHOSTUNREACH
        peer.send(ACK, b"still here")
        assert await client.recv(100) == b"still here"


async def test_a_cancelled_connect_closes_and_leaves_no_connection() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.connect, (THEIRS, PORT))
                await peer.segment()
                scope.cancel()
        assert client.fileno() == -1
        assert host.connections() == []
        peer.send(SYN | ACK)  # Too late.
        reset = await peer.segment()
        assert (reset.flags, reset.seq) == (RST, peer.expected - reset.length)


async def test_a_connect_that_is_cancelled_before_it_begins_sends_nothing() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket()
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.connect((THEIRS, PORT))
        assert scope.cancelled_caught
        assert peer.segments() == []


async def test_closing_wakes_who_connects() -> None:
    async with host_and_peer() as (host, peer), trio.open_nursery() as nursery:
        client = host.socket()

        @nursery.start_soon
        async def attempt() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.connect((THEIRS, PORT))

        await peer.segment()
        client.close()
        assert host.connections() == []


async def test_a_socket_connects_once_at_a_time() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.connect, (THEIRS, PORT))
            await peer.segment()
            with fails(errno.EALREADY):
                await client.connect((THEIRS, PORT))
            peer.send(SYN | ACK)
        for sock in (client, await listening(host, 81)):
            with fails(errno.EISCONN):
                await sock.connect((THEIRS, PORT))


@pytest.mark.rfc("MUST-46")
@pytest.mark.parametrize(
    ("address", "port", "number"),
    [
        ("198.51.100.255", 80, errno.ENETUNREACH),
        ("255.255.255.255", 80, errno.ENETUNREACH),
        ("224.0.0.1", 80, errno.ENETUNREACH),
        ("127.0.0.1", 80, errno.ENETUNREACH),
        (THEIRS, 0, errno.ECONNREFUSED),
    ],
)
async def test_what_is_no_other_hosts_address_or_port(address: str, port: int, number: int) -> None:
    async with host_and_peer() as (host, peer):
        with fails(number):
            await host.socket().connect((address, port))
        assert peer.segments() == []


async def test_a_host_connects_to_itself() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        for address in (OURS, "0.0.0.0", ""):
            client = host.socket()
            await client.connect((address, PORT))
            server, _ = await listener.accept()
            assert client.getpeername() == (OURS, PORT)
            await client.send(b"to myself")
            assert await server.recv(100) == b"to myself"
        assert peer.segments() == []  # Not a packet left it.


@pytest.mark.rfc("MUST-10")
async def test_both_at_once() -> None:
    """A simultaneous open (RFC 9293 figure 7), from ports that were agreed on."""
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        left, right = ours.socket(), theirs.socket()
        await left.bind(("", 7001))
        await right.bind(("", 7002))
        nursery.start_soon(left.connect, (THEIRS, 7002))
        nursery.start_soon(right.connect, (OURS, 7001))
        await wait_all_tasks_blocked()
        await left.send(b"l")
        await right.send(b"r")
        assert (await left.recv(9), await right.recv(9)) == (b"r", b"l")


async def test_a_name_is_looked_up_by_trios_resolver() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: bytes | None, *_: Any, **__: Any) -> Any:
            await trio.lowlevel.checkpoint()
            assert host == b"peer.example"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (THEIRS, PORT))]

        async def getnameinfo(self, *_: object) -> tuple[str, str]:
            raise AssertionError

    before = trio.socket.set_custom_hostname_resolver(Resolver())
    try:
        async with host_pair() as (ours, theirs):
            await listening(theirs)
            client = ours.socket()
            await client.connect(("peer.example", PORT))
            assert client.getpeername() == (THEIRS, PORT)
    finally:
        trio.socket.set_custom_hostname_resolver(before)


async def test_addresses_of_another_shape_are_mistakes() -> None:
    async with host_and_peer() as (host, _):
        client = host.socket()
        for address in (THEIRS, (THEIRS,), [THEIRS, PORT], (THEIRS, PORT, 0, 0)):
            with pytest.raises(ValueError, match="tuple"):
                await client.connect(address)
        for port in (-1, 65536):
            with pytest.raises(OverflowError):
                await client.connect((THEIRS, port))
        with pytest.raises(TypeError):
            await client.connect((THEIRS, "80"))


@pytest.mark.rfc("6056:3")
async def test_ephemeral_ports_are_linux_range_and_chosen_at_random() -> None:
    async with host_pair() as (ours, theirs):
        listener = await listening(theirs)
        ports = []
        for _ in range(20):
            client = ours.socket()
            await client.connect((THEIRS, PORT))
            ports.append((await listener.accept())[1][1])
        assert all(32768 <= port < 61000 for port in ports)
        assert len({later - earlier for earlier, later in pairwise(ports)}) > 9


@pytest.mark.rfc("MUST-43", "6724:5-2")
async def test_a_bound_socket_connects_from_there() -> None:
    async with host_pair() as (ours, theirs):
        listener = await listening(theirs)
        client = ours.socket()
        await client.bind((OURS, 4000))
        await client.connect((THEIRS, PORT))
        assert (await listener.accept())[1] == (OURS, 4000)


async def test_no_two_connections_have_the_same_name() -> None:
    async with host_pair() as (ours, theirs):
        await listening(theirs)
        sockets = [ours.socket(), ours.socket()]
        for sock in sockets:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            await sock.bind((OURS, 4000))
        await sockets[0].connect((THEIRS, PORT))
        with fails(errno.EADDRNOTAVAIL):  # As on Linux.
            await sockets[1].connect((THEIRS, PORT))


async def test_open_tcp_stream_names_the_address_that_failed() -> None:
    async with host_pair() as (ours, theirs):
        with fails(errno.ECONNREFUSED) as caught:
            await ours.open_tcp_stream(THEIRS, PORT)
        assert str(caught.value).endswith(f"Connection refused: {THEIRS} port {PORT}")
        await listening(theirs)
        stream = await ours.open_tcp_stream(THEIRS, PORT, local_address=OURS)
        assert stream.socket.getpeername() == (THEIRS, PORT)
        with fails(errno.EADDRNOTAVAIL):
            await ours.open_tcp_stream(THEIRS, PORT, local_address=THEIRS)


async def test_a_cancelled_open_tcp_stream_leaves_nothing() -> None:
    async with host_and_peer() as (host, peer):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.open_tcp_stream, THEIRS, PORT)
                await peer.segment()
                scope.cancel()
        assert host.connections() == []


async def test_connect_raises_for_a_connection_that_is_reset_at_once() -> None:
    async with host_and_peer() as (host, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def attempt() -> None:
            with fails(errno.ECONNRESET):
                await host.socket().connect((THEIRS, PORT))

        await peer.segment()
        peer.send(SYN | ACK)
        peer.send(RST)


async def test_many_connections_at_once_do_not_mix() -> None:
    async with host_pair() as (ours, theirs):
        pairs = [await connected(ours, theirs) for _ in range(50)]
        for number, (client, server) in enumerate(pairs):
            await client.send(b"%d" % number)
            await server.send(b"%d!" % number)
        for number, (client, server) in enumerate(pairs):
            assert await server.recv(99) == b"%d" % number
            assert await client.recv(99) == b"%d!" % number
