"""Decode and encode IPv4 packets (RFC 791, RFC 1122 section 3.2.1)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from tunstack.ip.datagram import Buffer, Datagram
from tunstack.wire.checksum import checksum
from tunstack.wire.discard import Discard, Reason
from tunstack.wire.dpkt_headers import Ipv4Header

MINIMUM_HEADER: Final = 20
"""Octets of a header without options."""
MAXIMUM_PACKET: Final = 0xFFFF
"""Octets: the largest total length."""

_RESERVED: Final = 0x8000
_DONT_FRAGMENT: Final = 0x4000
_MORE_FRAGMENTS: Final = 0x2000

_FIXED_HEADER: Final[Struct] = Struct(">BBHHHBBH4s4s")


def decode_datagram(packet: Buffer) -> Datagram:
    """Parse and validate one IPv4 packet.

    Options are kept, not interpreted. The payload is a view into `packet`, which must not change
    while it is in use. Octets beyond the total length are dropped; the payload is then a view into
    a copy, so that they do not stay in memory.

    Raises:
        Discard: The version, a length, the header checksum or the reserved flag is wrong.
    """
    view = memoryview(packet)
    size = len(view)
    if size < MINIMUM_HEADER:
        raise Discard(Reason.TRUNCATED)
    header = Ipv4Header(view)
    header_length = _header_length(header)
    total_length: int = header.len
    if total_length < header_length:
        raise Discard(Reason.BAD_TOTAL_LENGTH)
    if total_length > size:
        raise Discard(Reason.TRUNCATED)
    if int.from_bytes(view[:header_length], "big") % 0xFFFF:
        raise Discard(Reason.BAD_IP_CHECKSUM)
    if total_length < size:
        view = memoryview(bytes(view[:total_length]))
    if header._flags_offset & _RESERVED:
        raise Discard(Reason.BAD_IP_FLAGS)
    return _value(header, view, header_length, total_length)


def decode_quote(quote: memoryview) -> Datagram:
    """Parse the beginning of a datagram quoted by an ICMP error: its header and 8 octets or more.

    The payload is the octets present, whatever the total length says. The header checksum is not
    verified: routers change the header, and not all of them update the checksum in what they quote.

    Raises:
        Discard: It is no IPv4 header, or is too short.
    """
    if len(quote) < MINIMUM_HEADER:
        raise Discard(Reason.TRUNCATED)
    header = Ipv4Header(quote)
    header_length = _header_length(header)
    if header_length + 8 > len(quote):
        raise Discard(Reason.TRUNCATED)
    return _value(header, quote, header_length, len(quote))


def _header_length(header: Ipv4Header) -> int:
    """Validate version and header length; returns the latter, in octets."""
    version_and_length: int = header._v_hl
    if version_and_length != 0x45:
        if version_and_length >> 4 != 4:
            raise Discard(Reason.BAD_VERSION)
        if version_and_length & 0xF < 5:
            raise Discard(Reason.BAD_HEADER_LENGTH)
    return (version_and_length & 0xF) << 2


def _value(header: Ipv4Header, view: memoryview, start: int, end: int) -> Datagram:
    """Return the datagram with the payload view[start:end]. Arguments are positional for speed."""
    flags: int = header._flags_offset
    return Datagram(
        header.src,
        header.dst,
        header.p,
        view[start:end],
        header.ttl,
        header.tos,
        header.id,
        flags & _DONT_FRAGMENT != 0,
        flags & _MORE_FRAGMENTS != 0,
        (flags & 0x1FFF) << 3,
        bytes(view[MINIMUM_HEADER:start]) if start > MINIMUM_HEADER else b"",
    )


def protocol_at(datagram: Datagram) -> int:
    """Return where in the header the protocol field is."""
    return 9


def encode_header(datagram: Datagram, payload_length: int) -> bytes:
    """Encode the header of a datagram with `payload_length` octets of payload.

    Options are padded to a multiple of four octets.

    Raises:
        ValueError: the datagram, or its options, would be longer than IPv4 allows.
    """
    options = datagram.options
    if len(options) & 3:
        options += bytes(-len(options) & 3)
    header_length = MINIMUM_HEADER + len(options)
    total_length = header_length + payload_length
    if header_length > 60 or total_length > MAXIMUM_PACKET:
        raise ValueError(f"no IPv4 packet has {header_length} + {payload_length} octets")
    flags = (
        (_DONT_FRAGMENT if datagram.dont_fragment else 0)
        | (_MORE_FRAGMENTS if datagram.more_fragments else 0)
        | datagram.fragment_offset >> 3
    )
    fields = (
        0x40 | header_length >> 2,
        datagram.tos,
        total_length,
        datagram.identification,
        flags,
        datagram.ttl,
        datagram.protocol,
    )
    addresses = (datagram.src, datagram.dst)
    header_checksum = checksum(_FIXED_HEADER.pack(*fields, 0, *addresses), options)
    return _FIXED_HEADER.pack(*fields, header_checksum, *addresses) + options
