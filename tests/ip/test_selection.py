"""Which of our addresses a packet is sent from: RFC 6724 section 5, with its own examples."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from tunstack.ip.address import packed, text
from tunstack.ip.selection import Candidate, common_prefix, policy, scope, select_source

EXAMPLES = [
    # Section 10.1 of the RFC.
    ("2001:db8:1::1", ["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
    ("ff05::1", ["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
    ("2001:db8:1::1", ["2001:db8:1::1/64", "2001:db8:2::1/64"], "2001:db8:1::1"),
    ("fe80::1", ["fe80::2/64", "2001:db8:1::1/64"], "fe80::2"),
    ("2001:db8:1::1", ["2001:db8:1::2/64", "2001:db8:3::2/64"], "2001:db8:1::2"),
    ("2002:c633:6401::1", ["2002:c633:6401::d5e3:7953:13eb:22e8/64", "2001:db8:1::2/64"], None),
    ("2001:db8:1::d5e3:0:0:1", ["2001:db8:1::2/64", "2001:db8:1::d5e3:7953:13eb:22e8/64"], None),
    # Rule 1 before all others, whatever the prefix.
    ("fec0::1", ["2001:db8::1/64", "fec0::1/128"], "fec0::1"),
    # Rule 2: too small a scope is worse than too large a one; of those too large, the smallest.
    ("fe80::9", ["fec0::1/64", "2001:db8::1/64"], "fec0::1"),
    ("2001:db8::9", ["fe80::1/64", "fec0::1/64"], "fec0::1"),
    # Rule 6: unique local to unique local.
    ("fd00:2::1", ["2001:db8::1/64", "fd00:1::1/64"], "fd00:1::1"),
    ("2001:db9::1", ["fd00:1::1/64", "2001:db8::1/64"], "2001:db8::1"),
    # Rule 8: as far as the prefix of ours goes, and no further.
    ("2001:db8::ff", ["2001:db8::1/32", "2001:db8::fe/32"], "2001:db8::1"),
    ("2001:db8:0:1::9", ["2001:db8:0:2::1/64", "2001:db8:0:1::1/64"], "2001:db8:0:1::1"),
]


@pytest.mark.rfc("6724:5", "6724:5-1", "8504:6.6-1")
@pytest.mark.parametrize(("destination", "ours", "expected"), EXAMPLES)
def test_the_source_address_of_a_destination(
    destination: str, ours: list[str], expected: str | None
) -> None:
    """Without `expected` it is the first; the order of the others makes no difference."""
    candidates = [
        Candidate(packed(str(each.ip)), each.network.prefixlen) for each in map(ip_interface, ours)
    ]
    chosen = select_source(candidates, packed(destination))
    assert chosen is not None
    assert text(chosen) == (expected or text(candidates[0].address))
    if expected is not None and ours[0].split("/")[0] != "2001:db8::1":
        assert select_source(candidates[::-1], packed(destination)) == chosen


def test_no_source_without_candidates() -> None:
    assert select_source([], packed("2001:db8::1")) is None


@pytest.mark.rfc("6724:2.1", "6724:2.1-1")
@pytest.mark.parametrize(
    ("address", "precedence", "label"),
    [
        ("::1", 50, 0),
        ("2001:db8::1", 40, 1),
        ("::ffff:198.51.100.1", 35, 4),
        ("2002::1", 30, 2),
        ("2001::1", 5, 5),
        ("fc00::1", 3, 13),
        ("fdff::1", 3, 13),
        ("::198.51.100.1", 1, 3),
        ("fec0::1", 1, 11),
        ("3ffe::1", 1, 12),
        ("fe80::1", 40, 1),
    ],
)
def test_the_policy_table(address: str, precedence: int, label: int) -> None:
    row = policy(packed(address))
    assert (row.precedence, row.label) == (precedence, label)


@pytest.mark.rfc("6724:3.1", "6724:3.1-1")
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::1", 0x2),
        ("fe80::1", 0x2),
        ("febf::1", 0x2),
        ("fec0::1", 0x5),
        ("fc00::1", 0xE),
        ("2001:db8::1", 0xE),
        ("ff01::1", 0x1),
        ("ff02::1", 0x2),
        ("ff0e::1", 0xE),
    ],
)
def test_scopes(address: str, expected: int) -> None:
    assert scope(packed(address)) == expected


def test_common_prefix_counts_bits() -> None:
    one = packed("2001:db8::1")
    assert common_prefix(one, one) == 128
    assert common_prefix(one, packed("2001:db8::3")) == 126
    assert common_prefix(one, packed("a001:db8::1")) == 0
