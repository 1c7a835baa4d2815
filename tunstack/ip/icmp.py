"""ICMP messages as values, and when to send one (RFC 792, RFC 1122 section 3.2.2).

:mod:`tunstack.wire` encodes and decodes them. The caller swaps the addresses of the datagram that
is answered.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.ip.address import is_broadcast, is_martian_source, is_multicast
from tunstack.ip.datagram import ICMP, Address, Buffer, Datagram
from tunstack.ip.errors import os_error
from tunstack.ip.options import reflected

if TYPE_CHECKING:
    from collections.abc import Collection

PROTOCOL: Final = ICMP

ECHO_REPLY: Final = 0
DESTINATION_UNREACHABLE: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO_REQUEST: Final = 8
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12
TIMESTAMP_REQUEST: Final = 13
TIMESTAMP_REPLY: Final = 14

# Codes of DESTINATION_UNREACHABLE (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1).
NET_UNREACHABLE: Final = 0
HOST_UNREACHABLE: Final = 1
PROTOCOL_UNREACHABLE: Final = 2
PORT_UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4

REASSEMBLY_TIME_EXCEEDED: Final = 1
"""Code of TIME_EXCEEDED."""

ERRORS: Final[frozenset[int]] = frozenset(
    {DESTINATION_UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM}
)
"""Error types: they quote a datagram, and are never answered with an error (RFC 1122 3.2.2)."""

_TYPE_OF_SERVICE: Final = 0x1E
_INTERNETWORK_CONTROL: Final = 0xC0

_PORTS: Final[Struct] = Struct(">HH")
_TIMESTAMP: Final[Struct] = Struct(">I")


@dataclass(slots=True)
class IcmpMessage:
    """One ICMP message, without its checksum (the codec's).

    Attributes:
        type: The type, one of the constants of this module or of :mod:`tunstack.ip.icmpv6`.
        code: The code within the type.
        rest: The second word of the header, 32 bits, whose meaning depends on the type: see the
            properties.
        payload: The data behind the header, in a message that is no error.
        quoted: In an error (a type of `ERRORS`) the quoted datagram, whose payload may be truncated
            to 8 octets; else None.
        quoted_length: The total length of the quoted datagram by its own header; 0 without one.
    """

    type: int
    code: int = 0
    rest: int = 0
    payload: Buffer = b""
    quoted: Datagram | None = None
    quoted_length: int = field(default=0, compare=False)

    @property
    def identifier(self) -> int:
        """Identifier of an echo message."""
        return self.rest >> 16

    @property
    def sequence(self) -> int:
        """Sequence number of an echo message."""
        return self.rest & 0xFFFF

    @property
    def next_hop_mtu(self) -> int:
        """Next-hop MTU of `FRAGMENTATION_NEEDED`, in octets; 0 if not given (RFC 1191).

        ICMPv6's Packet Too Big has all of `rest` for it.
        """
        return self.rest & 0xFFFF

    @property
    def pointer(self) -> int:
        """Pointer of an IPv4 parameter problem: the octet of the quoted header with the error.

        ICMPv6's is all of `rest`.
        """
        return self.rest >> 24


class Quote(NamedTuple):
    """What an ICMP error quotes of a datagram of ours.

    Attributes:
        src: Its source: an address of ours.
        dst: Its destination.
        sport: Its source port, if its protocol has ports in the first octets, as TCP and UDP do.
        dport: Its destination port.
        octets: The beginning of its payload, 8 octets or more.
    """

    src: Address
    dst: Address
    sport: int
    dport: int
    octets: Buffer


def reply_to(
    datagram: Datagram,
    message: IcmpMessage,
    *,
    time: int = 0,
    broadcasts: Collection[Address] = (),
) -> IcmpMessage | None:
    """Return the reply to the `message` in `datagram`, or None for no answer.

    An echo reply carries all of the request's data (RFC 1122 section 3.2.2.6). A timestamp reply
    (section 3.2.2.8) has the request's originate timestamp, and `time`, in milliseconds since
    midnight UT, as the other two. The source is the address of the request. A request to a
    multicast or broadcast address, among them `broadcasts`, the directed broadcast addresses of our
    subnets, is not answered, nor one from an invalid source.
    """
    kind = message.type
    if kind not in (ECHO_REQUEST, TIMESTAMP_REQUEST) or not _may_answer(datagram, broadcasts):
        return None
    if kind == ECHO_REQUEST:
        return IcmpMessage(ECHO_REPLY, message.code, message.rest, message.payload)
    originate = bytes(message.payload[: _TIMESTAMP.size])
    if len(originate) < _TIMESTAMP.size:
        return None
    stamps = originate + 2 * _TIMESTAMP.pack(time)
    return IcmpMessage(TIMESTAMP_REPLY, 0, message.rest, stamps)


def reply_options(datagram: Datagram, time: int) -> bytes:
    """Return the IP options of a reply (RFC 1122 section 3.2.2.6), at `time` as in `reply_to`."""
    return reflected(datagram.options, datagram.dst, time) if datagram.options else b""


def error_tos(tos: int) -> int:
    """Return the TOS of an error about a datagram with `tos`.

    Its type of service, with the precedence of internetwork control (RFC 1812 section 4.3.2.5).
    """
    return (tos & _TYPE_OF_SERVICE) | _INTERNETWORK_CONTROL


def port_unreachable(
    datagram: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for a datagram to a closed port; None where no error may be sent."""
    return _error(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, datagram, broadcasts)


def protocol_unreachable(
    datagram: Datagram, _pointer: int = 9, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for an unknown protocol; None where no error may be sent."""
    return _error(DESTINATION_UNREACHABLE, PROTOCOL_UNREACHABLE, 0, datagram, broadcasts)


def parameter_problem(
    datagram: Datagram, pointer: int, code: int = 0, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for octet `pointer` of a header; None where no error may be sent."""
    return _error(PARAMETER_PROBLEM, code, pointer << 24, datagram, broadcasts)


def reassembly_time_exceeded(
    first: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for fragments of which some never came (RFC 1122 section 3.3.2).

    Args:
        first: The first fragment, without which none is sent (RFC 792).
        broadcasts: The directed broadcast addresses of our subnets.
    """
    return _error(TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED, 0, first, broadcasts)


def _error(
    kind: int, code: int, rest: int, datagram: Datagram, broadcasts: Collection[Address]
) -> IcmpMessage | None:
    """Return an error, or None where RFC 1122 section 3.2.2 forbids one."""
    about_an_error = datagram.protocol == ICMP and (
        not len(datagram.payload) or datagram.payload[0] in ERRORS
    )
    if about_an_error or datagram.fragment_offset or not _may_answer(datagram, broadcasts):
        return None
    return IcmpMessage(kind, code, rest, quoted=datagram)


def _may_answer(datagram: Datagram, broadcasts: Collection[Address]) -> bool:
    return not (
        is_martian_source(datagram.src, broadcasts)
        or is_multicast(datagram.dst)
        or is_broadcast(datagram.dst, broadcasts)
    )


def quoted(message: IcmpMessage) -> Quote | None:
    """Return what an error quotes of one of our datagrams; None of a later fragment.

    Its octets let the transport protocol detect a forged error (RFC 5927 section 4.1).
    """
    datagram = message.quoted
    if datagram is None or datagram.fragment_offset or len(datagram.payload) < _PORTS.size + 4:
        return None
    sport, dport = _PORTS.unpack_from(datagram.payload)
    return Quote(datagram.src, datagram.dst, sport, dport, datagram.payload)


_UNREACHABLE: Final[tuple[int, ...]] = (
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENOPROTOOPT,
    errno.ECONNREFUSED,
    errno.EMSGSIZE,  # Fragmentation needed; handled by path MTU discovery before.
    errno.EOPNOTSUPP,  # Source route failed
    errno.ENETUNREACH,  # Destination network unknown (RFC 1122 section 3.2.2.1)
    errno.EHOSTDOWN,  # Destination host unknown
    errno.ENONET,  # Source host isolated
    errno.ENETUNREACH,  # Communication with the network is prohibited
    errno.EHOSTUNREACH,  # And with the host
    errno.ENETUNREACH,  # For this type of service
    errno.EHOSTUNREACH,  # And the host
    errno.EHOSTUNREACH,  # Communication is prohibited by a filter (RFC 1812 section 5.2.7.1)
    errno.EHOSTUNREACH,  # Host precedence violation
    errno.EHOSTUNREACH,  # Precedence cutoff
)
"""Error numbers for the codes of Destination Unreachable (Linux's icmp_err_convert)."""


_HARD: Final[frozenset[int]] = frozenset({2, 3, 4, 6, 7, 8, 9, 10, 13, 14, 15})
"""Codes of Destination Unreachable that are fatal in Linux (the same table).

Fragmentation Needed is one of them for a datagram socket that discovers path MTUs, as all do here.
"""


def as_os_error(message: IcmpMessage) -> OSError | None:
    """Return the error for the application (RFC 1122 section 4.2.3.9), with Linux's numbers.

    Returns None for other types (MUST-55), and for undefined codes.
    """
    if message.type == DESTINATION_UNREACHABLE and message.code < len(_UNREACHABLE):
        number = _UNREACHABLE[message.code]
    elif message.type == TIME_EXCEEDED:
        number = errno.EHOSTUNREACH
    elif message.type == PARAMETER_PROBLEM:
        number = errno.EPROTO
    else:
        return None
    return os_error(number)


def is_hard(message: IcmpMessage) -> bool:
    """Whether Linux gives the error to a connected datagram socket without IP_RECVERR."""
    if message.type == DESTINATION_UNREACHABLE:
        return message.code in _HARD
    return message.type == PARAMETER_PROBLEM


def is_told(message: IcmpMessage) -> bool:
    """Whether Linux tells a datagram socket with IP_RECVERR: not of a failed reassembly."""
    return not is_reassembly_timeout(message)


def is_too_big(message: IcmpMessage) -> bool:
    """Whether it is the message of path MTU discovery (RFC 1191)."""
    return message.type == DESTINATION_UNREACHABLE and message.code == FRAGMENTATION_NEEDED


def is_reassembly_timeout(message: IcmpMessage) -> bool:
    """Whether fragments of ours were not all received."""
    return message.type == TIME_EXCEEDED and message.code == REASSEMBLY_TIME_EXCEEDED


def is_acceptable(_datagram: Datagram, _message: IcmpMessage) -> bool:
    """Whether the message may come in such a datagram: always."""
    return True
