"""Queries, and whether a message is the answer to one (RFC 5452 section 9.1). Sans-IO."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, Protocol

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdatatype

UDP_SIZE: Final = 1232
"""Octets of the largest answer over UDP that is asked for: it need not be fragmented."""

_HEADER_SIZE: Final = 12


class RandomSource(Protocol):
    """What `random.Random` has."""

    def getrandbits(self, k: int, /) -> int:
        """Return `k` random bits."""


class Query(NamedTuple):
    """A question as it is sent.

    Attributes:
        octets: The message.
        number: Its id.
        name: The name, in the case that it is sent in.
        rdtype: The type.
        edns: Whether it has an OPT record.
    """

    octets: bytes
    number: int
    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType
    edns: bool


class Match(enum.Enum):
    """How far a message is the answer to a query."""

    ANSWER = enum.auto()
    OTHER_CASE = enum.auto()
    """It is, but that the case of the name is not the query's."""
    WRONG = enum.auto()


def make_query(
    name: dns.name.Name, rdtype: dns.rdatatype.RdataType, rng: RandomSource, *, edns: bool
) -> Query:
    """Make a query with a random id, and the name in random case."""
    number = rng.getrandbits(16)
    name = dns.name.Name([_in_random_case(label, rng) for label in name.labels])
    message = dns.message.make_query(
        name,
        rdtype,
        use_edns=0 if edns else False,
        payload=UDP_SIZE,
        id=number,
        flags=dns.flags.RD,
    )
    return Query(message.to_wire(), number, name, rdtype, edns)


def _in_random_case(label: bytes, rng: RandomSource) -> bytes:
    bits = rng.getrandbits(len(label) or 1)
    return bytes(
        octet ^ 0x20 if bits >> index & 1 and bytes([octet]).isalpha() else octet
        for index, octet in enumerate(label)
    )


def read_answer(octets: bytes, query: Query) -> tuple[Match, dns.message.Message | None]:
    """Parse a message if it is the answer to a query."""
    if len(octets) < _HEADER_SIZE or int.from_bytes(octets[:2], "big") != query.number:
        return Match.WRONG, None
    try:
        message = dns.message.from_wire(octets, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return Match.WRONG, None
    if not message.flags & dns.flags.QR or message.opcode() != dns.opcode.QUERY:
        return Match.WRONG, None
    if not message.question and message.rcode():
        return Match.ANSWER, message  # An error of a server that did not read the question.
    if len(message.question) != 1:
        return Match.WRONG, None
    question = message.question[0]
    if question.name != query.name or question.rdtype != query.rdtype:
        return Match.WRONG, None
    if question.name.labels != query.name.labels:
        return Match.OTHER_CASE, message
    return Match.ANSWER, message
