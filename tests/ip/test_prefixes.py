"""Values by network, and sets of addresses that have whole networks."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunstack.ip.address import packed
from tunstack.ip.prefixes import AddressSet, PrefixMap, first_host, no_hosts

if TYPE_CHECKING:
    from ipaddress import IPv6Network

addresses = st.ip_addresses()
networks = st.builds(
    lambda address, spare: ip_network((address, max(0, address.max_prefixlen - spare)), False),
    addresses,
    st.integers(0, 128),
)


@given(st.lists(networks, max_size=8), addresses, st.randoms(use_true_random=False))
def test_the_longest_prefix_of_an_address_counts(
    given_networks: list[IPv4Network | IPv6Network], address: object, random: object
) -> None:
    """As all networks searched one by one have it."""
    values = [(network, str(network)) for network in given_networks]
    found = PrefixMap(values)
    inside = [network[-1] for network in given_networks]
    for each in [ip_address(str(address)), *inside]:
        fitting = [network for network in given_networks if each in network]
        longest = max(fitting, key=lambda network: network.prefixlen, default=None)
        assert found.get(each.packed) == (None if longest is None else str(longest))


def test_a_set_has_single_addresses_and_whole_networks_without_some() -> None:
    ours = AddressSet(
        [packed("203.0.113.9")],
        [ip_network("198.51.100.0/24"), ip_network("2001:db8::/112")],
        [packed("198.51.100.1"), packed("2001:db8::1")],
    )
    for address in ("203.0.113.9", "198.51.100.2", "198.51.100.77", "2001:db8::", "2001:db8::ffff"):
        assert packed(address) in ours
    for address in ("203.0.113.8", "198.51.100.1", "198.51.101.2", "2001:db8::1", "2001:db8::1:0"):
        assert packed(address) not in ours
    assert None not in ours


@pytest.mark.parametrize(
    ("network", "excluded", "first"),
    [
        ("198.51.100.0/24", [], "198.51.100.1"),
        ("198.51.100.0/24", ["198.51.100.1", "198.51.100.2"], "198.51.100.3"),
        ("198.51.100.0/31", ["198.51.100.0"], "198.51.100.1"),
        ("198.51.100.4/31", [], "198.51.100.4"),
        ("2001:db8::/64", ["2001:db8::1"], "2001:db8::2"),
        ("2001:db8::/127", ["2001:db8::"], "2001:db8::1"),
    ],
)
def test_the_first_address_that_a_host_can_send_from(
    network: str, excluded: list[str], first: str
) -> None:
    taken = [packed(each) for each in excluded]
    assert first_host(ip_network(network), taken) == packed(first)


def test_a_network_without_an_address_that_is_left() -> None:
    taken = [packed("198.51.100.1"), packed("198.51.100.2")]
    with pytest.raises(ValueError, match=r"^no address of 198\.51\.100\.0/30 is left"):
        first_host(IPv4Network("198.51.100.0/30"), taken)


def test_which_addresses_of_a_network_no_host_has() -> None:
    assert no_hosts(IPv4Network("198.51.100.0/24")) == (
        packed("198.51.100.0"),
        packed("198.51.100.255"),
    )
    assert no_hosts(IPv4Network("198.51.100.0/31")) == ()
    assert no_hosts(ip_network("2001:db8::/64")) == ()
