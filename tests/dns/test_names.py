"""What names are made of, and what is wrong with them."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import dns.name
import dns.rdatatype
import pytest

from tunstack import Names

if TYPE_CHECKING:
    from pathlib import Path

ZONE = """\
$ORIGIN example.org.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 30
@ NS ns
ns A 203.0.113.1
www A 203.0.113.2
"""


def zone_file(tmp_path: Path, text: str = ZONE) -> str:
    path = tmp_path / "zone"
    path.write_text(text)
    return str(path)


def test_a_name_has_the_addresses_that_it_is_given() -> None:
    names = Names({"www.test": ["198.51.100.2", "2001:db8::2"], "one.test.": "198.51.100.3"})
    assert names.addresses("www.test") == ("198.51.100.2", "2001:db8::2")
    assert names.addresses("ONE.test") == ("198.51.100.3",)
    assert names.addresses("nosuch.test") == ()


def test_peer_test_and_names_below_it_are_the_host() -> None:
    names = Names(own=["198.51.100.2", "2001:db8::2"])
    for name in ("peer.test", "a.b.peer.test"):
        assert names.addresses(name) == ("198.51.100.2", "2001:db8::2")
    assert names.addresses("other.test") == ()


def test_a_name_without_a_value_is_the_host() -> None:
    names = Names({"here.test": ()}).at(["198.51.100.9"])
    assert names.addresses("here.test") == names.addresses("peer.test") == ("198.51.100.9",)


def test_peer_test_may_be_another() -> None:
    names = Names({"peer.test": "198.51.100.7"}, own=["198.51.100.2"])
    assert names.addresses("peer.test") == ("198.51.100.7",)


def test_names_are_listed_for_certificates() -> None:
    names = Names({"www.test": "198.51.100.2", "a.test": "CNAME www.test", "t.test": "TXT x"})
    for at in (names, names.at(["198.51.100.9"])):
        assert set(at.names()) == {"peer.test", "*.peer.test", "www.test", "a.test"}
    assert names.addresses("peer.test") == ()


def test_the_host_alone_has_the_names_that_its_zones_have() -> None:
    alone = Names(own=["198.51.100.2"])
    assert alone.names() == ("peer.test", "*.peer.test")
    addresses = {name: alone.addresses(name) for name in ("peer.test", "a.peer.test")}
    assert {*addresses.values()} == {("198.51.100.2",)}
    assert {*Names({"peer.test": ()}, own=["198.51.100.2"]).names()} == {*alone.names()}


def test_names_that_were_checked_are_ready_wherever_they_are() -> None:
    assert Names({"www.test": ()}).at(["198.51.100.9"]).ready
    alone = Names()
    assert not alone.ready
    assert not alone.at(["198.51.100.9"]).ready
    _ = alone.zones
    assert alone.at(["198.51.100.9"]).ready


def test_a_master_file_is_read(tmp_path: Path) -> None:
    names = Names(zones=[zone_file(tmp_path)])
    assert names.addresses("www.example.org") == ("203.0.113.2",)


def test_the_origin_of_a_master_file_may_be_told(tmp_path: Path) -> None:
    path = zone_file(tmp_path, ZONE.partition("\n")[2])
    assert Names(zones=[f"a.test={path}"]).addresses("www.a.test") == ("203.0.113.2",)


def test_names_survive_pickling_though_their_file_is_gone(tmp_path: Path) -> None:
    path = zone_file(tmp_path)
    names = Names({"a.test": "198.51.100.3"}, zones=[path], faults={"a.test": "servfail"})
    (tmp_path / "zone").unlink()
    again = pickle.loads(pickle.dumps(names))
    assert again.addresses("www.example.org") == ("203.0.113.2",)
    assert again.addresses("a.test") == ("198.51.100.3",)
    assert again.faults()


def test_a_name_outside_of_test_is_in_the_zone_of_its_last_two_labels() -> None:
    names = Names({"a.b.example.org": "198.51.100.3", "*.example.net": "198.51.100.4"})
    origins = {zone.origin.to_text() for zone in names.zones}
    assert origins == {"test.", "example.org.", "example.net.", "100.51.198.in-addr.arpa."}


@pytest.mark.parametrize(
    ("address", "reverse"),
    [
        ("198.51.100.2", "2.100.51.198.in-addr.arpa."),
        ("2001:db8::2", f"2{'.0' * 23}.8.b.d.0.1.0.0.2.ip6.arpa."),
    ],
)
def test_each_address_has_the_name_that_it_was_given_for(address: str, reverse: str) -> None:
    names = Names({"www.test": address, "*.wild.test": address})
    found = names.zones.look_up(dns.name.from_text(reverse), dns.rdatatype.PTR)
    assert [each.to_text() for rrset in found.answer for each in rrset] == ["www.test."]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"a.test": "zz"}, "a.test=zz: give an address, or a record as"),
        ({"a.test": "198.51.100.256"}, "give an address"),
        ({"a.test": "MX ten mail"}, "give an address, or a record"),
        ({"a.test": "AXFR x"}, "it is no type of records"),
        ({"": "198.51.100.2"}, "'' is no name"),
        ({"a..test": "198.51.100.2"}, "'a..test' is no name: A DNS label is empty"),
        ({f"{'a' * 64}.test": "198.51.100.2"}, "is no name: A DNS label is > 63 octets"),
        ({".".join(["a" * 63] * 4) + ".test": "198.51.100.2"}, "> 255 octets"),
        ({"a.test": ["CNAME b.test", "198.51.100.2"]}, "a name with a CNAME record has no other"),
        ({"a.test": ["CNAME b.test", "CNAME c.test"]}, "a name with a CNAME record has no other"),
    ],
)
def test_a_name_that_is_malformed_is_said_in_one_line(names: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        Names(names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "of which zone is it?"),
        (ZONE.partition("\n")[2], "of which zone is it?"),
        (ZONE.replace("@ SOA", ";"), "no SOA record"),
        (ZONE.replace("@ NS", ";"), "no NS record"),
        (ZONE + "www A 1.2.3\n", "Text input is malformed"),
        (ZONE + "www CNAME a\n", "CNAME"),
        (ZONE + "$INCLUDE /etc/passwd\n", ":7:"),
        (ZONE + "(\n", "zone"),
        (ZONE + f"{'a' * 64} A 203.0.113.3\n", ":7:"),
        ("\0\x7f", "zone"),
    ],
)
def test_a_master_file_that_is_malformed_is_said_in_one_line(
    text: str, says: str, tmp_path: Path
) -> None:
    path = zone_file(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        Names(zones=[path])
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_master_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zone").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="it is no text"):
        Names(zones=[tmp_path / "zone"])


def test_two_files_of_a_zone_are_refused(tmp_path: Path) -> None:
    path = zone_file(tmp_path)
    with pytest.raises(ValueError, match="there is another file of the zone"):
        Names(zones=[path, path])


def test_a_record_beside_an_alias_of_a_master_file_is_refused(tmp_path: Path) -> None:
    path = zone_file(tmp_path, ZONE + "alias CNAME www\n")
    with pytest.raises(ValueError, match="a name with a CNAME record has no other"):
        Names({"alias.example.org": "203.0.113.9"}, zones=[path])


def test_a_name_may_be_added_to_the_zone_of_a_master_file(tmp_path: Path) -> None:
    names = Names({"more.example.org": "203.0.113.9"}, zones=[zone_file(tmp_path)])
    assert names.addresses("more.example.org") == ("203.0.113.9",)
    assert len([zone for zone in names.zones if zone.origin.to_text() == "example.org."]) == 1
