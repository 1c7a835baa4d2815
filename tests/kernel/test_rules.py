"""Packet rules between a host and the kernel's programs, in both families and with offload."""

from __future__ import annotations

import errno
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.kernel.sockets import exactly, fails, send_all
from tunstack.apps import echo
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kernel.ends import Ends
    from tunstack import Host, Namespace, Packet, Rules

pytestmark = [pytest.mark.kernel, pytest.mark.both_families]

PORT: Final = 80
DATA: Final = bytes(range(256)) * 2000


@asynccontextmanager
async def opened(ns: Namespace, ends: Ends, *, offload: bool = True) -> AsyncIterator[Host]:
    """A host that echoes on its port, in TCP and UDP, until the block ends."""

    async def echo_datagrams(sock: trio.socket.SocketType) -> None:
        while True:
            data, sender = await sock.recvfrom(1 << 16)
            await sock.sendto(data, sender)

    async with (
        ns.open_host(ends.address, offload=offload, seed=1) as host,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(host.serve_tcp, echo.handler, PORT)
        await nursery.start(host.serve_udp, echo_datagrams, PORT)
        yield host
        nursery.cancel_scope.cancel()


async def counter(ns: Namespace, name: str) -> int:
    """One of what nstat counts in the namespace."""
    shown = await ns.run_process(["nstat", "-asz", "--json"], capture_stdout=True)
    return int(json.loads(shown.stdout)["kernel"][name])


async def echoed(ns: Namespace, ends: Ends, data: bytes = DATA) -> bytes:
    """What comes back of `data` by a connection of the kernel's."""
    with ns.socket(ends.family) as sock:
        await sock.connect((ends.ours, PORT))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, sock, data)
            return await exactly(sock, len(data))


async def test_a_second_syn_is_dropped_as_well(ns: Namespace, ends: Ends) -> None:
    async with opened(ns, ends) as host:
        rule = host.rules.drop(direction="in", flags="SYN,!ACK", first=2)
        assert await echoed(ns, ends, b"hello") == b"hello"
        first, second = rule.packets
        assert (first.seq, first.ports) == (second.seq, second.ports)


@pytest.mark.parametrize(
    ("answer", "v4", "v6"),
    [
        ("reset", errno.ECONNREFUSED, errno.ECONNREFUSED),
        ("port-unreachable", errno.ECONNREFUSED, errno.ECONNREFUSED),
        ("host-unreachable", errno.EHOSTUNREACH, errno.EHOSTUNREACH),
        ("network-unreachable", errno.ENETUNREACH, errno.ENETUNREACH),
        ("prohibited", errno.EHOSTUNREACH, errno.EACCES),
    ],
)
async def test_the_kernel_hears_an_answer(
    ns: Namespace, ends: Ends, answer: str, v4: int, v6: int
) -> None:
    async with opened(ns, ends) as host:
        host.rules.answer(answer, direction="in", protocol="tcp")
        with ns.socket(ends.family) as sock, fails(v4 if ends.family == socket.AF_INET else v6):
            await sock.connect((ends.ours, PORT))
        assert host.statistics()["rules_answered"] == 1


async def test_the_kernel_lowers_its_path_mtu(ns: Namespace, ends: Ends) -> None:
    async with opened(ns, ends) as host:
        rule = host.rules.answer(
            "fragmentation-needed(1300)",
            direction="in",
            where=lambda packet: len(packet.data) > 1300,
        )
        sizes = host.rules.call(lambda packet: packet, direction="in", protocol="tcp")
        assert await echoed(ns, ends) == DATA
        assert rule.matched
        assert max(len(packet.data) for packet in sizes.packets) == 1300


@pytest.mark.both_modes
@pytest.mark.parametrize(
    "add",
    [
        lambda rules: rules.drop(every=10),
        lambda rules: rules.duplicate(2, every=3),
        lambda rules: rules.postpone(3, every=7, protocol="tcp"),
        lambda rules: rules.split(100, every=2),
        lambda rules: rules.impair("delay=5ms,jitter=5ms,reorder=2%,loss=1%,corrupt=1%"),
        lambda rules: rules.change({"tos": 0xB8, "ttl": 3}),
        lambda rules: rules.call(lambda packet: packet.replace()),
    ],
    ids=["drop", "duplicate", "postpone", "split", "impair", "change", "call"],
)
async def test_a_stream_survives(
    ns: Namespace, ends: Ends, offload: bool, add: Callable[[Rules], Any]
) -> None:
    async with opened(ns, ends, offload=offload) as host:
        rule = add(host.rules)
        assert await echoed(ns, ends) == DATA
        assert rule.matched > 10
        assert host.statistics()["internal_errors"] == host.statistics()["rule_failed"] == 0


