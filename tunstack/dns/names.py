"""The names that a network has: told by address, by record or by master file."""

from __future__ import annotations

import os
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, final

from tunstack.dns import PEER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tunstack.dns.faults import Fault, Faults
    from tunstack.dns.parsing import MasterFile
    from tunstack.dns.zones import Zones

    Values: TypeAlias = "str | Iterable[str]"

_TTL: Final = 60
_OF_THE_HOST: Final = (PEER, f"*.{PEER}")
_ANY: Final = ("198.51.100.2",)
"""An address in place of one that is not known yet."""


class _Source(NamedTuple):
    """What names are made of."""

    given: dict[str, tuple[str, ...]]
    files: tuple[MasterFile, ...]
    faults: dict[str, str | Fault]
    own: tuple[str, ...]
    ttl: int


@final
class Names:
    """Names and their records, for a DNS server and for certificates.

    Beside what is given there is the zone ``test.``, in which ``peer.test`` and ``*.peer.test`` are
    the host's own addresses, and to each address the name that it is given for (PTR)::

        Names({
            "www.test": ["198.51.100.2", "2001:db8::2"],
            "*.wild.test": "198.51.100.3",
            "alias.test": "CNAME www.test",             # records as in a master file
            "test": ["MX 10 mail.test", "TXT 'any text'"],
            "here.test": (),                            # the host's own addresses
        }, faults={"slow.test": "delay:3"})

    The zones that they are in have SOA and NS records of their own: ``test.``, those of master
    files, and for another name its last two labels, as ``example.org.`` for ``a.b.example.org``.

    Args:
        names: Addresses or records by name, which is absolute, with or without the dot at its end.
        zones: Master files (RFC 1035 section 5), each a path; ``ORIGIN=PATH`` for one that has
            neither $ORIGIN nor absolute names. $INCLUDE is refused.
        faults: What to do wrong, by name: :mod:`tunstack.dns.faults`.
        own: The host's own addresses.
        ttl: Of the records of `names`, in seconds.

    Raises:
        ValueError: a name, an address, a record, a file or a fault is malformed; in one line.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        names: Mapping[str, Values] | None = None,
        *,
        zones: Iterable[str | os.PathLike[str]] = (),
        faults: Mapping[str, str | Fault] | None = None,
        own: Iterable[str] = (),
        ttl: int = _TTL,
    ) -> None:
        given = {
            name: (values,) if isinstance(values, str) else tuple(values)
            for name, values in (names or {}).items()
        }
        self._source = _Source(given, _read(zones), dict(faults or {}), _plain(own), ttl)
        if given or self._source.files or faults:
            _ = self.zones, self.faults()  # Raises now what is wrong with them.

    def __reduce__(self) -> tuple[Any, ...]:
        return _from, (self._source,)

    def at(self, own: Iterable[str]) -> Names:
        """Return the same names for a host with these addresses; ready, if these are."""
        names = _from(self._source._replace(own=_plain(own)))
        if self.ready:
            _ = names.zones
        return names

    @property
    def ready(self) -> bool:
        """Whether the zones are made; if not, the first look-up takes some 20 ms longer.

        Those of names that are given were made to check them.
        """
        return "zones" in self.__dict__

    @cached_property
    def zones(self) -> Zones:
        """The zones, for a server."""
        return self._zones(self._source.own)

    def _zones(self, own: tuple[str, ...]) -> Zones:
        from tunstack.dns.parsing import Records
        from tunstack.dns.zones import Zones

        records = Records(self._source.ttl, own)
        records.add_files(self._source.files)
        given = {name.rstrip(".").lower() for name in self._source.given}
        for name in _OF_THE_HOST:
            if name not in given and not records.has_file_for(name):
                records.add(name, ())
        for name, values in self._source.given.items():
            records.add(name, values)
        return Zones(records.zones())

    def faults(self) -> Faults:
        """The faults, none of which was met yet."""
        from tunstack.dns.faults import Faults

        return Faults(self._source.faults)

    def names(self) -> tuple[str, ...]:
        """All names with addresses, without the dot at their end, wildcards among them.

        CNAME records are names of hosts too; and so are those of the host itself, also where its
        addresses are not known yet.
        """
        if not self._source.given and not self._source.files:
            return _OF_THE_HOST
        import dns.rdatatype

        zones = self.zones if self._source.own else self._zones(_ANY)
        wanted = {dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME}
        return tuple(
            name.to_text(omit_final_dot=True)
            for zone in zones
            for name, node in zone.nodes.items()
            if wanted & node.keys()
        )

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name, those of IPv4 first; none if it has none, or is not known."""
        import dns.name
        import dns.rdatatype

        owner = dns.name.from_text(name)
        return tuple(
            record.address
            for rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
            for rrset in self.zones.look_up(owner, rdtype).answer
            if rrset.rdtype == rdtype
            for record in rrset
        )


def _from(source: _Source) -> Names:
    """Make them of what they were made of; no file is read again."""
    names = Names.__new__(Names)
    names._source = source
    return names


def _read(zones: Iterable[str | os.PathLike[str]]) -> tuple[MasterFile, ...]:
    paths = [os.fspath(path) for path in zones]
    if not paths:
        return ()
    from tunstack.dns.parsing import read_master_file

    return tuple(map(read_master_file, paths))


def _plain(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses without the zone of link-local ones."""
    return tuple(str(ip_address(each.partition("%")[0])) for each in addresses)
