"""What the codec makes of IPv6's extension headers, and what the kernel answers to the same."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
import trio

from tests.kernel.beside import without_limits
from tests.wire.packets import (
    ALL_NODES,
    KERNEL_6,
    OURS_6,
    fragment_header,
    ipv6_packet,
    naive_checksum,
    options_header,
    routing_header,
)
from tunstack.ip.datagram import ICMPV6, TCP, UDP
from tunstack.link.netns import open_network_namespace
from tunstack.wire import Discard, decode_datagram, protocol_at
from tunstack.wire.extensions import (
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    MAXIMUM_OPTIONS,
    NO_NEXT_HEADER,
    ROUTING,
)

if TYPE_CHECKING:
    from tunstack.link.base import Link

ECHO_REQUEST, ECHO_REPLY, PARAMETER_PROBLEM = 128, 129, 4
SKIPPED = b"\x1e\2\0\0"


def echo_request(dst: bytes, number: int) -> bytes:
    message = struct.pack(">BBHHH", ECHO_REQUEST, 0, 0, 1, number) + bytes(8)
    pseudo_header = OURS_6 + dst + struct.pack(">II", len(message), ICMPV6)
    checksum = naive_checksum(pseudo_header + message).to_bytes(2, "big")
    return message[:2] + checksum + message[4:]


def of_options(kind: int) -> list[tuple[int, bytes]]:
    """Chains of one header of options of this kind."""
    paddings = [
        bytes(6),
        bytes(7) + b"\x1e\5" + bytes(5),
        bytes(8) + b"\x1e\4" + bytes(4),
        b"\1\5" + bytes(5) + b"\x1e\5" + bytes(5),
        b"\1\6" + bytes(6) + b"\x1e\4" + bytes(4),
        b"\1\5" + bytes(5) + b"\0\x1e\4" + bytes(4),
        b"\1\4\0\0\1\0",
        b"\x1e\5\0\0\0\0",
        b"\1\3\0\0\0\x1e",
    ]
    return [
        *((kind, bytes((ICMPV6, len(each) // 8)) + each) for each in paddings),
        *(
            (kind, options_header(ICMPV6, SKIPPED, bytes((option, 2, 0, 0))))
            for option in (0x1E, 0x3E, 0x5E, 0x7E, 0x9E, 0xBE, 0xDE, 0xFE)
        ),
        (kind, options_header(ICMPV6, *[SKIPPED] * MAXIMUM_OPTIONS)),
        (kind, options_header(ICMPV6, *[SKIPPED] * (MAXIMUM_OPTIONS + 1))),
        (kind, options_header(ICMPV6, *[SKIPPED] * MAXIMUM_OPTIONS, b"\x9e\2\0\0")),
        (kind, options_header(ICMPV6, b"\5\2\0\0")),
        (kind, options_header(ICMPV6, b"\5\4\0\0\0\0")),
        (kind, options_header(200)),
        (kind, options_header(NO_NEXT_HEADER)),
        (kind, options_header(HOP_BY_HOP) + options_header(ICMPV6)),
        (kind, options_header(DESTINATION, SKIPPED) + options_header(ICMPV6, b"\x9e\2\0\0")),
        (kind, bytes((ICMPV6, 9, 1, 4, 0, 0, 0, 0))),
    ]


CHAINS: list[tuple[int, bytes]] = [
    (ICMPV6, b""),
    (200, b""),
    (NO_NEXT_HEADER, b""),
    (50, b""),  # ESP
    (51, b""),  # AH
    *of_options(HOP_BY_HOP),
    *of_options(DESTINATION),
    *(
        (ROUTING, routing_header(ICMPV6, kind, left, size))
        for kind in (0, 1, 200)
        for left in (0, 1, 255)
        for size in (8, 24)
    ),
    (DESTINATION, options_header(ROUTING) + routing_header(ICMPV6, 0, 1)),
    (ROUTING, bytes((ICMPV6, 9, 0, 0, 0, 0, 0, 0))),
    (FRAGMENT, fragment_header(ICMPV6)),
    (FRAGMENT, fragment_header(200)),
    (FRAGMENT, fragment_header(NO_NEXT_HEADER)),
    (FRAGMENT, fragment_header(DESTINATION) + options_header(ICMPV6)),
    (FRAGMENT, fragment_header(HOP_BY_HOP) + options_header(ICMPV6)),
    (FRAGMENT, fragment_header(FRAGMENT) + fragment_header(ICMPV6)),
    (FRAGMENT, fragment_header(FRAGMENT) + fragment_header(ICMPV6, more=True)),
    (DESTINATION, options_header(FRAGMENT) + fragment_header(ICMPV6)),
    # The request has 16 octets.
    (FRAGMENT, fragment_header(ICMPV6, more=True)),
    (FRAGMENT, fragment_header(TCP, more=True, identification=8)),
    (FRAGMENT, fragment_header(UDP, more=True, identification=9)),
    (FRAGMENT, fragment_header(DESTINATION, more=True, identification=10) + options_header(TCP)),
    (FRAGMENT, fragment_header(DESTINATION, more=True, identification=11) + options_header(UDP)),
    (FRAGMENT, fragment_header(ICMPV6, 8, more=True, identification=12) + b"odd"),
    (FRAGMENT, fragment_header(ICMPV6, 65528, identification=13)),
    (FRAGMENT, fragment_header(ICMPV6, 65528, more=True, identification=14) + b"odd"),
]
TRUNCATED: list[tuple[int, bytes]] = [
    *((DESTINATION, options_header(FRAGMENT) + bytes(size)) for size in range(8)),
    *((DESTINATION, options_header(DESTINATION) + bytes(size)) for size in range(8)),
    *((DESTINATION, options_header(ROUTING) + bytes(size)) for size in range(8)),
]
"""Chains whose last header is not all there."""


def expected(packet: bytes) -> tuple[int, ...] | None:
    """What the codec's verdict leads to: an echo reply, a Parameter Problem, or silence."""
    try:
        datagram = decode_datagram(packet)
    except Discard as discard:
        if discard.problem is None:
            return None
        return PARAMETER_PROBLEM, discard.problem[1], discard.problem[2]
    if datagram.more_fragments or datagram.fragment_offset:
        return None
    if datagram.protocol == ICMPV6:
        return ECHO_REPLY, 0
    if datagram.dst == ALL_NODES:
        return None  # RFC 4443 section 2.4 e.3.
    return PARAMETER_PROBLEM, 1, protocol_at(datagram)


