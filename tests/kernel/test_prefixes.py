"""Whole networks behind a device, and several hosts in a namespace, with the kernel's programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tests.families import each_family
from tests.link.in_a_child import run
from tests.workers import services
from tunstack.apps import echo
from tunstack.ip.address import packed
from tunstack.ip.family import IPV4, IPV6

if TYPE_CHECKING:
    from pathlib import Path

    from tunstack import Namespace, Observation
    from tunstack.ip.family import Family

pytestmark = pytest.mark.kernel

CLIENTS = 250
KERNEL = {IPV4: "198.51.100.1", IPV6: "2001:db8::1"}


async def started(ns: Namespace, command: list[str], log: Path) -> trio.Process:
    """Start Python's http.server in the folder of its log, and wait until it serves."""
    with log.open("wb") as file:
        server = await ns.open_process(command, cwd=log.parent, stdout=subprocess.PIPE, stderr=file)
    assert server.stdout is not None
    async with server.stdout:
        async for said in server.stdout:
            if said.endswith(b"\n"):
                break
    return server


def client(family: Family, number: int) -> str:
    """The address of a virtual client."""
    return f"198.51.100.{2 + number}" if family is IPV4 else f"2001:db8::c:{number:x}"


@each_family
async def test_a_server_of_the_kernel_sees_every_virtual_client(
    ns: Namespace, family: Family, tmp_path: Path
) -> None:
    """250 clients with an address each load a page of Python's http.server."""
    (tmp_path / "page").write_bytes(b"a page")
    command = [sys.executable, "-um", "http.server", "8000", "--bind", KERNEL[family]]
    log = tmp_path / "log"
    pages: list[bytes] = []
    clients = iter(range(CLIENTS))

    async def load() -> None:
        for number in clients:
            stream = await host.open_tcp_stream(
                KERNEL[family], 8000, local_address=client(family, number)
            )
            async with stream:
                await stream.send_all(b"GET /page HTTP/1.0\r\n\r\n")
                pages.append(b"".join([bytes(part) async for part in stream]))

    async with ns.open_host("198.51.100.0/24", "2001:db8::/64") as host:
        server = await started(ns, command, log)
        try:
            async with trio.open_nursery() as loading:
                for _ in range(5):  # The server's backlog.
                    loading.start_soon(load)
        finally:
            server.kill()
            await server.wait()
    assert len(pages) == CLIENTS
    assert all(page.endswith(b"\r\n\r\na page") for page in pages)
    logged = re.findall(r'^(\S+) .*"GET /page HTTP/1.0" 200', log.read_text(), re.M)
    seen = {address.removeprefix("::ffff:") for address in logged}
    assert seen == {client(family, number) for number in range(CLIENTS)}


@each_family
async def test_the_kernel_reaches_every_address_of_a_network_but_its_own(
    ns: Namespace, family: Family
) -> None:
    if family is IPV4:
        near = [f"198.51.100.{number}" for number in (2, 3, 127, 254)]
        routed = [f"203.0.113.{number}" for number in (1, 77, 254)]
        nobody = ["198.51.100.255", "203.0.113.0", "203.0.113.255"]
    else:
        near = ["2001:db8::", "2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff"]
        routed = ["2001:db8:1::", "2001:db8:1::1", "2001:db8:1::ffff"]
        nobody = ["2001:db8:1::1:0"]
    networks = ("198.51.100.0/24", "203.0.113.0/24", "2001:db8::/64", "2001:db8:1::/112")
    async with ns.open_host(*networks) as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_tcp, echo.handler, 7)
        for address in near + routed:
            with ns.socket(family.number) as sock:
                await sock.connect((address, 7))
                await sock.send(b"hello")
                assert await sock.recv(5) == b"hello"
                assert sock.getpeername()[0] == address
        for address in nobody:
            with ns.socket(family.number) as sock, ns.socket(family.number) as marker:
                async with trio.open_nursery() as connecting:
                    connecting.start_soon(fails_to_connect, sock, (address, 7))
                    await trio.testing.wait_all_tasks_blocked()
                    await marker.connect((near[0], 7))  # Its SYN goes behind the other.
                    await marker.send(b"hello")
                    assert await marker.recv(5) == b"hello"
                    connecting.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def fails_to_connect(sock: trio.socket.SocketType, address: tuple[str, int]) -> None:
    """Or waits, until it is cancelled."""
    with pytest.raises(OSError):  # noqa: PT011
        await sock.connect(address)


