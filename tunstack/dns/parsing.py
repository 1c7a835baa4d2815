"""Reads names: addresses, records as text, and master files (RFC 1035 section 5)."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.reversename
import dns.zone

from tunstack.dns import PEER
from tunstack.dns.zones import Zone

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEST: Final = dns.name.from_text("test.")
_REVERSE_LABELS: Final = {4: 1, 6: 16}
"""How many labels of a reverse name are below its zone: one for each /24, and for each /64."""


class MasterFile(NamedTuple):
    """The text of a master file, which was found to be right."""

    path: str
    origin: str
    text: str


def read_master_file(given: str) -> MasterFile:
    """Read ``PATH`` or ``ORIGIN=PATH``.

    Raises:
        ValueError: it is malformed, or lacks an SOA or NS record at its origin.
        OSError: it cannot be read.
    """
    origin, equals, path = given.partition("=")
    if not equals or "/" in origin:
        origin, path = "", given
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: it is no text") from None
    zone = _parsed(path, origin, text)
    assert zone.origin is not None
    return MasterFile(path, zone.origin.to_text(), text)


def _parsed(path: str, origin: str, text: str) -> dns.zone.Zone:
    try:
        zone = dns.zone.from_text(
            text, origin or None, relativize=False, filename=path, check_origin=False
        )
        if zone.origin is None:
            raise dns.zone.UnknownOrigin
        zone.check_origin()
        return zone
    except dns.zone.UnknownOrigin:
        raise ValueError(
            f"{path}: of which zone is it? Begin it with $ORIGIN, or write ORIGIN={path}"
        ) from None
    except dns.zone.NoSOA:
        raise ValueError(f"{path}: the zone has no SOA record at its origin") from None
    except dns.zone.NoNS:
        raise ValueError(f"{path}: the zone has no NS record at its origin") from None
    except (dns.exception.DNSException, ValueError, KeyError) as error:
        said = str(error) or type(error).__name__
        raise ValueError(said if said.startswith(path) else f"{path}: {said}") from None


class Records:
    """Collects the records of all zones.

    Args:
        ttl: Of those that come from no file.
        own: The addresses of the host itself.
    """

    def __init__(self, ttl: int, own: tuple[str, ...]) -> None:
        self._ttl = ttl
        self._own = own
        self._zones: dict[dns.name.Name, list[tuple[dns.name.Name, dns.rdataset.Rdataset]]] = {}
        self._from_files: set[dns.name.Name] = set()
        self._kinds: dict[dns.name.Name, list[dns.rdatatype.RdataType]] = {}
        self._pointers: list[tuple[dns.name.Name, str]] = []

    def add_files(self, files: Iterable[MasterFile]) -> None:
        """Add the zones of master files.

        Raises:
            ValueError: two are of one zone.
        """
        for file in files:
            zone = _parsed(file.path, file.origin, file.text)
            assert zone.origin is not None
            if zone.origin in self._zones:
                raise ValueError(f"{file.path}: there is another file of the zone {zone.origin}")
            self._zones[zone.origin] = list(zone.iterate_rdatasets())
            self._from_files.add(zone.origin)
            for name, rdataset in self._zones[zone.origin]:
                self._kinds.setdefault(name, []).append(rdataset.rdtype)
                if rdataset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
                    records: Iterable[Any] = rdataset
                    self._pointers += [(name, each.address) for each in records]

    def has_file_for(self, name: str) -> bool:
        """Whether a master file has the zone of a name."""
        return self._zone_of(dns.name.from_text(name)) in self._from_files

    def add(self, text: str, values: Iterable[str]) -> None:
        """Add what a name is given; the host's own addresses if that is nothing.

        Raises:
            ValueError: it is malformed.
        """
        try:
            name = dns.name.from_text(text.strip())
            if not text.strip(" ."):
                raise ValueError("it is empty")
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(f"{text!r} is no name: {error}") from None
        zone = self._zone(self._zone_of(name) or _default_zone(name))
        given = list(values)
        for value in given or self._own:
            rdataset = self._read(text, value)
            if rdataset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
                record: Any = rdataset[0]
                self._pointers.append((name, record.address))
            self._check_alone(name, rdataset.rdtype)
            zone.append((name, rdataset))

    def _read(self, name: str, value: str) -> dns.rdataset.Rdataset:
        """Read an address, or a type and its data."""
        value = value.strip()
        try:
            address = ip_address(value)
        except ValueError:
            kind, _, data = value.partition(" ")
        else:
            kind, data = "A" if address.version == 4 else "AAAA", str(address)
        try:
            rdtype = dns.rdatatype.from_text(kind)
            if dns.rdatatype.is_metatype(rdtype):
                raise ValueError("it is no type of records")
            rdata = dns.rdata.from_text(
                dns.rdataclass.IN, rdtype, data.replace("'", '"'), dns.name.root, relativize=False
            )
            return dns.rdataset.from_rdata(self._ttl, rdata)
        except (dns.exception.DNSException, ValueError, KeyError) as error:
            raise ValueError(
                f"{name}={value}: give an address, or a record as 'MX 10 mail.test':"
                f" {str(error) or type(error).__name__}"
            ) from None

    def _check_alone(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
        """A CNAME record is alone at its name (RFC 1034 section 3.6.2)."""
        kinds = self._kinds.setdefault(name, [])
        kinds.append(rdtype)
        if dns.rdatatype.CNAME in kinds and len(kinds) > 1:
            raise ValueError(f"{name}: a name with a CNAME record has no other (RFC 1034)")

    def zones(self) -> list[Zone]:
        """All zones, those of PTR records among them."""
        taken: set[tuple[dns.name.Name, str]] = set()
        for name, address in self._pointers:
            if not name.is_wild() and (name, address) not in taken:
                taken.add((name, address))
                self._add_pointer(name, address)
        return [Zone(origin, records) for origin, records in self._zones.items()]

    def _add_pointer(self, name: dns.name.Name, address: str) -> None:
        reverse = dns.reversename.from_address(address)
        origin = self._zone_of(reverse)
        if origin in self._from_files:
            return  # Whoever wrote that file has said what there is.
        if origin is None:
            labels = _REVERSE_LABELS[ip_address(address).version]
            origin = dns.name.Name(reverse.labels[labels:])
        self._zone(origin).append((reverse, self._read(str(reverse), f"PTR {name}")))

    def _zone_of(self, name: dns.name.Name) -> dns.name.Name | None:
        """The origin of the zone that a name is in; None if there is none yet."""
        while len(name) > 1:
            if name in self._zones:
                return name
            name = name.parent()
        return None

    def _zone(self, origin: dns.name.Name) -> list[tuple[dns.name.Name, dns.rdataset.Rdataset]]:
        """The records of a zone, which is made if there is none yet."""
        zone = self._zones.get(origin)
        if zone is None:
            soa = f"SOA {PEER}. hostmaster.{origin} 1 3600 600 86400 {self._ttl}"
            zone = self._zones[origin] = [
                (origin, self._read(str(origin), soa)),
                (origin, self._read(str(origin), f"NS {PEER}.")),
            ]
        return zone


def _default_zone(name: dns.name.Name) -> dns.name.Name:
    """The zone of a name that is in none: ``test.``, else that of its last two labels."""
    if name.is_subdomain(_TEST):
        return _TEST
    labels = name.labels[1:] if name.is_wild() else name.labels
    return dns.name.Name(labels[-3:])
