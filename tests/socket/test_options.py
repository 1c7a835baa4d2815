"""Socket options: each is set, read back, and does what it says; the rest is refused."""

from __future__ import annotations

import errno
import socket
import struct
from socket import (
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_TCP,
    SO_ACCEPTCONN,
    SO_BROADCAST,
    SO_DOMAIN,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_TYPE,
    SOL_SOCKET,
    TCP_CONGESTION,
    TCP_CORK,
    TCP_DEFER_ACCEPT,
    TCP_INFO,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_LINGER2,
    TCP_MAXSEG,
    TCP_NODELAY,
    TCP_NOTSENT_LOWAT,
    TCP_QUICKACK,
    TCP_SYNCNT,
    TCP_USER_TIMEOUT,
)
from typing import TYPE_CHECKING

import pytest
import trio

from tests.socket.network import PORT, THEIRS, connected, fails, host_and_peer, host_pair, listening
from tunstack.socket.options.stream import LARGEST_BUFFER, SMALLEST_BUFFER
from tunstack.socket.options.tcp import LONGEST_LINGER2
from tunstack.tcp.config import INITIAL_SIZE
from tunstack.tcp.segment import ACK, SYN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tunstack import Socket


@pytest.fixture
async def sock() -> AsyncIterator[Socket]:
    """A socket that is not connected."""
    async with host_and_peer() as (host, _):
        yield host.socket()


@pytest.mark.parametrize(
    ("level", "name", "at_first", "given", "then"),
    [
        (SOL_SOCKET, SO_REUSEADDR, 0, 5, 1),
        (SOL_SOCKET, SO_RCVBUF, INITIAL_SIZE, 70_000, 70_000),
        (SOL_SOCKET, SO_RCVBUF, INITIAL_SIZE, 1, SMALLEST_BUFFER),
        (SOL_SOCKET, SO_RCVBUF, INITIAL_SIZE, 1 << 30, LARGEST_BUFFER),
        (SOL_SOCKET, SO_SNDBUF, INITIAL_SIZE, 70_000, 70_000),
        (SOL_SOCKET, SO_SNDBUF, INITIAL_SIZE, 1, SMALLEST_BUFFER),
        (SOL_SOCKET, SO_SNDBUF, INITIAL_SIZE, 1 << 30, LARGEST_BUFFER),
        (SOL_SOCKET, SO_KEEPALIVE, 0, 1, 1),
        (SOL_SOCKET, SO_REUSEPORT, 0, 1, 1),
        (IPPROTO_TCP, TCP_NODELAY, 0, 7, 1),
        (IPPROTO_TCP, TCP_MAXSEG, 1460, 1000, 1000),
        (IPPROTO_TCP, TCP_MAXSEG, 1460, 88, 88),
        (IPPROTO_TCP, TCP_MAXSEG, 1460, 32_767, 1460),
        (IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, 16_384, 16_384),
        (IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, -1, -1),
        (IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, 0xFFFF_FFFF, -1),
        (IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, 1, 1),
        (IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, 8, 15),
        (IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, -8, 0),
        (IPPROTO_TCP, TCP_KEEPIDLE, 7200, 32_767, 32_767),
        (IPPROTO_TCP, TCP_KEEPINTVL, 75, 32_767, 32_767),
        (IPPROTO_TCP, TCP_KEEPCNT, 9, 127, 127),
        (IPPROTO_TCP, TCP_SYNCNT, 7, 127, 127),
        (IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 2500, 2500),
        (IPPROTO_TCP, TCP_KEEPIDLE, 7200, 60, 60),
        (IPPROTO_TCP, TCP_KEEPINTVL, 75, 5, 5),
        (IPPROTO_TCP, TCP_KEEPCNT, 9, 3, 3),
        (IPPROTO_TCP, TCP_SYNCNT, 7, 2, 2),
        (IPPROTO_TCP, TCP_LINGER2, 60, 7, 7),
        (IPPROTO_TCP, TCP_LINGER2, 60, 1000, LONGEST_LINGER2),
        (IPPROTO_TCP, TCP_LINGER2, 60, -5, -1),
        (IPPROTO_TCP, TCP_CORK, 0, 1, 1),
        (IPPROTO_TCP, TCP_QUICKACK, 0, 1, 1),
        (IPPROTO_IP, IP_TTL, 64, 255, 255),
        (IPPROTO_IP, IP_TTL, 64, 1, 1),
        (IPPROTO_IP, IP_TOS, 0, 0xB8, 0xB8),
        (IPPROTO_IP, IP_TOS, 0, 0xBB, 0xB8),  # The ECN bits are TCP's.
    ],
)
async def test_an_option_is_set_and_read_as_a_number_and_as_octets(
    sock: Socket, level: int, name: int, at_first: int, given: int, then: int
) -> None:
    assert sock.getsockopt(level, name) == at_first
    sock.setsockopt(level, name, given)
    assert sock.getsockopt(level, name) == then
    assert sock.getsockopt(level, name, 4) == struct.pack("i", then)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_an_option_is_set_from_octets(sock: Socket, kind: Callable[[bytes], bytes]) -> None:
    sock.setsockopt(SOL_SOCKET, SO_RCVBUF, kind(struct.pack("i", 70_000)))
    assert sock.getsockopt(SOL_SOCKET, SO_RCVBUF) == 70_000


