"""Options and control messages of UDP sockets: what they do to datagrams."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, OURS_PACKED, THEIRS, THEIRS_PACKED, Peer, fails
from tests.socket.test_datagram import PORT, udp
from tunstack import Host, memory_pair
from tunstack.ip.datagram import UDP, Datagram
from tunstack.ip.icmp import DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, IcmpMessage
from tunstack.socket.options.datagram import (
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVTTL,
    OPTIONS,
    UDP_GRO,
    UDP_SEGMENT,
)
from tunstack.udp.sock import (
    PMTUDISC_DO,
    PMTUDISC_DONT,
    PMTUDISC_INTERFACE,
    PMTUDISC_OMIT,
    PMTUDISC_PROBE,
    PMTUDISC_WANT,
)
from tunstack.wire import decode_udp, encode_datagram, encode_udp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack.socket.datagram import DatagramSocket

IP, UDP_LEVEL = socket.IPPROTO_IP, socket.IPPROTO_UDP
ALSO_OURS, BROADCAST = "198.51.100.3", "198.51.100.255"
ALSO_PACKED = socket.inet_aton(ALSO_OURS)


class Far(Peer):
    """The far end of the cable, with a port for UDP."""

    async def udp(self) -> tuple[Datagram, bytes]:
        """The next packet, which must be a datagram to PORT, and its data."""
        datagram = await self.datagram()
        assert datagram.protocol == UDP
        self.host_port, port, data = decode_udp(datagram)
        assert port == PORT
        return datagram, bytes(data)

    def send_udp(
        self, data: bytes, port: int, *, dst: bytes = OURS_PACKED, ttl: int = 64, tos: int = 0
    ) -> None:
        payload = encode_udp(THEIRS_PACKED, dst, PORT, port, data) + data
        datagram = Datagram(THEIRS_PACKED, dst, UDP, payload, ttl=ttl, tos=tos)
        self.link.send(encode_datagram(datagram))

    def refuse(self, datagram: Datagram, code: int, mtu: int = 0) -> None:
        """Send Destination Unreachable about a datagram."""
        quote = b"".join(encode_datagram(datagram))
        self.send_icmp(IcmpMessage(DESTINATION_UNREACHABLE, code, mtu, quote))


@pytest.fixture
async def far_end() -> AsyncIterator[tuple[Host, Far]]:
    link, far = memory_pair()
    async with Host(link, [f"{OURS}/24", f"{ALSO_OURS}/24"], seed=1) as host:
        with trio.fail_after(30):
            yield host, Far(far)


@pytest.fixture
async def exchange(far_end: tuple[Host, Far]) -> tuple[DatagramSocket, Far]:
    """A connected socket, and the test at the far end."""
    sock = udp(far_end[0])
    await sock.connect((THEIRS, PORT))
    return sock, far_end[1]


Exchange = tuple["DatagramSocket", Far]


@pytest.mark.rfc("1122:3.2.1.6-1", "1122:3.2.1.7-3", "1122:4.1.4-1")
async def test_ttl_and_tos_are_those_of_what_is_sent(exchange: Exchange) -> None:
    sock, far = exchange
    await sock.send(b"x")
    sock.setsockopt(IP, socket.IP_TTL, 7)
    sock.setsockopt(IP, socket.IP_TOS, bytes((0xB9,)))
    await sock.send(b"x")
    ttl, tos = struct.pack("i", 9), struct.pack("i", 4)
    await sock.sendmsg([b"x"], [(IP, socket.IP_TTL, ttl), (IP, socket.IP_TOS, tos)])
    await sock.send(b"x")
    seen = [(each.ttl, each.tos) for each, _ in [await far.udp() for _ in range(4)]]
    assert seen == [(64, 0), (7, 0xB9), (9, 4), (7, 0xB9)]


@pytest.mark.rfc("1122:3.2.1.6-2")
async def test_ttl_and_tos_of_what_came_are_told(exchange: Exchange) -> None:
    sock, far = exchange
    sock.setsockopt(IP, IP_RECVTTL, 1)
    sock.setsockopt(IP, socket.IP_RECVTOS, 1)
    far.send_udp(b"x", sock.getsockname()[1], ttl=33, tos=0x2E)
    data, messages, flags, _ = await sock.recvmsg(10, 100)
    assert (data, flags) == (b"x", 0)
    assert messages == [(IP, socket.IP_TTL, struct.pack("i", 33)), (IP, socket.IP_TOS, b"\x2e")]


@pytest.mark.rfc("1122:3.3.4.2-1", "1122:4.1.3.5-1", "1122:4.1.3.5-2")
async def test_the_address_that_a_datagram_came_to_is_told_and_may_be_answered_from(
    far_end: tuple[Host, Far],
) -> None:
    host, far = far_end
    sock = udp(host)
    await sock.bind(("", 7))
    sock.setsockopt(IP, IP_PKTINFO, 1)
    far.send_udp(b"x", 7, dst=ALSO_PACKED)
    _, messages, _, address = await sock.recvmsg(10, 100)
    assert messages == [(IP, IP_PKTINFO, struct.pack("i", 1) + 2 * ALSO_PACKED)]
    await sock.sendmsg([b"y"], messages, 0, address)
    datagram, data = await far.udp()
    assert (datagram.src, data, far.host_port) == (ALSO_PACKED, b"y", 7)


async def test_control_messages_that_do_not_fit_are_cut_and_that_is_told(
    exchange: Exchange,
) -> None:
    sock, far = exchange
    for option in (IP_PKTINFO, IP_RECVTTL):
        sock.setsockopt(IP, option, 1)
    far.send_udp(b"x", sock.getsockname()[1])
    _, messages, flags, _ = await sock.recvmsg(10, 0, socket.MSG_PEEK)
    assert (messages, flags) == ([], socket.MSG_CTRUNC)
    _, messages, flags, _ = await sock.recvmsg(10, socket.CMSG_SPACE(12))
    assert ([kind for _, kind, _ in messages], flags) == ([IP_PKTINFO], socket.MSG_CTRUNC)


@pytest.mark.parametrize(
    ("level", "kind", "data"),
    [
        (IP, socket.IP_TTL, struct.pack("i", 0)),
        (IP, socket.IP_TTL, b"\1"),
        (IP, socket.IP_TOS, struct.pack("i", 256)),
        (IP, IP_PKTINFO, b""),
        (IP, IP_PKTINFO, struct.pack("i", 0) + THEIRS_PACKED + bytes(4)),
        (IP, 99, b""),
        (UDP_LEVEL, UDP_SEGMENT, b"\1"),
        (UDP_LEVEL, UDP_GRO, struct.pack("i", 1)),
        (socket.SOL_SOCKET, socket.SCM_RIGHTS, b""),
    ],
)
async def test_control_messages_that_make_no_sense_are_refused(
    exchange: Exchange, level: int, kind: int, data: bytes
) -> None:
    with fails(errno.EINVAL):
        await exchange[0].sendmsg([b"x"], [(level, kind, data)])


async def test_an_interface_that_there_is_not_is_refused(exchange: Exchange) -> None:
    info = struct.pack("i", 9) + bytes(8)
    with fails(errno.ENODEV):
        await exchange[0].sendmsg([b"x"], [(IP, IP_PKTINFO, info)])


async def test_a_broadcast_wants_permission(far_end: tuple[Host, Far]) -> None:
    host, far = far_end
    sock = udp(host)
    for address in (BROADCAST, "255.255.255.255"):
        with fails(errno.EACCES):
            await sock.sendto(b"x", (address, PORT))
        with fails(errno.EACCES):
            await sock.connect((address, PORT))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    await sock.sendto(b"x", (BROADCAST, PORT))
    assert (await far.udp())[0].dst == socket.inet_aton(BROADCAST)
    for address in ("224.0.0.1", "127.0.0.1"):
        with fails(errno.ENETUNREACH):
            await sock.sendto(b"x", (address, PORT))


@pytest.mark.parametrize(
    ("mode", "flag"),
    [
        (PMTUDISC_DONT, False),
        (PMTUDISC_WANT, True),
        (PMTUDISC_DO, True),
        (PMTUDISC_PROBE, True),
        (PMTUDISC_INTERFACE, False),
        (PMTUDISC_OMIT, False),
    ],
)
async def test_whether_routers_may_fragment(exchange: Exchange, mode: int, flag: bool) -> None:
    sock, far = exchange
    sock.setsockopt(IP, IP_MTU_DISCOVER, mode)
    await sock.send(b"x")
    assert (await far.udp())[0].dont_fragment is flag


@pytest.mark.parametrize("mode", [PMTUDISC_DO, PMTUDISC_PROBE, PMTUDISC_INTERFACE])
async def test_what_must_not_be_fragmented_and_does_not_fit_is_refused(
    exchange: Exchange, mode: int
) -> None:
    sock, far = exchange
    sock.setsockopt(IP, IP_MTU_DISCOVER, mode)
    with fails(errno.EMSGSIZE):
        await sock.send(bytes(1473))
    await sock.send(bytes(1472))
    assert len((await far.udp())[1]) == 1472


async def test_no_datagram_is_longer_than_65507_octets(exchange: Exchange) -> None:
    for size in (65508, 1 << 17):
        with fails(errno.EMSGSIZE):
            await exchange[0].send(bytes(size))


async def test_a_router_that_cannot_pass_it_lowers_the_path_mtu_and_that_is_told(
    exchange: Exchange,
) -> None:
    """As on Linux, a connected socket is told EMSGSIZE."""
    sock, far = exchange
    assert sock.getsockopt(IP, IP_MTU) == 1500
    await sock.send(bytes(1400))
    datagram, _ = await far.udp()
    far.refuse(datagram, FRAGMENTATION_NEEDED, 1000)
    with fails(errno.EMSGSIZE):
        await sock.recv(1)
    assert sock.getsockopt(IP, IP_MTU) == 1000
    sock.setsockopt(IP, IP_MTU_DISCOVER, PMTUDISC_DO)
    with fails(errno.EMSGSIZE):
        await sock.send(bytes(973))
    sock.setsockopt(IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
    await sock.send(bytes(973))
    sock.disconnect()
    with fails(errno.ENOTCONN):
        sock.getsockopt(IP, IP_MTU)


@pytest.mark.parametrize(
    ("code", "number"), [(0, 0), (1, 0), (2, errno.ENOPROTOOPT), (3, errno.ECONNREFUSED), (5, 0)]
)
async def test_what_may_pass_is_not_told_unasked(
    exchange: Exchange, code: int, number: int
) -> None:
    """RFC 1122 section 4.1.3.3; what is told is what Linux tells."""
    sock, far = exchange
    await sock.send(b"x")
    far.refuse((await far.udp())[0], code)
    await wait_all_tasks_blocked()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == number


@pytest.mark.rfc("1122:4.1.3.3", "1122:4.1.3.3-1")
async def test_with_ip_recverr_every_error_is_told_with_its_datagram(
    far_end: tuple[Host, Far],
) -> None:
    host, far = far_end
    sock = udp(host)
    sock.setsockopt(IP, IP_RECVERR, 1)
    await sock.sendto(b"the data", (THEIRS, PORT))
    far.refuse((await far.udp())[0], 1)
    data, messages, flags, address = await sock.recvmsg(100, 100, socket.MSG_ERRQUEUE)
    assert (data, flags, address) == (b"the data", socket.MSG_ERRQUEUE, (THEIRS, PORT))
    ((level, kind, error),) = messages
    assert (level, kind) == (IP, IP_RECVERR)
    assert struct.unpack("=IBBBBII", error[:16]) == (errno.EHOSTUNREACH, 2, 3, 1, 0, 0, 0)
    assert error[16:24] == struct.pack("=HH", socket.AF_INET, 0) + THEIRS_PACKED
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_a_forged_error_is_nobodys(exchange: Exchange, far_end: tuple[Host, Far]) -> None:
    _, far = exchange
    host, _ = far_end
    payload = encode_udp(OURS_PACKED, THEIRS_PACKED, 1, PORT, b"x") + b"x"
    far.refuse(Datagram(OURS_PACKED, THEIRS_PACKED, UDP, payload), 3)
    await wait_all_tasks_blocked()
    assert host.statistics()["icmp_unmatched"] == 1
    assert host.statistics()["udp_errors"] == 0


async def test_one_call_sends_datagrams_of_a_size(exchange: Exchange) -> None:
    sock, far = exchange
    await sock.sendmsg([bytes(250)], [(UDP_LEVEL, UDP_SEGMENT, struct.pack("H", 100))])
    sock.setsockopt(UDP_LEVEL, UDP_SEGMENT, 200)
    assert await sock.send(bytes(200)) == 200
    assert await sock.send(bytes(201)) == 201
    sizes = [len((await far.udp())[1]) for _ in range(6)]
    assert sizes == [100, 100, 50, 200, 200, 1]
    with fails(errno.EINVAL):
        await sock.send(bytes(200 * 128 + 1))
    sock.setsockopt(UDP_LEVEL, UDP_SEGMENT, 1473)
    with fails(errno.EMSGSIZE):
        await sock.send(bytes(2000))


async def test_datagrams_sent_at_once_are_one_packet_where_the_link_cuts_it() -> None:
    left, right = memory_pair(offload=True)
    async with (
        Host(left, [f"{OURS}/24"]) as ours,
        Host(right, [f"{THEIRS}/24"]) as theirs,
    ):
        near, far = udp(ours), udp(theirs)
        await far.bind(("", PORT))
        await near.connect((THEIRS, PORT))
        near.setsockopt(UDP_LEVEL, UDP_SEGMENT, 100)
        data = bytes(range(250))
        await near.send(data)
        assert [await far.recv(1000) for _ in range(3)] == [data[:100], data[100:200], data[200:]]
        assert ours.statistics()["packets_sent"] == 1
        assert ours.statistics()["udp_sent"] == theirs.statistics()["udp_received"] == 3
        far.setsockopt(UDP_LEVEL, UDP_GRO, 1)
        await near.send(data)
        message = (UDP_LEVEL, UDP_GRO, struct.pack("i", 100))
        assert await far.recvmsg(1000, 100) == (data, [message], 0, near.getsockname())


@pytest.mark.rfc("1122:3.2.1.7-1")
@pytest.mark.parametrize(
    ("level", "option", "value", "number"),
    [
        (IP, socket.IP_TTL, 0, errno.EINVAL),
        (IP, socket.IP_TTL, 256, errno.EINVAL),
        (IP, IP_MTU_DISCOVER, 6, errno.EINVAL),
        (IP, IP_MTU, 1, errno.ENOPROTOOPT),
        (UDP_LEVEL, UDP_SEGMENT, -1, errno.EINVAL),
        (UDP_LEVEL, UDP_SEGMENT, 65536, errno.EINVAL),
        (socket.SOL_SOCKET, socket.SO_BROADCAST, b"\1", errno.EINVAL),
        (socket.SOL_SOCKET, socket.SO_TYPE, 1, errno.ENOPROTOOPT),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1, errno.ENOPROTOOPT),
    ],
)
async def test_values_that_make_no_sense_are_refused(
    exchange: Exchange, level: int, option: int, value: int | bytes, number: int
) -> None:
    with fails(number):
        exchange[0].setsockopt(level, option, value)


async def test_what_is_set_is_given_back(exchange: Exchange) -> None:
    sock, _ = exchange
    for (level, option), (_, setter) in OPTIONS.items():
        if level == socket.IPPROTO_IPV6:
            continue
        if setter is not None and option not in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(level, option, 1)
            assert sock.getsockopt(level, option) == 1
            assert sock.getsockopt(level, option, 4) == struct.pack("i", 1)
    sock.setsockopt(IP, socket.IP_TTL, -1)
    assert sock.getsockopt(IP, socket.IP_TTL) == 64
    assert (sock.family, sock.type, sock.proto) == (
        socket.AF_INET,
        socket.SOCK_DGRAM,
        socket.IPPROTO_UDP,
    )
    for option, value in (
        (socket.SO_DOMAIN, socket.AF_INET),
        (socket.SO_TYPE, socket.SOCK_DGRAM),
        (socket.SO_PROTOCOL, socket.IPPROTO_UDP),
        (socket.SO_ACCEPTCONN, 0),
    ):
        assert sock.getsockopt(socket.SOL_SOCKET, option) == value


async def test_buffers_have_linuxs_bounds(exchange: Exchange) -> None:
    sock, _ = exchange
    for option, least in ((socket.SO_RCVBUF, 2304), (socket.SO_SNDBUF, 4608)):
        assert sock.getsockopt(socket.SOL_SOCKET, option) == 212_992
        for value, given in ((1, least), (100_000, 200_000), (1 << 30, 128 << 20)):
            sock.setsockopt(socket.SOL_SOCKET, option, value)
            assert sock.getsockopt(socket.SOL_SOCKET, option) == given
