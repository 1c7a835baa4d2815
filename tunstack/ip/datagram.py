"""An IP datagram as a value (RFC 791), as the codec decodes it.

Addresses are packed bytes in network order, whose length tells the family (4 for IPv4): they
compare and hash fast. The public API has :mod:`ipaddress` objects and strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
Address: TypeAlias = bytes

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17


@dataclass(slots=True)
class Datagram:
    """A validated IP datagram.

    Attributes:
        src: Source address.
        dst: Destination address.
        protocol: Protocol number of the payload (`ICMP`, `TCP`, `UDP`...).
        payload: The payload; of a received datagram, a view into the packet.
        ttl: Time to live, in hops.
        tos: The DSCP and ECN octet.
        identification: The identification field.
        dont_fragment: The DF bit.
        more_fragments: The MF bit.
        fragment_offset: In octets.
        options: The options, as in the header.
        trusted: Whether the checksum of the payload need not be verified, as the link offloads it.
        gso_size: Octets of data in each segment that it stands for; 0 if it is one (offload).
    """

    src: Address
    dst: Address
    protocol: int
    payload: Buffer
    ttl: int = 64
    tos: int = 0
    identification: int = 0
    dont_fragment: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0
    options: bytes = b""
    trusted: bool = False
    gso_size: int = 0
