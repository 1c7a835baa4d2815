"""Decode and encode IP packets of each family, found by the version field or the address length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from tunstack.wire import ipv4
from tunstack.wire.discard import Discard, Reason
from tunstack.wire.virtio import decode_vnet

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Buffer, Datagram

_D = TypeVar("_D")

_DECODERS: Final[dict[int, Callable[[Buffer], Datagram]]] = {4: ipv4.decode_datagram}
"""By version."""
_QUOTE_DECODERS: Final[dict[int, Callable[[memoryview], Datagram]]] = {4: ipv4.decode_quote}
"""By version."""
_HEADER_ENCODERS: Final[dict[int, Callable[[Datagram, int], bytes]]] = {4: ipv4.encode_header}
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
