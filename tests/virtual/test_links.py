"""Links between the hosts of a network: latency, loss, partitions, what is held, crashes."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tests.virtual.programs import ask, serve_echo
from tunstack import Impairments

if TYPE_CHECKING:
    from tunstack import Host, Network

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)
PORT = 5000


async def add_hosts(net: Network, *names: str) -> list[Host]:
    return [await net.add_host(name) for name in names]


async def hear(heard: list[tuple[bytes, float]], *, task_status: trio.TaskStatus[None]) -> None:
    """Note each datagram, and when it came."""
    sock = trio.socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    await sock.bind(("::", PORT))
    task_status.started()
    while True:
        heard.append((await sock.recv(2000), round(trio.current_time(), 9)))


async def hearing(net: Network, name: str) -> list[tuple[bytes, float]]:
    heard: list[tuple[bytes, float]] = []
    await net.start(name, hear, heard)
    return heard


async def tell(source: Host, target: str, *data: bytes) -> None:
    sock = source.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for each in data:
        await sock.sendto(each, (target, PORT))
    sock.close()


# Latency and loss


@in_virtual_time
async def test_by_default_packets_arrive_at_once() -> None:
    async with tunstack.open_network() as net:
        client, server = await add_hosts(net, "client", "server")
        await net.start(server, serve_echo)
        with client.socket_factory():
            assert await ask("server") == b"hello"
        assert trio.current_time() == 0


@in_virtual_time
async def test_latency_is_exact() -> None:
    async with tunstack.open_network(link="delay=20ms") as net:
        client, server = await add_hosts(net, "client", "server")
        await net.start(server, serve_echo)
        stream = await client.open_tcp_stream("server", 7)
        assert trio.current_time() == pytest.approx(0.04, abs=1e-9)
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        assert trio.current_time() == pytest.approx(0.08, abs=1e-9)


@in_virtual_time
async def test_each_pair_and_direction_has_a_latency_of_its_own() -> None:
    async with tunstack.open_network(link=Impairments(delay=1)) as net:
        a, b, c = await add_hosts(net, "a", "b", "c")
        net.link("a", b, "out:delay=2s,in:delay=3s")
        heard = {name: await hearing(net, name) for name in net.hosts}
        for source, target in ((a, "b"), (b, "a"), (a, "c"), (c, "a"), (b, "c")):
            await tell(source, target, b"")
        await trio.sleep(10)
        assert [at for _, at in heard["b"]] == [2]
        assert [at for _, at in heard["a"]] == [1, 3]
        assert [at for _, at in heard["c"]] == [1, 1]
        net.link("a", None, "delay=5s")  # To all others.
        await tell(a, "b", b"")
        await tell(c, "a", b"")
        await trio.sleep(10)
        assert heard["b"][-1] == (b"", 15)
        assert heard["a"][-1] == (b"", 15)
        net.link("a", "b")
        await tell(a, "b", b"")
        await trio.sleep(1)
        assert heard["b"][-1] == (b"", 20)


def lost(seed: int, *names: str) -> list[int]:
    """Which of 200 datagrams from a to b are lost."""

    async def main() -> list[int]:
        async with tunstack.open_network(link="loss=10%") as net:
            for name in names:
                await net.add_host(name, *ADDRESSES.get(name, ()))
            heard = await hearing(net, "b")
            await tell(net.host("a"), "b", *(bytes([number]) for number in range(200)))
            await trio.sleep(1)
            assert net.statistics()["lost"] == 200 - len(heard)
            return sorted({*range(200)} - {data[0] for data, _ in heard})

    return tunstack.run_virtual(main, seed=seed)


ADDRESSES = {"a": ["2001:db8::a"], "b": ["2001:db8::b"]}


def test_loss_follows_from_the_seed() -> None:
    first = lost(1, "a", "b")
    assert 5 < len(first) < 40
    assert lost(1, "a", "b") == first
    assert lost(2, "a", "b") != first


def test_loss_of_a_pair_does_not_depend_on_other_hosts() -> None:
    assert lost(1, "other", "b", "another", "a") == lost(1, "a", "b")


@in_virtual_time
async def test_copies_and_damage_are_counted() -> None:
    async with tunstack.open_network(link="duplicate=100%,corrupt=100%") as net:
        a, _ = await add_hosts(net, "a", "b")
        heard = await hearing(net, "b")
        await tell(a, "b", b"one")
        await trio.sleep(1)
        statistics = net.statistics()
        assert (statistics["sent"], statistics["duplicated"], statistics["corrupted"]) == (1, 1, 2)
        assert heard == []


@in_virtual_time
async def test_a_queue_that_is_full_drops() -> None:
    async with tunstack.open_network(link="rate=1mbit,limit=3") as net:
        a, _ = await add_hosts(net, "a", "b")
        heard = await hearing(net, "b")
        await tell(a, "b", *[bytes(1000)] * 10)
        await trio.sleep(1)
        assert len(heard) == 3
        assert net.statistics()["queue_full"] == 7


@in_virtual_time
async def test_packets_to_nobody_are_counted() -> None:
    async with tunstack.open_network() as net:
        (a,) = await add_hosts(net, "a")
        sock = a.socket(type=socket.SOCK_DGRAM)
        await sock.sendto(b"", ("198.51.100.99", 9))
        await sock.sendto(b"", ("203.0.113.1", 9))
        assert net.statistics()["no_such_address"] == 2


# Partitions


@in_virtual_time
async def test_a_partition_drops_until_it_is_repaired() -> None:
    async with tunstack.open_network() as net:
        client, server = await add_hosts(net, "client", "server")
        await net.start(server, serve_echo)
        stream = await client.open_tcp_stream("server", 7)
        net.partition(client, server)
        await stream.send_all(b"hello")
        with trio.move_on_after(2) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        assert net.statistics()["partitioned"] > 2
        net.repair("client", "server")
        assert await stream.receive_some() == b"hello"  # By retransmission.


@in_virtual_time
async def test_a_partition_for_good_is_a_timeout_in_virtual_minutes() -> None:
    async with tunstack.open_network() as net:
        client, server = await add_hosts(net, "client", "server")
        await net.start(server, serve_echo)
        net.partition("server")
        with pytest.raises(OSError, match="server port 7") as raised:
            await client.open_tcp_stream("server", 7)
        assert "timed out" in str(raised.value)
        assert trio.current_time() > 120


@in_virtual_time
async def test_a_partition_can_be_one_way_and_between_groups() -> None:
    async with tunstack.open_network() as net:
        a, b, c, d = await add_hosts(net, "a", "b", "c", "d")
        heard = {name: await hearing(net, name) for name in net.hosts}

        async def reached(source: Host) -> set[str]:
            for each in heard.values():
                each.clear()
            for target in net.hosts:
                await tell(source, target, b"")
            await trio.sleep(1)
            return {name for name, messages in heard.items() if messages}

        net.partition("a", "b", one_way=True)
        assert await reached(a) == {"a", "c", "d"}
        assert await reached(b) == {"a", "b", "c", "d"}
        net.repair()
        net.partition(["a", b], [c, "d"])
        assert await reached(a) == {"a", "b"}
        assert await reached(c) == {"c", "d"}
        net.repair("a", "c")
        assert await reached(a) == {"a", "b", "c"}
        assert await reached(d) == {"c", "d"}


@in_virtual_time
async def test_a_partition_drops_what_is_on_its_way() -> None:
    async with tunstack.open_network(link="delay=1s") as net:
        a, _ = await add_hosts(net, "a", "b")
        heard = await hearing(net, "b")
        await tell(a, "b", b"one")
        await trio.sleep(0.5)
        net.partition("a", "b")
        net.repair("a", "b")
        await tell(a, "b", b"two")
        await trio.sleep(5)
        assert heard == [(b"two", 1.5)]
        assert net.statistics()["partitioned"] == 1


# Hold and release


@in_virtual_time
async def test_what_is_held_is_delivered_in_its_order() -> None:
    async with tunstack.open_network(link="delay=1s") as net:
        a, b = await add_hosts(net, "a", "b")
        at_a, at_b = await hearing(net, "a"), await hearing(net, "b")
        await tell(a, "b", b"one")
        net.hold("a", "b")
        await tell(a, "b", b"two")
        await tell(b, "a", b"back")
        await trio.sleep(9.5)
        await tell(a, "b", b"three")
        assert (at_a, at_b) == ([], [])
        assert net.held("a", "b") == 4
        assert net.held("a", "b", one_way=True) == 3
        net.release("a", "b")
        await trio.sleep(5)
        assert at_b == [(b"one", 9.5), (b"two", 9.5), (b"three", 10.5)]
        assert at_a == [(b"back", 9.5)]
        assert net.held("a", "b") == 0


@in_virtual_time
async def test_one_direction_can_be_held() -> None:
    async with tunstack.open_network() as net:
        client, server = await add_hosts(net, "client", "server")
        await net.start(server, serve_echo)
        stream = await client.open_tcp_stream("server", 7)
        net.hold("server", "client", one_way=True)
        await stream.send_all(b"hello")
        await trio.sleep(0.1)
        assert net.held("server") == 1
        net.release()
        assert await stream.receive_some() == b"hello"
        assert trio.current_time() == 0.1


@in_virtual_time
async def test_a_partition_drops_what_is_held() -> None:
    async with tunstack.open_network() as net:
        a, _ = await add_hosts(net, "a", "b")
        heard = await hearing(net, "b")
        net.hold("a")
        await tell(a, "b", b"one")
        net.partition("a")
        net.repair()
        await tell(a, "b", b"two")
        net.release()
        await trio.sleep(1)
        assert [data for data, _ in heard] == [b"two"]


@pytest.mark.parametrize("call", ["link", "partition", "repair", "hold", "release", "held"])
@in_virtual_time
async def test_a_link_of_a_host_to_itself_is_refused(call: str) -> None:
    async with tunstack.open_network() as net:
        await add_hosts(net, "a", "b")
        for ends in (("a", "a"), (["a", "b"], "b")):
            with pytest.raises(ValueError, match=r"^a link of [ab] to itself: give two hosts$"):
                getattr(net, call)(*ends)


# Crashes


@in_virtual_time
async def test_a_crash_is_silent_and_cancels_the_programs() -> None:
    ended = []

    async def program() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with tunstack.open_network() as net:
        client, server = await add_hosts(net, "client", "server")
        await net.start(server, serve_echo)
        net.start_soon(server, program)
        stream = await client.open_tcp_stream("server", 7)
        await trio.sleep(1)
        net.crash("server")
        with trio.move_on_after(10) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        assert ended == [1]
        with pytest.raises(OSError, match="has ended") as raised:
            server.socket()
        assert raised.value.errno == errno.ENETDOWN
        await stream.send_all(b"?")
        await trio.sleep(1)
        assert net.statistics()["unplugged"] > 1


@in_virtual_time
async def test_after_a_restart_the_host_knows_no_connection() -> None:
    async with tunstack.open_network() as net:
        client, server = await add_hosts(net, "client", "server")
        await net.start(server, serve_echo)
        stream = await client.open_tcp_stream("server", 7)
        again = await net.restart("server")
        assert net.host("server") is again is not server
        assert again.addresses == server.addresses
        await stream.send_all(b"?")
        with pytest.raises(trio.BrokenResourceError) as raised:
            await stream.receive_some()
        assert isinstance(raised.value.__cause__, ConnectionResetError)
        await net.start("server", serve_echo)
        with client.socket_factory():
            assert await ask("server") == b"hello"
        with pytest.raises(ValueError, match=r"no host <tunstack.Host .*> in this network"):
            net.crash(server)


@in_virtual_time
async def test_links_outlive_a_crash() -> None:
    async with tunstack.open_network() as net:
        a, b, _ = await add_hosts(net, "a", "b", "c")
        net.link("a", "b", "delay=1s")
        net.partition("b", "c")
        net.crash(b)
        await net.restart("b")
        heard = await hearing(net, "b")
        await tell(a, "b", b"one")
        await tell(net.host("c"), "b", b"two")
        await trio.sleep(5)
        assert heard == [(b"one", 1)]


@in_virtual_time
async def test_an_exception_while_a_program_crashes_ends_the_block() -> None:
    async def program() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    async def crash_it() -> None:
        async with tunstack.open_network() as net:
            net.start_soon(await net.add_host("a"), program)
            await trio.sleep(1)
            net.crash("a")
            await trio.sleep_forever()

    with pytest.raises(KeyError):
        await crash_it()
