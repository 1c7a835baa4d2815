"""Extension headers of IPv6 (RFC 8200 section 4), validated or skipped.

Hop-by-hop options stand directly after the fixed header; elsewhere 0 is a protocol that nobody
knows, as section 4 has it. The other headers may come in any order. No option is acted upon; an
unknown one counts by the action bits of its type (section 4.2), and none is known that has them
set: the length of a jumbogram (RFC 2675) is for links larger than ours. A routing header without
segments left is skipped, any other is refused, of type 0 as well (RFC 5095).

Bounds, within those that RFC 8504 section 5.3 allows: at most `MAXIMUM_HEADERS` headers, and in
each of them `MAXIMUM_OPTIONS` options and seven octets of padding between two of them, all zeros.
Those of options and padding are Linux's (net.ipv6.max_hbh_opts_number, max_dst_opts_number). The
work is linear in the octets of the headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from tunstack.ip.datagram import ICMPV6, TCP, UDP
from tunstack.wire.discard import Reason

HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
NO_NEXT_HEADER: Final = 59
DESTINATION: Final = 60

EXTENSIONS: Final[frozenset[int]] = frozenset(
    {HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT_HEADER, DESTINATION}
)
"""Next headers that are no upper-layer protocol. AH and ESP are treated as unknown protocols."""

MAXIMUM_HEADERS: Final = 16
MAXIMUM_OPTIONS: Final = 8
_MAXIMUM_PADDING: Final = 7

FRAGMENT_HEADER: Final[Struct] = Struct(">BBHI")
"""Next header, reserved, offset and flags, identification."""
_OFFSET: Final = 0xFFF8
_MORE_FRAGMENTS: Final = 1
_OFFSET_AT: Final = 2
_FIXED_HEADER: Final = 40
_MAXIMUM_PAYLOAD: Final = 0xFFFF
_PAYLOAD_LENGTH_AT: Final = 4

_ROUTING_TYPE_AT: Final = 2
_SEGMENTS_LEFT_AT: Final = 3

_PAD1: Final = 0
_PADN: Final = 1
_ROUTER_ALERT: Final = 5
_ROUTER_ALERT_SIZE: Final = 4

# The two high bits of an option's type: what to do with one that is not known. 2 is to tell always.
_SKIP: Final = 0
_DISCARD: Final = 1
_TELL_UNICAST: Final = 3

# Codes of a Parameter Problem: RFC 4443 section 3.4, RFC 7112 section 5.
ERRONEOUS_HEADER: Final = 0
UNKNOWN_OPTION: Final = 2
INCOMPLETE_CHAIN: Final = 3

_UPPER_LAYER_HEADERS: Final[dict[int, int]] = {TCP: 20, UDP: 8, ICMPV6: 8, NO_NEXT_HEADER: 0}
"""Octets that a first fragment must have of these protocols: their headers; of others, 1."""


@dataclass(slots=True)
class Chain:
    """The end of a chain of extension headers.

    Attributes:
        next_header: The upper-layer protocol; of a fragment, what the fragment header names.
        position: Where that begins, in the view.
        headers: Where the extension headers end: before the fragment header of a fragment that is
            not the whole datagram, else at `position`.
        identification: That of a fragment header, if there is one.
        offset_and_flags: Those of the fragment header of a fragment that is not the whole datagram.
        fragmented: Whether there is a fragment header.
    """

    next_header: int
    position: int
    headers: int
    identification: int = 0
    offset_and_flags: int = 0
    fragmented: bool = False


class Wrong(Exception):
    """An extension header for which the packet is dropped.

    Attributes:
        reason: The reason.
        code: Of the Parameter Problem to send; None if the packet is dropped silently.
        pointer: Of the same.
    """

    def __init__(self, reason: Reason, code: int | None = None, pointer: int = 0) -> None:
        super().__init__(reason.phrase)
        self.reason = reason
        self.code = code
        self.pointer = pointer


def skip(view: memoryview, position: int, next_header: int, *, within: bool = False) -> Chain:
    """Skip a chain of extension headers without validation; it may be truncated; work is bounded.

    Args:
        view: What has the headers.
        position: Where they begin.
        next_header: The type of the first of them.
        within: Whether they are behind a fragment header, where no other one is followed, and not
            directly behind the fixed header, where alone hop-by-hop options are.
    """
    size = len(view)
    first = not within
    chain = Chain(next_header, position, position)
    for _ in range(MAXIMUM_HEADERS):
        next_header, position = chain.next_header, chain.position
        if next_header not in EXTENSIONS or next_header == NO_NEXT_HEADER:
            break
        if (next_header == HOP_BY_HOP and not first) or position + 8 > size:
            break
        first = False
        if next_header == FRAGMENT:
            if within or _take_fragment_header(chain, view):
                break
            continue
        length = view[position + 1] + 1 << 3
        if position + length > size:
            break
        chain.next_header = view[position]
        chain.position = chain.headers = position + length
    return chain


def walk(
    view: memoryview,
    position: int,
    next_header: int,
    *,
    multicast: bool,
    ahead: int = 0,
    reassembled: bool = False,
) -> Chain:
    """Follow and validate the chain of extension headers of a packet, or of reassembled fragments.

    Args:
        view: What has the headers, and all that follows them.
        position: Where they begin.
        next_header: The type of the first of them.
        multicast: Whether the destination is a multicast address.
        ahead: Octets of the packet before `view`, for pointers.
        reassembled: Whether it is what fragments carried.

    Raises:
        Wrong: A header is wrong, or there is nothing behind them.
    """
    size = len(view)
    chain = Chain(next_header, position, position, fragmented=reassembled)
    number = 0
    while chain.next_header in EXTENSIONS:
        next_header, position = chain.next_header, chain.position
        if next_header == NO_NEXT_HEADER:
            raise Wrong(Reason.NO_NEXT_HEADER)
        if next_header == HOP_BY_HOP and (number or reassembled):
            break
        number += 1
        if number > MAXIMUM_HEADERS:
            raise Wrong(Reason.BAD_EXTENSION_HEADER)
        if next_header == FRAGMENT:
            if position + FRAGMENT_HEADER.size > size:
                # Alone of the truncated headers Linux tells of this one.
                at = ahead + position
                raise Wrong(Reason.BAD_EXTENSION_HEADER, ERRONEOUS_HEADER, at)
            if chain.fragmented:
                raise Wrong(Reason.BAD_FRAGMENT, ERRONEOUS_HEADER, ahead + position)
            if _take_fragment_header(chain, view):
                _check_fragment(chain, view)
                break
            continue
        length = view[position + 1] + 1 << 3 if position + 8 <= size else 8
        if position + length > size:
            raise Wrong(Reason.BAD_EXTENSION_HEADER)
        if next_header == ROUTING:
            if view[position + _SEGMENTS_LEFT_AT]:
                pointer = ahead + position + _ROUTING_TYPE_AT
                raise Wrong(Reason.BAD_ROUTING_HEADER, ERRONEOUS_HEADER, pointer)
        else:
            options = view[position : position + length]
            _check_options(options, ahead + position, next_header, multicast=multicast)
        chain.next_header = view[position]
        chain.position = chain.headers = position + length
    return chain


def last_next_header(headers: bytes, next_header: int) -> int:
    """Return where the next header field of the last of some extension headers is.

    Args:
        headers: The headers, well-formed.
        next_header: The type of the first of them.
    """
    position, end = 0, len(headers)
    while True:
        length = 8 if next_header == FRAGMENT else headers[position + 1] + 1 << 3
        if position + length >= end:
            return position
        next_header = headers[position]
        position += length


def _take_fragment_header(chain: Chain, view: memoryview) -> bool:
    """Read a fragment header; returns whether it is that of a part of a datagram.

    Where it is of the whole, an atomic fragment (RFC 6946), it is one of the headers.
    """
    fields = FRAGMENT_HEADER.unpack_from(view, chain.position)
    chain.next_header, _, offset_and_flags, chain.identification = fields
    chain.fragmented = True
    chain.position += FRAGMENT_HEADER.size
    chain.offset_and_flags = offset_and_flags & (_OFFSET | _MORE_FRAGMENTS)
    if chain.offset_and_flags:
        return True
    chain.headers = chain.position
    return False


def _check_fragment(chain: Chain, view: memoryview) -> None:
    """Validate the part of a datagram that is behind a fragment header (RFC 8200 section 4.5)."""
    size, start = len(view), chain.position
    offset = chain.offset_and_flags & _OFFSET
    if not offset:
        _check_first_fragment(skip(view, start, chain.next_header, within=True), size)
    # What precedes the fragment header is a part of the reassembled packet's payload.
    if chain.headers - _FIXED_HEADER + offset + size - start > _MAXIMUM_PAYLOAD:
        raise Wrong(Reason.BAD_FRAGMENT, ERRONEOUS_HEADER, chain.headers + _OFFSET_AT)
    if chain.offset_and_flags & _MORE_FRAGMENTS and (size - start) & 7:
        raise Wrong(Reason.BAD_FRAGMENT, ERRONEOUS_HEADER, _PAYLOAD_LENGTH_AT)


def _check_first_fragment(upper: Chain, size: int) -> None:
    """A first fragment has all headers, the upper layer's as well (RFC 7112 section 5)."""
    if upper.next_header == FRAGMENT:
        raise Wrong(Reason.BAD_FRAGMENT)
    end = upper.position + _UPPER_LAYER_HEADERS.get(upper.next_header, 1)
    if end > size or upper.next_header in (ROUTING, DESTINATION):
        raise Wrong(Reason.BAD_FRAGMENT, INCOMPLETE_CHAIN)


