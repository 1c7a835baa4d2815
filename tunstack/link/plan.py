"""Validate the parameters of a TUN device before it is created: every error is one line."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from tunstack.link.device import TunRequest
from tunstack.link.errors import SetupError

DEVICE_NODE: Final = "/dev/net/tun"
MTU_RANGE: Final = range(68, 65536)
"""Octets: the least MTU of RFC 791 section 3.2, and the largest IPv4 packet."""


def plan_tun(
    address: str | IPv4Interface,
    *,
    name: str | None = None,
    peer: str | IPv4Address | IPv4Interface | None = None,
    mtu: int | None = None,
    device_node: str | None = None,
    offload: bool = False,
) -> TunRequest:
    """Validate the parameters of a TUN device, and fill in defaults.

    Args:
        address: Our address and its network, as ``"198.51.100.2/24"``.
        name: The device's name; None to let the kernel choose.
        peer: The kernel's address on the device; None for the first of the network that is not
            ours. A prefix length is ignored: it is that of `address`.
        mtu: 68 to 65535 octets; None for the device's own, which is 1500 when it is new.
        device_node: Path of the device node; None for the environment's ``TUNSTACK_TUN_DEVICE``,
            or ``/dev/net/tun``.
        offload: Whether to enable TSO and checksum offload, where the kernel supports it.

    Raises:
        SetupError: a parameter is invalid.
    """
    ours = parse_interface(address)
    theirs = _default_peer(ours) if peer is None else _parse_peer(peer)
    _check_host(ours.ip, ours)
    _check_host(theirs, ours)
    if theirs == ours.ip:
        raise SetupError(f"{theirs} cannot be both tunstack's address and the kernel's: change one")
    if theirs not in ours.network and ours.network.prefixlen < 32:
        raise SetupError(f"the kernel's address {theirs} is not in {ours.network}: choose from it")
    if mtu is not None and mtu not in MTU_RANGE:
        raise SetupError(f"MTU {mtu} is out of range: choose one from 68 to 65535")
    _check_name(name)
    node = device_node or os.environ.get("TUNSTACK_TUN_DEVICE") or DEVICE_NODE
    return TunRequest(
        name or "",
        str(ours.ip),
        str(theirs),
        ours.network.prefixlen,
        mtu,
        os.path.abspath(node),
        offload,
    )


def parse_interface(address: str | IPv4Interface) -> IPv4Interface:
    """Parse ``"198.51.100.2/24"``.

    Raises:
        SetupError: not an IPv4 address, or without a prefix length.
    """
    if isinstance(address, IPv4Interface):
        return address
    if "/" not in address:
        raise SetupError(f"the address {address!r} has no prefix length: write it as A.B.C.D/24")
    try:
        return IPv4Interface(address)
    except ValueError as error:
        raise SetupError(
            f"{address!r} is no IPv4 address with a prefix length: write it as 198.51.100.2/24"
        ) from error


def _parse_peer(peer: str | IPv4Address | IPv4Interface) -> IPv4Address:
    try:
        return IPv4Interface(peer).ip
    except ValueError as error:
        raise SetupError(
            f"{peer!r} is no IPv4 address for the kernel's side: write it as 198.51.100.1"
        ) from error


def _default_peer(ours: IPv4Interface) -> IPv4Address:
    network = ours.network
    if network.prefixlen == 32:
        raise SetupError(
            f"{ours} leaves no address for the kernel: give a peer, or a shorter prefix"
        )
    first = network.network_address if network.prefixlen == 31 else network.network_address + 1
    return first if first != ours.ip else first + 1


def _check_host(address: IPv4Address, ours: IPv4Interface) -> None:
    """Refuse an address that no host can have."""
    network = ours.network
    if network.prefixlen < 31 and address in (network.network_address, network.broadcast_address):
        kind = "network" if address == network.network_address else "broadcast"
        raise SetupError(f"{address} is the {kind} address of {network}: choose another one of it")
    if (
        address.is_multicast
        or address.is_loopback
        or address.is_reserved
        or address in IPv4Interface("0.0.0.0/8").network
    ):
        raise SetupError(f"{address} cannot be a host's address: choose one as 198.51.100.2/24")


def _check_name(name: str | None) -> None:
    """Refuse names that the kernel's dev_valid_name refuses, or expands (%d)."""
    if name is None:
        return
    if not 1 <= len(os.fsencode(name)) <= 15:
        raise SetupError(f"the device name {name!r} must have 1 to 15 bytes: choose another one")
    if name in (".", "..") or any(letter in "/:%" or letter.isspace() for letter in name):
        raise SetupError(
            f"the device name {name!r} must have no '/', ':', '%' or space: choose another one"
        )
