"""UDP sockets: what trio's do over Linux's, between two hosts."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from tests.socket.network import OURS, THEIRS, Valve, fails, host_pair
from tunstack import Host, Limits, memory_pair
from tunstack.socket.datagram import DatagramSocket
from tunstack.udp.receive_queue import OVERHEAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PORT = 53
Pair = tuple[DatagramSocket, DatagramSocket]


def udp(host: Host) -> DatagramSocket:
    sock = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert isinstance(sock, DatagramSocket)
    return sock


@pytest.fixture
async def hosts() -> AsyncIterator[tuple[Host, Host]]:
    async with host_pair() as pair:
        yield pair


@pytest.fixture
async def pair(hosts: tuple[Host, Host]) -> AsyncIterator[Pair]:
    """A socket of ours connected to one of theirs, which is bound to PORT."""
    near, far = map(udp, hosts)
    await far.bind(("", PORT))
    await near.connect((THEIRS, PORT))
    with trio.fail_after(30):
        yield near, far


async def test_datagrams_arrive_whole_and_one_by_one(pair: Pair) -> None:
    near, far = pair
    for data in (b"one", b"", bytes(1472)):
        assert await near.send(data) == len(data)
    for data in (b"one", b"", bytes(1472)):
        assert await far.recvfrom(2000) == (data, near.getsockname())


@pytest.mark.rfc("768:2-1")
async def test_an_answer_goes_back_to_where_the_datagram_came_from(pair: Pair) -> None:
    near, far = pair
    await near.send(b"question")
    _, address = await far.recvfrom(100)
    assert await far.sendto(b"answer", address) == 6
    assert await near.recvfrom(100) == (b"answer", (THEIRS, PORT))


async def test_what_is_longer_than_the_buffer_is_cut_and_that_is_told(pair: Pair) -> None:
    near, far = pair
    for _ in range(5):
        await near.send(b"0123456789")
    assert await far.recv(4) == b"0123"
    assert await far.recvmsg(4) == (b"0123", [], socket.MSG_TRUNC, near.getsockname())
    buffer = bytearray(4)
    assert await far.recv_into(buffer) == 4
    assert await far.recv_into(buffer, 0, socket.MSG_TRUNC) == 10
    assert await far.recvmsg_into([memoryview(buffer)[:1], memoryview(buffer)[1:]]) == (
        4,
        [],
        socket.MSG_TRUNC,
        near.getsockname(),
    )
    assert buffer == b"0123"


async def test_a_peek_leaves_it_where_it_is(pair: Pair) -> None:
    near, far = pair
    await near.send(b"data")
    for _ in range(2):
        assert await far.recv(2, socket.MSG_PEEK) == b"da"
    assert await far.recv(10) == b"data"


async def test_into_a_buffer_goes_no_more_than_was_asked_for(pair: Pair) -> None:
    near, far = pair
    await near.send(b"data")
    buffer = bytearray(10)
    assert await far.recvfrom_into(buffer, 2) == (2, near.getsockname())
    assert buffer == b"da" + bytes(8)
    with pytest.raises(ValueError, match="nbytes"):
        await far.recvfrom_into(buffer, 11)


async def test_buffers_are_one_datagram(pair: Pair) -> None:
    near, far = pair
    assert await near.sendmsg([b"one", bytearray(b"two"), memoryview(b"three")]) == 11
    assert await far.recv(100) == b"onetwothree"


async def test_a_buffer_may_be_changed_once_it_is_sent(pair: Pair) -> None:
    near, far = pair
    data = bytearray(b"before")
    await near.send(data)
    data[:] = b"after."
    assert await far.recv(100) == b"before"


async def test_who_is_not_connected_must_say_where_to(hosts: tuple[Host, Host]) -> None:
    sock = udp(hosts[0])
    with fails(errno.EDESTADDRREQ):
        await sock.send(b"x")
    with fails(errno.ENOTCONN):
        sock.getpeername()
    with fails(errno.EINVAL):
        await sock.sendto(b"x", (THEIRS, 0))
    with pytest.raises(ValueError, match="tuple"):
        await sock.sendto(b"x", THEIRS)
    with pytest.raises(TypeError):
        await sock.sendto(b"x")


async def test_names(hosts: tuple[Host, Host]) -> None:
    sock = udp(hosts[0])
    assert sock.getsockname() == ("0.0.0.0", 0)
    await sock.connect((THEIRS, PORT))
    local, port = sock.getsockname()
    assert local == OURS
    assert 32768 <= port < 61000
    assert sock.getpeername() == (THEIRS, PORT)
    with fails(errno.EINVAL):
        await sock.bind(("", 7))
    sock.disconnect()
    assert sock.getsockname() == ("0.0.0.0", 0)
    await sock.bind((OURS, 7))
    assert sock.getsockname() == (OURS, 7)
    with fails(errno.EADDRINUSE):
        await udp(hosts[0]).bind(("", 7))
    with fails(errno.EADDRNOTAVAIL):
        await udp(hosts[0]).bind((THEIRS, 7))
    sock.close()
    await udp(hosts[0]).bind(("", 7))


async def test_a_connected_socket_hears_nobody_else(pair: Pair, hosts: tuple[Host, Host]) -> None:
    near, far = pair
    stranger = udp(hosts[1])
    await stranger.sendto(b"not you", near.getsockname())
    await far.sendto(b"you", near.getsockname())
    assert await near.recv(100) == b"you"
    assert hosts[0].statistics()["no_udp_port"] == 1


@pytest.mark.rfc("1122:4.1.3.1-1", "1122:4.1.3.3-1")
async def test_nobody_at_the_port_is_told_once(hosts: tuple[Host, Host]) -> None:
    """RFC 1122 section 4.1.3.3."""
    sock = udp(hosts[0])
    await sock.connect((THEIRS, PORT))
    await sock.send(b"anybody?")
    with fails(errno.ECONNREFUSED):
        await sock.recv(100)
    await sock.send(b"anybody?")
    await wait_all_tasks_blocked()
    with fails(errno.ECONNREFUSED):
        await sock.send(b"anybody?")
    await sock.send(b"anybody?")
    await wait_all_tasks_blocked()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_who_is_not_connected_is_not_told(hosts: tuple[Host, Host]) -> None:
    sock = udp(hosts[0])
    await sock.sendto(b"anybody?", (THEIRS, PORT))
    await wait_all_tasks_blocked()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_a_host_hears_itself(hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    near, far = udp(host), udp(host)
    await far.bind(("", PORT))
    for address in (OURS, "0.0.0.0"):
        await near.sendto(b"hello", (address, PORT))
        with trio.fail_after(10):
            assert await far.recvfrom(10) == (b"hello", (OURS, near.getsockname()[1]))


async def test_a_full_buffer_drops_what_comes_and_counts_it(
    pair: Pair, hosts: tuple[Host, Host]
) -> None:
    near, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 5 * OVERHEAD)
    assert far.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 10 * OVERHEAD
    for number in range(20):
        await near.send(bytes((number,)))
    await wait_all_tasks_blocked()
    received = [await far.recv(1) for _ in range(10)]
    assert received == [bytes((number,)) for number in range(10)]
    assert not far.is_readable()
    assert far.dropped == hosts[1].statistics()["udp_buffer_full"] == 10


async def test_what_waits_is_in_the_hosts_account_and_a_host_that_is_full_takes_no_more() -> None:
    left, right = memory_pair()
    limits = Limits(memory=1 << 20)
    async with (
        Host(left, [f"{OURS}/24"]) as ours,
        Host(right, [f"{THEIRS}/24"], limits=limits) as theirs,
    ):
        near = udp(ours)
        socks = [udp(theirs) for _ in range(20)]
        for number, sock in enumerate(socks):
            await sock.bind(("", 1000 + number))
        for _ in range(100):
            for number in range(len(socks)):
                await near.sendto(bytes(1000), (THEIRS, 1000 + number))
            await wait_all_tasks_blocked()
        assert 1 << 19 < theirs.statistics()["memory_held"] < 3 << 19
        assert theirs.statistics()["udp_buffer_full"] > 0
        for sock in socks:
            assert await sock.recv(2000) == bytes(1000)
            sock.close()
        assert theirs.statistics()["memory_held"] == 0


async def test_closing_wakes_who_waits(pair: Pair) -> None:
    near, _ = pair

    async def waits() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await near.recv(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await wait_all_tasks_blocked()
        near.close()
    assert near.fileno() == -1
    with fails(errno.EBADF):
        await near.recv(1)
    with fails(errno.EBADF):
        await near.send(b"x")
    near.close()


async def test_one_task_waits_at_a_time_as_on_trios_own(pair: Pair) -> None:
    near, _ = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.recv, 1)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await near.recv(1)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_call_takes_nothing(pair: Pair) -> None:
    near, far = pair
    with trio.move_on_after(0):
        await far.recv(1)
    await near.send(b"x")
    await wait_all_tasks_blocked()
    with trio.CancelScope() as scope:
        scope.cancel()
        await far.recv(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await far.sendto(b"x", near.getsockname())
    assert await far.recv(1) == b"x"
    assert not near.is_readable()


async def test_a_cancelled_call_on_a_closed_socket_is_cancelled(pair: Pair) -> None:
    near, _ = pair
    near.close()
    with trio.CancelScope() as scope:
        scope.cancel()
        await near.recv(1)
    assert scope.cancelled_caught


async def test_every_call_that_succeeds_is_a_checkpoint(pair: Pair) -> None:
    near, far = pair
    with assert_checkpoints():
        await near.send(b"x")
    with assert_checkpoints():
        await near.sendto(b"x", (THEIRS, PORT))
    await wait_all_tasks_blocked()
    with assert_checkpoints():
        await far.recv(1)
    with assert_checkpoints():
        await far.recvmsg(1)
    with assert_checkpoints():
        await far.wait_writable()
    with assert_checkpoints():
        await near.connect((THEIRS, PORT))


async def test_after_shutdown_nothing_is_sent_and_nothing_awaited(pair: Pair) -> None:
    near, far = pair
    await far.sendto(b"x", near.getsockname())
    await wait_all_tasks_blocked()
    near.shutdown(socket.SHUT_RDWR)
    assert near.did_shutdown_SHUT_WR
    assert await near.recv(1) == b"x"
    assert await near.recvfrom(1) == (b"", None)
    with fails(errno.EPIPE):
        await near.send(b"x")


async def test_shutdown_of_a_socket_that_is_not_connected_fails_and_works(
    hosts: tuple[Host, Host],
) -> None:
    """As on Linux."""
    sock = udp(hosts[0])
    with fails(errno.ENOTCONN):
        sock.shutdown(socket.SHUT_RD)
    assert await sock.recv(1) == b""


async def test_the_end_of_the_host_wakes_who_waits() -> None:
    link, _ = memory_pair()
    async with trio.open_nursery() as nursery, Host(link, [f"{OURS}/24"]) as host:
        sock = udp(host)

        async def waits() -> None:
            with fails(errno.ENETDOWN):
                await sock.recv(1)

        nursery.start_soon(waits)
        await wait_all_tasks_blocked()
    with fails(errno.ENETDOWN):
        await sock.sendto(b"x", (THEIRS, PORT))
    sock.close()


async def test_a_device_that_takes_nothing_has_the_sender_wait() -> None:
    link, _ = memory_pair()
    valve = Valve(link)
    async with Host(valve, [f"{OURS}/24"]) as host:
        sock = udp(host)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5000)
        await sock.connect((THEIRS, PORT))
        valve.full = True
        sent = 0
        with trio.move_on_after(0.2):
            while True:
                await sock.send(bytes(1000))
                sent += 1
        assert 5 <= sent <= 8
        with trio.move_on_after(0.05) as scope:
            await sock.wait_writable()
        assert scope.cancelled_caught
        valve.empty()
        with trio.fail_after(10):
            await sock.wait_writable()
            await sock.send(bytes(1000))


async def test_a_socket_that_is_forgotten_releases_its_port(hosts: tuple[Host, Host]) -> None:
    sock = udp(hosts[0])
    await sock.bind(("", 7))
    del sock
    await udp(hosts[0]).bind(("", 7))


async def test_a_program_that_knows_nothing_of_the_host(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    with theirs.socket_factory():
        server = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await server.bind(("0.0.0.0", PORT))
    with ours.socket_factory():
        raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        raw.bind((OURS, 7))
        client = trio.socket.from_stdlib_socket(raw)
    await client.sendto(b"x", (THEIRS, PORT))
    assert await server.recvfrom(1) == (b"x", (OURS, 7))
