"""Packets made by hand, so that the links are tested without the stack."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.link.tun import TunLink


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071), the slow and obvious way."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def echo_request(src: str, dst: str, payload: bytes) -> bytes:
    """A whole IPv4 packet with an ICMP echo request; the payload has an even length."""
    message = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + payload
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    header = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(message), 1, 0, 64, 1, 0),
        *(socket.inet_aton(src), socket.inet_aton(dst)),
    )
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + message


def ipv4(packets: Iterable[bytes | bytearray | memoryview]) -> list[bytes]:
    """Those that are IPv4: the kernel speaks IPv6 on a new device, unasked."""
    return [bytes(packet) for packet in packets if packet[0] >> 4 == 4]


async def next_ipv4(link: TunLink) -> bytes:
    """The next packet of IPv4 that arrives."""
    with trio.fail_after(5):
        while True:
            await link.wait_readable()
            if packets := ipv4(link.receive(limit=1)):
                return packets[0]
