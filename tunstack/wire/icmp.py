"""Decode and encode ICMP messages (RFC 792)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from tunstack.ip.datagram import ICMP, Address, Buffer, Datagram
from tunstack.ip.icmp import ERRORS, IcmpMessage
from tunstack.wire.checksum import checksum, verifies
from tunstack.wire.discard import Discard, Reason
from tunstack.wire.dpkt_headers import IcmpHeader
from tunstack.wire.ip import decode_quote, encode_datagram, encode_header
from tunstack.wire.ipv4 import MINIMUM_HEADER

_HEADER: Final[Struct] = Struct(">BBHI")
_MAXIMUM_QUOTE: Final[int] = 576 - MINIMUM_HEADER - _HEADER.size
"""Octets quoted by an error: its packet has at most 576 (RFC 1812 section 4.3.2.3)."""


def decode_icmp(datagram: Datagram) -> IcmpMessage:
    """Parse and validate the ICMP message that is the payload of a whole datagram.

    Raises:
        Discard: The message is truncated, its checksum is wrong, or it is an error that does not
            quote the header and the first 8 octets of a datagram.
    """
    view = memoryview(datagram.payload)
    if len(view) < _HEADER.size:
        raise Discard(Reason.TRUNCATED_ICMP)
    if not verifies(view):
        raise Discard(Reason.BAD_ICMP_CHECKSUM)
    header = IcmpHeader(view)
    message = IcmpMessage(header.type, header.code, int.from_bytes(header.data[:4], "big"))
    body = header.data[4:]
    if message.type in ERRORS:
        try:
            message.quoted = decode_quote(body)
            message.quoted_length = int.from_bytes(body[2:4], "big")
        except Discard as error:
            raise Discard(Reason.BAD_ICMP_QUOTE) from error
    else:
        message.payload = body
    return message


def encode_icmp(
    src: Address,
    dst: Address,
    message: IcmpMessage,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
) -> list[Buffer]:
    """Encode the IPv4 packet of a message, without don't-fragment.

    Returns:
        The packet as a list of buffers: the headers, then the message's body, not copied.

    Raises:
        ValueError: The packet would be longer than 65,535 octets.
    """
    body = message.payload if message.quoted is None else _quote(message.quoted)
    fields = (message.type, message.code)
    sum_ = checksum(_HEADER.pack(*fields, 0, message.rest), body)
    header = _HEADER.pack(*fields, sum_, message.rest)
    ip = Datagram(src, dst, ICMP, b"", ttl=ttl, tos=tos, identification=identification)
    packet = encode_header(ip, len(header) + len(body)) + header
    return [packet, body] if len(body) else [packet]


def _quote(datagram: Datagram) -> bytes:
    """Return the beginning of a datagram, with the total length of the whole in its header."""
    return b"".join(encode_datagram(datagram))[:_MAXIMUM_QUOTE]
