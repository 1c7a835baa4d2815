"""dpkt's readers of the fixed headers, without dpkt's recursion into what follows them.

dpkt's classes have a metaclass, and cannot be subclassed in a compiled module: this module stays
interpreted, the rest of the package can be compiled.
"""

from __future__ import annotations

import dpkt


class Ipv4Header(dpkt.ip.IP):  # type: ignore[misc]  # dpkt has no types
    """The fixed IPv4 header (RFC 791); `data` is what follows it, a view.

    `dpkt.ip.IP` also parses the payload, by protocol. That would parse a TCP segment before its
    checksum is verified, and it recurses: 64 KiB of IP in IP, or of ICMP quoting ICMP, end in a
    RecursionError.
    """

    def __init__(self, view: memoryview) -> None:
        dpkt.Packet.unpack(self, view)


class Ipv6Header(dpkt.ip6.IP6):  # type: ignore[misc]  # dpkt has no types
    """The fixed IPv6 header (RFC 8200 section 3); `data` is what follows it, a view.

    `dpkt.ip6.IP6` also parses the extension headers, unbounded, and the payload.
    """

    def __init__(self, view: memoryview) -> None:
        dpkt.Packet.unpack(self, view)


class TcpHeader(dpkt.tcp.TCP):  # type: ignore[misc]  # dpkt has no types
    """The fixed TCP header (RFC 9293 section 3.1); `data` is what follows it, a view.

    `dpkt.tcp.TCP` also slices the options and the data, by a data offset that is not verified yet.
    """

    def __init__(self, view: memoryview) -> None:
        dpkt.Packet.unpack(self, view)


class IcmpHeader(dpkt.icmp.ICMP):  # type: ignore[misc]  # dpkt has no types
    """The first word of an ICMP header (RFC 792); `data` is what follows it, a view.

    `dpkt.icmp.ICMP` also parses the quoted packet, and what that quotes, down to a RecursionError.
    """

    def __init__(self, view: memoryview) -> None:
        dpkt.Packet.unpack(self, view)
