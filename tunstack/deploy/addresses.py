"""The addresses that a host has where none are given."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from tunstack.link.plan import IPV6_MTU

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tunstack")

IPV4_DEFAULT: Final = "198.51.100.2/24"
"""The host's; the kernel's is 198.51.100.1. Documentation addresses (RFC 5737)."""
IPV6_DEFAULT: Final = "2001:db8::2/64"
"""The host's; the kernel's is 2001:db8::1. Documentation addresses (RFC 3849)."""


def default_addresses(
    mtu: int | None = None,
    *,
    ipv6: bool = True,
    sysctl: Callable[[str], str],
    name: str | None = None,
) -> tuple[str, ...]:
    """Return one address of each family; of IPv4 alone where the link cannot have IPv6.

    Where the kernel has IPv6 off, that is logged as a warning.

    Args:
        mtu: The link's, in octets; None for a device's own.
        ipv6: Whether to have an address of IPv6 at all.
        sysctl: Reads a parameter of the network namespace, as ``"net/ipv6/..."``; raises OSError.
        name: The device's, if it has one already.
    """
    if not ipv6 or (mtu is not None and mtu < IPV6_MTU):
        return (IPV4_DEFAULT,)
    if _is_off(sysctl, name):
        logger.warning("the kernel has IPv6 off here: the host has IPv4 addresses only")
        return (IPV4_DEFAULT,)
    return (IPV4_DEFAULT, IPV6_DEFAULT)


def read_sysctl(name: str) -> str:
    """Return a parameter of the current network namespace.

    Raises:
        OSError: there is none.
    """
    with open(f"/proc/sys/{name}", encoding="ascii") as file:
        return file.read().strip()


def _is_off(sysctl: Callable[[str], str], name: str | None) -> bool:
    """Whether the kernel gives no IPv6 address to the device `name`, or to a new one."""
    for interface in (name, "default"):
        try:
            if interface:
                return sysctl(f"net/ipv6/conf/{interface}/disable_ipv6") != "0"
        except (OSError, ValueError):  # There is no such device; or no IPv6 in the kernel.
            continue
    return True
