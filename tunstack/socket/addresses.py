"""The addresses that calls of a socket take: ``(host, port)``."""

from __future__ import annotations

import operator
import socket as stdlib_socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import trio

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address

AddressFormat: TypeAlias = Any

ANY: Final = IPv4Address("0.0.0.0")


async def resolved(address: AddressFormat) -> tuple[Address, int]:
    """The address and port; a name is looked up by trio."""
    known = parsed(address)
    if known is not None:
        return known
    host, port = address
    family, kind = stdlib_socket.AF_INET, stdlib_socket.SOCK_STREAM
    found = await trio.socket.getaddrinfo(host, port, family, kind)
    return IPv4Address(cast("str", found[0][4][0])).packed, port


def resolved_now(address: AddressFormat) -> tuple[Address, int]:
    """As :func:`resolved`, as a plain call: looking up a name blocks the event loop."""
    known = parsed(address)
    if known is not None:
        return known
    name, port = address
    return IPv4Address(stdlib_socket.gethostbyname(name)).packed, port


def parsed(address: AddressFormat) -> tuple[Address, int] | None:
    """The address and port; None if there is a name that must be looked up."""
    if not isinstance(address, tuple) or len(address) != 2:
        raise ValueError("address should be a (host, port) tuple")
    host, port = address
    port = operator.index(port)
    if not 0 <= port <= 65535:
        raise OverflowError("port must be 0-65535.")
    if host in ("", b""):
        return ANY.packed, port
    if isinstance(host, str):
        try:
            return IPv4Address(host).packed, port
        except ValueError:
            pass
    return None


__all__ = ["ANY", "AddressFormat", "parsed", "resolved", "resolved_now"]
