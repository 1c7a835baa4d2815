"""A flood of packets beside a connection: all that its peer sends arrives among them."""

from __future__ import annotations

import itertools
import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.kernel.carried import CLIENT, FLOOD, V4, V6, client
from tests.wire.packets import (
    fragment_header,
    ipv6_packet,
    options_header,
    routing_header,
)
from tunstack import Limits
from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.wire import encode_datagram, encode_icmp, encode_udp
from tunstack.wire.extensions import (
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    MAXIMUM_HEADERS,
    MAXIMUM_OPTIONS,
    ROUTING,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel

HERE: Final = [ip_address(address.partition("/")[0]).packed for address in CLIENT]
THERE: Final = [ip_address(V4).packed, ip_address(V6).packed]
PAIRS: Final = list(zip(HERE, THERE, strict=True))
SIZE: Final = 1 << 20


def extension_headers() -> Iterator[bytes]:
    chains = [
        (DESTINATION, options_header(DESTINATION) * MAXIMUM_HEADERS + options_header(TCP)),
        (DESTINATION, options_header(DESTINATION) * 170),
        (DESTINATION, options_header(TCP, *[b"\x1e\2\0\0"] * (MAXIMUM_OPTIONS + 1))),
        (HOP_BY_HOP, options_header(TCP, b"\x5e\2\0\0")),
        (HOP_BY_HOP, bytes((TCP, 255, 1, 4, 0, 0, 0, 0))),
        (DESTINATION, options_header(TCP, b"\x9e\2\0\0")),
        (ROUTING, routing_header(TCP, 0, 1)),
        (FRAGMENT, fragment_header(TCP)[:5]),
        (FRAGMENT, fragment_header(FRAGMENT, more=True) + fragment_header(TCP)),
        (FRAGMENT, fragment_header(TCP, 65528) + bytes(100)),
    ]
    packets = [
        ipv6_packet(headers, next_header=first, src=HERE[1], dst=THERE[1])
        for first, headers in chains
    ]
    return itertools.cycle(packets)


def fragments() -> Iterator[bytes]:
    """First ones, each of another datagram."""
    for number in itertools.count(1):
        src, dst = PAIRS[number % 2]
        fragment = Datagram(
            src, dst, UDP, bytes(1400), identification=number // 2 % 65536, more_fragments=True
        )
        yield b"".join(encode_datagram(fragment))


def closed_ports() -> Iterator[bytes]:
    packets = [
        b"".join(encode_datagram(Datagram(src, dst, UDP, encode_udp(src, dst, port, 9, b""))))
        for src, dst in PAIRS
        for port in range(40_000, 40_100)
    ]
    return itertools.cycle(packets)


def echo_requests() -> Iterator[bytes]:
    packets = [
        b"".join(encode_icmp(src, dst, IcmpMessage(kind, 0, number, bytes(56))))
        for (src, dst), kind in zip(PAIRS, (8, 128), strict=True)
        for number in range(100)
    ]
    return itertools.cycle(packets)


EXTENSION_REASONS: Final = (
    "bad_extension_header",
    "bad_ip_options",
    "bad_routing_header",
    "bad_fragment",
)
FLOODS: Final[dict[str, tuple[Callable[[], Iterator[bytes]], tuple[str, ...]]]] = {
    "extension headers": (extension_headers, EXTENSION_REASONS),
    "fragments": (fragments, ("fragments_received",)),
    "closed ports": (closed_ports, ("no_udp_port",)),
    "echo requests": (echo_requests, ("icmp_received",)),
}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_connection_goes_on_beside_a_flood(what: str) -> None:
    """Every segment of it is taken, and nothing is sent again; the flood is counted, each packet.

    What the flood has sent is bounded: errors by their pace, and memory by its limits.
    """
    flood, counters = FLOODS[what]
    data = os.urandom(SIZE)
    async with client("ours", limited=True, flood=flood()) as at:
        stream = trio.SocketStream(at.namespace.socket())
        await stream.socket.connect((V4, 80))
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, data)
            received = bytearray()
            with trio.fail_after(60):
                while len(received) < SIZE:
                    received += await stream.receive_some()
        assert received == data
        statistics = at.statistics()
        came = sum(statistics[name] for name in counters)
        segments = statistics["tcp_accepted"]
        assert segments >= SIZE // 1448
        assert came >= FLOOD * segments
        assert statistics["packets_received"] == came + segments + statistics["udp_received"]
        assert statistics["fragment_memory_held"] <= Limits().fragment_memory
        assert statistics["memory_held"] <= 16 << 20
        if what != "echo requests":
            assert statistics["packets_sent"] < 2 * segments + 1000
