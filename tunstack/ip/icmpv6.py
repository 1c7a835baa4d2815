"""ICMPv6: when to send a message, and what an error says (RFC 4443, RFC 4861 section 6 to 8).

The same functions as in :mod:`tunstack.ip.icmp`, whose `IcmpMessage` is the value of both. What
Neighbor Discovery and Multicast Listener Discovery send is validated and ignored: a TUN device has
no link-layer addresses, and the routes are the host's own.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tunstack.ip.errors import os_error
from tunstack.ip.icmp import IcmpMessage

if TYPE_CHECKING:
    from collections.abc import Collection

    from tunstack.ip.datagram import Address, Datagram

PROTOCOL: Final = 58

DESTINATION_UNREACHABLE: Final = 1
PACKET_TOO_BIG: Final = 2
TIME_EXCEEDED: Final = 3
PARAMETER_PROBLEM: Final = 4
ECHO_REQUEST: Final = 128
ECHO_REPLY: Final = 129
LISTENER_QUERY: Final = 130
LISTENER_REPORT: Final = 131
LISTENER_DONE: Final = 132
ROUTER_SOLICITATION: Final = 133
ROUTER_ADVERTISEMENT: Final = 134
NEIGHBOR_SOLICITATION: Final = 135
NEIGHBOR_ADVERTISEMENT: Final = 136
REDIRECT: Final = 137
LISTENER_REPORT_2: Final = 143

# Codes of DESTINATION_UNREACHABLE (RFC 4443 section 3.1).
NO_ROUTE: Final = 0
ADDRESS_UNREACHABLE: Final = 3
PORT_UNREACHABLE: Final = 4

REASSEMBLY_TIME_EXCEEDED: Final = 1
"""Code of TIME_EXCEEDED."""

# Codes of PARAMETER_PROBLEM (section 3.4).
ERRONEOUS_HEADER: Final = 0
UNKNOWN_NEXT_HEADER: Final = 1
UNKNOWN_OPTION: Final = 2

ERRORS: Final[frozenset[int]] = frozenset(range(128))
"""Error types: they quote a datagram (section 2.1)."""

_MOST_HOPS: Final = 255
"""The hop limit of a packet that no router has forwarded."""

_DISCOVERY: Final[frozenset[int]] = frozenset(
    {
        ROUTER_SOLICITATION,
        ROUTER_ADVERTISEMENT,
        NEIGHBOR_SOLICITATION,
        NEIGHBOR_ADVERTISEMENT,
        REDIRECT,
    }
)
"""What is valid only from a neighbour (RFC 4861 sections 6.1, 7.1 and 8.1)."""


def reply_to(
    datagram: Datagram,
    message: IcmpMessage,
    *,
    time: int = 0,
    broadcasts: Collection[Address] = (),
) -> IcmpMessage | None:
    """Return the echo reply to the `message` in `datagram`, or None for no answer.

    It carries all of the request's data, and its code, as Linux's does. A request to a multicast
    address is answered as well (section 4.2), from an address of ours.
    """
    if message.type != ECHO_REQUEST or not _may_be_answered(datagram.src):
        return None
    return IcmpMessage(ECHO_REPLY, message.code, message.rest, message.payload)


def reply_options(_datagram: Datagram, _time: int) -> bytes:
    """Return the extension headers of a reply: none."""
    return b""


def error_tos(_tos: int) -> int:
    """Return the traffic class of an error: Linux's."""
    return 0


