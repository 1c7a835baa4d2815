"""TCP Fast Open by Linux's names: TCP_FASTOPEN, TCP_FASTOPEN_CONNECT and MSG_FASTOPEN."""

from __future__ import annotations

import errno
from socket import IPPROTO_TCP
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from tests.socket.network import (
    PORT,
    THEIRS,
    fails,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)
from tunstack.socket.options.tcp import MSG_FASTOPEN, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT
from tunstack.tcp.listen.listener import MAX_BACKLOG
from tunstack.tcp.segment import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from tests.socket.network import Peer
    from tunstack import Host, Socket

pytestmark = pytest.mark.rfc("7413:4.2.2")

COOKIE = b"biscuits"


async def bakery(host: Host) -> Socket:
    """A socket that listens, and opens fast."""
    sock = await listening(host)
    sock.setsockopt(IPPROTO_TCP, TCP_FASTOPEN, 5)
    return sock


def early(host: Host) -> Socket:
    """A socket whose `connect` may wait for data."""
    sock = host.socket()
    sock.setsockopt(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    return sock


async def get_cookie(host: Host, peer: Peer) -> None:
    """Have the host's cache filled by a first connection."""
    async with trio.open_nursery() as nursery:
        sock = early(host)
        nursery.start_soon(sock.connect, (THEIRS, PORT))
        syn = await peer.segment()
        assert syn.fast_open == b""
        peer.send(SYN | ACK, fast_open=COOKIE)
    assert (await peer.segment()).flags == ACK
    sock.abort()
    assert (await peer.segment()).flags == RST


@pytest.mark.parametrize("how", ["sendto", "sendto with flags", "sendmsg", "connect"])
async def test_the_second_time_the_request_goes_with_the_syn(how: str) -> None:
    async with host_pair() as (ours, theirs):
        listener = await bakery(theirs)
        for _ in range(2):
            client, address = early(ours), (THEIRS, PORT)
            if how == "sendto":
                assert await client.sendto(b"question", MSG_FASTOPEN, address) == 8
            elif how == "sendto with flags":
                flags = MSG_FASTOPEN | trio.socket.MSG_NOSIGNAL
                assert await client.sendto(b"question", flags, address) == 8
            elif how == "sendmsg":
                pieces = [b"ques", b"tion"]
                assert await client.sendmsg(pieces, [], MSG_FASTOPEN, address) == 8
            else:
                await client.connect(address)
                assert await client.send(b"question") == 8
            client.shutdown(trio.socket.SHUT_WR)
            server, _ = await listener.accept()
            assert await read_to_end(server) == b"question"
            await server.send(b"answer")
            server.close()
            assert await read_to_end(client) == b"answer"
            client.close()
        assert ours.statistics()["fast_open_requested"] == 1
        assert ours.statistics()["fast_open_active"] == 1
        assert theirs.statistics()["fast_open_passive"] == 1


async def test_with_a_cookie_connect_returns_at_once_and_waits_for_data() -> None:
    async with host_and_peer() as (host, peer):
        await get_cookie(host, peer)
        client = early(host)
        await client.connect((THEIRS, PORT))
        with fails(errno.ENOTCONN):
            client.getpeername()
        with fails(errno.EISCONN):
            await client.connect((THEIRS, PORT))
        await wait_all_tasks_blocked()
        assert peer.segments() == []
        assert await client.send(b"question") == 8
        syn = await peer.segment()
        assert (syn.flags, syn.fast_open, bytes(syn.payload)) == (SYN, COOKIE, b"question")
        peer.send(SYN | ACK)
        assert (await peer.segment()).flags == ACK
        assert client.getpeername() == (THEIRS, PORT)


async def test_it_is_refused_when_it_is_tried() -> None:
    async with host_and_peer() as (host, peer):
        await get_cookie(host, peer)
        client = early(host)
        await client.connect((THEIRS, PORT))
        await client.send(b"question")
        await peer.segment()
        peer.send(RST | ACK)
        with fails(errno.ECONNREFUSED):
            await client.recv(10)


async def test_sendto_says_what_connect_would() -> None:
    async with host_pair() as (ours, theirs):
        client = ours.socket()
        with fails(errno.ECONNREFUSED):
            await client.sendto(b"question", MSG_FASTOPEN, (THEIRS, PORT))
        await bakery(theirs)
        assert await client.sendto(b"question", MSG_FASTOPEN, (THEIRS, PORT)) == 8
        with fails(errno.EISCONN):
            await client.sendto(b"question", MSG_FASTOPEN, (THEIRS, PORT))


async def test_sendto_waits_for_the_handshake() -> None:
    async with host_and_peer() as (host, peer):
        await get_cookie(host, peer)
        client = host.socket()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.sendto, b"question", MSG_FASTOPEN, (THEIRS, PORT))
            await peer.segment()
            await wait_all_tasks_blocked()
            assert client.tcp_info().state == "SYN-SENT"
            peer.send(SYN | ACK)
        assert client.tcp_info().state == "ESTABLISHED"
        await peer.segment()


