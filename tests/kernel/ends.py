"""The two ends of a network, in each address family: ours, and the kernel's."""

from __future__ import annotations

import socket
from typing import Final, NamedTuple


class Ends(NamedTuple):
    """The addresses of one family.

    Attributes:
        name: The family's.
        family: Its number.
        ours: Our address.
        kernel: The kernel's.
        prefix: Length of the network's prefix, in bits.
        headers: Octets of the IP header, of TCP's and of its timestamps.
        least_mtu: Octets.
        elsewhere: An address that the kernel has no route to.
    """

    name: str
    family: int
    ours: str
    kernel: str
    prefix: int
    headers: int
    least_mtu: int
    elsewhere: str

    @property
    def address(self) -> str:
        """Our address with its prefix length."""
        return f"{self.ours}/{self.prefix}"

    @property
    def ours_in_url(self) -> str:
        """Our address as a URL or socat(1) has it: in brackets if it has colons."""
        return f"[{self.ours}]" if ":" in self.ours else self.ours


IPV4: Final = Ends(
    "IPv4", socket.AF_INET, "198.51.100.2", "198.51.100.1", 24, 52, 68, "203.0.113.1"
)
IPV6: Final = Ends(
    "IPv6", socket.AF_INET6, "2001:db8::2", "2001:db8::1", 64, 72, 1280, "2001:db8:1::1"
)
BY_VERSION: Final = {4: IPV4, 6: IPV6}
