"""Decode and encode ICMP messages of both families (RFC 792, RFC 4443)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from tunstack.ip import icmp, icmpv6
from tunstack.ip.datagram import Address, Buffer, Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.wire.checksum import checksum, verifies
from tunstack.wire.discard import Discard, Reason
from tunstack.wire.dpkt_headers import IcmpHeader
from tunstack.wire.ip import decode_quote, encode_datagram, encode_header

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER: Final[Struct] = Struct(">BBHI")
_PSEUDO_HEADER: Final[Struct] = Struct(">16s16sII")


@dataclass(frozen=True, slots=True)
class _Format:
    """How ICMP looks in a family.

    Attributes:
        protocol: The protocol number.
        errors: The types that quote a datagram.
        longest_quote: Octets that an error quotes at most.
        total_length: Returns the length of a quoted datagram, by its own header.
        pseudo_header: Returns what the checksum covers beside the message, of a length in octets.
    """

    protocol: int
    errors: frozenset[int]
    longest_quote: int
    total_length: Callable[[Buffer], int]
    pseudo_header: Callable[[Address, Address, int], bytes]


def _ipv4_length(quote: Buffer) -> int:
    return int.from_bytes(quote[2:4], "big")


def _ipv6_length(quote: Buffer) -> int:
    return 40 + int.from_bytes(quote[4:6], "big")


def _no_pseudo_header(_src: Address, _dst: Address, _length: int) -> bytes:
    return b""


def _ipv6_pseudo_header(src: Address, dst: Address, length: int) -> bytes:
    """RFC 8200 section 8.1."""
    return _PSEUDO_HEADER.pack(src, dst, length, icmpv6.PROTOCOL)


_FORMATS: Final[dict[int, _Format]] = {
    # An error's packet has at most 576 octets: RFC 1812 section 4.3.2.3.
    4: _Format(icmp.PROTOCOL, icmp.ERRORS, 576 - 28, _ipv4_length, _no_pseudo_header),
    # The minimum MTU: RFC 4443 section 2.4 (c).
    16: _Format(icmpv6.PROTOCOL, icmpv6.ERRORS, 1280 - 48, _ipv6_length, _ipv6_pseudo_header),
}
"""By octets of an address."""


def decode_icmp(datagram: Datagram) -> IcmpMessage:
    """Parse and validate the ICMP message that is the payload of a whole datagram.

    Raises:
        Discard: The message is truncated, its checksum is wrong, or it is an error that does not
            quote the header and the first 8 octets of a datagram.
    """
    format_ = _FORMATS[len(datagram.src)]
    view = memoryview(datagram.payload)
    if len(view) < _HEADER.size:
        raise Discard(Reason.TRUNCATED_ICMP)
    if not verifies(format_.pseudo_header(datagram.src, datagram.dst, len(view)), view):
        raise Discard(Reason.BAD_ICMP_CHECKSUM)
    header = IcmpHeader(view)
    message = IcmpMessage(header.type, header.code, int.from_bytes(header.data[:4], "big"))
    body = header.data[4:]
    if message.type in format_.errors:
        try:
            message.quoted = decode_quote(body)
        except Discard as error:
            raise Discard(Reason.BAD_ICMP_QUOTE) from error
        if len(message.quoted.src) != len(datagram.src):
            raise Discard(Reason.BAD_ICMP_QUOTE)
        message.quoted_length = format_.total_length(body)
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
    """Encode the packet of a message, without don't-fragment.

    Returns:
        The packet as a list of buffers: the headers, then the message's body, not copied.

    Raises:
        ValueError: The packet would be longer than its family allows.
    """
    header, body = _encode(src, dst, message)
    protocol = _FORMATS[len(src)].protocol
    ip = Datagram(src, dst, protocol, b"", ttl=ttl, tos=tos, identification=identification)
    packet = encode_header(ip, len(header) + len(body)) + header
    return [packet, body] if len(body) else [packet]


def icmp_datagram(
    src: Address,
    dst: Address,
    message: IcmpMessage,
    *,
    ttl: int = 64,
    tos: int = 0,
    options: bytes = b"",
    flow_label: int = 0,
) -> Datagram:
    """Return the datagram of a message, which may be fragmented."""
    header, body = _encode(src, dst, message)
    protocol = _FORMATS[len(src)].protocol
    return Datagram(
        src,
        dst,
        protocol,
        header + body,
        ttl=ttl,
        tos=tos,
        options=options,
        flow_label=flow_label,
    )


def _encode(src: Address, dst: Address, message: IcmpMessage) -> tuple[bytes, Buffer]:
    """Return the header of a message, checksum included, and its body."""
    format_ = _FORMATS[len(src)]
    body = message.payload
    if message.quoted is not None:
        body = b"".join(encode_datagram(message.quoted))[: format_.longest_quote]
    fields = (message.type, message.code)
    pseudo_header = format_.pseudo_header(src, dst, _HEADER.size + len(body))
    sum_ = checksum(pseudo_header, _HEADER.pack(*fields, 0, message.rest), body)
    return _HEADER.pack(*fields, sum_, message.rest), body
