"""Decode and encode IP packets of each family, found by the version field or the address length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from tunstack.wire import ipv4, ipv6
from tunstack.wire.discard import Discard, Reason
from tunstack.wire.virtio import decode_vnet

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Buffer, Datagram

_D = TypeVar("_D")

_DECODERS: Final[dict[int, Callable[[Buffer], Datagram]]] = {
    4: ipv4.decode_datagram,
    6: ipv6.decode_datagram,
}
"""By version."""
_QUOTE_DECODERS: Final[dict[int, Callable[[memoryview], Datagram]]] = {
    4: ipv4.decode_quote,
    6: ipv6.decode_quote,
}
"""By version."""
_HEADER_ENCODERS: Final[dict[int, Callable[[Datagram, int], bytes]]] = {
    4: ipv4.encode_header,
    16: ipv6.encode_header,
}
"""By octets of an address."""
_FINISHERS: Final[dict[int, Callable[[Datagram], Datagram]]] = {16: ipv6.finish}
"""By octets of an address, of a family whose fragments carry extension headers."""
_POINTERS: Final[dict[int, Callable[[Datagram], int]]] = {
    4: ipv4.protocol_at,
    16: ipv6.protocol_at,
}
"""By octets of an address."""


def decode_datagram(packet: Buffer) -> Datagram:
    """Parse and validate one IP packet; the payload is a view into it.

    Raises:
        Discard: The version is unknown, or see the decoder of its family.
    """
    return _by_version(_DECODERS, packet)(packet)


def decode_frame(frame: Buffer) -> Datagram:
    """As :func:`decode_datagram`, of a packet behind a virtio header, which sets two fields.

    Raises:
        Discard: The virtio header is malformed, or see :func:`decode_datagram`.
    """
    packet, trusted, gso_size = decode_vnet(frame)
    datagram = decode_datagram(packet)
    datagram.trusted, datagram.gso_size = trusted, gso_size
    return datagram


def decode_quote(quote: memoryview) -> Datagram:
    """Parse the beginning of a datagram quoted by an ICMP error: its header and 8 octets or more.

    Raises:
        Discard: It is no IP header, or is too short.
    """
    return _by_version(_QUOTE_DECODERS, quote)(quote)


def finish(datagram: Datagram) -> Datagram:
    """Read the headers that a reassembled datagram has in its payload: IPv6's extension headers.

    Raises:
        Discard: One of them is wrong.
    """
    finisher = _FINISHERS.get(len(datagram.src))
    return datagram if finisher is None else finisher(datagram)


def protocol_at(datagram: Datagram) -> int:
    """Return where in the packet the octet is that names the protocol of the payload."""
    return _POINTERS[len(datagram.src)](datagram)


def encode_header(datagram: Datagram, payload_length: int) -> bytes:
    """Encode the header of a datagram with `payload_length` octets of payload.

    Raises:
        ValueError: the datagram, or its options, would be longer than its family allows.
    """
    return _HEADER_ENCODERS[len(datagram.src)](datagram, payload_length)


def encode_datagram(datagram: Datagram) -> list[Buffer]:
    """Encode a packet as a list of buffers: the header, then the payload, not copied.

    Raises:
        ValueError: the datagram, or its options, would be longer than its family allows.
    """
    header = encode_header(datagram, len(datagram.payload))
    return [header, datagram.payload] if len(datagram.payload) else [header]


def _by_version(table: dict[int, _D], packet: Buffer) -> _D:
    if not len(packet):
        raise Discard(Reason.TRUNCATED)
    found = table.get(packet[0] >> 4)
    if found is None:
        raise Discard(Reason.BAD_VERSION)
    return found
