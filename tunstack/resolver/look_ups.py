"""Looks up the addresses of names and the names of addresses: known names, the cache, DNS."""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset
import trio

from tunstack.resolver.cache import Answer, Cache
from tunstack.resolver.exchange import Exchange, NoAnswer
from tunstack.resolver.wanted import gaierror, loopback

if TYPE_CHECKING:
    from tunstack.dns.names import Names
    from tunstack.socket.endpoint import Endpoint

_CHAIN: Final = 12
"""The most CNAME records that are followed."""
_TYPES: Final = {socket.AF_INET: dns.rdatatype.A, socket.AF_INET6: dns.rdatatype.AAAA}


@final
class LookUps:
    """What :class:`~tunstack.resolver.resolver.Resolver` asks.

    Args:
        host: The host.
        exchange: Asks the name servers.
        names: Names that are known without asking.
    """

    def __init__(self, host: Endpoint, exchange: Exchange, names: Names | None) -> None:
        self._host = host
        self._exchange = exchange
        self._names = names
        self._cache = Cache()
        self._hits: Counter[str] = Counter()

    def statistics(self) -> dict[str, int]:
        """Return all counters: those of `Exchange.counts`, ``cache_hits``, ``known_names``."""
        return dict(self._exchange.counts + self._hits)

    async def name_of(self, address: str) -> str | None:
        """Return the name of an address (PTR), without the dot at its end; None if it has none.

        Raises:
            socket.gaierror: EAI_AGAIN: no answer at all.
        """
        try:
            found = await self._look_up(dns.reversename.from_address(address), dns.rdatatype.PTR)
        except NoAnswer:
            raise gaierror(socket.EAI_AGAIN) from None
        return found.data[0].rstrip(".") if found.data else None

    async def addresses(self, name: dns.name.Name, family: int, flags: int) -> list[Answer]:
        """Return the answers of all families that are wanted, at least one with data.

        Raises:
            socket.gaierror: EAI_NONAME, EAI_NODATA; EAI_AGAIN: no answer at all.
        """
        families = [family] if family else [*_TYPES]
        if family == socket.AF_INET6 and flags & socket.AI_V4MAPPED:
            families.append(socket.AF_INET)
        if flags & socket.AI_ADDRCONFIG:
            families = [each for each in families if self._host.has_family(each)]
        answers: dict[int, Answer | None] = {}
        async with trio.open_nursery() as nursery:
            for each in families:
                nursery.start_soon(partial(self._of_family, name, each, answers))
        if family == socket.AF_INET6 and not flags & socket.AI_ALL:
            native = answers.get(family)
            if native is not None and native.data:
                answers.pop(socket.AF_INET, None)
        given = [each for each in answers.values() if each is not None]
        if any(each.data for each in given):
            return given
        if len(given) < len(answers):
            raise gaierror(socket.EAI_AGAIN)
        exists = any(each.exists for each in given)
        raise gaierror(socket.EAI_NODATA if exists else socket.EAI_NONAME)

    async def _of_family(
        self, name: dns.name.Name, family: int, answers: dict[int, Answer | None]
    ) -> None:
        at_home = loopback(name, family)
        if at_home is not None:
            answers[family] = Answer(True, (at_home,), name, 0)
            return
        try:
            answers[family] = await self._look_up(name, _TYPES[socket.AddressFamily(family)])
        except NoAnswer:
            answers[family] = None

    async def _look_up(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Answer:
        """Return what is known of a name, or what the name servers say.

        Raises:
            NoAnswer: none has, or the CNAME records have no end.
        """
        answer = self._cache.get((name, rdtype), trio.current_time())
        if answer is not None:
            self._hits["cache_hits"] += 1
            return answer
        answer = await self._followed(name, rdtype)
        self._cache.put((name, rdtype), answer, trio.current_time())
        return answer

    async def _followed(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Answer:
        """Ask, and ask again for the target of CNAME records that the answer ends with."""
        ttl = float("inf")
        for _ in range(_CHAIN):
            sections = self._of_known_names(name, rdtype)
            if sections is None:
                message = await self._exchange.ask(name, rdtype)
                sections = message.rcode() == dns.rcode.NOERROR, message.answer, message.authority
            exists, answer, authority = sections
            name, data, least = _end_of_chain(name, rdtype, answer)
            ttl = min(ttl, least)
            negative = _negative_ttl(authority)
            if data:
                return Answer(True, data, name, ttl)
            if not exists or negative is not None or not answer:
                return Answer(exists, (), name, min(ttl, negative or 0))
        raise NoAnswer

    def _of_known_names(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> tuple[bool, list[dns.rrset.RRset], list[dns.rrset.RRset]] | None:
        """What is known without asking: whether the name exists, answer, authority."""
        if self._names is None or self._names.zones.zone_of(name) is None:
            return None
        self._hits["known_names"] += 1
        found = self._names.zones.look_up(name, rdtype)
        return found.rcode == dns.rcode.NOERROR, found.answer, found.authority


def _end_of_chain(
    name: dns.name.Name, rdtype: dns.rdatatype.RdataType, answer: list[dns.rrset.RRset]
) -> tuple[dns.name.Name, tuple[str, ...], float]:
    """Follow CNAME records in an answer; returns the last name, its data, and the least TTL.

    Records that are not on the way from the name that was asked for are not looked at.

    Raises:
        NoAnswer: it has no end.
    """
    records = {(each.name, each.rdtype): each for each in answer}
    ttl = float("inf")
    for _ in range(_CHAIN):
        rrset = records.get((name, rdtype))
        if rrset is not None:
            return name, tuple(each.to_text() for each in rrset), min(ttl, rrset.ttl)
        alias = records.get((name, dns.rdatatype.CNAME))
        if alias is None:
            return name, (), ttl
        record: Any = alias[0]
        name, ttl = record.target, min(ttl, alias.ttl)
    raise NoAnswer


def _negative_ttl(authority: list[dns.rrset.RRset]) -> float | None:
    """For how long a negative answer holds (RFC 2308 section 5); None if it does not say."""
    for rrset in authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            record: Any = rrset[0]
            return float(min(rrset.ttl, record.minimum))
    return None