@each_family
async def test_every_address_answers_pings_and_datagrams(ns: Namespace, family: Family) -> None:
    """From the address that was asked; and there nobody's port is reported unreachable."""
    addresses = [client(family, number) for number in (1, 77, 200)]
    async with (
        ns.open_host("198.51.100.0/24", "2001:db8::/64") as host,
        trio.open_nursery() as nursery,
    ):
        server = host.socket(family.number, trio.socket.SOCK_DGRAM)
        await server.bind(("", 7))

        async def answer() -> None:
            option = {
                IPV4: (trio.socket.IPPROTO_IP, 8),  # IP_PKTINFO
                IPV6: (trio.socket.IPPROTO_IPV6, trio.socket.IPV6_RECVPKTINFO),
            }
            server.setsockopt(*option[family], 1)
            while True:
                data, ancillary, _, peer = await server.recvmsg(100, 100)
                await server.sendmsg([data], ancillary, 0, peer)

        nursery.start_soon(answer)
        for address in addresses:
            pinged = await ns.run_process(
                ["ping", "-c1", "-W5", address], capture_stdout=True, check=False
            )
            assert b" 0% packet loss" in pinged.stdout
            with ns.socket(family.number, trio.socket.SOCK_DGRAM) as sock:
                await sock.connect((address, 7))
                await sock.send(b"who?")
                assert await sock.recv(100) == b"who?"
            with ns.socket(family.number, trio.socket.SOCK_DGRAM) as sock:
                await sock.connect((address, 8))
                await sock.send(b"nobody")
                with pytest.raises(ConnectionRefusedError):
                    await sock.recv(100)
        nursery.cancel_scope.cancel()


async def test_65536_addresses_cost_no_memory(ns: Namespace) -> None:
    """Resident memory grows by less than 2 MiB, where an object for each would take 10."""
    before = resident()
    async with (
        ns.open_host("2001:db8::2/64", "2001:db8:1::/112") as host,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(host.serve_tcp, echo.handler, 7)
        for number in range(0, 1 << 16, 1 << 10):
            with ns.socket(IPV6.number) as sock:
                await sock.connect((f"2001:db8:1::{number:x}", 7))
                await sock.send(b"?")
                assert await sock.recv(1) == b"?"
        assert resident() - before < 2 << 20
        nursery.cancel_scope.cancel()


def resident() -> int:
    """Octets of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_address_that_a_persistent_device_has_is_the_kernels() -> None:
    """Not the one that a new device would have; the first of the network is ours then."""
    printed = run("""
        import json, subprocess, trio, tunstack
        from tunstack.link.holder import enter_new_namespace

        def ip(*words):
            subprocess.run(["ip", *words], check=True)

        async def main():
            async with (
                tunstack.open_host("198.51.100.0/24", "2001:db8::/64", name="lasting") as host,
                trio.open_nursery() as nursery,
            ):
                async def answer(stream):
                    await stream.send_all(stream.socket.getpeername()[0].encode())

                await nursery.start(host.serve_tcp, answer, 7)
                seen = []
                for address in ("198.51.100.1", "198.51.100.3", "2001:db8::1", "2001:db8::3"):
                    stream = await trio.open_tcp_stream(address, 7)
                    seen.append((await stream.receive_some()).decode())
                for address in ("198.51.100.2", "2001:db8::2"):
                    try:
                        await host.open_tcp_listeners(8, host=address)
                    except OSError as error:
                        seen.append(error.errno)
                print(json.dumps(seen))
                nursery.cancel_scope.cancel()

        enter_new_namespace()
        ip("tuntap", "add", "dev", "lasting", "mode", "tun")
        ip("address", "add", "198.51.100.2/24", "dev", "lasting")
        ip("address", "add", "2001:db8::2/64", "dev", "lasting", "nodad")
        ip("link", "set", "lasting", "up")
        trio.run(main)
    """)
    assert json.loads(printed) == [*["198.51.100.2"] * 2, *["2001:db8::2"] * 2, 99, 99]


async def test_a_whole_network_around_that_of_another_interface_is_refused(ns: Namespace) -> None:
    async with ns.open_host("198.51.100.130/25"):
        with pytest.raises(tunstack.SetupError, match=r"198\.51\.100\.128/25 of tun0"):
            async with ns.open_host("198.51.100.0/24"):
                raise AssertionError("it was opened")


@each_family
async def test_a_network_that_is_routed_to_another_host_is_refused(
    ns: Namespace, family: Family
) -> None:
    """Whichever of them is first."""
    routed = {IPV4: "203.0.113.0/24", IPV6: "2001:db8:1::/64"}[family]
    single = {IPV4: "203.0.113.2/24", IPV6: "2001:db8:1::2/64"}[family]
    near = {IPV4: "198.51.100.2/24", IPV6: "2001:db8::2/64"}[family]
    for first, second in (((near, routed), (single,)), ((single,), (near, routed))):
        async with ns.open_host(*first, name="tun7"):
            with pytest.raises(
                tunstack.SetupError, match=rf"^{routed} is routed to tun7 already: choose another"
            ):
                async with ns.open_host(*second):
                    raise AssertionError("it was opened")


# Several hosts


@each_family
async def test_two_hosts_talk_through_the_kernel_as_their_router(
    ns: Namespace, family: Family
) -> None:
    """Its hop is seen in the TTL, and answers where that has run out."""
    there = {IPV4: "203.0.113.2", IPV6: "2001:db8:1::2"}[family]
    seen: list[Observation] = []
    answers: list[Observation] = []
    async with (
        ns.open_host("198.51.100.2/24", "2001:db8::2/64", tap=answers.append) as a,
        ns.open_host("203.0.113.2/24", "2001:db8:1::2/64", tap=seen.append) as b,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(b.serve_tcp, echo.handler, 7)
        stream = await a.open_tcp_stream(there, 7)
        await stream.send_all(b"from one host to another")
        assert await stream.receive_some() == b"from one host to another"
        arrived = [each.packet for each in seen if each.direction == "in"]
        at = {IPV4: 8, IPV6: 7}[family]
        near = packed({IPV4: "198.51.100.2", IPV6: "2001:db8::2"}[family])
        assert {packet[at] for packet in arrived if packet_type(packet)[0] == near} == {63}

        # As traceroute -T does.
        with a.socket(family.number) as sock:
            sock.setsockopt(*HOPS[family], 1)
            async with trio.open_nursery() as connecting:
                connecting.start_soon(fails_to_connect, sock, (there, 7))
                with trio.fail_after(10):
                    while HOP[family] not in [  # noqa: ASYNC110
                        packet_type(each.packet) for each in answers
                    ]:
                        await trio.sleep(0.01)
                connecting.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


HOPS = {
    IPV4: (trio.socket.IPPROTO_IP, trio.socket.IP_TTL),
    IPV6: (trio.socket.IPPROTO_IPV6, trio.socket.IPV6_UNICAST_HOPS),
}
"""The option that sets the TTL or hop limit."""
HOP = {IPV4: (packed("198.51.100.1"), 1, 11), IPV6: (packed("2001:db8::1"), 58, 3)}
"""The kernel's ICMP time exceeded: source, protocol, ICMP type."""


def packet_type(packet: bytes) -> tuple[bytes, int, int]:
    """The source, the protocol, and the first octet of what it carries."""
    if packet[0] >> 4 == 4:
        return packet[12:16], packet[9], packet[20]
    return packet[8:24], packet[6], packet[40]


async def test_one_host_alone_makes_the_kernel_no_router(ns: Namespace) -> None:
    async with ns.open_host():
        assert ns.sysctl("net.ipv4.ip_forward") == "0"
        async with ns.open_host("203.0.113.2/24"):
            assert ns.sysctl("net.ipv4.ip_forward") == "1"
            assert ns.sysctl("net.ipv6.conf.all.forwarding") == "1"


# Profiles


async def test_workers_share_whole_networks_and_profiles(ns: Namespace) -> None:
    profiles = {"198.51.100.16/28": tunstack.Profile(mss=536)}
    network = "198.51.100.0/24"
    async with ns.open_workers(services.echo, 2, network, profiles=profiles) as workers:
        for address, size in (("198.51.100.2", 1448), ("198.51.100.20", 524)):
            for _ in range(8):
                with ns.socket() as sock:
                    await sock.connect((address, services.PORT))
                    mss = sock.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_MAXSEG)
                    assert mss == size
        assert (await workers.statistics())["not_our_address"] == 0