def _check_options(header: memoryview, pointer: int, kind: int, *, multicast: bool) -> None:
    """Validate the options of a header of this kind; `pointer` is where it begins."""
    at, end = 2, len(header)
    number = padding = 0
    while at < end:
        option = header[at]
        size = 1 if option == _PAD1 else 2 + header[at + 1] if at + 1 < end else 2
        if at + size > end:
            raise Wrong(Reason.BAD_IP_OPTIONS)
        if option in (_PAD1, _PADN):
            padding += size
        else:
            padding = 0
            number += 1
        if padding > _MAXIMUM_PADDING or number > MAXIMUM_OPTIONS:
            raise Wrong(Reason.BAD_IP_OPTIONS)
        if option == _PADN:
            if any(header[at + 2 : at + size]):
                raise Wrong(Reason.BAD_IP_OPTIONS)
        elif option == _ROUTER_ALERT and kind == HOP_BY_HOP:
            if size != _ROUTER_ALERT_SIZE:
                raise Wrong(Reason.BAD_IP_OPTIONS)
        elif (action := option >> 6) != _SKIP:
            silent = action == _DISCARD or (action == _TELL_UNICAST and multicast)
            raise Wrong(Reason.BAD_IP_OPTIONS, None if silent else UNKNOWN_OPTION, pointer + at)
        at += size
