"""What socket options do to a connection: on the wire, in time, and to its end."""

from __future__ import annotations

import errno
import socket
import struct
from socket import (
    IPPROTO_TCP,
    MSG_MORE,
    SO_KEEPALIVE,
    SO_LINGER,
    SOL_SOCKET,
    TCP_CORK,
    TCP_INFO,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_LINGER2,
    TCP_NOTSENT_LOWAT,
    TCP_QUICKACK,
    TCP_SYNCNT,
    TCP_USER_TIMEOUT,
)
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import (
    PORT,
    SMALL,
    THEIRS,
    accepted,
    connected,
    fails,
    fill,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)
from tunstack import State
from tunstack.tcp.segment import ACK, FIN, RST, SYN, URG

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tunstack import Socket


def set_tcp(sock: Socket, **options: int) -> None:
    """Set options by the rest of their name: ``keepidle=10``."""
    for name, value in options.items():
        sock.setsockopt(IPPROTO_TCP, getattr(socket, f"TCP_{name.upper()}"), value)


# Keep-alive


@pytest.mark.rfc("MUST-24")
@pytest.mark.rfc("MUST-27")
async def test_keep_alive_detects_a_dead_peer(autojump_clock: MockClock) -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        set_tcp(server, keepidle=10, keepintvl=2, keepcnt=3)
        await trio.sleep(100)
        assert peer.segments() == []  # Not yet asked for.
        server.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        begin = trio.current_time()
        with fails(errno.ETIMEDOUT):
            await server.recv(1)
        assert trio.current_time() == pytest.approx(begin + 10 + 3 * 2)
        assert [segment.flags for segment in peer.segments()] == [ACK, ACK, ACK, RST]
        assert host.statistics()["keep_alive"] == 3


@pytest.mark.rfc("MUST-24")
async def test_connections_that_are_accepted_are_kept_as_their_listener_says(
    autojump_clock: MockClock,
) -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        listener.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        for option, value in ((TCP_KEEPIDLE, 5), (TCP_KEEPINTVL, 1), (TCP_KEEPCNT, 2)):
            listener.setsockopt(IPPROTO_TCP, option, value)
        await peer.connect()
        server, _ = await listener.accept()
        assert server.getsockopt(SOL_SOCKET, SO_KEEPALIVE) == 1
        with fails(errno.ETIMEDOUT):
            await server.recv(1)
        assert trio.current_time() == pytest.approx(7)


async def test_two_hosts_keep_a_connection_for_days(autojump_clock: MockClock) -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        for sock in (client, server):
            sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        await trio.sleep(7 * 86400)
        assert ours.statistics()["keep_alive"] + theirs.statistics()["keep_alive"] >= 83
        await client.send(b"still there?")
        assert await server.recv(100) == b"still there?"


# How long


@pytest.mark.rfc("MUST-21")
@pytest.mark.rfc("5482:3")
async def test_a_user_timeout_ends_a_wait_for_a_window(autojump_clock: MockClock) -> None:
    async with host_pair() as (ours, theirs):
        client, _ = await connected(ours, theirs, buffer=SMALL)
        await fill(client)
        client.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, 20_000)
        begin = trio.current_time()
        with fails(errno.ETIMEDOUT):
            await client.send(b"x")
        assert 10 < trio.current_time() - begin <= 20


@pytest.mark.rfc("MUST-21")
@pytest.mark.parametrize(
    ("option", "value", "seconds"),
    [(TCP_USER_TIMEOUT, 5000, 5), (TCP_SYNCNT, 1, 3), (TCP_SYNCNT, 3, 15)],
)
async def test_how_long_a_connection_is_tried_for(
    option: int, value: int, seconds: float, autojump_clock: MockClock
) -> None:
    async with host_and_peer() as (host, _):
        client = host.socket()
        client.setsockopt(IPPROTO_TCP, option, value)
        with fails(errno.ETIMEDOUT):
            await client.connect((THEIRS, PORT))
        assert trio.current_time() == pytest.approx(seconds)


# Closing


def linger(sock: Socket, seconds: int) -> None:
    sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, seconds))


