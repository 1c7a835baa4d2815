"""Sockets of AF_INET6, and those that serve both families."""

from __future__ import annotations

import errno
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, IPV6_V6ONLY
from trio.testing import check_half_closeable_stream

from tests.socket.network import OURS, THEIRS, fails
from tunstack import Host, Socket, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OURS6, THEIRS6 = "2001:db8::2", "2001:db8::1"
MAPPED, MAPPED_PEER = (f"::ffff:{OURS}", 80, 0, 0), (f"::ffff:{THEIRS}", 5000, 0, 0)
FAMILIES = pytest.mark.parametrize("family", [AF_INET, AF_INET6], ids=["IPv4", "IPv6"])


@asynccontextmanager
async def dual_stack_pair() -> AsyncIterator[tuple[Host, Host]]:
    left, right = memory_pair()
    async with (
        Host(left, [f"{OURS}/24", f"{OURS6}/64"], seed=1) as ours,
        Host(right, [f"{THEIRS}/24", f"{THEIRS6}/64"], seed=2) as theirs,
    ):
        yield ours, theirs


def bound_to(address: str, family: int) -> tuple[Any, ...]:
    return (address, 80) if family == AF_INET else (address, 80, 0, 0)


async def listener_on(
    host: Host, family: int, address: str = "", port: int = 80, *, v6only: bool = False
) -> Socket:
    sock = host.socket(family)
    if v6only:
        sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
    await sock.bind((address, port))
    sock.listen()
    return sock


@pytest.mark.parametrize(
    ("address", "family", "seen", "local"),
    [
        (OURS6, AF_INET6, (THEIRS6, 5000, 0, 0), (OURS6, 80, 0, 0)),
        (OURS, AF_INET, MAPPED_PEER, MAPPED),
        (
            f"::ffff:{OURS}",
            AF_INET6,
            (f"::ffff:{THEIRS}", 5000, 0, 0),
            (f"::ffff:{OURS}", 80, 0, 0),
        ),
    ],
    ids=["IPv6", "IPv4", "mapped"],
)
async def test_a_dual_stack_listener_serves_both_families(
    address: str, family: int, seen: tuple[Any, ...], local: tuple[Any, ...]
) -> None:
    async with dual_stack_pair() as (ours, theirs):
        listener = await listener_on(ours, AF_INET6)
        assert listener.getsockname() == ("::", 80, 0, 0)
        client = theirs.socket(family)
        await client.bind(("", 5000))
        await client.connect((address, 80))
        accepted, peer = await listener.accept()
        assert peer == accepted.getpeername() == seen
        assert accepted.getsockname() == local
        assert accepted.family == AF_INET6
        await client.send(b"hello")
        assert await accepted.recv(9) == b"hello"


async def test_v6only_leaves_ipv4_to_another_listener() -> None:
    async with dual_stack_pair() as (ours, theirs):
        await listener_on(ours, AF_INET6, v6only=True)
        client = theirs.socket()
        with fails(errno.ECONNREFUSED):
            await client.connect((OURS, 80))
        v4 = await listener_on(ours, AF_INET)
        await client.connect((OURS, 80))
        _, peer = await v4.accept()
        assert peer[0] == THEIRS


async def test_a_dual_stack_listener_takes_the_port_of_both_families() -> None:
    async with dual_stack_pair() as (ours, _):
        await listener_on(ours, AF_INET6)
        with fails(errno.EADDRINUSE):
            await listener_on(ours, AF_INET)
        with fails(errno.EADDRINUSE):
            await listener_on(ours, AF_INET, OURS)


@FAMILIES
async def test_the_names_of_both_ends(family: int) -> None:
    address, peer = (OURS, THEIRS) if family == AF_INET else (OURS6, THEIRS6)
    async with dual_stack_pair() as (ours, theirs):
        listener = await listener_on(ours, family, address)
        assert listener.getsockname() == bound_to(address, family)
        client = theirs.socket(family)
        await client.connect((address, 80))
        accepted, who = await listener.accept()
        assert client.getpeername() == accepted.getsockname() == bound_to(address, family)
        assert client.getsockname() == who
        assert who[0] == peer
        assert len(who) == len(bound_to(address, family))


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ((OURS6,), ValueError),
        ((OURS6, 80, 0, 0, 0), ValueError),
        (OURS6, ValueError),
        ((OURS6, -1), OverflowError),
        ((OURS6, 65536), OverflowError),
        ((OURS6, 80, 1 << 20), OverflowError),
        ((OURS6, 80, 0, 1 << 32), OverflowError),
        ((OURS6, "80"), TypeError),
    ],
)
async def test_an_address_of_another_shape_is_refused(address: Any, error: type[Exception]) -> None:
    async with dual_stack_pair() as (ours, _):
        with pytest.raises(error):
            await ours.socket(AF_INET6).connect(address)


