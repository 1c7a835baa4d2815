"""The addresses that a host has where none are given."""

from __future__ import annotations

from typing import Final

from tunstack.link.plan import IPV6_MTU

IPV4_DEFAULT: Final = "198.51.100.2/24"
"""The host's; the kernel's is 198.51.100.1. Documentation addresses (RFC 5737)."""
IPV6_DEFAULT: Final = "2001:db8::2/64"
"""The host's; the kernel's is 2001:db8::1. Documentation addresses (RFC 3849)."""

_IPV6: Final = True


def default_addresses(mtu: int | None = None, *, ipv6: bool = True) -> tuple[str, ...]:
    """Return one address of each family; of IPv4 alone on a link too narrow for IPv6."""
    if not _IPV6 or not ipv6 or (mtu is not None and mtu < IPV6_MTU):
        return (IPV4_DEFAULT,)
    return (IPV4_DEFAULT, IPV6_DEFAULT)
