"""The nodes of a zone, and the look-up in it (RFC 1034 section 4.3.2; wildcards: RFC 4592)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


Node: TypeAlias = dict[dns.rdatatype.RdataType, dns.rdataset.Rdataset]
"""The records at a name, by type."""

_CHAIN: Final = 16
"""The most CNAME records that are followed."""
_ADDRESSES: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)
_TARGETS: Final = {
    dns.rdatatype.MX: "exchange",
    dns.rdatatype.SRV: "target",
    dns.rdatatype.NS: "target",
}
"""Where records name a host, whose addresses go into the additional section."""
_MOST_ADDITIONAL: Final = 20


@dataclass(slots=True)
class Found:
    """What a look-up has found; the sections of a reply.

    Attributes:
        rcode: NOERROR, NXDOMAIN or REFUSED.
        authoritative: Whether AA is set.
    """

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    authoritative: bool = True
    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)
    additional: list[dns.rrset.RRset] = field(default_factory=list)


@final
class Zone:
    """The names of a zone.

    Args:
        origin: Its apex, which has an SOA record.
        records: What each name has.
    """

    def __init__(
        self,
        origin: dns.name.Name,
        records: Iterable[tuple[dns.name.Name, dns.rdataset.Rdataset]],
    ) -> None:
        self.origin = origin
        self.nodes: dict[dns.name.Name, Node] = {}
        for name, rdataset in records:
            node = self.nodes.setdefault(name, {})
            if rdataset.rdtype in node:
                for rdata in rdataset:
                    node[rdataset.rdtype].add(rdata, rdataset.ttl)
            else:
                node[rdataset.rdtype] = rdataset
        # A name that has no records, but names below it that do, exists (RFC 4592 section 2.2.2).
        self._existing = {origin}
        for name in self.nodes:
            while name not in self._existing:
                self._existing.add(name)
                name = name.parent()
        self._cuts = {
            name for name, node in self.nodes.items() if dns.rdatatype.NS in node and name != origin
        }

    def soa(self) -> list[dns.rrset.RRset]:
        """The SOA record of a negative answer, with the TTL of that (RFC 2308 section 3)."""
        rdataset = self.nodes[self.origin][dns.rdatatype.SOA]
        record: Any = rdataset[0]
        ttl = min(rdataset.ttl, record.minimum)
        return [dns.rrset.from_rdata(self.origin, ttl, record)]

    def cut(self, name: dns.name.Name) -> dns.name.Name | None:
        """The delegation that a name is at or below; None if it is in the zone itself."""
        found = None
        while self._cuts and name != self.origin:
            if name in self._cuts:
                found = name
            name = name.parent()
        return found

    def node(self, name: dns.name.Name) -> Node | None:
        """The records at a name, by a wildcard perhaps; None if there is no such name."""
        node = self.nodes.get(name)
        if node is not None:
            return node
        if name in self._existing:
            return {}
        encloser = name.parent()
        while encloser not in self._existing:
            encloser = encloser.parent()
        return self.nodes.get(_WILD.concatenate(encloser))


_WILD: Final = dns.name.Name([b"*"])


@final
class Zones:
    """All zones of a server.

    Args:
        zones: The zones; of those with the same origin the first counts.
    """

    def __init__(self, zones: Iterable[Zone]) -> None:
        self.by_origin: dict[dns.name.Name, Zone] = {}
        for zone in zones:
            self.by_origin.setdefault(zone.origin, zone)

    def __iter__(self) -> Iterator[Zone]:
        return iter(self.by_origin.values())

    def zone_of(self, name: dns.name.Name) -> Zone | None:
        """The zone that a name is in: that with the longest origin."""
        while True:
            zone = self.by_origin.get(name)
            if zone is not None or len(name) <= 1:
                return zone
            name = name.parent()

    def look_up(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Found:
        """Find the records of a type at a name; CNAME records are followed within the zones."""
        found = Found()
        for _ in range(_CHAIN):
            target = self._step(name, rdtype, found)
            if target is None:
                break
            name = target
        self._add_addresses(found)
        return found

    def _step(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, found: Found
    ) -> dns.name.Name | None:
        """Add what there is at a name; returns the target of its CNAME record, to go on with."""
        zone = self.zone_of(name)
        if zone is None:
            if not found.answer:
                found.rcode = dns.rcode.REFUSED
                found.authoritative = False
            return None
        cut = zone.cut(name)
        if cut is not None and not (name == cut and rdtype == dns.rdatatype.DS):
            found.authoritative = bool(found.answer)
            found.authority.append(_rrset(cut, zone.nodes[cut][dns.rdatatype.NS]))
            return None
        node = zone.node(name)
        if node is None:
            found.rcode = dns.rcode.NXDOMAIN
            found.authority += zone.soa()
            return None
        if rdtype == dns.rdatatype.ANY and node:
            found.answer += [_rrset(name, each) for each in node.values()]
            return None
        if rdtype in node:
            found.answer.append(_rrset(name, node[rdtype]))
            return None
        alias = node.get(dns.rdatatype.CNAME)
        if alias is None:
            found.authority += zone.soa()
            return None
        found.answer.append(_rrset(name, alias))
        record: Any = alias[0]
        target: dns.name.Name = record.target
        return target

    def _add_addresses(self, found: Found) -> None:
        """Add the addresses of the hosts that the records name (RFC 1034 step 6)."""
        names: dict[dns.name.Name, None] = {}
        for rrset in [*found.answer, *found.authority]:
            attribute = _TARGETS.get(rrset.rdtype)
            if attribute is not None:
                names |= dict.fromkeys(getattr(each, attribute) for each in rrset)
        for name in list(names)[:_MOST_ADDITIONAL]:
            zone = self.zone_of(name)
            node = None if zone is None else zone.node(name)
            for rdtype in _ADDRESSES:
                if node is not None and rdtype in node:
                    found.additional.append(_rrset(name, node[rdtype]))


def _rrset(name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> dns.rrset.RRset:
    rrset = dns.rrset.RRset(name, dns.rdataclass.IN, rdataset.rdtype)
    for rdata in rdataset:
        rrset.add(rdata, rdataset.ttl)
    return rrset
