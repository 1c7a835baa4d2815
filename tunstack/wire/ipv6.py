"""Decode and encode IPv6 packets (RFC 8200)."""

from __future__ import annotations

from dataclasses import replace
from struct import Struct
from typing import Final

from tunstack.ip.datagram import Buffer, Datagram
from tunstack.wire.discard import Discard, Reason
from tunstack.wire.dpkt_headers import Ipv6Header
from tunstack.wire.extensions import (
    EXTENSIONS,
    FRAGMENT,
    FRAGMENT_HEADER,
    HOP_BY_HOP,
    UNKNOWN_OPTION,
    Chain,
    Wrong,
    last_next_header,
    skip,
    walk,
)

MINIMUM_HEADER: Final = 40
"""Octets of the fixed header."""
MAXIMUM_PAYLOAD: Final = 0xFFFF
"""Octets: the largest payload length, in which the extension headers count."""

_NEXT_HEADER_AT: Final = 6
_FIXED_HEADER: Final[Struct] = Struct(">IHBB16s16s")
_VERSION: Final = 6 << 28
_MULTICAST: Final = 0xFF
"""The first octet of a multicast address."""


def decode_datagram(packet: Buffer) -> Datagram:
    """Parse and validate one IPv6 packet, and its extension headers (:mod:`.extensions`).

    The payload is a view into `packet`, which must not change while it is in use. Octets beyond the
    payload length are dropped; the payload is then a view into a copy, so that they do not stay in
    memory. Extension headers after the fragment header of a fragment that is not the whole datagram
    are left in the payload: see :func:`finish`.

    Jumbograms (RFC 2675) are dropped: no link of ours carries one.

    Raises:
        Discard: The version, a length or an extension header is wrong.
    """
    view = memoryview(packet)
    size = len(view)
    if size < MINIMUM_HEADER:
        raise Discard(Reason.TRUNCATED)
    header = Ipv6Header(view)
    if header._v_fc_flow >> 28 != 6:
        raise Discard(Reason.BAD_VERSION)
    end: int = MINIMUM_HEADER + header.plen
    next_header: int = header.nxt
    if end != size:
        if end == MINIMUM_HEADER and next_header == HOP_BY_HOP:
            raise Discard(Reason.BAD_TOTAL_LENGTH)
        if end > size:
            raise Discard(Reason.TRUNCATED)
        view = memoryview(bytes(view[:end]))
    if next_header not in EXTENSIONS:
        return _value(header, view, Chain(next_header, MINIMUM_HEADER, MINIMUM_HEADER))
    try:
        chain = walk(view, MINIMUM_HEADER, next_header, multicast=header.dst[0] == _MULTICAST)
    except Wrong as wrong:
        raise _discard(wrong, _as_it_came(header, view)) from None
    return _value(header, view, chain)


def decode_quote(quote: memoryview) -> Datagram:
    """Parse the beginning of a datagram quoted by an ICMP error: its headers and 8 octets or more.

    The payload is the octets present, whatever the payload length says. Extension headers are
    skipped, not validated: we sent them.

    Raises:
        Discard: It is no IPv6 header, or is too short.
    """
    if len(quote) < MINIMUM_HEADER:
        raise Discard(Reason.TRUNCATED)
    header = Ipv6Header(quote)
    if header._v_fc_flow >> 28 != 6:
        raise Discard(Reason.BAD_VERSION)
    datagram = _as_it_came(header, quote)
    if len(datagram.payload) < 8:
        raise Discard(Reason.TRUNCATED)
    return datagram


def finish(datagram: Datagram) -> Datagram:
    """Read the extension headers at the beginning of the payload of a reassembled datagram.

    Raises:
        Discard: One of them is wrong.
    """
    if datagram.options:
        datagram = replace(datagram, options=_linked(datagram, datagram.protocol))
    if datagram.protocol not in EXTENSIONS:
        return datagram
    view = memoryview(datagram.payload)
    ahead = MINIMUM_HEADER + len(datagram.options)
    multicast = datagram.dst[0] == _MULTICAST
    try:
        chain = walk(view, 0, datagram.protocol, multicast=multicast, ahead=ahead, reassembled=True)
    except Wrong as wrong:
        chain = skip(view, 0, datagram.protocol, within=True)
        raise _discard(wrong, _lengthened(datagram, view, chain)) from None
    return _lengthened(datagram, view, chain)