def answer_of(packet: bytes) -> tuple[int, tuple[int, ...]] | None:
    """The number of the packet that it answers, its type and code, and its pointer."""
    datagram = decode_datagram(packet)
    message = bytes(datagram.payload)
    if datagram.protocol != ICMPV6 or datagram.dst != OURS_6:
        return None  # The kernel looks for routers.
    if message[0] == ECHO_REPLY:
        return int.from_bytes(message[6:8], "big"), (ECHO_REPLY, message[1])
    number = int.from_bytes(message[8:12], "big") & 0xFFFFF  # The flow label that it quotes.
    return number, (message[0], message[1], int.from_bytes(message[4:8], "big"))


async def answers(link: Link, packets: list[bytes]) -> dict[int, tuple[int, ...]]:
    """What the kernel says to each, by number."""
    found: list[tuple[int, tuple[int, ...]]] = []
    for packet in packets:
        link.send([packet])
    with trio.move_on_after(5) as scope:
        while True:
            await link.wait_readable()
            found += filter(None, (answer_of(bytes(each)) for each in link.receive()))
            scope.deadline = trio.current_time() + 0.2
    assert len({number for number, _ in found}) == len(found), "it says one thing to each"
    return dict(found)


@pytest.mark.rfc("8200:4", "8200:4.2", "8200:4.4", "8200:4.5", "7112:5", "5095:3", "6946:4")
@pytest.mark.parametrize("dst", [KERNEL_6, ALL_NODES], ids=["unicast", "multicast"])
async def test_the_kernel_answers_what_the_codec_wants_answered(dst: bytes) -> None:
    packets = {
        number: ipv6_packet(
            headers if (first, headers) in TRUNCATED else headers + echo_request(dst, number),
            next_header=first,
            src=OURS_6,
            dst=dst,
            flow_label=number,
        )
        for number, (first, headers) in enumerate(CHAINS + TRUNCATED, 1)
        if dst != ALL_NODES or ROUTING not in (first, headers[:1])  # The kernel drops those.
    }
    async with open_network_namespace() as namespace:
        without_limits(namespace)
        link = await namespace.open_tun("2001:db8::2/64")
        heard = await answers(link, list(packets.values()))
    for number, packet in packets.items():
        assert heard.get(number) == expected(packet), (CHAINS + TRUNCATED)[number - 1]
