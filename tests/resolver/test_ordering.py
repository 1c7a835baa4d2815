"""The order of destinations (RFC 6724 section 6), by the examples of its section 10.2."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from tunstack.ip.selection import Candidate
from tunstack.resolver.ordering import ordered


def own(*addresses: str) -> list[Candidate]:
    interfaces = [ip_interface(each) for each in addresses]
    return [Candidate(each.ip.packed, each.network.prefixlen) for each in interfaces]


@pytest.mark.parametrize(
    ("sources", "destinations", "first"),
    [
        # Prefer matching scope.
        (("2001:db8:1::2/64", "fe80::1/64", "169.254.13.78/16"),
         ("198.51.100.121", "2001:db8:1::1"), "2001:db8:1::1"),
        (("fe80::1/64", "198.51.100.117/24"), ("2001:db8:1::1", "198.51.100.121"),
         "198.51.100.121"),
        # Prefer higher precedence.
        (("2001:db8:1::2/64", "fe80::1/64", "10.1.2.4/8"), ("10.1.2.3", "2001:db8:1::1"),
         "2001:db8:1::1"),
        # Prefer smaller scope.
        (("2001:db8:1::2/64", "fe80::2/64"), ("2001:db8:1::1", "fe80::1"), "fe80::1"),
        # Prefer matching label.
        (("2002:c633:6401::2/64", "fe80::2/64"), ("2001:db8:1::1", "2002:c633:6401::1"),
         "2002:c633:6401::1"),
        # Avoid unusable destinations.
        (("198.51.100.2/24",), ("2001:db8::9", "203.0.113.1"), "203.0.113.1"),
        (("2001:db8::2/64",), ("203.0.113.1", "2001:db8::9"), "2001:db8::9"),
        # The longest matching prefix.
        (("2001:db8:1::2/64",), ("2001:db8:2::1", "2001:db8:1::1"), "2001:db8:1::1"),
    ],
)  # fmt: skip
def test_the_first(sources: tuple[str, ...], destinations: tuple[str, ...], first: str) -> None:
    for given in (destinations, destinations[::-1]):
        assert ordered(given, own(*sources))[0] == first


def test_what_no_rule_prefers_stays_in_its_order() -> None:
    destinations = [f"203.0.113.{number}" for number in (9, 3, 7, 1)]
    assert ordered(destinations, own("198.51.100.2/24")) == destinations