@pytest.mark.both_modes
async def test_the_kernel_finds_no_checksum_wrong_that_no_rule_made_wrong(
    ns: Namespace, ends: Ends, offload: bool
) -> None:
    async with opened(ns, ends, offload=offload) as host:
        host.rules.change({"window": lambda packet: packet.window // 2}, direction="out")
        host.rules.split(7)
        assert await echoed(ns, ends) == DATA
        assert await counter(ns, "TcpInCsumErrors") == 0
        assert host.statistics()["bad_tcp_checksum"] == 0
        host.rules.damage(-1, direction="out", where=lambda packet: packet.payload, nth=1)
        assert await echoed(ns, ends) == DATA
        assert await counter(ns, "TcpInCsumErrors") == 1


@pytest.mark.both_modes
async def test_rules_see_what_a_wire_would_carry(ns: Namespace, ends: Ends, offload: bool) -> None:
    def look(packet: Packet) -> Packet:
        decode_segment(decode_datagram(packet.data))
        assert len(packet.data) <= host.mtu
        seen[packet.direction] += len(packet.payload or b"")
        return packet

    seen = {"in": 0, "out": 0}
    async with opened(ns, ends, offload=offload) as host:
        host.rules.call(look, protocol="tcp")
        assert await echoed(ns, ends) == DATA
        assert min(seen.values()) >= len(DATA)


async def test_a_connection_outlives_a_pulled_cable(ns: Namespace, ends: Ends) -> None:
    async with opened(ns, ends) as host:
        with ns.socket(ends.family) as sock:
            await sock.connect((ends.ours, PORT))
            await sock.send(b"1")
            assert await exactly(sock, 1) == b"1"
            host.unplug()
            await sock.send(b"2")
            while not host.statistics()["rules_unplugged"]:  # noqa: ASYNC110
                await trio.sleep(0.01)
            host.plug()
            assert await exactly(sock, 1) == b"2"


async def test_only_the_first_fragment_of_a_datagram_has_ports(ns: Namespace, ends: Ends) -> None:
    async with opened(ns, ends) as host:
        ports = host.rules.drop(direction="in", protocol="udp", local_port=PORT, first=1)
        came = host.rules.call(lambda packet: packet, direction="in", protocol="udp")
        with ns.socket(ends.family, socket.SOCK_DGRAM) as sock:
            await sock.sendto(bytes(4000), (ends.ours, PORT))
            await came.wait(2)
            assert ports.matched == 1
            assert ports.packets[0].is_fragment
            assert [packet.ports for packet in came.packets] == [None, None]
            await sock.sendto(bytes(4001), (ends.ours, PORT))
            assert len(await sock.recv(5000)) == 4001


async def test_a_ping_is_dropped(
    ns: Namespace, ends: Ends, require_tool: Callable[[str], str]
) -> None:
    async with opened(ns, ends) as host:
        protocol = "icmp" if ends.family == socket.AF_INET else "icmpv6"
        kind = 0 if ends.family == socket.AF_INET else 129
        rule = host.rules.drop(
            direction="out", protocol=protocol, where=lambda packet: packet.icmp_type == kind, nth=1
        )
        command = [require_tool("ping"), "-c", "2", "-i", "0.2", "-W", "2", ends.ours]
        done = await ns.run_process(command, capture_stdout=True, check=False)
        assert b"2 packets transmitted, 1 received" in done.stdout
        assert rule.matched == 1


async def test_what_is_injected_reaches_the_kernel(ns: Namespace, ends: Ends) -> None:
    """A RST with the right numbers ends its connection, one beside the window does not."""
    async with opened(ns, ends) as host:
        with ns.socket(ends.family) as sock:
            came = host.rules.call(lambda packet: packet, direction="in", where=has_data)
            await sock.connect((ends.ours, PORT))
            await sock.send(b"hello")
            assert await exactly(sock, 5) == b"hello"
            reset = came.packets[0].reset()
            host.rules.inject(reset.replace(seq=reset.seq + (1 << 20)), "out")  # type: ignore[operator]
            await sock.send(b"hello")
            assert await exactly(sock, 5) == b"hello"
            host.rules.inject(reset.replace(seq=reset.seq + 10), "out")  # type: ignore[operator]
            with fails(errno.ECONNRESET):
                await sock.recv(1)


def has_data(packet: Packet) -> bool:
    return bool(packet.payload)
