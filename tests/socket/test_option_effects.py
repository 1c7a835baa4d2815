"""What socket options do to a connection: on the wire, in time, and to its end."""

from __future__ import annotations

import errno
import socket
import struct
from socket import (
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_TCP,
    MSG_MORE,
    SO_KEEPALIVE,
    SO_LINGER,
    SOL_SOCKET,
    TCP_CONGESTION,
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

import tunstack
from tunstack.tcp.segment import ACK, FIN, RST, SYN

from .network import (
    OURS,
    PORT,
    SMALL,
    THEIRS,
    connected,
    fails,
    fill,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tunstack import Host, Socket

    from .network import Peer


async def accepted(host: Host, peer: Peer) -> Socket:
    """Our end of a connection that the peer opened."""
    listener = await listening(host)
    await peer.connect(mss=1460)
    server, _ = await listener.accept()
    listener.close()
    return server


def set_tcp(sock: Socket, **options: int) -> None:
    """Set options by the rest of their name: ``keepidle=10``."""
    for name, value in options.items():
        sock.setsockopt(IPPROTO_TCP, getattr(socket, f"TCP_{name.upper()}"), value)


# Keep-alive


@pytest.mark.rfc("MUST-24")
@pytest.mark.rfc("MUST-27")
async def test_an_idle_peer_that_is_gone_is_found_out(autojump_clock: MockClock) -> None:
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


async def test_lingering_gives_up_what_is_not_acknowledged_by_then(
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
async def test_nobody_waits_in_fin_wait_2_for_longer_than_said(
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


# IP


@pytest.mark.rfc("MUST-48")
@pytest.mark.rfc("MUST-49")
@pytest.mark.rfc("SHLD-21")
@pytest.mark.rfc("SHLD-22")
async def test_hops_and_service_are_on_all_that_a_client_sends() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket()
        client.setsockopt(IPPROTO_IP, IP_TTL, 3)
        client.setsockopt(IPPROTO_IP, IP_TOS, 0xB8)

        async def expect(flags: int, ttl: int = 3, tos: int = 0xB8) -> None:
            assert (await peer.segment()).flags & ~0x08 == flags
            assert peer.latest is not None
            assert (peer.latest.ttl, peer.latest.tos) == (ttl, tos)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.connect, (THEIRS, PORT))
            await expect(SYN)
            peer.send(SYN | ACK)
            await expect(ACK)
        await client.send(b"x")
        await expect(ACK)
        client.setsockopt(IPPROTO_IP, IP_TTL, 255)
        client.setsockopt(IPPROTO_IP, IP_TOS, 0x20)
        peer.send()
        await client.send(b"y")
        await expect(ACK, 255, 0x20)
        client.abort()
        await expect(RST, 255, 0x20)


@pytest.mark.rfc("MUST-48")
@pytest.mark.rfc("MUST-49")
async def test_a_listeners_hops_and_service_are_on_its_syn_ack_and_on_what_follows() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        listener.setsockopt(IPPROTO_IP, IP_TTL, 9)
        listener.setsockopt(IPPROTO_IP, IP_TOS, 0x48)
        await peer.connect()
        assert peer.latest is not None
        assert (peer.latest.ttl, peer.latest.tos) == (9, 0x48)
        server, _ = await listener.accept()
        await server.send(b"x")
        await peer.segment()
        assert (peer.latest.ttl, peer.latest.tos) == (9, 0x48)
        assert server.getsockopt(IPPROTO_IP, IP_TOS) == 0x48


@pytest.mark.rfc("MUST-49")
async def test_a_hosts_hops_are_its_resets_as_well() -> None:
    async with host_and_peer(ttl=77) as (_, peer):
        peer.host_port = 9
        peer.send(SYN)
        assert (await peer.segment()).flags == RST | ACK
        assert peer.latest is not None
        assert peer.latest.ttl == 77


@pytest.mark.rfc("MAY-9")
async def test_the_service_that_was_received_is_told() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        assert server.tcp_info().rcv_tos == 0
        for tos in (0xB9, 0x20):
            peer.tos = tos
            peer.send(ACK, b"x")
            await server.recv(1)
            assert server.tcp_info().rcv_tos == tos


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
        assert numbers[18] == -(-info.snd_cwnd // 1448)
        assert struct.unpack_from("=2Q", whole, 120) == (100_000, 0)
        assert client.getsockopt(IPPROTO_TCP, TCP_INFO, 1) == b"\1"


@pytest.mark.parametrize(("listen", "state"), [(True, 10), (False, 7)])
async def test_tcp_info_without_a_connection_is_its_state(listen: bool, state: int) -> None:
    async with host_and_peer() as (host, _):
        sock = host.socket()
        if listen:
            sock.listen()
        assert sock.getsockopt(IPPROTO_TCP, TCP_INFO, 152) == bytes([state]) + bytes(151)


# Congestion control


class Timid(tunstack.Reno):
    """Reno, but never more than two segments."""

    name = "timid"

    def acknowledged(self, ack: tunstack.Acknowledgement) -> None:
        super().acknowledged(ack)
        self.cwnd = min(self.cwnd, 2 * self._mss)

    def set_mss(self, mss: int, initial_segments: int) -> None:
        super().set_mss(mss, 2)


@pytest.mark.rfc("MAY-18")
async def test_congestion_control_is_asked_for_and_changed_by_name() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        assert client.getsockopt(IPPROTO_TCP, TCP_CONGESTION, 16) == b"cubic".ljust(16, b"\0")
        client.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"reno")
        assert client.getsockopt(IPPROTO_TCP, TCP_CONGESTION, 16) == b"reno".ljust(16, b"\0")
        assert client.tcp_info().congestion == "reno"
        client.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"cubic\0")
        with fails(errno.ENOENT):
            client.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"vegas")
        assert client.tcp_info().congestion == "cubic"
        assert server.tcp_info().congestion == "cubic"


@pytest.mark.rfc("MAY-18")
async def test_a_host_has_its_own_and_a_socket_another() -> None:
    left, right = tunstack.memory_pair()
    async with (
        tunstack.Host(left, [f"{OURS}/24"], congestion="reno") as ours,
        tunstack.Host(right, [f"{THEIRS}/24"], congestion=Timid) as theirs,
    ):
        (listener,) = await theirs.open_tcp_listeners(PORT)
        (other,) = await theirs.open_tcp_listeners(PORT + 1, congestion="cubic")
        for port, ends, client_has, server_has in (
            (PORT, None, "reno", "timid"),
            (PORT + 1, None, "reno", "cubic"),
            (PORT, Timid, "timid", "timid"),
        ):
            client = await ours.open_tcp_stream(THEIRS, port, congestion=ends)
            server = await (listener if port == PORT else other).accept()
            for stream, name in ((client, client_has), (server, server_has)):
                assert isinstance(stream.socket, tunstack.Socket)
                assert stream.socket.tcp_info().congestion == name
        sock = ours.socket(congestion="cubic")
        assert sock.getsockopt(IPPROTO_TCP, TCP_CONGESTION, 5) == b"cubic"


@pytest.mark.rfc("MAY-18")
async def test_ones_own_decides_how_much_is_on_its_way() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket(congestion=Timid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.connect, (THEIRS, PORT))
            await peer.accept(mss=1000)
        await client.send(bytes(10_000))
        for _ in range(5):
            segments = peer.segments()
            assert len(segments) == 2
            peer.expected = segments[-1].seq + 1000
            peer.send()
            await wait_all_tasks_blocked()


async def test_no_such_congestion_control() -> None:
    left, _ = tunstack.memory_pair()
    with pytest.raises(ValueError, match="'vegas'"):
        tunstack.Host(left, [f"{OURS}/24"], congestion="vegas")
    async with host_and_peer() as (host, _):
        with pytest.raises(ValueError, match="'vegas'"):
            host.socket(congestion="vegas")
        with pytest.raises(ValueError, match="'vegas'"):
            await host.open_tcp_listeners(PORT, congestion="vegas")
        await host.open_tcp_listeners(PORT)  # Nothing was left behind.