async def test_switches_are_switched_off_as_well(sock: Socket) -> None:
    for option in (
        (SOL_SOCKET, SO_REUSEADDR),
        (SOL_SOCKET, SO_KEEPALIVE),
        (IPPROTO_TCP, TCP_NODELAY),
        (IPPROTO_TCP, TCP_CORK),
        (IPPROTO_TCP, TCP_QUICKACK),
        (IPPROTO_TCP, TCP_USER_TIMEOUT),
        (IPPROTO_IP, IP_TOS),
    ):
        sock.setsockopt(*option, 1000)
        assert sock.getsockopt(*option) != 0
        sock.setsockopt(*option, 0)
        assert sock.getsockopt(*option) == 0


@pytest.mark.parametrize(
    ("option", "value", "default"),
    [
        ((IPPROTO_TCP, TCP_LINGER2), 0, 60),
        ((IPPROTO_TCP, TCP_MAXSEG), 0, 1460),
        ((IPPROTO_TCP, TCP_USER_TIMEOUT), 0, 0),
        ((IPPROTO_IP, IP_TTL), -1, 64),
    ],
)
async def test_the_hosts_own_value_is_asked_for_by_name(
    sock: Socket, option: tuple[int, int], value: int, default: int
) -> None:
    sock.setsockopt(*option, 97)
    sock.setsockopt(*option, value)
    assert sock.getsockopt(*option) == default


async def test_what_a_socket_is(sock: Socket) -> None:
    assert sock.getsockopt(SOL_SOCKET, SO_TYPE) == sock.type == socket.SOCK_STREAM
    assert sock.getsockopt(SOL_SOCKET, SO_DOMAIN) == sock.family == socket.AF_INET
    assert sock.getsockopt(SOL_SOCKET, SO_PROTOCOL) == sock.proto == IPPROTO_TCP
    assert sock.getsockopt(SOL_SOCKET, SO_ERROR) == 0
    assert sock.getsockopt(SOL_SOCKET, SO_ACCEPTCONN) == 0
    sock.listen()
    assert sock.getsockopt(SOL_SOCKET, SO_ACCEPTCONN) == 1


async def test_linger_is_two_numbers(sock: Socket) -> None:
    assert sock.getsockopt(SOL_SOCKET, SO_LINGER) == 0
    for value in (struct.pack("ii", 1, 0), struct.pack("ii", 1, 30), bytes(8)):
        sock.setsockopt(SOL_SOCKET, SO_LINGER, value)
        assert sock.getsockopt(SOL_SOCKET, SO_LINGER, 8) == value
        assert sock.getsockopt(SOL_SOCKET, SO_LINGER) == value[0]
    for wrong in (1, b"\1\0\0\0"):
        with fails(errno.EINVAL):
            sock.setsockopt(SOL_SOCKET, SO_LINGER, wrong)


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (SOL_SOCKET, SO_BROADCAST),
        (SOL_SOCKET, 9999),
        (SOL_SOCKET, socket.SO_BINDTODEVICE),
        (IPPROTO_TCP, socket.TCP_WINDOW_CLAMP),
        (IPPROTO_IP, socket.IP_MULTICAST_TTL),
        (12345, 1),
    ],
)
async def test_an_unknown_option_is_refused(sock: Socket, level: int, name: int) -> None:
    with fails(errno.ENOPROTOOPT):
        sock.getsockopt(level, name)
    with fails(errno.ENOPROTOOPT):
        sock.setsockopt(level, name, 1)


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (SOL_SOCKET, SO_ACCEPTCONN),
        (SOL_SOCKET, SO_DOMAIN),
        (SOL_SOCKET, SO_ERROR),
        (SOL_SOCKET, SO_PROTOCOL),
        (SOL_SOCKET, SO_TYPE),
        (IPPROTO_TCP, TCP_INFO),
    ],
)
async def test_what_can_only_be_read(sock: Socket, level: int, name: int) -> None:
    with fails(errno.ENOPROTOOPT):
        sock.setsockopt(level, name, 1)


