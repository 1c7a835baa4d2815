"""Addresses: how they are written, and which of them may do what."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.ip.address import (
    LIMITED_BROADCAST,
    ip_address,
    is_broadcast,
    is_martian_source,
    is_multicast,
    is_valid_remote,
    packed,
    subnet_broadcast,
    text,
    unmapped,
)

BROADCASTS = frozenset({packed("198.51.100.255")})
NO_HOST = [IPv4Network(net) for net in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4")]

examples = settings(deadline=None, derandomize=True, max_examples=100)
addresses = st.binary(min_size=4, max_size=4)
v6_addresses = st.binary(min_size=16, max_size=16)
V6_NO_HOST = [IPv6Network(net) for net in ("::/128", "::1/128", "::ffff:0:0/96", "ff00::/8")]


@examples
@given(addresses | v6_addresses)
def test_packed_bytes_and_text_are_one_address(address: bytes) -> None:
    assert packed(text(address)) == packed(ip_address(address)) == address
    assert text(address) == str(ip_address(address))


def test_address_as_people_write_it() -> None:
    assert packed("198.51.100.2") == bytes((198, 51, 100, 2))
    assert packed(IPv4Address("198.51.100.2")) == bytes((198, 51, 100, 2))
    assert text(bytes((198, 51, 100, 2))) == "198.51.100.2"
    assert ip_address(bytes((198, 51, 100, 2))) == IPv4Address("198.51.100.2")
    ours = bytes.fromhex("20010db8000000000000000000000002")
    assert packed("2001:db8::2") == packed(IPv6Address("2001:0DB8:0:0::2")) == ours
    assert packed("fe80::1%eth0") == packed("fe80::1")
    assert text(ours) == "2001:db8::2"
    assert ip_address(ours) == IPv6Address("2001:db8::2")


@pytest.mark.parametrize("address", ["", "198.51.100", "198.51.100.256", "2001:db8::1::2", "host"])
def test_what_is_no_address_is_a_value_error(address: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        packed(address)


@pytest.mark.parametrize("address", [b"", bytes(3), bytes(5), bytes(15), bytes(17)])
def test_bytes_of_another_length_are_a_value_error(address: bytes) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        text(address)
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        ip_address(address)


def test_an_ipv4_mapped_address_is_an_ipv4_address() -> None:
    assert unmapped(packed("::ffff:198.51.100.2")) == packed("198.51.100.2")
    for address in ("198.51.100.2", "2001:db8::ffff:2", "::198.51.100.2", "::fffe:198.51.100.2"):
        assert unmapped(packed(address)) == packed(address)


@pytest.mark.parametrize(
    ("interface", "broadcast"),
    [
        ("198.51.100.2/24", "198.51.100.255"),
        ("198.51.100.2/30", "198.51.100.3"),
        ("198.51.100.2/31", None),
        ("198.51.100.2/32", None),
    ],
)
def test_broadcast_address_of_a_subnet(interface: str, broadcast: str | None) -> None:
    expected = None if broadcast is None else packed(broadcast)
    assert subnet_broadcast(IPv4Interface(interface)) == expected


@pytest.mark.rfc("1122:3.2.1.3", "1122:4.1.3.6-1")
@examples
@given(addresses | st.sampled_from([net.network_address.packed for net in NO_HOST]))
def test_sources_are_martian_in_these_networks_and_nowhere_else(address: bytes) -> None:
    """RFC 1122 section 3.2.1.3, RFC 9293 MUST-63."""
    assert is_martian_source(address) == any(ip_address(address) in net for net in NO_HOST)
    assert is_multicast(address) == ip_address(address).is_multicast


@pytest.mark.rfc("1122:3.2.1.3")
@pytest.mark.parametrize(
    ("address", "martian"),
    [
        ("0.0.0.0", True),
        ("0.255.255.255", True),
        ("1.0.0.0", False),
        ("126.255.255.255", False),
        ("127.0.0.1", True),
        ("128.0.0.0", False),
        ("223.255.255.255", False),
        ("224.0.0.1", True),
        ("240.0.0.1", True),
        ("255.255.255.255", True),
        ("198.51.100.1", False),
        ("198.51.100.255", True),
        ("198.51.101.255", False),
    ],
)
def test_a_remote_is_valid_unless_it_is_no_single_host(address: str, martian: bool) -> None:
    """RFC 9293 MUST-46 for who is connected to, MUST-63 for who sends."""
    assert is_martian_source(packed(address), BROADCASTS) is martian
    assert is_valid_remote(packed(address), BROADCASTS) is not martian


@pytest.mark.rfc("4291:2.7")
@examples
@given(v6_addresses | st.sampled_from([net.network_address.packed for net in V6_NO_HOST]))
def test_ipv6_sources_are_martian_in_these_networks_and_nowhere_else(address: bytes) -> None:
    assert is_martian_source(address) == any(ip_address(address) in net for net in V6_NO_HOST)
    assert is_multicast(address) == ip_address(address).is_multicast


@pytest.mark.rfc("4291:2.5")
@pytest.mark.parametrize(
    ("address", "martian"),
    [
        ("::", True),
        ("::1", True),
        ("::2", False),
        ("::ffff:198.51.100.1", True),
        ("64:ff9b::198.51.100.1", False),
        ("2001:db8::1", False),
        ("fc00::1", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("ff02::1", True),
        ("ff0e::1", True),
    ],
)
def test_an_ipv6_remote_is_valid_unless_it_is_no_single_host(address: str, martian: bool) -> None:
    assert is_martian_source(packed(address), BROADCASTS) is martian
    assert is_valid_remote(packed(address), BROADCASTS) is not martian


def test_no_subnet_of_ipv6_has_a_broadcast_address() -> None:
    assert subnet_broadcast(IPv6Interface("2001:db8::2/64")) is None
    assert subnet_broadcast(IPv6Interface("2001:db8::2/112")) is None
    assert not is_broadcast(packed("2001:db8::ffff"), BROADCASTS)


@pytest.mark.rfc("1122:3.3.6-1")
def test_broadcast_is_the_limited_one_or_a_subnets() -> None:
    assert is_broadcast(LIMITED_BROADCAST)
    assert is_broadcast(packed("198.51.100.255"), BROADCASTS)
    assert not is_broadcast(packed("198.51.100.255"))
    assert not is_broadcast(packed("198.51.100.1"), BROADCASTS)


@pytest.mark.parametrize(
    ("address", "multicast"),
    [
        ("223.255.255.255", False),
        ("224.0.0.0", True),
        ("239.255.255.255", True),
        ("240.0.0.0", False),
    ],
)
def test_multicast_is_224_to_239(address: str, multicast: bool) -> None:
    assert is_multicast(packed(address)) is multicast