def port_unreachable(
    datagram: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for a datagram to a closed port; None where no error may be sent."""
    return _error(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, datagram)


def protocol_unreachable(
    datagram: Datagram, pointer: int = 6, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for an unrecognized next header; None where no error may be sent.

    Args:
        datagram: What has it.
        pointer: The octet of the packet that names it.
        broadcasts: IPv6 has none.
    """
    return _error(PARAMETER_PROBLEM, UNKNOWN_NEXT_HEADER, pointer, datagram)


def parameter_problem(
    datagram: Datagram, pointer: int, code: int = 0, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for octet `pointer` of a packet; None where no error may be sent."""
    return _error(PARAMETER_PROBLEM, code, pointer, datagram)


def reassembly_time_exceeded(
    first: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return Time Exceeded for an incomplete datagram (RFC 8200 section 4.5).

    Args:
        first: The first fragment, without which none is sent.
        broadcasts: IPv6 has none.
    """
    return _error(TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED, 0, first)


def _error(kind: int, code: int, rest: int, datagram: Datagram) -> IcmpMessage | None:
    """Return an error, or None where section 2.4 (e) forbids one.

    Of later fragments it is only told that they are malformed (RFC 8200 section 4.5), as by Linux.
    None is of an ICMPv6 error: those are never fragmented (section 2.4 (c)).
    """
    payload = datagram.payload
    if datagram.fragment_offset:
        forbidden = (kind, code) != (PARAMETER_PROBLEM, ERRONEOUS_HEADER)
    else:
        forbidden = datagram.protocol == PROTOCOL and (
            not len(payload) or payload[0] in ERRORS or payload[0] == REDIRECT
        )
    to_many = _is_multicast(datagram.dst) and (kind, code) != (PARAMETER_PROBLEM, UNKNOWN_OPTION)
    if forbidden or to_many or not _may_be_answered(datagram.src):
        return None
    return IcmpMessage(kind, code, rest, quoted=datagram)


def _may_be_answered(source: Address) -> bool:
    """Whether it is an address of one node."""
    return any(source) and not _is_multicast(source)


def _is_multicast(address: Address) -> bool:
    return address[0] == 0xFF


# Of Destination Unreachable, by code (Linux's icmpv6_err_convert).
_UNREACHABLE: Final[tuple[int, ...]] = (
    errno.ENETUNREACH,  # No route
    errno.EACCES,  # Communication is prohibited
    errno.EHOSTUNREACH,  # Beyond the scope of the source
    errno.EHOSTUNREACH,  # Address unreachable
    errno.ECONNREFUSED,  # Port unreachable
    errno.EACCES,  # The source address failed a policy
    errno.EACCES,  # Reject route
)
_SOFT: Final[frozenset[int]] = frozenset({0, 2, 3})
"""Codes of Destination Unreachable that are not fatal in Linux (the same table)."""

_NUMBERS: Final[dict[int, int]] = {
    PACKET_TOO_BIG: errno.EMSGSIZE,
    TIME_EXCEEDED: errno.EHOSTUNREACH,
}


def as_os_error(message: IcmpMessage) -> OSError | None:
    """Return the error for the application, with Linux's numbers; None for what is no error.

    One of an unknown type is passed on too (section 2.4 (a)).
    """
    if message.type not in ERRORS:
        return None
    if message.type == DESTINATION_UNREACHABLE and message.code < len(_UNREACHABLE):
        number = _UNREACHABLE[message.code]
    else:
        number = _NUMBERS.get(message.type, errno.EPROTO)
    return os_error(number)


def is_hard(message: IcmpMessage) -> bool:
    """Whether Linux gives the error to a connected datagram socket without IPV6_RECVERR."""
    if message.type == DESTINATION_UNREACHABLE:
        return message.code not in _SOFT
    return message.type == PARAMETER_PROBLEM


def is_told(_message: IcmpMessage) -> bool:
    """Whether Linux gives the error to a datagram socket with IPV6_RECVERR: always."""
    return True


def is_too_big(message: IcmpMessage) -> bool:
    """Whether it is the message of path MTU discovery (RFC 8201)."""
    return message.type == PACKET_TOO_BIG


def is_reassembly_timeout(message: IcmpMessage) -> bool:
    """Whether it is Time Exceeded for the reassembly of our fragments."""
    return message.type == TIME_EXCEEDED and message.code == REASSEMBLY_TIME_EXCEEDED


def is_acceptable(datagram: Datagram, message: IcmpMessage) -> bool:
    """Whether the message is valid in that datagram.

    Neighbor Discovery's have a hop limit of 255 and code 0 (RFC 4861 section 6.1).
    """
    return message.type not in _DISCOVERY or (datagram.ttl == _MOST_HOPS and message.code == 0)
