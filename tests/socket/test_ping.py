"""Ping sockets of a host, as trio's own would be."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import fails, host_and_peer
from tunstack import Host, memory_pair
from tunstack.ip.address import packed
from tunstack.ip.icmp import IcmpMessage
from tunstack.wire import decode_datagram, encode_icmp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.socket import SocketType

NEAR: Final = {4: "198.51.100.2", 6: "2001:db8::2"}
FAR: Final = {4: "198.51.100.1", 6: "2001:db8::1"}
FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
PROTOCOL: Final = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
REQUEST: Final = {4: 8, 6: 128}
REPLY: Final = {4: 0, 6: 129}
both = pytest.mark.parametrize("version", [4, 6])
ADDRESSES: Final = ("198.51.100.{}/24", "2001:db8::{}/64")


def sockaddr(version: int, host: str, port: int) -> tuple[object, ...]:
    return (host, port) if version == 4 else (host, port, 0, 0)


def request(version: int, sequence: int = 1, data: bytes = b"data") -> bytes:
    return struct.pack(">BBHHH", REQUEST[version], 0, 0, 99, sequence) + data


@asynccontextmanager
async def two_hosts() -> AsyncIterator[tuple[Host, Host]]:
    left, right = memory_pair()
    async with (
        Host(left, [address.format(2) for address in ADDRESSES], seed=1) as near,
        Host(right, [address.format(1) for address in ADDRESSES], seed=2) as far,
    ):
        yield near, far


def ping_socket(host: Host, version: int) -> SocketType:
    return host.socket(FAMILY[version], socket.SOCK_DGRAM, PROTOCOL[version])


@pytest.mark.rfc("4443:4.1-1")
@both
async def test_a_program_pings(version: int) -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, version) as sock:
            await sock.bind(sockaddr(version, NEAR[version], 4242))
            data = request(version, 7, bytes(1000))
            assert await sock.sendto(data, sockaddr(version, FAR[version], 55)) == len(data)
            reply, address = await sock.recvfrom(2000)
            assert address == sockaddr(version, FAR[version], 0)
            assert reply[0] == REPLY[version]
            assert struct.unpack_from(">HH", reply, 4) == (4242, 7)
            assert reply[8:] == bytes(1000)


@both
@pytest.mark.parametrize("size", [1472, 1473, 20000, 65507])
async def test_of_every_size(version: int, size: int) -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, version) as sock:
            await sock.connect((FAR[version], 0))
            data = bytes(range(250)) * 263
            await sock.send(request(version, 1, data[:size]))
            with trio.fail_after(5):
                assert (await sock.recv(70000))[8:] == data[:size]


@both
async def test_names_of_a_socket(version: int) -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, version) as sock:
            wildcard = "0.0.0.0" if version == 4 else "::"
            assert sock.getsockname() == sockaddr(version, wildcard, 0)
            with fails(errno.ENOTCONN):
                sock.getpeername()
            await sock.sendto(request(version), sockaddr(version, FAR[version], 77))
            name = sock.getsockname()
            assert isinstance(name, tuple)
            assert (name[0], name[1] > 0) == (wildcard, True)
            await sock.connect(sockaddr(version, FAR[version], 55))
            assert sock.getsockname() == sockaddr(version, NEAR[version], name[1])
            assert sock.getpeername() == sockaddr(version, FAR[version], 55)
            with fails(errno.EINVAL):
                await sock.bind(("", 1))
            assert (sock.family, sock.type) == (FAMILY[version], socket.SOCK_DGRAM)
            assert sock.proto == PROTOCOL[version]


@both
async def test_the_wildcard_as_a_destination_is_the_host_itself(version: int) -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, version) as sock:
            await sock.sendto(request(version), ("", 0))
            _, address = await sock.recvfrom(100)
            assert address == sockaddr(version, NEAR[version], 0)


@both
async def test_recvmsg_tells_the_ttl_and_what_was_cut(version: int) -> None:
    option = (socket.IPPROTO_IP, 12) if version == 4 else (socket.IPPROTO_IPV6, 51)
    told = (socket.IPPROTO_IP, 2) if version == 4 else (socket.IPPROTO_IPV6, 52)
    async with two_hosts() as (near, _):
        with ping_socket(near, version) as sock:
            await sock.connect((FAR[version], 0))
            await sock.send(request(version))
            assert (await sock.recvmsg(100, 100, socket.MSG_PEEK))[1] == []
            assert sock.getsockopt(*option) == 0
            sock.setsockopt(*option, 1)
            peeked = await sock.recvmsg(100, 100, socket.MSG_PEEK)
            assert peeked[1:3] == ([(*told, struct.pack("i", 64))], 0)
            _, ancillary, flags, _ = await sock.recvmsg(100, 0, socket.MSG_PEEK)
            assert (ancillary, flags) == ([], socket.MSG_CTRUNC)
            data, _, flags, _ = await sock.recvmsg(9, 100)
            assert (len(data), flags) == (9, socket.MSG_TRUNC)
            assert not sock.is_readable()


@both
async def test_into_a_buffer(version: int) -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, version) as sock:
            await sock.connect((FAR[version], 0))
            await sock.sendmsg([request(version)[:8], b"da", b"ta"])
            buffer = bytearray(100)
            assert await sock.recv_into(buffer) == 12
            assert buffer[8:12] == b"data"


async def test_what_is_sent_is_refused_as_on_linux() -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, 4) as sock:
            for data, number in (
                (b"", errno.EINVAL),
                (request(4)[:7], errno.EINVAL),
                (b"\0" + bytes(7), errno.EINVAL),
                (bytes(65537), errno.EMSGSIZE),
                (request(4, 1, bytes(65508)), errno.EMSGSIZE),
            ):
                with fails(number):
                    await sock.sendto(data, (FAR[4], 0))
            with fails(errno.EDESTADDRREQ):
                await sock.send(request(4))
            with fails(errno.EOPNOTSUPP):
                await sock.sendto(request(4), socket.MSG_OOB, (FAR[4], 0))
            with fails(errno.EACCES):
                await sock.sendto(request(4), ("198.51.100.255", 0))
            with pytest.raises(socket.gaierror):
                await sock.sendto(request(4), ("2001:db8::1", 0))
            with pytest.raises(OverflowError):
                await sock.sendto(request(4), (FAR[4], 65536))
        with ping_socket(near, 4) as sock, fails(errno.EADDRNOTAVAIL):
            await sock.bind((FAR[4], 0))


async def test_calls_that_make_no_sense_fail() -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, 4) as sock:
            with fails(errno.EOPNOTSUPP):
                sock.listen()
            with fails(errno.EOPNOTSUPP):
                await sock.accept()
            with fails(errno.ENOTCONN):
                sock.shutdown(socket.SHUT_WR)
            with fails(errno.ENOPROTOOPT):
                sock.getsockopt(socket.IPPROTO_TCP, 1)
            with pytest.raises(TypeError):
                near.socket(socket.AF_INET, socket.SOCK_DGRAM, 1, congestion="reno")  # type: ignore[call-overload]


async def test_shutdown() -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, 4) as sock:
            await sock.connect((FAR[4], 0))
            sock.shutdown(socket.SHUT_WR)
            assert sock.did_shutdown_SHUT_WR
            with fails(errno.EPIPE):
                await sock.send(request(4))
            sock.shutdown(socket.SHUT_RD)
            assert await sock.recv(100) == b""


async def test_shutdown_of_one_that_is_not_connected_fails_and_is_done() -> None:
    """As on Linux."""
    async with two_hosts() as (near, _):
        with ping_socket(near, 4) as sock:
            with fails(errno.EINVAL):
                sock.shutdown(9)
            with fails(errno.ENOTCONN):
                sock.shutdown(socket.SHUT_RDWR)
            with fails(errno.EPIPE):
                await sock.sendto(request(4), (FAR[4], 0))
            assert sock.is_readable()
            assert await sock.recvfrom(100) == (b"", None)


async def test_an_ipv4_address_is_invalid_for_an_ipv6_one() -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, 6) as sock:
            for address in ("::ffff:198.51.100.1", FAR[4]):
                with fails(errno.EINVAL):
                    await sock.bind((address, 0))
                with fails(errno.EINVAL):
                    await sock.sendto(request(6), (address, 0))
                with fails(errno.ENETUNREACH):
                    await sock.connect((address, 0))


@both
async def test_into_several_buffers_msg_trunc_does_not_tell_the_length(version: int) -> None:
    """As on Linux, where it does for UDP."""
    async with two_hosts() as (near, _):
        with ping_socket(near, version) as sock:
            await sock.connect((FAR[version], 0))
            await sock.send(request(version))
            head, tail = bytearray(8), bytearray(2)
            octets, _, flags, _ = await sock.recvmsg_into(
                [head, tail], 0, socket.MSG_TRUNC | socket.MSG_PEEK
            )
            assert (octets, flags, bytes(tail)) == (10, socket.MSG_TRUNC, b"da")
            assert await sock.recv_into(bytearray(4), 0, socket.MSG_TRUNC) == 4


async def test_a_control_message_is_cut_to_the_room_that_there_is() -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, 4) as sock:
            sock.setsockopt(socket.IPPROTO_IP, 12, 1)
            await sock.connect((FAR[4], 0))
            await sock.send(request(4))
            _, messages, flags, _ = await sock.recvmsg(100, socket.CMSG_LEN(0) + 2)
            assert messages == [(socket.IPPROTO_IP, socket.IP_TTL, b"@\0")]
            assert flags == socket.MSG_CTRUNC


async def test_options_of_one_octet() -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, 4) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, b"\x07")
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2) == b"\x07"
            with fails(errno.EINVAL):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, b"\x07")


async def test_options() -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, 4) as sock:
            for level, option, value in (
                (socket.SOL_SOCKET, socket.SO_ACCEPTCONN, 0),
                (socket.SOL_SOCKET, socket.SO_TYPE, socket.SOCK_DGRAM),
                (socket.SOL_SOCKET, socket.SO_PROTOCOL, socket.IPPROTO_ICMP),
                (socket.SOL_SOCKET, socket.SO_DOMAIN, socket.AF_INET),
                (socket.SOL_SOCKET, socket.SO_RCVBUF, 212_992),
                (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
                (socket.SOL_SOCKET, socket.SO_ERROR, 0),
                (socket.IPPROTO_IP, socket.IP_TTL, 64),
                (socket.IPPROTO_IP, socket.IP_TOS, 0),
            ):
                assert sock.getsockopt(level, option) == value
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 3)
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL, 4) == struct.pack("i", 3)
            for ttl in (0, 256, -2):
                with fails(errno.EINVAL):
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2304


async def test_an_error_wakes_who_waits_and_is_told_once() -> None:
    async with host_and_peer() as (host, peer):
        with ping_socket(host, 4) as sock:
            await sock.connect((FAR[4], 0))
            await sock.send(request(4))
            [packet] = peer.link.receive()
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    with fails(errno.ECONNREFUSED):
                        await sock.recv(100)

                nursery.start_soon(receive)
                await wait_all_tasks_blocked()
                peer.send_icmp(IcmpMessage(3, 3, quoted=decode_datagram(packet)))
            await sock.send(request(4, 2))
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_so_error_takes_the_error() -> None:
    async with host_and_peer() as (host, peer):
        with ping_socket(host, 4) as sock:
            sock.setsockopt(socket.IPPROTO_IP, 11, 1)
            await sock.sendto(request(4), (FAR[4], 0))
            [packet] = peer.link.receive()
            peer.send_icmp(IcmpMessage(3, 1, quoted=decode_datagram(packet)))
            await wait_all_tasks_blocked()
            assert sock.is_readable()
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            assert number == errno.EHOSTUNREACH
            assert not sock.is_readable()


async def test_one_task_at_a_time_receives() -> None:
    async with two_hosts() as (near, _):
        with ping_socket(near, 4) as sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sock.recv, 100)
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await sock.recv(100)
                nursery.cancel_scope.cancel()


async def test_closing_wakes_who_waits() -> None:
    async with two_hosts() as (near, _):
        sock = ping_socket(near, 4)

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await sock.recv(100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            sock.close()
        sock.close()
        assert sock.fileno() == -1
        with fails(errno.EBADF):
            await sock.recv(100)
        with fails(errno.EBADF):
            await sock.sendto(request(4), (FAR[4], 0))


async def test_the_end_of_its_host_closes_it() -> None:
    async with two_hosts() as (near, _):
        sock = ping_socket(near, 4)
    with fails(errno.EBADF):
        await sock.recv(100)


async def test_a_reply_that_was_not_asked_for_goes_by_the_identifier_alone() -> None:
    """As on Linux, a connected one hears others too."""
    async with host_and_peer() as (host, peer):
        with ping_socket(host, 4) as sock:
            await sock.bind(("", 7))
            await sock.connect((FAR[4], 0))
            reply = IcmpMessage(0, 0, 7 << 16)
            other = packed("198.51.100.77")
            peer.link.send([b"".join(encode_icmp(other, packed(NEAR[4]), reply))])
            assert (await sock.recvfrom(100))[1] == ("198.51.100.77", 0)


async def test_within_the_socket_factory_a_ping_socket_is_the_host_s() -> None:
    async with two_hosts() as (near, _):
        with near.socket_factory():
            sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
            with sock:
                await sock.sendto(request(4), (FAR[4], 0))
                assert (await sock.recv(100))[8:] == b"data"


async def test_a_socket_of_the_standard_library_becomes_a_ping_socket() -> None:
    async with two_hosts() as (near, _):
        with near.socket_factory():
            raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
            raw.bind(("", 4242))
            sock = trio.socket.from_stdlib_socket(raw)
            with sock:
                assert sock.getsockname() == ("0.0.0.0", 4242)
                await sock.sendto(request(4), (FAR[4], 0))
                assert (await sock.recv(100))[8:] == b"data"


async def test_ipv6_needs_an_address_of_it() -> None:
    async with host_and_peer() as (host, _):
        with fails(errno.EAFNOSUPPORT):
            ping_socket(host, 6)
    async with two_hosts() as (near, _):
        for family, protocol in ((4, 6), (6, 4)):
            with fails(errno.EPROTONOSUPPORT):
                near.socket(FAMILY[family], socket.SOCK_DGRAM, PROTOCOL[protocol])