async def test_what_is_sent_during_the_handshake_waits_for_room() -> None:
    async with host_and_peer(send_buffer=4096) as (host, peer):
        await get_cookie(host, peer)
        client = early(host)
        await client.connect((THEIRS, PORT))
        assert await client.send(bytes(4096)) == 4096
        with trio.move_on_after(0.5) as scope:
            await client.send(b"more")
        assert scope.cancelled_caught


@pytest.mark.parametrize("end", ["shutdown", "close"])
async def test_a_connection_that_waits_for_data_may_be_evicted(end: str) -> None:
    async with host_and_peer() as (host, peer):
        await get_cookie(host, peer)
        client = early(host)
        await client.connect((THEIRS, PORT))
        if end == "close":
            client.close()
        else:
            client.shutdown(trio.socket.SHUT_WR)
        await wait_all_tasks_blocked()
        assert host.connections() == []
        assert peer.segments() == []


async def test_the_end_of_stream_follows_the_request() -> None:
    async with host_and_peer() as (host, peer):
        await get_cookie(host, peer)
        client = early(host)
        await client.connect((THEIRS, PORT))
        await client.send(b"question")
        client.shutdown(trio.socket.SHUT_WR)
        assert bytes((await peer.segment()).payload) == b"question"
        peer.send(SYN | ACK)
        assert (await peer.segment()).flags & FIN


async def test_sending_nowhere() -> None:
    async with host_and_peer() as (host, _):
        with fails(errno.EDESTADDRREQ):
            await host.socket().sendmsg([b"question"], [], MSG_FASTOPEN)
        with fails(errno.EOPNOTSUPP):
            flags = MSG_FASTOPEN | trio.socket.MSG_OOB
            await host.socket().sendto(b"question", flags, (THEIRS, PORT))


async def test_the_options_are_off_at_first_and_kept_when_set() -> None:
    async with host_pair() as (host, _):
        sock = host.socket()
        for option, value in ((TCP_FASTOPEN, 7), (TCP_FASTOPEN_CONNECT, 1)):
            assert sock.getsockopt(IPPROTO_TCP, option) == 0
            sock.setsockopt(IPPROTO_TCP, option, value)
            assert sock.getsockopt(IPPROTO_TCP, option) == value
        sock.setsockopt(IPPROTO_TCP, TCP_FASTOPEN, 100_000)
        assert sock.getsockopt(IPPROTO_TCP, TCP_FASTOPEN) == MAX_BACKLOG


@pytest.mark.parametrize(
    ("option", "value"), [(TCP_FASTOPEN, -1), (TCP_FASTOPEN_CONNECT, 2), (TCP_FASTOPEN_CONNECT, -1)]
)
async def test_values_that_make_no_sense(option: int, value: int) -> None:
    async with host_pair() as (host, _):
        with fails(errno.EINVAL):
            host.socket().setsockopt(IPPROTO_TCP, option, value)


async def test_too_late() -> None:
    async with host_pair() as (ours, theirs):
        listener, client = await bakery(theirs), ours.socket()
        with fails(errno.EINVAL):
            listener.setsockopt(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        await client.connect((THEIRS, PORT))
        for option in (TCP_FASTOPEN, TCP_FASTOPEN_CONNECT):
            with fails(errno.EINVAL):
                client.setsockopt(IPPROTO_TCP, option, 1)


async def test_a_connect_that_need_not_wait_is_a_checkpoint_all_the_same() -> None:
    async with host_and_peer() as (host, peer):
        await get_cookie(host, peer)
        with assert_checkpoints():
            await early(host).connect((THEIRS, PORT))
        with trio.CancelScope() as scope:
            scope.cancel()
            sock = early(host)
            await sock.connect((THEIRS, PORT))
        assert scope.cancelled_caught
        await sock.bind(("", 0))  # Nothing was begun.
        assert peer.segments() == []
