"""Several hosts on one network: what the kernel has for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tunstack.link.errors import SetupError
from tunstack.link.plan import plan_sharing, plan_tun
from tunstack.link.sharing import Neighbour, Sharing, beside

if TYPE_CHECKING:
    from tunstack.link.device import TunRequest


def planned(*hosts: tuple[Any, ...] | str) -> list[TunRequest]:
    """What is planned for hosts that are opened one after the other.

    A host is an address, or several, of which ``"peer=ADDRESS"`` is the kernel's.
    """
    others: list[Neighbour] = []
    for host in hosts:
        words = (host,) if isinstance(host, str) else host
        addresses = [each for each in words if not each.startswith("peer=")]
        peers = [each[5:] for each in words if each.startswith("peer=")]
        sharing = Sharing(*plan_sharing(addresses, peers or None))
        request = beside(plan_tun(*addresses, peer=peers or None), sharing, others)
        others.append(Neighbour(sharing, request))
    return [each.request for each in others]


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [
        ("198.51.100.2/24", "198.51.100.3/24", ("198.51.100.1", 32, "198.51.100.3")),
        ("198.51.100.1/24", "198.51.100.3/24", ("198.51.100.2", 32, "198.51.100.3")),
        ("2001:db8::2/64", "2001:db8::3/64", ("2001:db8::1", 128, "2001:db8::3")),
        # Another network, within that or around it, which does not have the other's address.
        ("198.51.100.2/24", "198.51.100.130/25", ("198.51.100.129", 25, "198.51.100.130")),
        ("198.51.100.130/25", "198.51.100.2/24", ("198.51.100.1", 24, "198.51.100.2")),
        # ...and that has it.
        ("198.51.100.200/24", "198.51.100.130/25", ("198.51.100.1", 32, "198.51.100.130")),
        ("198.51.100.130/25", "198.51.100.200/24", ("198.51.100.129", 32, "198.51.100.200")),
        ("198.51.100.2/24", "203.0.113.2/24", ("203.0.113.1", 24, "203.0.113.2")),
    ],
)
def test_the_kernel_has_a_route_to_each_address(
    first: str, second: str, held: tuple[str, int, str]
) -> None:
    assert planned(first, second)[1].held == (held,)


def test_the_network_is_left_to_whom_has_it() -> None:
    _, second, third = planned("198.51.100.2/24", "198.51.100.3/24", "198.51.100.4/24")
    assert [each.held[0].ours for each in (second, third)] == ["198.51.100.3", "198.51.100.4"]
    assert {each.held[0].address for each in (second, third)} == {"198.51.100.1"}


def test_each_of_several_addresses_has_a_route() -> None:
    second = planned("198.51.100.2/24", ("198.51.100.3/24", "198.51.100.4/24", "203.0.113.9/24"))[1]
    assert second.held == (("198.51.100.1", 32, "198.51.100.3"),)
    assert second.routes == (("198.51.100.4", 32), ("203.0.113.0", 24))


def test_a_further_network_may_be_that_of_another_host() -> None:
    second = planned("198.51.100.2/24", ("203.0.113.9/24", "198.51.100.3/24"))[1]
    assert second.held == (("203.0.113.1", 24, "203.0.113.9"),)
    assert second.routes == (("198.51.100.3", 32),)


def test_the_kernels_address_may_be_chosen() -> None:
    second = planned("198.51.100.2/24", ("198.51.100.3/24", "peer=198.51.100.9"))[1]
    assert second.held == (("198.51.100.9", 32, "198.51.100.3"),)


def test_an_address_that_the_kernel_would_have_by_default_may_be_a_hosts() -> None:
    """In 198.51.100.0/24 it would be 198.51.100.1."""
    second = planned(("198.51.100.1/32", "peer=203.0.113.1"), "198.51.100.7/24")[1]
    assert second.held == (("203.0.113.1", 24, "198.51.100.7"),)


def test_a_part_of_a_network_may_be_anothers_as_a_whole() -> None:
    second = planned("198.51.100.2/24", "198.51.100.128/25")[1]
    assert second.held == (("198.51.100.129", 25, "198.51.100.128"),)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("198.51.100.2/24", "198.51.100.2/24", r"198\.51\.100\.2 is another host's address"),
        ("198.51.100.2/24", "198.51.100.2/25", r"198\.51\.100\.2 is another host's address"),
        ("2001:db8::2/64", "2001:db8::2/64", "2001:db8::2 is another host's address"),
        ("198.51.100.2/24", "198.51.100.1/24", r"198\.51\.100\.1 is the kernel's address"),
        ("198.51.100.200/24", "198.51.100.128/25", r"198\.51\.100\.200 is another host's"),
        (
            "198.51.100.2/24",
            ("198.51.100.3/24", "peer=198.51.100.2"),
            r"198\.51\.100\.2 is another host's address: choose another peer",
        ),
    ],
)
def test_an_address_is_one_hosts(first: str, second: Any, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        planned(first, second)
