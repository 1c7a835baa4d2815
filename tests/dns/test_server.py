"""The server over UDP and TCP: on a host, and on the kernel's sockets."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rcode
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.dns.messages import NAMES, query, texts
from tests.socket.network import OURS, host_pair
from tunstack import DnsServer, Host, Names, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INET, DATAGRAMS = socket.AF_INET, socket.SOCK_DGRAM


@asynccontextmanager
async def serving(
    *, faults: dict[str, str] | None = None, **parameters: Any
) -> AsyncIterator[tuple[DnsServer, Host]]:
    """A server on one host, and the other host."""
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        server = DnsServer(Names(NAMES, faults=faults), **parameters)
        await nursery.start(ours.serve_udp, server.datagram_handler, 53)
        await nursery.start(ours.serve_tcp, server.handler, 53)
        yield server, theirs
        nursery.cancel_scope.cancel()


async def over_udp(host: Host, octets: bytes) -> dns.message.Message:
    with host.socket(INET, DATAGRAMS) as sock:
        await sock.connect((OURS, 53))
        await sock.send(octets)
        return dns.message.from_wire(await sock.recv(4096))


async def receive(stream: trio.SocketStream) -> dns.message.Message:
    """The next message of a connection."""
    size = int.from_bytes(await exactly(stream, 2), "big")
    return dns.message.from_wire(await exactly(stream, size))


async def exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive_some(size - len(data)) or pytest.fail("end of file")
    return data


async def end_of(stream: trio.SocketStream) -> bool:
    """Whether a stream ends with nothing in it, in order or by a RST."""
    try:
        return await stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True


def framed(*queries: bytes) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in queries)


async def test_a_query_is_answered_over_udp() -> None:
    async with serving() as (server, client):
        reply = await over_udp(client, query("www.test"))
        assert texts(reply.answer) == ["www.test. A 198.51.100.2"]
        assert server.statistics()["queries_udp"] == 1


async def test_what_is_truncated_over_udp_is_whole_over_tcp() -> None:
    async with serving() as (_, client):
        assert (await over_udp(client, query("big.test"))).answer == []
        async with await client.open_tcp_stream(OURS, 53) as stream:
            await stream.send_all(framed(query("big.test")))
            assert len((await receive(stream)).answer[0]) == 100


async def test_many_queries_on_one_connection_are_answered_in_order() -> None:
    async with serving() as (server, client):
        async with await client.open_tcp_stream(OURS, 53) as stream:
            await stream.send_all(framed(*(query("www.test", id=each) for each in range(200))))
            assert [(await receive(stream)).id for _ in range(200)] == [*range(200)]
        assert server.statistics()["connections"] == 1


async def test_a_query_may_come_octet_by_octet(autojump_clock: MockClock) -> None:
    async with serving() as (_, client), await client.open_tcp_stream(OURS, 53) as stream:
        for octet in framed(query("www.test")):
            await stream.send_all(bytes([octet]))
            await wait_all_tasks_blocked()
        assert (await receive(stream)).rcode() == dns.rcode.NOERROR


async def test_a_late_answer_holds_up_no_other(autojump_clock: MockClock) -> None:
    async with (
        serving(faults={"www.test": "delay:3"}) as (_, client),
        trio.open_nursery() as nursery,
    ):
        times: dict[str, float] = {}

        async def ask(name: str) -> None:
            await over_udp(client, query(name))
            times[name] = trio.current_time() - start

        start = trio.current_time()
        nursery.start_soon(ask, "www.test")
        nursery.start_soon(ask, "alias.test")
        await trio.sleep(60)
        assert times["alias.test"] < 1
        assert 3 <= times["www.test"] < 4


async def test_late_answers_are_bounded(autojump_clock: MockClock) -> None:
    async with serving(faults={"www.test": "delay:3"}) as (server, client):
        with client.socket(INET, DATAGRAMS) as sock:
            await sock.connect((OURS, 53))
            for number in range(1200):
                await sock.send(query("www.test", id=number))
                await trio.sleep(0.0001)
            await trio.sleep(1)
        assert server.statistics()["dropped_late"] == 200
        assert (await over_udp(client, query("alias.test"))).rcode() == dns.rcode.NOERROR


async def test_a_connection_that_idles_is_closed(autojump_clock: MockClock) -> None:
    async with (
        serving(idle_timeout=5) as (server, client),
        await client.open_tcp_stream(OURS, 53) as stream,
    ):
        await stream.send_all(framed(query("www.test"))[:-1])
        start = trio.current_time()
        assert await stream.receive_some() == b""
        assert 5 <= trio.current_time() - start < 6
        assert server.statistics()["connections_idle"] == 1


async def test_a_client_that_reads_nothing_is_closed(autojump_clock: MockClock) -> None:
    async with (
        serving(idle_timeout=5) as (server, client),
        await client.open_tcp_stream(OURS, 53) as stream,
    ):
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            while True:
                await stream.send_all(framed(*[query("big.test")] * 50))
        assert server.statistics()["connections_idle"] == 1


async def test_connections_are_bounded(autojump_clock: MockClock) -> None:
    async with serving(max_connections=2) as (server, client):
        streams = [await client.open_tcp_stream(OURS, 53) for _ in range(3)]
        assert await streams[2].receive_some() == b""
        for stream in streams[:2]:
            await stream.send_all(framed(query("www.test")))
            assert (await receive(stream)).rcode() == dns.rcode.NOERROR
        await streams[0].aclose()
        await trio.sleep(1)
        async with await client.open_tcp_stream(OURS, 53) as stream:
            await stream.send_all(framed(query("www.test")))
            assert (await receive(stream)).rcode() == dns.rcode.NOERROR
        assert server.statistics()["connections_refused"] == 1


@pytest.mark.parametrize("size", [2049, 65535])
async def test_a_length_that_no_query_has_ends_the_connection(size: int) -> None:
    async with serving() as (server, client):
        async with await client.open_tcp_stream(OURS, 53) as stream:
            await stream.send_all(size.to_bytes(2, "big") + bytes(2100))
            assert await end_of(stream)
        assert server.statistics()["connections_too_long"] == 1
        assert (await over_udp(client, query("www.test"))).rcode() == dns.rcode.NOERROR


async def test_a_length_of_nothing_is_dropped_and_the_next_query_answered() -> None:
    async with serving() as (server, client):
        async with await client.open_tcp_stream(OURS, 53) as stream:
            await stream.send_all(framed(b"", b"x", query("www.test")))
            assert (await receive(stream)).rcode() == dns.rcode.NOERROR
        assert server.statistics()["dropped_short"] == 2


async def test_an_answer_comes_from_the_address_that_was_asked() -> None:
    """Of a host that has several."""
    left, right = memory_pair()
    async with (
        Host(left, [f"203.0.113.{last}/24" for last in (2, 77, 200)]) as ours,
        Host(right, ["203.0.113.1/24"]) as theirs,
        trio.open_nursery() as nursery,
    ):
        server = DnsServer(Names(NAMES))
        await nursery.start(ours.serve_udp, server.datagram_handler, 53)
        with theirs.socket(INET, DATAGRAMS) as sock, trio.fail_after(5):
            for last in (2, 77, 200):
                await sock.sendto(query("www.test"), (f"203.0.113.{last}", 53))
                assert (await sock.recvfrom(4096))[1] == (f"203.0.113.{last}", 53)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_it_serves_the_kernels_sockets_as_well(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else INET
    server = DnsServer(Names(NAMES))
    with (
        trio.socket.socket(family, DATAGRAMS) as ours,
        trio.socket.socket(family, DATAGRAMS) as client,
    ):
        async with trio.open_nursery() as nursery:
            await ours.bind((address, 0))
            nursery.start_soon(server.datagram_handler, ours)
            await client.connect(ours.getsockname())
            await client.send(query("www.test"))
            with trio.fail_after(5):
                reply = dns.message.from_wire(await client.recv(4096))
            assert texts(reply.answer) == ["www.test. A 198.51.100.2"]
            nursery.cancel_scope.cancel()
