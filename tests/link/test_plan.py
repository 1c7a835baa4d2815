"""What is asked of a TUN device is checked before anything is made."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest

from tunstack.link.errors import SetupError
from tunstack.link.plan import parse_interface, plan_tun


def test_a_plain_wish_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNSTACK_TUN_DEVICE", raising=False)
    assert plan_tun("198.51.100.2/24") == (
        "",
        "198.51.100.2",
        "198.51.100.1",
        24,
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
    assert wanted == ("tun7", "198.51.100.9", "198.51.100.5", 28, 1400, "/nodes/tun", True)


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("198.51.100.2/24", "198.51.100.1"),
        ("198.51.100.1/24", "198.51.100.2"),
        ("198.51.100.2/31", "198.51.100.3"),
        ("198.51.100.3/31", "198.51.100.2"),
        ("198.51.100.130/25", "198.51.100.129"),
    ],
)
def test_the_kernel_gets_the_first_address_that_is_not_ours(address: str, peer: str) -> None:
    assert plan_tun(address).peer == peer


def test_the_peer_may_carry_a_prefix_length() -> None:
    assert plan_tun("198.51.100.2/24", peer="198.51.100.7/24").peer == "198.51.100.7"


def test_a_single_address_takes_any_peer() -> None:
    wanted = plan_tun("198.51.100.2/32", peer="198.51.100.129")
    assert (wanted.address, wanted.peer, wanted.prefix) == ("198.51.100.2", "198.51.100.129", 32)


def test_the_environment_names_the_device_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNSTACK_TUN_DEVICE", "/elsewhere/tun")
    assert plan_tun("198.51.100.2/24").node == "/elsewhere/tun"
    assert plan_tun("198.51.100.2/24", device_node="/here/tun").node == "/here/tun"


@pytest.mark.parametrize(
    ("address", "wish", "message"),
    [
        ("nonsense", {}, "no prefix length"),
        ("198.51.100.2", {}, "no prefix length"),
        ("198.51.100.256/24", {}, "no IPv4 address"),
        ("198.51.100.2/33", {}, "no IPv4 address"),
        ("2001:db8::2/64", {}, "no IPv4 address"),
        ("198.51.100.0/24", {}, "network address of 198.51.100.0/24"),
        ("198.51.100.255/24", {}, "broadcast address of 198.51.100.0/24"),
        ("224.0.0.1/24", {}, "cannot be a host's address"),
        ("127.0.0.2/8", {}, "cannot be a host's address"),
        ("240.0.0.2/24", {}, "cannot be a host's address"),
        ("0.0.0.2/24", {}, "cannot be a host's address"),
        ("198.51.100.2/32", {}, "no address for the kernel"),
        ("198.51.100.2/24", {"peer": "198.51.100.2"}, "both tunstack's address and the kernel's"),
        ("198.51.100.2/24", {"peer": "198.51.100.0"}, "network address"),
        ("198.51.100.2/25", {"peer": "198.51.100.129"}, "not in 198.51.100.0/25"),
        ("198.51.100.2/24", {"peer": "kernel"}, "no IPv4 address for the kernel's side"),
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


def test_parse_interface_takes_what_is_one_already() -> None:
    address = IPv4Interface("198.51.100.2/24")
    assert parse_interface(address) is address
    assert parse_interface("198.51.100.2/24") == address
