"""Below TCP, and at its edges: pings, unknown protocols, port scans, paths of other sizes."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio

from tests.kernel.judge import OURS
from tests.kernel.sockets import fails, read_to_end, send_all
from tunstack.apps import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kernel.judge import Judge
    from tunstack import Host, Namespace

    Require = Callable[[str], str]

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("mtu", [576, 1500, 9000])
async def test_ping_of_every_kind_of_size(
    ns: Namespace, judge: Judge, require_tool: Require, mtu: int
) -> None:
    ping = [require_tool("ping"), "-n", "-q", "-M", "do", "-c", "1", "-W", "10"]
    async with judge.open_host(mtu=mtu):
        for size in (0, 1, 7, 16, 56, 57, mtu - 29, mtu - 28):
            done = await ns.run_process([*ping, "-s", str(size), OURS], capture_stdout=True)
            assert b"1 packets transmitted, 1 received, 0% packet loss" in done.stdout
    await judge.acquit()


async def test_an_echo_request_of_every_size_has_its_data_returned(
    ns: Namespace, host: Host
) -> None:
    ns.sysctl("net.ipv4.ping_group_range", "0 2147483647")
    data = os.urandom(1472)
    with ns.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as pinger:
        for size in range(1473):
            request = struct.pack(">BBHHH", 8, 0, 0, 0, size) + data[:size]
            await pinger.sendto(request, (OURS, 0))
            answer = await pinger.recv(2000)
            assert (answer[0], answer[6:8], answer[8:]) == (0, request[6:8], data[:size])
    assert host.statistics()["icmp_received"] == 1473


async def test_a_protocol_that_we_do_not_speak_is_answered_with_an_error(
    ns: Namespace, host: Host
) -> None:
    with ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP) as sock:
        await sock.connect((OURS, 53))
        await sock.send(b"anybody?")
        with fails(errno.ENOPROTOOPT):  # Linux's word for "protocol unreachable".
            await sock.recv(1)
    assert host.statistics()["unknown_protocol"] == 1


async def test_a_datagram_in_fragments_is_put_together_and_refused_once(
    ns: Namespace, host: Host
) -> None:
    with ns.socket(socket.AF_INET, socket.SOCK_RAW, 132) as sctp:
        await sctp.connect((OURS, 0))
        await sctp.send(bytes(4000))
        with fails(errno.ENOPROTOOPT), trio.fail_after(10):
            await sctp.recv(1)
    statistics = host.statistics()
    assert (statistics["fragments_received"], statistics["datagrams_reassembled"]) == (3, 1)
    assert (statistics["unknown_protocol"], statistics["packets_sent"]) == (1, 1)


async def test_nmap_sees_what_is_open_and_what_is_closed(
    ns: Namespace, host: Host, require_tool: Require
) -> None:
    nmap = [require_tool("nmap"), "-n", "-Pn", "-sS", "-p1-1000", "--reason", "-oG", "-", OURS]
    async with trio.open_nursery() as nursery:
        for port in (7, 80, 999):
            await nursery.start(host.serve_tcp, echo.handler, port)
        done = await ns.run_process(nmap, capture_stdout=True)
        nursery.cancel_scope.cancel()
    report = done.stdout.decode()
    assert re.findall(r"(\d+)/(\w+)/tcp", report) == [
        ("7", "open"),
        ("80", "open"),
        ("999", "open"),
    ]
    assert "Ignored State: closed (997)" in report
    assert "filtered" not in report


async def test_two_hosts_meet_through_the_kernel(ns: Namespace, judge: Judge) -> None:
    """On two devices in one namespace, which forwards between them."""
    ns.sysctl("net.ipv4.ip_forward", 1)
    one, other = "198.51.100.2/25", "198.51.100.130/25"
    async with (
        judge.open_host(one) as client,
        ns.open_host(other, mtu=1000) as server,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(server.serve_tcp, echo.handler, 7)
        stream = await client.open_tcp_stream("198.51.100.130", 7)
        data = os.urandom(200_000)
        nursery.start_soon(send_all, stream.socket, data)
        assert await read_to_end(stream.socket) == data
        assert stream.socket.getsockname()[0] == "198.51.100.2"
        (info,) = client.connections()
        assert info.snd_mss == 1000 - 52
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=["window specified by the receiver is now completely full"])