@pytest.mark.parametrize(
    ("level", "name", "value"),
    [
        (IPPROTO_TCP, TCP_MAXSEG, 87),
        (IPPROTO_TCP, TCP_MAXSEG, 32_768),
        (IPPROTO_TCP, TCP_USER_TIMEOUT, -1),
        (IPPROTO_TCP, TCP_NODELAY, b"\1"),
        (IPPROTO_TCP, TCP_KEEPIDLE, 0),
        (IPPROTO_TCP, TCP_KEEPIDLE, 32_768),
        (IPPROTO_TCP, TCP_KEEPINTVL, 0),
        (IPPROTO_TCP, TCP_KEEPINTVL, 32_768),
        (IPPROTO_TCP, TCP_KEEPCNT, 0),
        (IPPROTO_TCP, TCP_KEEPCNT, 128),
        (IPPROTO_TCP, TCP_SYNCNT, 0),
        (IPPROTO_TCP, TCP_SYNCNT, 128),
        (IPPROTO_TCP, TCP_CONGESTION, 1),
        (IPPROTO_TCP, TCP_CONGESTION, b""),
        (IPPROTO_IP, IP_TTL, 0),
        (IPPROTO_IP, IP_TTL, 256),
        (IPPROTO_IP, IP_TTL, -2),
        (SOL_SOCKET, SO_RCVBUF, b""),
        (SOL_SOCKET, SO_RCVBUF, None),
    ],
)
async def test_a_value_that_makes_no_sense_is_refused(
    sock: Socket, level: int, name: int, value: int | bytes | None
) -> None:
    before = sock.getsockopt(level, name)
    with fails(errno.EINVAL):
        if value is None:
            sock.setsockopt(level, name, None, 4)
        else:
            sock.setsockopt(level, name, value)
    assert sock.getsockopt(level, name) == before


async def test_so_rcvbuf_bounds_the_window() -> None:
    async with host_and_peer() as (host, peer):
        (listener,) = await host.open_tcp_listeners(PORT)
        listener.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 10_000)
        peer.host_port = PORT
        peer.send(SYN)
        assert (await peer.segment()).wnd == 10_000
        peer.send()
        for _ in range(4):
            peer.send(ACK, bytes(1460))
        assert (await peer.segment()).wnd == 10_000 - 4 * 1460


async def test_so_sndbuf_bounds_what_a_send_takes() -> None:
    async with host_pair() as (ours, theirs):
        client, _ = await connected(ours, theirs)
        client.setsockopt(SOL_SOCKET, SO_SNDBUF, 10_000)
        assert await client.send(bytes(1 << 20)) == 10_000


@pytest.mark.rfc("MUST-17", "SHLD-7")
async def test_tcp_nodelay_lets_small_ones_go() -> None:
    """Nagle: a second small segment waits for the first one's ACK (RFC 9293 MUST-17)."""
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect(mss=1460)
        server, _ = await listener.accept()
        for word in (b"one", b"two", b"three"):
            await server.send(word)
        assert [bytes(segment.payload) for segment in peer.segments()] == [b"one"]
        server.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        assert [bytes(segment.payload) for segment in peer.segments()] == [b"twothree"]
        await server.send(b"four")
        assert [bytes(segment.payload) for segment in peer.segments()] == [b"four"]


@pytest.mark.rfc("MUST-14")
async def test_tcp_maxseg_is_announced_and_then_what_was_agreed_on() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket()
        client.setsockopt(IPPROTO_TCP, TCP_MAXSEG, 1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.connect, (THEIRS, PORT))
            syn = await peer.segment()
            assert syn.mss == 1000
            assert client.getsockopt(IPPROTO_TCP, TCP_MAXSEG) == 1000
            peer.send(SYN | ACK, mss=600)
            await peer.segment()
        assert client.getsockopt(IPPROTO_TCP, TCP_MAXSEG) == 600
        await client.send(bytes(1200))
        assert [len((await peer.segment()).payload) for _ in range(2)] == [600, 600]


async def test_tcp_user_timeout_of_0_is_the_hosts_own() -> None:
    async with host_and_peer(user_timeout=30.0) as (host, peer):
        listener = await listening(host)
        await peer.connect()
        server, _ = await listener.accept()
        server.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, 1)
        server.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, 0)
        await server.send(b"x")
        with fails(errno.ETIMEDOUT):
            await server.recv(1)
        assert trio.current_time() == pytest.approx(30)


async def test_what_trio_sets_on_its_streams_is_taken() -> None:
    async with host_pair() as (ours, theirs):
        client, _ = await connected(ours, theirs)
        stream = trio.SocketStream(client)
        assert stream.getsockopt(IPPROTO_TCP, TCP_NODELAY)
        assert stream.getsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT) == 1 << 14
        stream.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        assert stream.getsockopt(SOL_SOCKET, SO_KEEPALIVE, 1) == b"\1"


async def test_a_socket_of_another_kind_is_refused() -> None:
    async with host_and_peer() as (host, _):
        with fails(errno.EAFNOSUPPORT):
            host.socket(socket.AF_INET6)
        with fails(errno.EPROTONOSUPPORT):
            host.socket(socket.AF_INET, socket.SOCK_SEQPACKET)
        with fails(errno.EPROTONOSUPPORT):
            host.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP)
        assert host.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TCP).fileno() != -1
