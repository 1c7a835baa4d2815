"""What may stand between two hosts: what marks, what narrows the path, what fragments."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tunstack.ip.fragmentation import fragmented
from tunstack.ip.icmp import DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, IcmpMessage
from tunstack.ip.icmpv6 import PACKET_TOO_BIG
from tunstack.tcp.connection.ecn import CE, NOT_ECT
from tunstack.wire import checksum, decode_datagram, encode_datagram, encode_icmp

if TYPE_CHECKING:
    from collections.abc import Callable

Fate = tuple[bytes | None, bytes | None]
"""The packet that goes on, and the one that goes back."""
Cut = tuple[bytes | list[bytes] | None, bytes | None]
"""The same where what goes on may be the fragments of the packet."""

ROUTER: Final = bytes((198, 51, 100, 254))
ROUTER_6: Final = bytes.fromhex("20010db80000000000000000000000fe")


def codepoint(packet: bytes) -> int:
    """The ECN codepoint of a packet."""
    return packet[1] & 3 if packet[0] >> 4 == 4 else packet[1] >> 4 & 3


def marked(packet: bytes) -> bytes:
    """The packet as it leaves a router whose queue is full: CE, with IPv4's checksum mended."""
    if packet[0] >> 4 == 6:
        return packet[:1] + bytes((packet[1] | CE << 4,)) + packet[2:]
    header = bytearray(packet[: (packet[0] & 0xF) * 4])
    header[1] |= CE
    header[10:12] = bytes(2)
    header[10:12] = struct.pack(">H", checksum(header))
    return bytes(header) + packet[len(header) :]


class Marker:
    """Marks every `period`-th packet that may be marked; lets all pass.

    Attributes:
        ect: How many could be marked.
        marks: How many were.
        codepoints: Those of all packets, as they came.
    """

    def __init__(self, period: int) -> None:
        self.period = period
        self.ect = 0
        self.marks = 0
        self.codepoints: list[int] = []

    def __call__(self, packet: bytes) -> Fate:
        self.codepoints.append(codepoint(packet))
        if codepoint(packet) == NOT_ECT:
            return packet, None
        self.ect += 1
        if self.ect % self.period:
            return packet, None
        self.marks += 1
        return marked(packet), None


class Narrow:
    """A router whose way on takes packets of `mtu` octets at the most.

    Attributes:
        mtu: What it takes; it may change.
        says: What it tells of that, in its ICMP errors; None when it is silent: a black hole.
        dropped: The sizes of what it dropped.
        passed: The sizes of what it let pass.
    """

    def __init__(self, mtu: int, says: Callable[[int], int] | None = lambda mtu: mtu) -> None:
        self.mtu = mtu
        self.says = says
        self.dropped: list[int] = []
        self.passed: list[int] = []

    def __call__(self, packet: bytes) -> Fate:
        if len(packet) <= self.mtu:
            self.passed.append(len(packet))
            return packet, None
        self.dropped.append(len(packet))
        return None, None if self.says is None else too_big(packet, self.says(self.mtu))


class Fragmenter:
    """Cuts packets of more than `mtu` octets into fragments, whatever they or their RFC say of it.

    DF is ignored, and IPv6 is fragmented as well, which no router does; some tunnels do.

    Attributes:
        mtu: Octets of a packet that passes whole.
        before: What a packet goes through first, if there is anything.
        cut: Packets that were cut.
    """

    def __init__(self, mtu: int, before: Callable[[bytes], Fate] | None = None) -> None:
        self.mtu = mtu
        self.before = before
        self.cut = 0

    def __call__(self, packet: bytes) -> Cut:
        forwarded, returned = (packet, None) if self.before is None else self.before(packet)
        if forwarded is None or len(forwarded) <= self.mtu:
            return forwarded, returned
        datagram = decode_datagram(forwarded)
        if datagram.fragment_offset or datagram.more_fragments:
            return forwarded, returned
        self.cut += 1
        parts = fragmented(replace(datagram, identification=self.cut & 0xFFFF), self.mtu)
        return [b"".join(encode_datagram(part)) for part in parts], returned


def too_big(packet: bytes, mtu: int) -> bytes:
    """The ICMP error for a packet that is larger than `mtu` (RFC 1191 section 4, RFC 8201)."""
    quoted = decode_datagram(packet)
    assert quoted.dont_fragment
    if packet[0] >> 4 == 6:
        message = IcmpMessage(PACKET_TOO_BIG, 0, mtu, quoted=quoted)
        return b"".join(encode_icmp(ROUTER_6, quoted.src, message))
    message = IcmpMessage(DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, mtu, quoted=quoted)
    return b"".join(encode_icmp(ROUTER, quoted.src, message))