@each_family
async def test_a_ping_is_answered_with_the_ttl_of_the_profile(
    ns: Namespace, family: Family
) -> None:
    profiles = {
        client(family, 5): tunstack.Profile.windows(),
        client(family, 6): tunstack.Profile(ttl=9, hop_limit=11),
    }
    seen = []
    async with ns.open_host("198.51.100.0/24", "2001:db8::/64", profiles=profiles):
        for number in (4, 5, 6):
            pinged = await ns.run_process(
                ["ping", "-c1", "-W5", client(family, number)], capture_stdout=True, check=False
            )
            seen += re.findall(r"ttl=(\d+)", pinged.stdout.decode())
    assert seen == ["64", "128", "9" if family is IPV4 else "11"]


async def test_the_kernel_meets_the_profile_of_an_address(ns: Namespace) -> None:
    profiles = {"198.51.100.16/28": tunstack.Profile(mss=536, ttl=128, timestamps=False)}
    async with (
        ns.open_host("198.51.100.0/24", profiles=profiles) as host,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(host.serve_tcp, echo.handler, 7)
        mss = {}
        for address in ("198.51.100.15", "198.51.100.16", "198.51.100.31", "198.51.100.32"):
            with ns.socket() as sock:
                await sock.connect((address, 7))
                mss[address] = sock.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_MAXSEG)
        assert mss == {
            "198.51.100.15": 1448,
            "198.51.100.16": 536,
            "198.51.100.31": 536,
            "198.51.100.32": 1448,
        }
        nursery.cancel_scope.cancel()