async def test_flow_information_and_scope_are_taken() -> None:
    async with dual_stack_pair() as (ours, theirs):
        await listener_on(ours, AF_INET6)
        client = theirs.socket(AF_INET6)
        await client.connect((OURS6, 80, 7, 1))
        assert client.getpeername() == (OURS6, 80, 0, 0)


async def test_a_mapped_address_is_not_for_a_v6only_socket() -> None:
    async with dual_stack_pair() as (ours, _):
        sock = ours.socket(AF_INET6)
        sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        with fails(errno.ENETUNREACH):
            await sock.connect((f"::ffff:{THEIRS}", 80))
        with fails(errno.EINVAL):
            await sock.bind((f"::ffff:{OURS}", 80))


async def test_a_socket_bound_to_one_family_does_not_connect_to_the_other() -> None:
    """The error numbers are Linux's."""
    async with dual_stack_pair() as (ours, _):
        sock = ours.socket(AF_INET6)
        await sock.bind((OURS6, 0))
        with fails(errno.ENETUNREACH):
            await sock.connect((f"::ffff:{THEIRS}", 80))
        sock = ours.socket(AF_INET6)
        await sock.bind((f"::ffff:{OURS}", 0))
        with fails(errno.EAFNOSUPPORT):
            await sock.connect((THEIRS6, 80))


async def test_v6only_cannot_be_set_once_bound() -> None:
    async with dual_stack_pair() as (ours, _):
        sock = await listener_on(ours, AF_INET6)
        with fails(errno.EINVAL):
            sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)


async def test_ipv6s_options_are_not_an_ipv4_sockets() -> None:
    async with dual_stack_pair() as (ours, _):
        with fails(errno.ENOPROTOOPT):
            ours.socket().setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        with fails(errno.EOPNOTSUPP):
            ours.socket().getsockopt(IPPROTO_IPV6, IPV6_V6ONLY)


async def test_the_hop_limit_and_the_time_to_live_are_two() -> None:
    async with dual_stack_pair() as (ours, _):
        sock = ours.socket(AF_INET6)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
        assert sock.getsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 64
        sock.setsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 3)
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 9
        sock.setsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1)
        assert sock.getsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 64


async def test_a_host_of_one_family_has_no_sockets_of_the_other() -> None:
    async with Host(memory_pair()[0], [f"{OURS}/24"]) as host:
        with fails(errno.EAFNOSUPPORT):
            host.socket(AF_INET6)
    async with Host(memory_pair()[0], [f"{OURS6}/64"]) as host:
        with fails(errno.EAFNOSUPPORT):
            host.socket(AF_INET)
        assert host.socket(AF_INET6).family == AF_INET6


async def test_an_ipv6_address_on_a_narrow_link_is_refused() -> None:
    with pytest.raises(ValueError, match="1280"):
        Host(memory_pair(1279)[0], [f"{OURS6}/64"])


@FAMILIES
async def test_listeners_of_the_host_are_one_for_each_family(family: int) -> None:
    async with dual_stack_pair() as (ours, theirs):
        listeners = await ours.open_tcp_listeners(0)
        assert [each.socket.family for each in listeners] == [AF_INET, AF_INET6]
        ports = {each.socket.getsockname()[1] for each in listeners}
        assert len(ports) == 1
        address = OURS if family == AF_INET else OURS6
        stream = await theirs.open_tcp_stream(address, ports.pop())
        accepted = await listeners[family == AF_INET6].accept()
        assert accepted.socket.getpeername() == stream.socket.getsockname()


@pytest.mark.parametrize("address", [OURS, OURS6])
async def test_listeners_on_one_address_are_of_its_family(address: str) -> None:
    async with dual_stack_pair() as (ours, _):
        (listener,) = await ours.open_tcp_listeners(80, host=address)
        assert listener.socket.getsockname()[0] == address


async def test_streams_over_ipv6_pass_trios_conformance_checks() -> None:
    async with dual_stack_pair() as (ours, theirs):
        listeners = await ours.open_tcp_listeners(80)

        async def make_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
            stream = await theirs.open_tcp_stream(OURS6, 80)
            return stream, await listeners[1].accept()

        await check_half_closeable_stream(make_pair, None)


async def test_trios_own_calls_use_both_families() -> None:
    async with dual_stack_pair() as (ours, _):
        with ours.socket_factory():
            listeners = await trio.open_tcp_listeners(80)
            families = {each.socket.family for each in listeners}
            assert families == {AF_INET, AF_INET6}
            stream = await trio.open_tcp_stream(OURS6, 80)
            assert stream.socket.getpeername()[:2] == (OURS6, 80)
            assert isinstance(stream.socket, Socket)
