"""A stack with an address of each family, and the test as its neighbour, packet by packet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_interface
from random import Random
from typing import TYPE_CHECKING, Any, Final

from tunstack.ip import icmp, icmpv6
from tunstack.ip.address import packed
from tunstack.stack.stack import Stack
from tunstack.wire import decode_datagram, decode_icmp, encode_datagram, encode_icmp

if TYPE_CHECKING:
    from tunstack.ip.datagram import Datagram
    from tunstack.ip.icmp import IcmpMessage
    from tunstack.stack.limits import Limits


@dataclass(frozen=True)
class Ends:
    """The addresses of a family, and the types of its ICMP.

    Attributes:
        ours: The stack's.
        peer: The test's.
        other: Somebody else's.
        icmp: The protocol number.
        request: The type of an echo request.
        reply: Of a reply.
        header: Octets of an IP header.
    """

    ours: bytes
    peer: bytes
    other: bytes
    icmp: int
    request: int
    reply: int
    header: int


V4: Final = Ends(
    packed("198.51.100.2"), packed("198.51.100.1"), packed("198.51.100.9"), 1, 8, 0, 20
)
V6: Final = Ends(
    packed("2001:db8::2"), packed("2001:db8::1"), packed("2001:db8::9"), 58, 128, 129, 40
)
BOTH: Final = (V4, V6)

UNREACHABLE: Final = {V4: icmp.DESTINATION_UNREACHABLE, V6: icmpv6.DESTINATION_UNREACHABLE}


class Node:
    """The stack, and its clock."""

    def __init__(self, *, mtu: int = 1500, limits: Limits | None = None) -> None:
        self.now = 1000.0
        self.stack = Stack(
            [ip_interface("198.51.100.2/24"), ip_interface("2001:db8::2/64")],
            mtu,
            rng=Random(1),
            limits=limits,
        )

    def packet(self, packet: bytes) -> list[Datagram]:
        """A packet arrives; returns what the stack sends."""
        self.stack.handle_packet(packet, self.now)
        return self.sent()

    def sent(self) -> list[Datagram]:
        """What the stack has sent since it was asked last."""
        self.stack.flush(self.now)
        outgoing, packets = self.stack.outgoing, []
        while outgoing:
            packets.append(decode_datagram(b"".join(outgoing.popleft())))
        return packets

    def datagram(self, datagram: Datagram, **fields: Any) -> list[Datagram]:
        """A datagram arrives."""
        return self.packet(b"".join(encode_datagram(replace(datagram, **fields))))

    def icmp(self, ends: Ends, message: IcmpMessage, **fields: Any) -> list[Datagram]:
        """An ICMP message of the peer's arrives."""
        return self.packet(b"".join(encode_icmp(ends.peer, ends.ours, message, **fields)))

    @property
    def statistics(self) -> dict[str, int]:
        """All that is not 0, but for the numbers of packets."""
        return {
            name: count
            for name, count in self.stack.statistics().items()
            if count and not name.startswith("packets_")
        }


def message_of(sent: list[Datagram]) -> IcmpMessage:
    """The message in the one packet that was sent."""
    [datagram] = sent
    return decode_icmp(datagram)
