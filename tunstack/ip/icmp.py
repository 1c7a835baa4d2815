"""ICMP messages as values, and the rules for answering with one (RFC 792, RFC 1122 section 3.2.2).

Nothing here knows bytes of a message: :mod:`tunstack.wire` makes packets of these values. Whoever
sends an answer swaps the addresses of the datagram that it answers.
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

# The types that quote the datagram they are about, none of which may be answered with another.
ERRORS: Final = frozenset(
    {DESTINATION_UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM}
)

_TCP_QUOTE: Final = Struct(">HHI")


@dataclass(slots=True)
class IcmpMessage:
    """One ICMP message, without its checksum (the codec's).

    Attributes:
        type: The type, one of the constants of this module or another.
        code: What of that type.
        rest: The second word of the header, 32 bits; what it means depends on the type, and the
            properties read it.
        payload: What follows the header, in a message that quotes nothing.
        quoted: In an error (a type of `ERRORS`) the datagram that it is about, whose payload may
            be cut down to 8 octets; else None.
        quoted_length: How long that datagram was in all, by its own header; 0 if there is none.
    """

    type: int
    code: int = 0
    rest: int = 0
    payload: Buffer = b""
    quoted: Datagram | None = None
    quoted_length: int = field(default=0, compare=False)

    @property
    def identifier(self) -> int:
        """Of an echo: which exchange it belongs to."""
        return self.rest >> 16

    @property
    def sequence(self) -> int:
        """Of an echo: its number within the exchange."""
        return self.rest & 0xFFFF

    @property
    def next_hop_mtu(self) -> int:
        """Of `FRAGMENTATION_NEEDED`: what would have fitted, in octets; 0 if unsaid (RFC 1191)."""
        return self.rest & 0xFFFF

    @property
    def pointer(self) -> int:
        """Of a parameter problem: the octet of the quoted header where it was found."""
        return self.rest >> 24


class TcpQuote(NamedTuple):
    """What an ICMP error quotes of one of our segments: whose it was, and where it stood."""

    src: Address
    dst: Address
    sport: int
    dport: int
    seq: int


def reply_to(
    datagram: Datagram, message: IcmpMessage, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the answer to the `message` in `datagram`: an echo reply, or None for no answer.

    It carries the request's data, all of it (RFC 1122 section 3.2.2.6), and goes from the address
    that was asked. A request to a group, or to one of `broadcasts`, the directed broadcast
    addresses of our subnets, is not answered, nor is one from an address that is no single host's.
    """
    if message.type != ECHO_REQUEST or not _may_answer(datagram, broadcasts):
        return None
    return IcmpMessage(ECHO_REPLY, 0, message.rest, message.payload)


def port_unreachable(
    datagram: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for a datagram to a port where nobody listens; None if it may draw none."""
    return _error(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, datagram, broadcasts)


def protocol_unreachable(
    datagram: Datagram, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for a datagram of an unknown protocol; None if it may draw none."""
    return _error(DESTINATION_UNREACHABLE, PROTOCOL_UNREACHABLE, 0, datagram, broadcasts)


def parameter_problem(
    datagram: Datagram, pointer: int, *, broadcasts: Collection[Address] = ()
) -> IcmpMessage | None:
    """Return the error for a header whose octet `pointer` is wrong; None if it may draw none."""
    return _error(PARAMETER_PROBLEM, 0, pointer << 24, datagram, broadcasts)


def _error(
    kind: int, code: int, rest: int, datagram: Datagram, broadcasts: Collection[Address]
) -> IcmpMessage | None:
    """Apply RFC 1122 section 3.2.2: what no ICMP error may ever be about."""
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
    """Return which of our segments an error is about; None if it is about something else.

    The sequence number is there so that the connection can tell a true error from a forged one:
    it must lie between SND.UNA and SND.NXT (RFC 5927 section 4.1).
    """
    quoted = message.quoted
    if quoted is None or quoted.protocol != TCP or quoted.fragment_offset:
        return None
    if len(quoted.payload) < _TCP_QUOTE.size:
        return None
    return TcpQuote(quoted.src, quoted.dst, *_TCP_QUOTE.unpack_from(quoted.payload))


_UNREACHABLE: Final = (
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENOPROTOOPT,
    errno.ECONNREFUSED,
    errno.EMSGSIZE,  # Fragmentation needed: path MTU discovery has it before.
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
"""As Linux converts the codes of Destination Unreachable; there are no others."""


def as_os_error(message: IcmpMessage) -> OSError | None:
    """What an application is told of an ICMP error (RFC 1122 section 4.2.3.9, as Linux does).

    Returns None for other types (MUST-55), and for codes that nobody has defined.
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
