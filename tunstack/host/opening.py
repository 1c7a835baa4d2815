"""Sockets that are bound or connected when a host returns them, or closed if that fails."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.socket import Socket

S = TypeVar("S", bound=trio.socket.SocketType)


def family_of(address: str) -> int:
    """Return AF_INET or AF_INET6; raises ValueError for what is no address."""
    version = ip_address(address.partition("%")[0]).version
    return trio.socket.AF_INET if version == 4 else trio.socket.AF_INET6


async def connected(sock: Socket, address: tuple[Any, ...], local_address: str | None) -> Socket:
    """Connect `sock`, from `local_address` if that is given, and return it."""
    try:
        if local_address is not None:
            await sock.bind((local_address, 0))
        await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


async def bound(
    make: Callable[[int], S],
    addresses: Iterable[tuple[int, str]],
    port: int,
    *,
    backlog: int | None = None,
) -> list[S]:
    """Return a socket for each address, IPv6 ones for IPv6 only, all bound to the same port.

    Args:
        make: Creates a socket of a family.
        addresses: Family and address; ``""`` for all of the family.
        port: 0 for any that is free.
        backlog: If it is given, they listen with it.
    """
    socks: list[S] = []
    try:
        for family, address in addresses:
            sock = make(family)
            socks.append(sock)
            if family == trio.socket.AF_INET6:
                sock.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 1)
            if backlog is not None:
                sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            await sock.bind((address, port))
            port = sock.getsockname()[1]
        if backlog is not None:
            for sock in socks:
                sock.listen(backlog)
    except BaseException:
        for sock in socks:
            sock.close()
        raise
    return socks
