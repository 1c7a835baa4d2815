"""Sending UDP: prepared headers by destination, and a packet of several datagrams (USO)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.ip.family import family_of
from tunstack.udp.sock import (
    PMTUDISC_DO,
    PMTUDISC_DONT,
    PMTUDISC_OMIT,
    PMTUDISC_PROBE,
    PMTUDISC_WANT,
)

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address, Buffer
    from tunstack.wire.fast import datagram as lean

HEADER: Final = 8
"""Octets of the UDP header."""
SET_DF: Final[frozenset[int]] = frozenset({PMTUDISC_WANT, PMTUDISC_DO, PMTUDISC_PROBE})
"""Values of IP_MTU_DISCOVER with which DF is set."""

_MAY_FRAGMENT: Final[frozenset[int]] = frozenset({PMTUDISC_DONT, PMTUDISC_WANT, PMTUDISC_OMIT})
_KNOWS_PATH: Final[frozenset[int]] = frozenset({PMTUDISC_DONT, PMTUDISC_WANT, PMTUDISC_DO})
_MOST_IN_LARGE: Final = 64
"""Datagrams in a packet that the link segments (USO): the limit of Linux before 6.9."""
_LARGEST: Final[dict[int, int]] = {20: 0xFFFF - 20, 40: 0xFFFF}
"""Octets behind an IP header, by octets of that: IPv4's length counts the header."""


class Route:
    """A destination of a socket, with its headers prepared.

    Attributes:
        local: Our address.
        remote: The destination's.
        port: Its port.
        template: The headers.
        overhead: Octets of the headers.
        most: Octets of data of the longest datagram.
        flow_label: The flow label of IPv6.
        loops: Whether it is an address of ours.
        sets_df: Whether DF is set; without it a datagram has an identification.
        may_fragment: Whether what is longer than the MTU is fragmented.
        knows_path: Whether that is the path's MTU, and not the link's.
        ttl: Time to live.
        tos: The DSCP and ECN octet.
    """

    __slots__ = (
        "flow_label",
        "knows_path",
        "local",
        "loops",
        "may_fragment",
        "most",
        "overhead",
        "port",
        "remote",
        "sets_df",
        "template",
        "tos",
        "ttl",
    )

    def __init__(
        self,
        local: Address,
        remote: Address,
        port: int,
        template: lean.Template,
        *,
        discovery: int,
        loops: bool,
        ttl: int,
        tos: int,
        flow_label: int,
    ) -> None:
        self.sets_df = discovery in SET_DF
        self.may_fragment = discovery in _MAY_FRAGMENT
        self.knows_path = discovery in _KNOWS_PATH
        self.flow_label = flow_label
        self.local = local
        self.remote = remote
        self.port = port
        self.template = template
        header = family_of(remote).header
        self.overhead = header + HEADER
        self.most = _LARGEST[header] - HEADER
        self.loops = loops
        self.ttl = ttl
        self.tos = tos


class LargePacket:
    """A packet in `Output.packets` that the link segments into datagrams (USO); it may grow.

    Attributes:
        packet: The packet.
        route: Where it goes.
        first: The data of the first datagram, from which it is made.
        gso_size: Octets of data of each, but for the last, which may have fewer.
        count: How many there are.
        size: Octets of data.
    """

    __slots__ = ("count", "first", "gso_size", "packet", "route", "size")

    def __init__(self, packet: list[Buffer], route: Route, first: Buffer) -> None:
        self.packet = packet
        self.route = route
        self.first = first
        self.gso_size = self.size = len(first)
        self.count = 1

    def takes(self, route: Route, size: int, last: list[Buffer]) -> bool:
        """Whether a datagram of `size` octets can be added: nothing was sent after it."""
        return (
            self.packet is last
            and self.route is route
            and 0 < size <= self.gso_size
            and self.size == self.count * self.gso_size
            and self.count < _MOST_IN_LARGE
            and self.size + size <= route.most
        )

    def add(self, data: Buffer) -> None:
        """Add a datagram."""
        self.count += 1
        self.size += len(data)
        headers = self.route.template.large(self.size, self.gso_size)
        if self.count == 2:
            self.packet[:] = [headers, self.first, data]
        else:
            self.packet[0] = headers
            self.packet.append(data)
