"""Answers queries: the octets of a query to those of the reply (RFC 1035, RFC 6891). Sans-IO.

A query is checked before it is parsed:

- what has no whole header, and what is a reply itself, is dropped: replies to it could go on for
  ever;
- opcodes other than QUERY are answered with NOTIMP;
- other than one question (RFC 9619), records in the answer or authority section, more than a few
  additional ones, and what dnspython refuses (compression pointers that do not point back, labels
  and names too long, counts that lie, octets left over), with FORMERR;
- an EDNS version other than 0 with BADVERS;
- classes other than IN, transfers of zones, and names outside of all zones with REFUSED.

Everything is counted by what became of it. A reply that does not fit is sent over UDP without its
records, with TC set. Replies are cached by the octets of their queries: to most queries the reply
is found, not made.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, final

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tunstack.dns.sizes import LONGEST_QUERY, UDP_SIZE
from tunstack.dns.zones import Found

if TYPE_CHECKING:
    from tunstack.dns.faults import Fault
    from tunstack.dns.names import Names

logger = logging.getLogger("tunstack")

_HEADER: Final = struct.Struct("!HHHHHH")
_PLAIN_SIZE: Final = 512
"""Octets of the largest reply over UDP without EDNS (RFC 1035 section 2.3.4)."""
_LARGEST: Final = 65535
_MOST_ADDITIONAL: Final = 4
_CACHED: Final = 1024
"""Replies in the cache. With the longest queries that is 4 MiB."""
_TRANSFERS: Final = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})
_OUTCOMES: Final = {
    "servfail": dns.rcode.SERVFAIL,
    "refused": dns.rcode.REFUSED,
    "nxdomain": dns.rcode.NXDOMAIN,
}


class Reply(NamedTuple):
    """What is to be sent.

    Attributes:
        octets: The message.
        delay: In how many seconds.
    """

    octets: bytes
    delay: float = 0.0


@final
class Responder:
    """Answers queries about names.

    Args:
        names: The names.

    Attributes:
        counts: What came and what became of it: ``queries_udp``, ``queries_tcp``, replies by their
            codes (``noerror``, ``nxdomain``, ``formerr``...), ``truncated``, ``dropped_short``,
            ``dropped_reply``, ``faults``.
    """

    def __init__(self, names: Names) -> None:
        self.counts: Counter[str] = Counter()
        self._zones = names.zones
        self._faults = names.faults()
        self._cache: dict[tuple[bytes, bool], tuple[bytes, str]] = {}

    @property
    def cached(self) -> int:
        """How many replies are in the cache."""
        return len(self._cache)

    def respond(self, query: bytes, *, stream: bool) -> Reply | None:
        """Answer a query; None if it is not to be answered.

        Args:
            query: The message, without the length that it has in a stream.
            stream: Whether it came over TCP.
        """
        self.counts["queries_tcp" if stream else "queries_udp"] += 1
        cached = self._cache.get((query[2:], stream))
        if cached is not None:
            self.counts[cached[1]] += 1
            return Reply(query[:2] + cached[0])
        if len(query) < _HEADER.size:
            self.counts["dropped_short"] += 1
            return None
        number, flags, questions, *others = _HEADER.unpack_from(query)
        if flags & dns.flags.QR:
            self.counts["dropped_reply"] += 1
            return None
        refusal = _refusal(len(query), flags, questions, others)
        if refusal is not None:
            return self._header_only(number, flags, refusal)
        try:
            message = dns.message.from_wire(query)
        except (dns.exception.DNSException, ValueError):
            return self._header_only(number, flags, dns.rcode.FORMERR)
        try:
            return self._answered(query, message, stream=stream)
        except Exception:
            logger.exception("no answer could be made to a DNS query")
            return self._header_only(number, flags, dns.rcode.SERVFAIL)

    def _header_only(self, number: int, flags: int, rcode: dns.rcode.Rcode) -> Reply:
        self.counts[rcode.name.lower()] += 1
        kept = flags & (0x7800 | dns.flags.RD)  # The opcode, and RD (RFC 1035 section 4.1.1).
        return Reply(_HEADER.pack(number, dns.flags.QR | kept | rcode, 0, 0, 0, 0))

    def _answered(
        self, query: bytes, message: dns.message.Message, *, stream: bool
    ) -> Reply | None:
        name = message.question[0].name
        fault = self._faults.next_for(name) if self._faults else None
        reply = dns.message.make_response(message, our_payload=UDP_SIZE)
        if message.edns > 0:
            reply.use_edns(0, payload=UDP_SIZE)
            reply.set_rcode(dns.rcode.BADVERS)
        else:
            found = self._found(message, fault)
            if found is None:
                return None
            reply.set_rcode(found.rcode)
            if found.authoritative:
                reply.flags |= dns.flags.AA
            reply.answer, reply.authority = found.answer, found.authority
            reply.additional = found.additional
        octets, truncated = _encoded(reply, _limit(message, stream=stream), fault, stream=stream)
        what = reply.rcode().name.lower()
        self.counts[what] += 1
        self.counts["truncated"] += truncated
        if fault is None:
            self._remember(query, octets, what, stream=stream)
            return Reply(octets)
        self.counts["faults"] += 1
        if fault.wrong_id:
            octets = bytes([octets[0] ^ 0xFF, octets[1] ^ 0xFF]) + octets[2:]
        return Reply(octets, fault.delay)

    def _found(self, message: dns.message.Message, fault: Fault | None) -> Found | None:
        """Look up what is asked for, or what a fault puts in its place; None for no answer."""
        question = message.question[0]
        if fault is not None and fault.outcome is not None:
            if fault.outcome == "no-answer":
                self.counts["faults"] += 1
                return None
            found = Found(_OUTCOMES[fault.outcome])
            zone = self._zones.zone_of(question.name)
            if found.rcode == dns.rcode.NXDOMAIN and zone is not None:
                found.authority += zone.soa()
            found.authoritative = found.rcode == dns.rcode.NXDOMAIN
            return found
        if question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS:
            return Found(dns.rcode.REFUSED, authoritative=False)
        return self._zones.look_up(question.name, question.rdtype)

    def _remember(self, query: bytes, octets: bytes, what: str, *, stream: bool) -> None:
        if octets[2] & 0x02:
            return  # Truncated, which is to be counted.
        if len(self._cache) >= _CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[query[2:], stream] = octets[2:], what


def _refusal(size: int, flags: int, questions: int, others: list[int]) -> dns.rcode.Rcode | None:
    """What a header alone is refused with; None if the message is worth parsing."""
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    answers, authorities, additional = others
    if size > LONGEST_QUERY or questions != 1 or answers or authorities:
        return dns.rcode.FORMERR
    return dns.rcode.FORMERR if additional > _MOST_ADDITIONAL else None


def _limit(message: dns.message.Message, *, stream: bool) -> int:
    """Octets that a reply may have."""
    if stream:
        return _LARGEST
    if message.edns < 0:
        return _PLAIN_SIZE
    return min(max(message.payload, _PLAIN_SIZE), UDP_SIZE)


def _encoded(
    reply: dns.message.Message, limit: int, fault: Fault | None, *, stream: bool
) -> tuple[bytes, bool]:
    """The octets of a reply, and whether it is truncated."""
    if fault is None or not fault.truncated or stream:
        try:
            return reply.to_wire(max_size=limit, want_shuffle=False), False
        except dns.exception.TooBig:
            pass
        if reply.additional:  # Which may be left out without TC (RFC 2181 section 9).
            reply.additional = []
            try:
                return reply.to_wire(max_size=limit, want_shuffle=False), False
            except dns.exception.TooBig:
                pass
    reply.answer, reply.authority, reply.additional = [], [], []
    reply.flags |= dns.flags.TC
    return reply.to_wire(max_size=limit, want_shuffle=False), True
