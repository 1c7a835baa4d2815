"""Data in both directions: what each way to send takes, and each way to receive gives."""

from __future__ import annotations

import errno
import random
import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import (
    SMALL,
    Valve,
    connected,
    fails,
    fill,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)
from tunstack import Config
from tunstack.tcp.config import INITIAL_SIZE
from tunstack.tcp.segment import ACK, PSH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tunstack import Socket
    from tunstack.link.base import Link

Pair = tuple["Socket", "Socket"]
DATA = random.Random(0).randbytes(300_000)


async def exactly(sock: Socket, size: int) -> bytes:
    """So many octets, however they come."""
    data = b""
    while len(data) < size:
        data += await sock.recv(size - len(data))
    return data


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Both ends of a connection between two hosts."""
    async with host_pair() as (ours, theirs):
        yield await connected(ours, theirs)


async def test_recv_gives_what_is_there_and_at_most_what_was_asked_for(pair: Pair) -> None:
    client, server = pair
    await client.send(b"abcdef")
    assert [await server.recv(4), await server.recv(4)] == [b"abcd", b"ef"]


async def test_recv_of_size_zero_does_not_report_the_end(pair: Pair) -> None:
    client, server = pair
    assert await server.recv(0) == b""
    await client.send(b"x")
    assert await server.recv(0) == b""
    assert await server.recv(1) == b"x"


async def test_recv_refuses_what_makes_no_sense(pair: Pair) -> None:
    client, _ = pair
    with pytest.raises(ValueError, match="negative"):
        await client.recv(-1)
    for size in ("1", None, 1.5):
        with pytest.raises(TypeError):
            await client.recv(size)  # type: ignore[arg-type]
    with fails(errno.EOPNOTSUPP):
        await client.recv(1, socket.MSG_ERRQUEUE)


async def test_the_end_comes_after_all_data_and_stays(pair: Pair) -> None:
    client, server = pair
    await client.send(b"the last")
    client.shutdown(trio.socket.SHUT_WR)
    assert await server.recv(100) == b"the last"
    for _ in range(3):
        assert await server.recv(100) == b""


async def test_recv_into_fills_a_buffer_and_no_more(pair: Pair) -> None:
    client, server = pair
    await client.send(b"abcdefgh")
    buffer = bytearray(b"......")
    assert await server.recv_into(buffer, 2) == 2
    assert buffer == b"ab...."
    with memoryview(buffer) as view:
        assert await server.recv_into(view[2:]) == 4
    assert buffer == b"abcdef"
    assert await server.recvfrom_into(buffer, 1) == (1, None)
    assert await server.recvfrom(100) == (b"h", None)


async def test_recvmsg_gives_data_and_nothing_beside_it(pair: Pair) -> None:
    client, server = pair
    await client.send(b"abc")
    assert await server.recvmsg(2) == (b"ab", [], 0, None)


async def test_recvmsg_into_fills_one_buffer_after_another(pair: Pair) -> None:
    client, server = pair
    await client.send(b"abcdef")
    buffers = bytearray(2), bytearray(0), bytearray(3)
    assert await server.recvmsg_into(buffers) == (5, [], 0, None)
    assert list(map(bytes, buffers)) == [b"ab", b"", b"cde"]
    assert await server.recvmsg_into(buffers, 0, socket.MSG_PEEK) == (1, [], 0, None)
    assert await server.recvmsg_into([memoryview(buffers[2])]) == (1, [], 0, None)
    assert list(map(bytes, buffers)) == [b"fb", b"", b"fde"]


PEEKS: list[Callable[[Socket, int], Awaitable[Any]]] = [
    lambda sock, size: sock.recv(size, socket.MSG_PEEK),
    lambda sock, size: sock.recvfrom(size, socket.MSG_PEEK),
    lambda sock, size: sock.recvmsg(size, 0, socket.MSG_PEEK),
]


@pytest.mark.parametrize("peek", PEEKS)
async def test_what_is_peeked_at_is_there_to_be_read(
    pair: Pair, peek: Callable[[Socket, int], Awaitable[Any]]
) -> None:
    client, server = pair
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await client.send(b"abc")
    await client.send(b"def")
    await wait_all_tasks_blocked()
    for size, expected in ((2, b"ab"), (4, b"abcd"), (100, b"abcdef"), (0, b"")):
        seen = await peek(server, size)
        assert (seen if isinstance(seen, bytes) else seen[0]) == expected
    assert await server.recv(1) == b"a"
    assert await server.recv(100, socket.MSG_PEEK) == b"bcdef"
    assert await server.recv(100) == b"bcdef"


async def test_to_peek_waits_for_data_and_sees_the_end_and_errors(pair: Pair) -> None:
    client, server = pair
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def peek() -> None:
            assert await server.recv(100, socket.MSG_PEEK) == b"x"

        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await server.recv(100, socket.MSG_PEEK)
        await client.send(b"x")
    client.shutdown(trio.socket.SHUT_WR)
    assert await server.recv(100) == b"x"
    assert await server.recv(100, socket.MSG_PEEK) == await server.recv(100) == b""
    server.abort()
    await wait_all_tasks_blocked()
    with fails(errno.ECONNRESET):
        await client.recv(1, socket.MSG_PEEK)


async def test_to_peek_opens_no_window() -> None:
    async with host_and_peer(receive_buffer=SMALL) as (host, peer):
        listener = await listening(host)
        await peer.connect(mss=1460)
        server, _ = await listener.accept()
        for _ in range(4):
            peer.send(ACK, bytes(SMALL // 4))
        await trio.sleep(1)
        assert peer.segments()[-1].wnd == 0
        assert await server.recv(SMALL, socket.MSG_PEEK) == bytes(SMALL)
        await wait_all_tasks_blocked()
        assert peer.segments() == []


@pytest.mark.parametrize("flag", [socket.MSG_DONTWAIT, socket.MSG_CMSG_CLOEXEC])
@pytest.mark.parametrize("kernels", [False, True])
async def test_flags_without_effect_are_taken(pair: Pair, flag: int, kernels: bool) -> None:
    """Sockets of trio do not block, whatever they are told, and their calls wait all the same."""
    left, right = trio.socket.socketpair()
    with left, right:
        client, server = (left, right) if kernels else pair
        assert await client.send(b"a", socket.MSG_DONTWAIT) == 1
        assert await server.recv(100, flag) == b"a"
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive() -> None:
                assert await server.recv(100, flag) == b"b"

            await wait_all_tasks_blocked()
            assert await client.sendmsg([b"b"], (), socket.MSG_DONTWAIT) == 1


async def test_an_empty_send_does_not_conflict_with_a_blocked_one() -> None:
    """Nor is what two send mixed: the second is refused, whatever it has to say."""
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        total = await fill(client)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def first() -> None:
                await trio.SocketStream(client).send_all(b"1" * SMALL)

            await wait_all_tasks_blocked()
            for second in (b"", b"2", b"2" * SMALL):
                with pytest.raises(trio.BusyResourceError):
                    await client.send(second)
                with pytest.raises(trio.BusyResourceError):
                    await client.sendmsg([second])
            with pytest.raises(trio.BusyResourceError):
                await client.wait_writable()
            assert await exactly(server, total + SMALL) == bytes(total) + b"1" * SMALL
        assert await client.send(b"") == 0
        assert await client.send(b"3") == 1
        assert await server.recv(100) == b"3"


async def test_sendmsg_sends_buffers_one_after_another(pair: Pair) -> None:
    client, server = pair
    assert await client.sendmsg([b"a", bytearray(b"bc"), memoryview(b"def")]) == 6
    assert await server.recv(100) == b"abcdef"
    with fails(errno.EOPNOTSUPP):
        await client.sendmsg([b"a"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"")])


async def test_sendto_sends_and_ignores_the_address(pair: Pair) -> None:
    client, server = pair
    assert await client.sendto(b"ab", ("198.51.100.9", 9)) == 2
    assert await client.sendto(b"c", socket.MSG_NOSIGNAL, ("198.51.100.9", 9)) == 1
    assert await exactly(server, 3) == b"abc"


async def test_send_takes_bytes_of_any_kind_and_its_own_copy(pair: Pair) -> None:
    client, server = pair
    assert await client.send(b"") == 0
    for size in (1, 5000):  # Small ones and large ones are kept in ways of their own.
        data = bytearray(b"x" * size)
        assert await client.send(data) == size
        data[:] = b"y" * size
        assert await exactly(server, size) == b"x" * size
    words = memoryview(b"abcdefgh").cast("I")
    assert await client.send(words) == 8
    assert await client.send(b"!", socket.MSG_NOSIGNAL) == 1
    assert await exactly(server, 9) == b"abcdefgh!"
    with fails(errno.EOPNOTSUPP):
        await client.send(b"x", socket.MSG_DONTROUTE)
    with pytest.raises(TypeError):
        await client.send("text")


async def test_not_connected() -> None:
    async with host_pair() as (ours, _):
        for sock in (ours.socket(), await listening(ours)):
            with fails(errno.ENOTCONN):
                await sock.recv(1)
            with fails(errno.ENOTCONN):
                await sock.send(b"x")
            with fails(errno.ENOTCONN):
                await sock.wait_writable()
            with fails(errno.ENOTCONN):
                sock.getpeername()
            with fails(errno.ENOTCONN):
                sock.tcp_info()
            with fails(errno.ENOTCONN):
                sock.shutdown(trio.socket.SHUT_WR)


async def both_ways(one: Socket, other: Socket) -> tuple[bytes, bytes]:
    """Send DATA from each end to the other, and return what came."""
    came: dict[Socket, bytes] = {}

    async def send(sock: Socket) -> None:
        await trio.SocketStream(sock).send_all(DATA)
        sock.shutdown(trio.socket.SHUT_WR)

    async def receive(sock: Socket) -> None:
        came[sock] = await read_to_end(sock)

    async with trio.open_nursery() as nursery:
        for sock in (one, other):
            nursery.start_soon(send, sock)
            nursery.start_soon(receive, sock)
    return came[one], came[other]


@pytest.mark.parametrize("mtu", [68, 576, 1500, 9000, 65535])
async def test_much_data_both_ways_at_every_mtu(mtu: int) -> None:
    # With time: on a busy machine an answer may take longer than 200 ms.
    async with host_pair(mtu=mtu, rto_min=5.0) as (ours, theirs):
        assert await both_ways(*await connected(ours, theirs)) == (DATA, DATA)
        assert ours.statistics()["retransmission_timeout"] == 0


@pytest.mark.parametrize("option", ["timestamps", "window_scaling", "sack"])
async def test_much_data_both_ways_without_an_option(option: str) -> None:
    without: dict[str, Any] = {option: False}
    async with host_pair(**without) as (ours, theirs):
        assert await both_ways(*await connected(ours, theirs)) == (DATA, DATA)


async def test_much_data_both_ways_over_a_lossy_link() -> None:
    rng = random.Random(1)

    def lossy(link: Link) -> Link:
        valve = Valve(link)
        valve.loses = lambda _: rng.random() < 0.05
        return valve

    async with host_pair(wrap=lossy) as (ours, theirs):
        client, server = await connected(ours, theirs)
        assert await both_ways(client, server) == (DATA, DATA)
        assert client.tcp_info().retransmits > 5


async def test_small_buffers_carry_much_data() -> None:
    async with host_pair() as (ours, theirs):
        assert await both_ways(*await connected(ours, theirs, buffer=SMALL)) == (DATA, DATA)


async def test_send_waits_for_room_and_takes_what_fits() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        assert await client.send(bytes(10 * SMALL)) == SMALL
        total = SMALL + await fill(client)
        # One buffer's worth is with the peer; ours is full but for less than a third.
        assert SMALL + SMALL * 2 // 3 <= total <= 2 * SMALL
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"the rest")
            await trio.sleep(10)
            assert len(nursery.child_tasks) == 1
            await exactly(server, total)
        assert await server.recv(100) == b"the rest"


async def test_who_waits_to_send_is_not_woken_for_a_few_octets() -> None:
    """As on Linux: a third of the buffer must be free."""
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=30_000)
        await fill(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.wait_writable)
            await server.recv(3000)
            await trio.sleep(10)
            assert len(nursery.child_tasks) == 1
            await server.recv(27_000)
        assert client.tcp_info().unacked + client.tcp_info().notsent <= 20_000


async def test_tcp_notsent_lowat_bounds_what_is_queued() -> None:
    async with host_pair() as (ours, theirs):
        client, _ = await connected(ours, theirs)
        client.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NOTSENT_LOWAT, 20_000)
        await fill(client)
        info = client.tcp_info()
        assert 20_000 <= info.notsent < 20_000 + 65_536
        assert info.unacked + info.notsent < client.getsockopt(
            trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF
        )


async def test_a_large_send_is_taken_at_once_without_lowat() -> None:
    async with host_pair() as (ours, theirs):
        client, _ = await connected(ours, theirs)
        assert await client.send(bytes(1 << 20)) == INITIAL_SIZE


async def test_the_options_tell_what_buffers_have_grown_to_and_fix_them(pair: Pair) -> None:
    client, server = pair
    size = 1 << 20
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.SocketStream(client).send_all, bytes(size))
        assert len(await exactly(server, size)) == size
    sent = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert INITIAL_SIZE < sent <= 2 * client.tcp_info().snd_cwnd
    received = server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert INITIAL_SIZE <= received <= Config().receive_buffer_max
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 50_000
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 60_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.SocketStream(client).send_all, bytes(size))
        assert len(await exactly(server, size)) == size
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 50_000
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 60_000


async def test_one_task_receives_at_a_time(pair: Pair) -> None:
    client, server = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.recv, 1)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.recv(1)
        with pytest.raises(trio.BusyResourceError):
            await client.recv_into(bytearray(1))
        await client.send(b"x")  # The other direction is free.
        await server.send(b"y")


async def test_one_task_sends_at_a_time() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        await fill(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"x")
            await wait_all_tasks_blocked()
            for call in (client.wait_writable(), client.send(b"y"), client.sendmsg([b"z"])):
                with pytest.raises(trio.BusyResourceError):
                    await call
            await server.send(b"y")  # The other direction is free.
            assert await client.recv(1) == b"y"
            nursery.cancel_scope.cancel()


async def test_a_cancelled_recv_loses_nothing(pair: Pair) -> None:
    """Not when cancelled as it begins, nor while it waits, nor as data arrives."""
    client, server = pair
    sent = received = b""
    for number in range(50):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def receive() -> None:
                    nonlocal received
                    received += await server.recv(1)

                if number % 2:
                    await wait_all_tasks_blocked()
                await client.send(bytes([number]))
                sent += bytes([number])
                if number % 3:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    client.shutdown(trio.socket.SHUT_WR)
    assert received + await read_to_end(server) == sent


async def test_a_cancelled_send_has_sent_nothing() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs, buffer=SMALL)
        total = await fill(client)
        with trio.move_on_after(5):
            await client.send(b"never")
        client.shutdown(trio.socket.SHUT_WR)
        assert await read_to_end(server) == bytes(total)


async def test_is_readable(pair: Pair) -> None:
    client, server = pair
    assert not server.is_readable()
    await client.send(b"x")
    await wait_all_tasks_blocked()
    assert server.is_readable()
    await server.recv(1)
    assert not server.is_readable()
    client.shutdown(trio.socket.SHUT_WR)
    await wait_all_tasks_blocked()
    assert server.is_readable()


@pytest.mark.rfc("MUST-58", "MUST-59")
async def test_what_one_wake_up_brings_is_acknowledged_once() -> None:
    """RFC 9293 MUST-58, MUST-59; and it wakes the application once."""
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        server, _ = await listener.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.recv, 1)
            await wait_all_tasks_blocked()
            for _ in range(8):
                peer.send(ACK, bytes(1460))
            await wait_all_tasks_blocked()
        (ack,) = peer.segments()
        assert ack.ack == peer.nxt


@pytest.mark.rfc("MUST-61")
async def test_the_last_segment_of_a_write_is_pushed() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect(mss=1460)
        server, _ = await listener.accept()
        await server.send(bytes(3 * 1460))
        assert [(await peer.segment()).flags for _ in range(3)] == [ACK, ACK, ACK | PSH]
