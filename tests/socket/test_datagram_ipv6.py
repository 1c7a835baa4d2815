"""UDP sockets of AF_INET6, dual stack, and datagrams that go in fragments."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, THEIRS, fails
from tunstack import Host, memory_pair
from tunstack.socket.datagram import DatagramSocket
from tunstack.socket.options.datagram import IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IPV6_RECVERR
from tunstack.udp.sock import PMTUDISC_DO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IPV6, OURS6, THEIRS6, PORT = socket.IPPROTO_IPV6, "2001:db8::2", "2001:db8::1", 53
INET, INET6 = socket.AF_INET, socket.AF_INET6
Hosts = tuple[Host, Host]


def udp(host: Host, family: int = INET6) -> DatagramSocket:
    sock = host.socket(family, socket.SOCK_DGRAM)
    assert isinstance(sock, DatagramSocket)
    return sock


@pytest.fixture(params=[False, True], ids=["no-offload", "offload"])
async def hosts(request: pytest.FixtureRequest) -> AsyncIterator[Hosts]:
    left, right = memory_pair(offload=request.param)
    async with (
        Host(left, [f"{OURS}/24", f"{OURS6}/64"]) as ours,
        Host(right, [f"{THEIRS}/24", f"{THEIRS6}/64"]) as theirs,
    ):
        with trio.fail_after(30):
            yield ours, theirs


async def test_datagrams_go_both_ways(hosts: Hosts) -> None:
    near, far = map(udp, hosts)
    await far.bind(("::", PORT))
    await near.connect((THEIRS6, PORT))
    for data in (b"x", b"", os.urandom(1452)):
        assert await near.send(data) == len(data)
        received, address = await far.recvfrom(2000)
        assert (received, address) == (data, (OURS6, near.getsockname()[1], 0, 0))
        await far.sendto(data, address)
        assert await near.recvfrom(2000) == (data, (THEIRS6, PORT, 0, 0))
    assert near.getpeername() == (THEIRS6, PORT, 0, 0)
    assert far.getsockname() == ("::", PORT, 0, 0)
    assert repr(near).endswith(f"to [{THEIRS6}]:{PORT}>")


async def test_a_socket_of_both_families_sees_ipv4_as_mapped(hosts: Hosts) -> None:
    dual, near = udp(hosts[1]), udp(hosts[0], INET)
    await dual.bind(("::", PORT))
    await near.sendto(b"x", (THEIRS, PORT))
    data, address = await dual.recvfrom(10)
    assert (data, address) == (b"x", (f"::ffff:{OURS}", near.getsockname()[1], 0, 0))
    await dual.sendto(b"y", address)
    assert await near.recvfrom(10) == (b"y", (THEIRS, PORT))


async def test_a_port_of_both_families_is_taken_in_each(hosts: Hosts) -> None:
    host, _ = hosts
    dual = udp(host)
    await dual.bind(("::", PORT))
    for family, address in ((INET, ""), (INET, OURS), (INET6, OURS6)):
        with fails(errno.EADDRINUSE):
            await udp(host, family).bind((address, PORT))


async def test_a_socket_of_ipv6_only_leaves_ipv4_to_others(hosts: Hosts) -> None:
    ours, theirs = hosts
    only = udp(theirs)
    only.setsockopt(IPV6, socket.IPV6_V6ONLY, 1)
    await only.bind(("::", PORT))
    with fails(errno.EINVAL):
        only.setsockopt(IPV6, socket.IPV6_V6ONLY, 0)
    with fails(errno.ENETUNREACH):
        await only.sendto(b"x", (f"::ffff:{OURS}", PORT))
    other = udp(theirs, INET)
    await other.bind(("", PORT))
    await udp(ours).sendto(b"six", (THEIRS6, PORT))
    await udp(ours, INET).sendto(b"four", (THEIRS, PORT))
    assert await only.recv(10) == b"six"
    assert await other.recv(10) == b"four"


async def test_an_ipv4_address_is_invalid_to_bind_for_a_socket_of_ipv6_only(hosts: Hosts) -> None:
    """As on Linux, where it is ENETUNREACH to send to."""
    only = udp(hosts[0])
    only.setsockopt(IPV6, socket.IPV6_V6ONLY, 1)
    with fails(errno.EINVAL):
        await only.bind((f"::ffff:{OURS}", PORT))
    with fails(errno.ENETUNREACH):
        await only.connect((f"::ffff:{THEIRS}", PORT))


async def test_an_address_of_the_other_family_is_not_reached(hosts: Hosts) -> None:
    sock = udp(hosts[0])
    await sock.bind((OURS6, 0))
    with fails(errno.ENETUNREACH):
        await sock.sendto(b"x", (f"::ffff:{THEIRS}", PORT))


@pytest.mark.rfc("4443:3.1-2")
async def test_nobody_at_the_port_is_told(hosts: Hosts) -> None:
    sock = udp(hosts[0])
    await sock.connect((THEIRS6, PORT))
    await sock.send(b"anybody?")
    with fails(errno.ECONNREFUSED):
        await sock.recv(1)


async def test_errors_are_told_with_their_datagrams(hosts: Hosts) -> None:
    sock = udp(hosts[0])
    sock.setsockopt(IPV6, IPV6_RECVERR, 1)
    await sock.sendto(b"the data", (THEIRS6, PORT))
    data, messages, flags, address = await sock.recvmsg(100, 100, socket.MSG_ERRQUEUE)
    assert (data, flags, address) == (b"the data", socket.MSG_ERRQUEUE, (THEIRS6, PORT, 0, 0))
    ((level, kind, error),) = messages
    assert (level, kind) == (IPV6, IPV6_RECVERR)
    assert struct.unpack("=IBBBBII", error[:16]) == (errno.ECONNREFUSED, 3, 1, 4, 0, 0, 0)
    assert error[24:40] == socket.inet_pton(INET6, THEIRS6)


@pytest.mark.rfc("8200:7-2")
async def test_what_a_datagram_came_with_is_told_and_may_be_given(hosts: Hosts) -> None:
    near, far = map(udp, hosts)
    await far.bind(("::", PORT))
    for option in (
        socket.IPV6_RECVPKTINFO,
        socket.IPV6_RECVHOPLIMIT,
        socket.IPV6_RECVTCLASS,
    ):
        far.setsockopt(IPV6, option, 1)
    near.setsockopt(IPV6, socket.IPV6_UNICAST_HOPS, 9)
    near.setsockopt(IPV6, socket.IPV6_TCLASS, 5)
    await near.sendto(b"x", (THEIRS6, PORT))
    given = [
        (IPV6, socket.IPV6_HOPLIMIT, struct.pack("i", 7)),
        (IPV6, socket.IPV6_TCLASS, struct.pack("i", 8)),
        (IPV6, socket.IPV6_PKTINFO, socket.inet_pton(INET6, OURS6) + struct.pack("i", 0)),
    ]
    await near.sendmsg([b"x"], given, 0, (THEIRS6, PORT))
    for hops, traffic_class in ((9, 5), (7, 8)):
        _, messages, _, _ = await far.recvmsg(10, 200)
        here = socket.inet_pton(INET6, THEIRS6) + struct.pack("i", 1)
        assert messages == [
            (IPV6, socket.IPV6_PKTINFO, here),
            (IPV6, socket.IPV6_HOPLIMIT, struct.pack("i", hops)),
            (IPV6, socket.IPV6_TCLASS, struct.pack("i", traffic_class)),
        ]


@pytest.mark.parametrize(
    ("family", "address", "most"), [(INET, THEIRS, 65507), (INET6, THEIRS6, 65527)]
)
async def test_the_longest_datagram_goes_in_fragments(
    hosts: Hosts, family: int, address: str, most: int
) -> None:
    near, far = udp(hosts[0], family), udp(hosts[1], family)
    await far.bind(("", PORT))
    for size in (1473, 20_000, most):
        data = os.urandom(size)
        assert await near.sendto(data, (address, PORT)) == size
        assert await far.recv(1 << 16) == data
    with fails(errno.EMSGSIZE):
        await near.sendto(bytes(most + 1), (address, PORT))
    level = socket.IPPROTO_IP if family == INET else IPV6
    near.setsockopt(level, IP_MTU_DISCOVER if family == INET else IPV6_MTU_DISCOVER, PMTUDISC_DO)
    with fails(errno.EMSGSIZE):
        await near.sendto(bytes(1473), (address, PORT))


async def test_a_socket_of_ipv4_has_no_options_of_ipv6(hosts: Hosts) -> None:
    for option in (socket.IPV6_V6ONLY, socket.IPV6_TCLASS):
        with fails(errno.ENOPROTOOPT):
            udp(hosts[0], INET).setsockopt(IPV6, option, 1)
    await wait_all_tasks_blocked()
