"""ICMP messages as values, and when to send one (RFC 792, RFC 1122 section 3.2.2).

:mod:`tunstack.wire` encodes and decodes them. The caller swaps the addresses of the datagram that
is answered.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.ip.address import is_broadcast, is_martian_source, is_multicast
from tunstack.ip.datagram import ICMP, TCP, Address, Buffer, Datagram

if TYPE_CHECKING:
    from collections.abc import Collection

ECHO_REPLY: Final = 0
DESTINATION_UNREACHABLE: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO_REQUEST: Final = 8
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12

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

_TCP_QUOTE: Final[Struct] = Struct(">HHI")


@dataclass(slots=True)
class IcmpMessage:
    """One ICMP message, without its checksum (the codec's).

    Attributes:
        type: The type, one of the constants of this module or another.
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
        """Next-hop MTU of `FRAGMENTATION_NEEDED`, in octets; 0 if not given (RFC 1191)."""
        return self.rest & 0xFFFF

    @property
    def pointer(self) -> int:
        """Pointer of a parameter problem: the octet of the quoted header with the error."""
        return self.rest >> 24


class TcpQuote(NamedTuple):
    """The part of our segment that an ICMP error quotes: addresses, ports, sequence number."""

    src: Address
    dst: Address
    sport: int
    dport: int
    seq: int


def reply_to(
    datagram: Datagram, message: IcmpMessage, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the echo reply to the `message` in `datagram`, or None for no answer.

    It carries all of the request's data (RFC 1122 section 3.2.2.6), and its source is the address
    of the request. A request to a multicast or broadcast address, among them `broadcasts`, the
    directed broadcast addresses of our subnets, is not answered, nor one from an invalid source.
    """
    if message.type != ECHO_REQUEST or not _may_answer(datagram, broadcasts):
        return None
    return IcmpMessage(ECHO_REPLY, 0, message.rest, message.payload)


def port_unreachable(
    datagram: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for a datagram to a closed port; None where no error may be sent."""
    return _error(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, datagram, broadcasts)


def protocol_unreachable(
    datagram: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for an unknown protocol; None where no error may be sent."""
    return _error(DESTINATION_UNREACHABLE, PROTOCOL_UNREACHABLE, 0, datagram, broadcasts)


def parameter_problem(
    datagram: Datagram, pointer: int, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for octet `pointer` of a header; None where no error may be sent."""
    return _error(PARAMETER_PROBLEM, 0, pointer << 24, datagram, broadcasts)


def reassembly_time_exceeded(
    datagram: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for a first fragment whose others never came; None if none may be sent."""
    return _error(TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED, 0, datagram, broadcasts)


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


def quoted_tcp(message: IcmpMessage) -> TcpQuote | None:
    """Return what an error quotes of one of our TCP segments; None if it quotes something else.

    The sequence number lets the connection detect a forged error: it must be within SND.UNA and
    SND.NXT (RFC 5927 section 4.1).
    """
    quoted = message.quoted
    if quoted is None or quoted.protocol != TCP or quoted.fragment_offset:
        return None
    if len(quoted.payload) < _TCP_QUOTE.size:
        return None
    return TcpQuote(quoted.src, quoted.dst, *_TCP_QUOTE.unpack_from(quoted.payload))


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
    return OSError(number, os.strerror(number))