async def test_lingering_for_no_time_resets(autojump_clock: MockClock) -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        await client.send(b"x")
        linger(client, 0)
        client.close()
        await trio.sleep(1)
        assert await server.recv(100) == b"x"
        with fails(errno.ECONNRESET):
            await server.recv(1)
        assert ours.connections() == []


async def test_lingering_resets_what_is_not_acknowledged_in_time(
    autojump_clock: MockClock,
) -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        linger(server, 5)
        await server.send(b"is anybody there?")
        begin = trio.current_time()
        server.close()
        assert trio.current_time() == begin  # It does not wait for it.
        await trio.sleep(4.9)
        assert [info.state for info in host.connections()] == ["FIN-WAIT-1"]
        await trio.sleep(0.2)
        assert host.connections() == []
        assert peer.segments()[-1].flags == RST


async def test_lingering_lets_what_is_acknowledged_in_time_end_as_ever(
    autojump_clock: MockClock,
) -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        total = await fill(client)
        linger(client, 60)
        client.close()
        await trio.sleep(30)
        assert await read_to_end(server) == bytes(total)
        server.close()
        await trio.sleep(31)
        assert [info.state for info in ours.connections()] == ["TIME-WAIT"]


@pytest.mark.parametrize(("value", "seconds"), [(7, 7), (0, 60), (-1, 0)])
async def test_fin_wait_2_of_an_orphan_is_limited(
    value: int, seconds: float, autojump_clock: MockClock
) -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        server.setsockopt(IPPROTO_TCP, TCP_LINGER2, value)
        server.close()
        assert (await peer.segment()).flags == FIN | ACK
        peer.send()
        if seconds:
            await trio.sleep(seconds - 0.1)
            assert [info.state for info in host.connections()] == ["FIN-WAIT-2"]
        await trio.sleep(0.2)
        assert host.connections() == []
        assert [segment.flags for segment in peer.segments()] == ([RST] if value < 0 else [])


# What goes out when


async def test_a_cork_gathers_and_is_pulled() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        server.setsockopt(IPPROTO_TCP, TCP_CORK, 1)
        for word in (b"head", b"er, ", b"body"):
            await server.send(word)
        assert peer.segments() == []
        server.setsockopt(IPPROTO_TCP, TCP_CORK, 0)
        assert [bytes(segment.payload) for segment in peer.segments()] == [b"header, body"]


async def test_more_is_to_come_and_comes() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        assert await server.send(b"header, ", MSG_MORE) == 8
        assert peer.segments() == []
        await server.send(b"body")
        assert [bytes(segment.payload) for segment in peer.segments()] == [b"header, body"]


@pytest.mark.parametrize("again", [False, True])
async def test_setting_nodelay_sends_what_a_cork_holds(again: bool) -> None:
    """As tcp(7) has it, and even if it was set; what comes after is held as before."""
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        set_tcp(server, nodelay=again, cork=1)
        await server.send(b"held")
        assert peer.segments() == []
        set_tcp(server, keepidle=60)  # Another option sends nothing.
        set_tcp(server, nodelay=0)
        assert peer.segments() == []
        set_tcp(server, nodelay=1)
        assert [bytes(segment.payload) for segment in peer.segments()] == [b"held"]
        await server.send(b"held as well")
        assert peer.segments() == []


@pytest.mark.parametrize("option", [{"nodelay": 1}, {"cork": 0}], ids=str)
async def test_an_option_sends_what_was_to_be_followed_by_more(option: dict[str, int]) -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        await server.send(b"header", MSG_MORE)
        assert peer.segments() == []
        set_tcp(server, **option)
        assert [bytes(segment.payload) for segment in peer.segments()] == [b"header"]


async def test_in_haste_a_lone_segment_is_acknowledged_at_once() -> None:
    async with host_and_peer(delayed_ack=30.0) as (host, peer):
        server = await accepted(host, peer)
        peer.send(ACK, b"x")
        await wait_all_tasks_blocked()
        assert peer.segments() == []
        server.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)
        assert [segment.ack for segment in peer.segments()] == [peer.nxt]
        peer.send(ACK, b"x")
        assert (await peer.segment()).ack == peer.nxt


