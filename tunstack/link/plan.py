"""Check what is asked of a TUN device before anything is made: every mistake is one clear line."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from tunstack.link.device import TunRequest
from tunstack.link.errors import SetupError

DEVICE_NODE: Final = "/dev/net/tun"
MTU_RANGE: Final = range(68, 65536)
"""RFC 791 asks every module to forward 68 octets; an IPv4 packet has at most 65,535."""


def plan_tun(
    address: str | IPv4Interface,
    *,
    name: str | None = None,
    peer: str | IPv4Address | IPv4Interface | None = None,
    mtu: int | None = None,
    device_node: str | None = None,
    offload: bool = False,
) -> TunRequest:
    """Check a wish for a TUN device, and fill in what is left open.

    Args:
        address: Our address and its network, as ``"198.51.100.2/24"``.
        name: The device's name; None to let the kernel choose.
        peer: The kernel's address on the device; None for the first of the network that is not
            ours. A prefix length is ignored: it is that of `address`.
        mtu: 68 to 65535 bytes; None for what the device has, which is 1500 when it is new.
        device_node: Path of the device node; None for the environment's ``TUNSTACK_TUN_DEVICE``,
            or ``/dev/net/tun``.
        offload: Whether the kernel shall leave segmentation and checksums to us, where it can.

    Raises:
        SetupError: something is wrong with it.
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
    """Read ``"198.51.100.2/24"``.

    Raises:
        SetupError: it is no IPv4 address, or has no prefix length.
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
    """Refuse what cannot be the address of a host."""
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
    """Refuse what the kernel would refuse as a device's name (dev_valid_name), or fill in."""
    if name is None:
        return
    if not 1 <= len(os.fsencode(name)) <= 15:
        raise SetupError(f"the device name {name!r} must have 1 to 15 bytes: choose another one")
    if name in (".", "..") or any(letter in "/:%" or letter.isspace() for letter in name):
        raise SetupError(
            f"the device name {name!r} must have no '/', ':', '%' or space: choose another one"
        )
