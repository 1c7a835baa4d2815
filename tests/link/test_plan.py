"""What is asked of a TUN device is checked before anything is made."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

import pytest

from tunstack.link.errors import SetupError
from tunstack.link.plan import parse_place, plan_tun


def test_a_plain_wish_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNSTACK_TUN_DEVICE", raising=False)
    assert plan_tun("198.51.100.2/24") == (
        "",
        (("198.51.100.1", 24, "198.51.100.2"),),
        (),
        None,
        "/dev/net/tun",
        False,
    )


def test_everything_can_be_given() -> None:
    wanted = plan_tun(
        IPv4Interface("198.51.100.9/28"),
        name="tun7",
        peer=IPv4Address("198.51.100.5"),
        mtu=1400,
        device_node="/nodes/tun",
        offload=True,
    )
    assert wanted == (
        "tun7",
        (("198.51.100.5", 28, "198.51.100.9"),),
        (),
        1400,
        "/nodes/tun",
        True,
    )


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("198.51.100.2/24", "198.51.100.1"),
        ("198.51.100.1/24", "198.51.100.2"),
        ("198.51.100.2/31", "198.51.100.3"),
        ("198.51.100.3/31", "198.51.100.2"),
        ("198.51.100.130/25", "198.51.100.129"),
        ("198.51.100.0/24", "198.51.100.1"),
        ("2001:db8::2/64", "2001:db8::1"),
        ("2001:db8::1/64", "2001:db8::2"),
        ("2001:db8::2/127", "2001:db8::3"),
        ("2001:db8::/64", "2001:db8::1"),
    ],
)
def test_the_kernel_gets_the_first_address_that_is_not_ours(address: str, peer: str) -> None:
    assert [each.address for each in plan_tun(address).held] == [peer]


def test_the_peer_may_carry_a_prefix_length() -> None:
    assert plan_tun("198.51.100.2/24", peer="198.51.100.7/24").held[0].address == "198.51.100.7"


def test_a_single_address_takes_any_peer() -> None:
    wanted = plan_tun("198.51.100.2/32", peer="198.51.100.129")
    assert wanted.held == (("198.51.100.129", 32, "198.51.100.2"),)


def test_the_kernel_gets_an_address_of_each_family() -> None:
    wanted = plan_tun("198.51.100.2/24", "2001:db8::2/64")
    assert wanted.held == (
        ("198.51.100.1", 24, "198.51.100.2"),
        ("2001:db8::1", 64, "2001:db8::2"),
    )


def test_the_kernel_has_a_route_to_further_networks_of_a_family() -> None:
    wanted = plan_tun("198.51.100.2/24", "198.51.100.3/24", "203.0.113.0/24")
    assert wanted.held == (("198.51.100.1", 24, "198.51.100.2"),)
    assert wanted.routes == (("203.0.113.0", 24),)


def test_a_network_of_which_the_kernel_has_no_address_is_routed() -> None:
    wanted = plan_tun("203.0.113.0/24", "198.51.100.2/24", peer="198.51.100.1")
    assert wanted.held == (("198.51.100.1", 24, "198.51.100.2"),)
    assert wanted.routes == (("203.0.113.0", 24),)


def test_the_environment_names_the_device_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNSTACK_TUN_DEVICE", "/elsewhere/tun")
    assert plan_tun("198.51.100.2/24").node == "/elsewhere/tun"
    assert plan_tun("198.51.100.2/24", device_node="/here/tun").node == "/here/tun"


@pytest.mark.parametrize(
    ("address", "wish", "message"),
    [
        ("nonsense", {}, "no prefix length"),
        ("198.51.100.2", {}, "no prefix length"),
        ("2001:db8::2", {}, "write it as 2001:db8::2/64"),
        ("198.51.100.256/24", {}, "no IP address"),
        ("198.51.100.2/33", {}, "no IP address"),
        ("2001:db8::2/129", {}, "no IP address"),
        ("2001:db8::g/64", {}, "no IP address"),
        ("0.0.0.0/0", {}, "every address there is"),
        ("::/0", {}, "every address there is"),
        ("ff02::1/64", {}, "cannot be a host's address"),
        ("::1/64", {}, "cannot be a host's address"),
        ("::ffff:198.51.100.2/120", {}, "cannot be a host's address"),
        ("2001:db8::2/128", {}, "no address for the kernel"),
        ("2001:db8::2/64", {"peer": "2001:db8::2"}, "both tunstack's address and the kernel's"),
        ("2001:db8::2/64", {"peer": "2001:db8::"}, "network address"),
        ("2001:db8::2/64", {"peer": "198.51.100.1"}, "198.51.100.1 is not in 2001:db8::/64"),
        ("2001:db8::2/64", {"mtu": 1279}, "too small for IPv6"),
        ("198.51.100.255/24", {}, "broadcast address of 198.51.100.0/24"),
        ("224.0.0.1/24", {}, "cannot be a host's address"),
        ("127.0.0.2/8", {}, "cannot be a host's address"),
        ("240.0.0.2/24", {}, "cannot be a host's address"),
        ("0.0.0.2/24", {}, "cannot be a host's address"),
        ("198.51.100.2/32", {}, "no address for the kernel"),
        ("198.51.100.2/24", {"peer": "198.51.100.2"}, "both tunstack's address and the kernel's"),
        ("198.51.100.2/24", {"peer": "198.51.100.0"}, "network address"),
        ("198.51.100.2/25", {"peer": "198.51.100.129"}, "not in 198.51.100.0/25"),
        ("198.51.100.2/24", {"peer": "kernel"}, "no IP address for the kernel's side"),
        ("198.51.100.2/24", {"mtu": 67}, "MTU 67 is out of range"),
        ("198.51.100.2/24", {"mtu": 65536}, "MTU 65536 is out of range"),
        ("198.51.100.2/24", {"name": "a-name-too-long-"}, "1 to 15 bytes"),
        ("198.51.100.2/24", {"name": ""}, "1 to 15 bytes"),
        ("198.51.100.2/24", {"name": "a/b"}, "no '/'"),
        ("198.51.100.2/24", {"name": "tun 0"}, "space"),
        ("198.51.100.2/24", {"name": "tun%d"}, "'%'"),
        ("198.51.100.2/24", {"name": ".."}, "must have no"),
    ],
)
def test_a_mistake_is_one_line(address: str, wish: dict[str, Any], message: str) -> None:
    with pytest.raises(SetupError, match=message) as caught:
        plan_tun(address, **wish)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mtu", [68, 65535])
def test_the_ends_of_the_mtu_range_are_allowed(mtu: int) -> None:
    assert plan_tun("198.51.100.2/24", mtu=mtu).mtu == mtu


@pytest.mark.parametrize(
    ("address", "network", "single"),
    [
        ("198.51.100.2/24", "198.51.100.0/24", "198.51.100.2"),
        (IPv4Interface("198.51.100.2/24"), "198.51.100.0/24", "198.51.100.2"),
        ("198.51.100.0/24", "198.51.100.0/24", None),
        (IPv4Network("198.51.100.0/31"), "198.51.100.0/31", None),
        ("198.51.100.0/31", "198.51.100.0/31", "198.51.100.0"),
        ("198.51.100.7/32", "198.51.100.7/32", "198.51.100.7"),
        ("2001:db8::/64", "2001:db8::/64", None),
        ("2001:db8::2/64", "2001:db8::/64", "2001:db8::2"),
        (IPv6Network("2001:db8::/48"), "2001:db8::/48", None),
    ],
)
def test_an_address_with_no_host_bits_is_the_whole_network(
    address: Any, network: str, single: str | None
) -> None:
    place = parse_place(address)
    assert place.network == ip_network(network)
    assert place.address == (None if single is None else ip_address(single))


@pytest.mark.parametrize(
    "addresses",
    [
        ("198.51.100.2/24", "198.51.100.2/24"),
        ("198.51.100.0/24", "198.51.100.130/25"),
        ("198.51.100.0/25", "198.51.100.0/24"),
        ("2001:db8::/32", "2001:db8::2/64"),
    ],
)
def test_a_network_that_overlaps_is_refused(addresses: tuple[str, str]) -> None:
    with pytest.raises(SetupError, match="overlaps with"):
        plan_tun(*addresses)