def protocol_at(datagram: Datagram) -> int:
    """Return where in the packet the octet is that names the protocol of the payload.

    That is the pointer of a Parameter Problem about an unknown next header (RFC 8200 section 4).
    """
    options = datagram.options
    if datagram.more_fragments or datagram.fragment_offset:
        return MINIMUM_HEADER + len(options)
    if not options:
        return _NEXT_HEADER_AT
    return MINIMUM_HEADER + last_next_header(options, datagram.extension)


def encode_header(datagram: Datagram, payload_length: int) -> bytes:
    """Encode the headers of a datagram with `payload_length` octets of payload.

    The last of the extension headers is made to name what follows it; a fragment header is there if
    the datagram is a fragment.

    Raises:
        ValueError: The datagram would be longer than IPv6 allows, or its extension headers are no
            multiple of eight octets.
    """
    options = datagram.options
    next_header = datagram.protocol
    fragment = b""
    if datagram.more_fragments or datagram.fragment_offset:
        offset = datagram.fragment_offset | datagram.more_fragments
        fragment = FRAGMENT_HEADER.pack(next_header, 0, offset, datagram.identification)
        next_header = FRAGMENT
    length = len(options) + len(fragment) + payload_length
    if length > MAXIMUM_PAYLOAD or len(options) & 7:
        raise ValueError(f"no IPv6 packet has {len(options)} + {length - len(options)} octets")
    if options:
        options = _linked(datagram, next_header)
        next_header = datagram.extension
    header = _FIXED_HEADER.pack(
        _VERSION | datagram.tos << 20 | datagram.flow_label,
        length,
        next_header,
        datagram.ttl,
        datagram.src,
        datagram.dst,
    )
    return header + options + fragment if length != payload_length else header


def _linked(datagram: Datagram, next_header: int) -> bytes:
    """Return the extension headers with the last one naming `next_header`."""
    at = last_next_header(datagram.options, datagram.extension)
    return datagram.options[:at] + bytes((next_header,)) + datagram.options[at + 1 :]


def _discard(wrong: Wrong, datagram: Datagram) -> Discard:
    """Return what to raise for a datagram with a wrong header.

    Nothing is told of one to a multicast address, but code 2 (RFC 4443 section 2.4 e.3).
    """
    code = wrong.code
    if code is None or (datagram.dst[0] == _MULTICAST and code != UNKNOWN_OPTION):
        return Discard(wrong.reason)
    return Discard(wrong.reason, (datagram, code, wrong.pointer))


def _value(header: Ipv6Header, view: memoryview, chain: Chain) -> Datagram:
    """Return the datagram of a packet with these headers. Arguments are positional for speed."""
    first_word: int = header._v_fc_flow
    options = bytes(view[MINIMUM_HEADER : chain.headers])
    return Datagram(
        header.src,
        header.dst,
        chain.next_header,
        view[chain.position :],
        header.hlim,
        first_word >> 20 & 0xFF,
        chain.identification,
        not chain.fragmented,
        chain.offset_and_flags & 1 != 0,
        chain.offset_and_flags & 0xFFF8,
        options,
        False,
        0,
        first_word & 0xFFFFF,
        header.nxt if options else 0,
    )


def _as_it_came(header: Ipv6Header, view: memoryview) -> Datagram:
    """Return the datagram of a packet whose extension headers are skipped, not validated."""
    return _value(header, view, skip(view, MINIMUM_HEADER, header.nxt))


def _lengthened(datagram: Datagram, view: memoryview, chain: Chain) -> Datagram:
    """Return a reassembled datagram with the extension headers of its payload among the others."""
    return replace(
        datagram,
        protocol=chain.next_header,
        payload=view[chain.headers :],
        options=datagram.options + bytes(view[: chain.headers]),
        extension=datagram.extension if datagram.options else datagram.protocol,
    )
