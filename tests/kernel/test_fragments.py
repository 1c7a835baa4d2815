"""Fragments to and from the kernel, of both families."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.kernel.beside import HERE_PACKED, THERE_PACKED, endpoint
from tests.kernel.judge import OURS
from tests.kernel.sockets import both_ways, connected
from tunstack.ip import icmp, icmpv6
from tunstack.ip.datagram import UDP, Datagram
from tunstack.ip.family import IPV6
from tunstack.ip.icmp import IcmpMessage
from tunstack.link.netns import open_network_namespace
from tunstack.stack.limits import Limits
from tunstack.stack.stack import Stack
from tunstack.wire import VNET_SIZE, decode_datagram, encode_datagram, icmp_datagram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kernel.judge import Judge
    from tunstack import Namespace
    from tunstack.ip.datagram import Buffer
    from tunstack.link.netns import NetworkNamespace
    from tunstack.link.tun import TunLink

    Require = Callable[[str], str]

pytestmark = pytest.mark.kernel

SIZES: Final = (1473, 8000, 20_000, 65_507)
"""Octets of data behind the header of an echo request; up to 1472 they fit."""

ONE_PING: Final = ("-n", "-q", "-c", "1", "-W", "10")
"""Of several, ping(8) waits for the second no longer than twice what the first took."""


@pytest.mark.both_modes
async def test_pings_in_fragments_are_answered_in_fragments(
    ns: Namespace, judge: Judge, require_tool: Require
) -> None:
    ping = [require_tool("ping"), *ONE_PING]
    async with judge.open_host() as host:
        for size in SIZES * 3:
            done = await ns.run_process([*ping, "-s", str(size), OURS], capture_stdout=True)
            assert b"1 packets transmitted, 1 received, 0% packet loss" in done.stdout
        ours = host.statistics()
    counts = await judge.kernel()
    answered = 3 * len(SIZES)
    assert counts["Ip.ReasmOKs"] == counts["Ip.FragOKs"] == answered
    assert counts["Ip.ReasmFails"] == counts["Ip.ReasmTimeout"] == counts["Ip.FragFails"] == 0
    assert ours["datagrams_reassembled"] == ours["datagrams_fragmented"] == answered
    assert ours["fragments_received"] == counts["Ip.FragCreates"]
    assert ours["fragments_sent"] == counts["Ip.ReasmReqds"]
    assert ours["fragment_memory_held"] == 0
    await judge.acquit()


# IPv6, in a namespace where the kernel is ::1 and we are ::2

KERNEL_6: Final = IPv6Interface("2001:db8::1/64")
OURS_6: Final = IPv6Interface("2001:db8::2/64")
KERNEL_4: Final = IPv4Interface("198.51.100.1/24")
OURS_4: Final = IPv4Interface("198.51.100.2/24")


@asynccontextmanager
async def beside_ipv6(mtu: int = 1500) -> AsyncIterator[tuple[NetworkNamespace, TunLink]]:
    """A namespace with both families, and the far end of its device."""
    async with open_network_namespace() as namespace:
        # Both at once: the kernel drops what comes to an IPv6 address in its first milliseconds,
        # and this waits for their end.
        link = await namespace.open_tun(
            str(OURS_4), str(OURS_6), peer=[str(KERNEL_4.ip), str(KERNEL_6.ip)], mtu=mtu
        )
        yield namespace, link


async def serve(stack: Stack, link: TunLink) -> None:
    """Have a stack take and answer what comes."""
    while True:
        await link.wait_readable()
        for packet in link.receive():
            stack.handle_packet(packet, trio.current_time())
        stack.flush(trio.current_time())
        while stack.outgoing:
            assert link.send(stack.outgoing[0])
            stack.outgoing.popleft()


async def counters_of_ipv6(namespace: NetworkNamespace) -> dict[str, int]:
    done = await namespace.run_process(["cat", "/proc/net/snmp6"], capture_stdout=True)
    return {name: int(value) for name, value in map(str.split, done.stdout.decode().splitlines())}


@pytest.mark.parametrize("mtu", [1280, 1500])
async def test_pings_of_ipv6_in_fragments_are_answered_in_fragments(
    require_tool: Require, mtu: int
) -> None:
    ping = [require_tool("ping"), "-6", *ONE_PING]
    async with beside_ipv6(mtu) as (namespace, link), trio.open_nursery() as nursery:
        stack = Stack([OURS_4, OURS_6], link.mtu, rng=Random(1), offload=link.offload)
        nursery.start_soon(serve, stack, link)
        for size in SIZES * 3:
            command = [*ping, "-s", str(size), str(OURS_6.ip)]
            done = await namespace.run_process(command, capture_stdout=True)
            assert b"1 packets transmitted, 1 received, 0% packet loss" in done.stdout
        counts = await counters_of_ipv6(namespace)
        ours = stack.statistics()
        nursery.cancel_scope.cancel()
    answered = 3 * len(SIZES)
    assert counts["Ip6ReasmOKs"] == counts["Ip6FragOKs"] == answered
    assert counts["Ip6ReasmFails"] == counts["Ip6InHdrErrors"] == counts["Ip6FragFails"] == 0
    assert ours["datagrams_reassembled"] == ours["datagrams_fragmented"] == answered
    assert ours["fragments_received"] == counts["Ip6FragCreates"]
    assert ours["fragments_sent"] == counts["Ip6ReasmReqds"]


FRAGMENTS_6: Final[dict[str, tuple[list[tuple[int, int, int]], bool]]] = {
    "in order": ([(0, 24, 0), (24, 40, 0)], True),
    "in the other order": ([(24, 40, 0), (0, 24, 0)], True),
    "twice": ([(0, 24, 0), (0, 24, 0), (24, 40, 0)], True),
    "a part again": ([(0, 24, 0), (8, 16, 0), (24, 40, 0)], True),
    "parts of two again": ([(0, 16, 0), (16, 24, 0), (8, 24, 0), (24, 40, 0)], True),
    "one that overlaps": ([(0, 24, 0), (16, 32, 0), (24, 40, 0)], False),
    "one around another": ([(8, 16, 0), (0, 24, 0), (24, 40, 0)], False),
    "one beyond the last": ([(24, 40, 0), (40, 48, 0), (0, 24, 0)], False),
    "the last before another": ([(48, 56, 0), (0, 24, 0), (24, 40, 0)], False),
    "an empty one between": ([(0, 24, 0), (24, 24, 0), (24, 40, 0)], False),
    "no multiple of eight": ([(0, 24, 0), (24, 30, 0), (24, 40, 0)], True),
    "congestion": ([(0, 24, 2), (24, 40, 3)], True),
    "two kinds of ECT": ([(0, 24, 2), (24, 40, 1)], True),
    "some without ECN": ([(0, 24, 0), (24, 40, 2)], False),
    "congestion without ECN": ([(0, 24, 3), (24, 40, 0)], False),
}
"""Octets of each, and its traffic class; and whether they are put together."""

MARKER: Final = IcmpMessage(icmpv6.ECHO_REQUEST, 0, 0xFFFF, bytes(32))
"""Comes after the fragments, and is answered after them."""


@pytest.mark.parametrize("who", ["kernel", "ours"])
async def test_fragments_of_ipv6_are_put_together_or_dropped(who: str) -> None:
    async with beside_ipv6() as (_, link):
        ours = Stack([KERNEL_6], 1500, rng=Random(1))
        here, there = KERNEL_6.ip.packed, OURS_6.ip.packed
        for number, (what, (parts, whole)) in enumerate(FRAGMENTS_6.items()):
            request = IcmpMessage(icmpv6.ECHO_REQUEST, 0, number, bytes(32))
            datagram = icmp_datagram(there, here, request)
            data = bytes(datagram.payload) + bytes(40)
            parts_sent = [
                encode_datagram(
                    replace(
                        datagram,
                        payload=data[start:end],
                        tos=tos,
                        identification=number,
                        dont_fragment=False,
                        more_fragments=end != 40,
                        fragment_offset=start,
                    )
                )
                for start, end, tos in parts
            ]
            if who == "kernel":
                marker = encode_datagram(icmp_datagram(there, here, MARKER))
                answers = await said_by_kernel(link, [*parts_sent, marker])
            else:
                for part in parts_sent:
                    ours.handle_packet(b"".join(part), 0.0)
                answers = [b"".join(packet) for packet in ours.outgoing]
                ours.outgoing.clear()
            assert sum(is_reply(packet, number) for packet in answers) == whole, what


async def said_by_kernel(link: TunLink, packets: list[list[Buffer]]) -> list[bytes]:
    """What the kernel answers before it answers the marker, which is the last of the packets."""
    vnet = bytes(VNET_SIZE) if link.offload else b""
    for packet in packets:
        assert link.send([vnet, *packet] if vnet else packet)
    answers: list[bytes] = []
    with trio.fail_after(10):
        while not any(is_reply(packet, MARKER.rest) for packet in answers):
            await link.wait_readable()
            answers += [bytes(packet)[len(vnet) :] for packet in link.receive()]
    return answers


def is_reply(packet: bytes, number: int) -> bool:
    """Whether it is the echo reply of this number."""
    datagram = decode_datagram(packet)
    if datagram.protocol != IPV6.icmp:
        return False
    kind, sequence = datagram.payload[0], int.from_bytes(datagram.payload[6:8], "big")
    return (kind, sequence) == (icmpv6.ECHO_REPLY, number)


async def test_the_kernel_sends_time_exceeded_if_the_first_fragment_came() -> None:
    """A host of ours does the same: test_hostile_fragments.py."""
    datagram = Datagram(THERE_PACKED, HERE_PACKED, UDP, bytes(range(40)))
    first = replace(datagram, payload=datagram.payload[:24], more_fragments=True, identification=1)
    last = replace(datagram, payload=datagram.payload[24:], fragment_offset=24, identification=2)
    async with endpoint("kernel", ipfrag_time=1) as at:
        at.inject(encode_datagram(last))
        at.inject(encode_datagram(first))
        message = await at.icmp()
        assert (message.type, message.code) == (icmp.TIME_EXCEEDED, icmp.REASSEMBLY_TIME_EXCEEDED)
        assert message.quoted is not None
        assert bytes(message.quoted.payload) == first.payload
        assert (message.quoted.identification, message.quoted.more_fragments) == (1, True)
        await trio.sleep(1)
        await at.expect_silence()


FLOOD: Final = 20_000


async def test_a_transfer_completes_during_a_flood_of_fragments(
    ns: Namespace, judge: Judge
) -> None:
    """From many forged sources, each the beginning of another datagram."""
    data = Random(1).randbytes(8 << 20)
    limit = Limits().fragment_memory
    most = 0
    async with judge.open_host() as host, connected(ns, host, "server") as pair:
        raw = ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

        async def flood() -> None:
            nonlocal most
            for number in range(FLOOD):
                src = bytes((198, 51, 100, 3 + number % 250))
                part = Datagram(
                    src,
                    OURS_4.ip.packed,
                    UDP,
                    bytes(1000),
                    identification=number // 250,
                    more_fragments=True,
                )
                await raw.sendto(b"".join(encode_datagram(part)), (OURS, 0))
                if not number % 100:
                    most = max(most, host.statistics()["fragment_memory_held"])

        with raw:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood)
                assert await both_ways(pair, data) == (data, data)
        ours = host.statistics()
    assert limit // 2 < most <= limit
    assert ours["fragments_received"] > 1000
    assert ours["fragment_memory"] > 0
    assert ours["internal_errors"] == 0