async def test_tcp_notsent_lowat_lets_only_so_much_wait() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        peer.send(wnd=0)
        server.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 10_000)
        assert await server.send(bytes(9_999)) == 9_999
        assert await server.send(bytes(100_000)) == 65_536  # About so much, as on Linux.
        writable = trio.Event()

        async def writing() -> None:
            await server.wait_writable()
            writable.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(writing)
            await wait_all_tasks_blocked()
            while not writable.is_set():
                assert server.tcp_info().notsent >= 10_000
                peer.expected += sum(len(segment.payload) for segment in peer.segments())
                peer.send(wnd=65_535)
                await wait_all_tasks_blocked()
        assert server.tcp_info().notsent < 10_000


@pytest.mark.parametrize(
    ("level", "option", "value"),
    [(IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1), (SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)],
)
async def test_more_room_lets_who_waits_for_it_send(level: int, option: int, value: int) -> None:
    async with host_and_peer(send_buffer=SMALL) as (host, peer):
        server = await accepted(host, peer)
        peer.send(wnd=0)
        await wait_all_tasks_blocked()
        if option == TCP_NOTSENT_LOWAT:
            server.setsockopt(SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            set_tcp(server, notsent_lowat=1000)
        await server.send(bytes(SMALL))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send, b"x")
            await wait_all_tasks_blocked()
            assert server.tcp_info().notsent == SMALL
            server.setsockopt(level, option, value)
            await wait_all_tasks_blocked()
            assert server.tcp_info().notsent == SMALL + 1


async def test_an_urgent_octet_put_back_in_line_is_read_by_who_waits() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        server.setsockopt(SOL_SOCKET, socket.SO_OOBINLINE, 0)
        peer.send(ACK | URG, b"!", up=1)
        async with trio.open_nursery() as nursery:

            async def reading() -> None:
                assert await server.recv(10) == b"!"

            nursery.start_soon(reading)
            await wait_all_tasks_blocked()
            server.setsockopt(SOL_SOCKET, socket.SO_OOBINLINE, 1)


# TCP_INFO


async def test_tcp_info_is_linuxs_structure() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        await client.send(bytes(100_000))
        await server.recv(1 << 20)
        await client.wait_acknowledged()
        whole = client.getsockopt(IPPROTO_TCP, TCP_INFO, 1000)
        assert len(whole) == 152
        info = client.tcp_info()
        assert whole[0] == 1  # ESTABLISHED
        assert whole[5] == 7  # Timestamps, SACK, window scale
        assert whole[6] == info.snd_wscale | info.rcv_wscale << 4
        numbers = struct.unpack_from("=24I", whole, 8)
        assert numbers[0] == round(info.rto * 1e6)
        assert numbers[2:5] == (1448, 1448, 0)
        assert numbers[15] == round((info.rtt or 0) * 1e6)
        assert numbers[18] == info.snd_cwnd // 1448
        assert struct.unpack_from("=2Q", whole, 120) == (100_000, 0)
        assert client.getsockopt(IPPROTO_TCP, TCP_INFO, 1) == b"\1"


def outstanding(sock: Socket) -> tuple[int, ...]:
    """Of TCP_INFO: the phase, and of segments how many are unacked, sacked, lost and resent."""
    info = sock.getsockopt(IPPROTO_TCP, TCP_INFO, 152)
    return info[1], *struct.unpack_from("=4I", info, 24)


async def test_tcp_info_counts_what_is_outstanding_as_linux_does() -> None:
    """What was sent again for lost stays lost; without SACK each duplicate ACK stands for one."""
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        await server.send(bytes(5 * 1460))
        await wait_all_tasks_blocked()
        assert outstanding(server) == (0, 5, 0, 0, 0)
        for _ in range(2):
            peer.send()
        await wait_all_tasks_blocked()
        assert outstanding(server) == (1, 5, 2, 0, 0)
        peer.send()
        await wait_all_tasks_blocked()
        assert outstanding(server) == (3, 5, 3, 1, 1)
        peer.expected += 5 * 1460
        peer.send()
        await wait_all_tasks_blocked()
        assert outstanding(server) == (0, 0, 0, 0, 0)


