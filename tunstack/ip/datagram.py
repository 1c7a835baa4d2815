"""An IP datagram as a value (RFC 791, RFC 8200), as the codec decodes it.

Addresses are packed bytes in network order, whose length tells the family (4 or 16): they compare
and hash fast. The public API has :mod:`ipaddress` objects and strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
Address: TypeAlias = bytes

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58


@dataclass(slots=True)
class Datagram:
    """A validated IP datagram.

    Of IPv6, the fields of fragmentation are those of the fragment header. Of a fragment that is not
    the whole datagram, `protocol` is the fragment header's next header, and `payload` what follows
    that header: :func:`tunstack.wire.ip.finish` reads the rest of the headers after reassembly.

    Attributes:
        src: Source address.
        dst: Destination address.
        protocol: Protocol number of the payload (`ICMP`, `TCP`, `UDP`, `ICMPV6`...).
        payload: The payload; of a received datagram, a view into the packet.
        ttl: Time to live, or hop limit, in hops.
        tos: The DSCP and ECN octet: type of service, or traffic class.
        identification: The identification field: 16 bits in IPv4, 32 in IPv6.
        dont_fragment: The DF bit; of IPv6, whether there is no fragment header.
        more_fragments: The MF bit.
        fragment_offset: In octets.
        options: The options, as in the header; of IPv6, the extension headers as on the wire, but
            for the fragment header of a fragment that is not the whole datagram.
        trusted: Whether the checksum of the payload need not be verified, as the link offloads it.
        gso_size: Octets of data in each segment that it stands for; 0 if it is one (offload).
        flow_label: The flow label, 20 bits (RFC 6437); 0 in IPv4.
        extension: The type of the first of the extension headers in `options`; 0, which is the
            hop-by-hop options', where there are none, and in IPv4.
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
    flow_label: int = 0
    extension: int = 0
