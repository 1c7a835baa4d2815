"""Looks up names as getaddrinfo(3) and getnameinfo(3) do, over a host's own network."""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, final

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset
import trio

from tunstack.ip.selection import Candidate
from tunstack.resolver.cache import Answer, Cache
from tunstack.resolver.exchange import Exchange, NoAnswer, Server
from tunstack.resolver.ordering import ordered
from tunstack.resolver.wanted import Wanted, as_name, gaierror, loopback, numeric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.dns.names import Names
    from tunstack.resolver.messages import RandomSource
    from tunstack.socket.endpoint import Endpoint

_CHAIN: Final = 12
"""The most CNAME records that are followed."""
_TYPES: Final = {socket.AF_INET: dns.rdatatype.A, socket.AF_INET6: dns.rdatatype.AAAA}
PORT: Final = 53


@final
class Resolver(trio.abc.HostnameResolver):
    """Resolves names over a host's UDP and TCP; made by `Host.use_nameservers`.

    Args:
        host: The host.
        nameservers: Their addresses, the first of which is asked first.
        rng: For what others are not to guess.
        names: Names that are known without asking: what is in their zones is asked for nowhere.
        port: Of the name servers.
        timeout: Seconds to wait for an answer to the first query; twice as many after each round.
        rounds: How often each name server is asked.

    Raises:
        ValueError: what is no address.
    """

    def __init__(
        self,
        host: Endpoint,
        nameservers: Iterable[str],
        *,
        rng: RandomSource,
        names: Names | None = None,
        port: int = PORT,
        timeout: float = 1.0,
        rounds: int = 3,
    ) -> None:
        servers = [
            Server(socket.AF_INET if ip_address(each).version == 4 else socket.AF_INET6, each, port)
            for each in nameservers
        ]
        self.nameservers = tuple(each.address for each in servers)
        self._host = host
        self._names = names
        self._cache = Cache()
        self._hits: Counter[str] = Counter()
        usable = [each for each in servers if host.has_family(each.family)]
        self._exchange = Exchange(host, usable, timeout, rounds, rng)

    def statistics(self) -> dict[str, int]:
        """Return all counters: those of `Exchange.counts`, ``cache_hits``, ``known_names``."""
        return dict(self._exchange.counts + self._hits)

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a name; arguments, result and errors as of `socket.getaddrinfo`.

        The order of addresses is that of RFC 6724. AI_ADDRCONFIG leaves out the families that the
        host has no address of. REFUSED and SERVFAIL are EAI_AGAIN, as with glibc.
        """
        await trio.lowlevel.checkpoint()
        wanted = Wanted(port, family, type, proto, flags)
        known = numeric(host, wanted)
        if known is not None or host is None:
            return known or []
        wanted.check()
        found = await self._addresses(as_name(host), family, flags)
        addresses = [address for answer in found for address in answer.data]
        own = [
            Candidate(each.ip.packed, each.network.prefixlen)
            for each in self._host.stack.interfaces
        ]
        canonical = ""
        if flags & socket.AI_CANONNAME:
            answered = next(each for each in found if each.data)
            canonical = answered.canonical.canonicalize().to_text(omit_final_dot=True)
        return wanted.all_entries(ordered(addresses, own), canonical)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """Look up the name of an address; arguments, result and errors as of `getnameinfo`."""
        await trio.lowlevel.checkpoint()
        address, service = socket.getnameinfo(sockaddr, flags & ~_NAMEREQD | socket.NI_NUMERICHOST)
        if flags & socket.NI_NUMERICHOST:
            return address, service
        reverse = dns.reversename.from_address(address.partition("%")[0])
        try:
            found = await self._look_up(reverse, dns.rdatatype.PTR)
        except NoAnswer:
            raise gaierror(socket.EAI_AGAIN) from None
        if found.data:
            return found.data[0].rstrip("."), service
        if flags & _NAMEREQD:
            raise gaierror(socket.EAI_NONAME)
        return address, service

    async def _addresses(self, name: dns.name.Name, family: int, flags: int) -> list[Answer]:
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


_NAMEREQD: Final = socket.NI_NAMEREQD


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
