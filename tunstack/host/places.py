"""The addresses of a host, and the prefixes of its profiles, as they are given."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from tunstack.link.errors import SetupError
from tunstack.link.plan import check_places, parse_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tunstack.ip.address import Network
    from tunstack.link.plan import AddressLike, Place
    from tunstack.stack.profile import Profile


def parsed_places(addresses: Iterable[AddressLike]) -> list[Place]:
    """Parse the addresses of a host.

    Raises:
        ValueError: there is none, or one is malformed, or two overlap.
    """
    try:
        places = [parse_place(address) for address in addresses]
        check_places(places)
    except SetupError as error:
        raise ValueError(str(error)) from None
    if not places:
        raise ValueError("a host needs at least one address")
    return places


def profiles_by_network(profiles: Mapping[str, Profile] | None) -> dict[Network, Profile]:
    """Return the profiles by network; that of a single address is the network of it alone.

    Raises:
        ValueError: a prefix is malformed, or has two profiles.
    """
    found: dict[Network, Profile] = {}
    for prefix, profile in (profiles or {}).items():
        try:
            network = ip_network(prefix)
        except ValueError as error:
            raise ValueError(f"the profile of {prefix}: {error}") from None
        if network in found:
            raise ValueError(f"{network} has two profiles: leave one of them out")
        found[network] = profile
    return found