async def test_tcp_info_counts_a_fin_beside_data_as_nothing_and_tells_since_when(
    autojump_clock: MockClock,
) -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        set_tcp(server, cork=1)
        await server.send(bytes(1459), MSG_MORE)
        await server.send(b"x", MSG_MORE)
        server.shutdown(socket.SHUT_WR)
        assert outstanding(server)[1] == 1
        peer.send(wnd=0)
        await trio.sleep(2.5)
        info = server.getsockopt(IPPROTO_TCP, TCP_INFO, 152)
        times = struct.unpack_from("=4I", info, 44)
        assert times[3] == pytest.approx(2500, abs=1)  # Since the peer was heard.
        assert 0 < times[0] < 2500  # It was sent again meanwhile, at 1.4 s.


async def test_tcp_info_of_a_listener_has_queue_length_and_backlog() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host, backlog=7)
        await peer.connect()
        await wait_all_tasks_blocked()
        assert outstanding(listener)[1:3] == (1, 7)
        (await listener.accept())[0].close()
        assert outstanding(listener)[1:3] == (0, 7)


async def test_tcp_info_without_a_connection_is_its_state() -> None:
    async with host_and_peer() as (host, _):
        assert host.socket().getsockopt(IPPROTO_TCP, TCP_INFO, 152) == b"\x07" + bytes(151)


LINUX_STATES = {
    "ESTABLISHED": 1,
    "SYN-SENT": 2,
    "SYN-RECEIVED": 3,
    "FIN-WAIT-1": 4,
    "FIN-WAIT-2": 5,
    "TIME-WAIT": 6,
    "CLOSED": 7,
    "CLOSE-WAIT": 8,
    "LAST-ACK": 9,
    "LISTEN": 10,
    "CLOSING": 11,
}
"""The numbers of include/net/tcp_states.h."""


class Watch:
    """What TCP_INFO says of a socket's state, step by step."""

    def __init__(self, sock: Socket) -> None:
        self.sock = sock
        self.states: list[int] = []

    async def look(self) -> None:
        """Note the state, when all that can happen has happened."""
        await wait_all_tasks_blocked()
        self.states.append(self.sock.getsockopt(IPPROTO_TCP, TCP_INFO, 8)[0])

    def saw(self, *names: str) -> set[str]:
        assert self.states == [LINUX_STATES[name] for name in names]
        return set(names)


async def both_open_and_both_close() -> set[str]:
    async with host_and_peer() as (host, peer), trio.open_nursery() as nursery:
        watch = Watch(host.socket())
        await watch.look()
        nursery.start_soon(watch.sock.connect, (THEIRS, PORT))
        await peer.segment()
        await watch.look()
        peer.send(SYN)
        await watch.look()
        await peer.segment()
        peer.send()
        await watch.look()
        watch.sock.shutdown(socket.SHUT_WR)
        await watch.look()
        peer.send(FIN | ACK)
        await watch.look()
        peer.segments()
        peer.expected += 1
        peer.send()
        await watch.look()
        await trio.sleep(61)
        await watch.look()
    return watch.saw(
        *("CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"),
        *("FIN-WAIT-1", "CLOSING", "TIME-WAIT", "CLOSED"),
    )


async def we_close_first() -> set[str]:
    async with host_and_peer() as (host, peer):
        watch = Watch(await accepted(host, peer))
        watch.sock.shutdown(socket.SHUT_WR)
        await peer.segment()
        await watch.look()
        peer.send()
        await watch.look()
        peer.send(FIN | ACK)
        await watch.look()
    return watch.saw("FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT")


async def the_peer_closes_first() -> set[str]:
    async with host_and_peer() as (host, peer):
        watch = Watch(await accepted(host, peer))
        peer.send(FIN | ACK)
        await watch.look()
        peer.segments()
        watch.sock.shutdown(socket.SHUT_WR)
        await peer.segment()
        await watch.look()
        peer.send()
        await watch.look()
    return watch.saw("CLOSE-WAIT", "LAST-ACK", "CLOSED")


async def test_tcp_info_has_linuxs_number_of_every_state() -> None:
    async with host_and_peer() as (host, _):
        watch = Watch(await listening(host))
        await watch.look()
    seen = watch.saw("LISTEN")
    for story in (both_open_and_both_close, we_close_first, the_peer_closes_first):
        seen |= await story()
    assert seen == set(LINUX_STATES) == {state.value for state in State}
