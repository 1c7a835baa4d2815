"""The addresses that calls of a socket take and return, in each family's form.

==========  =======================================================================================
AF_INET     ``(host, port)``
AF_INET6    ``(host, port[, flowinfo[, scope_id]])``. IPv4 addresses are mapped, as in
            ``"::ffff:198.51.100.1"`` (RFC 3493 section 3.7); a link-local address has the scope id
            of the host's one interface, 1
==========  =======================================================================================

Within tunstack an address is packed bytes, and an IPv4 address is one of four octets, whichever
family the socket has.
"""

from __future__ import annotations

import errno
import operator
import socket as stdlib_socket
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from tunstack.ip.address import text, unmapped
from tunstack.ip.errors import os_error
from tunstack.ip.family import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.ip.datagram import Address
    from tunstack.socket.endpoint import NameResolver

AddressFormat: TypeAlias = Any

_AF_INET: Final = stdlib_socket.AF_INET
_AF_INET6: Final = stdlib_socket.AF_INET6
_SCOPE_ID: Final = 1
"""The index of the host's one interface."""
_FLOW_LABELS: Final = 1 << 20
_WILDCARD: Final[dict[int, Address]] = {each.number: each.wildcard for each in FAMILIES}


def wildcard(family: int) -> Address:
    """Return the unspecified address of a family."""
    return _WILDCARD[family]


async def resolved(
    address: AddressFormat,
    family: int = _AF_INET,
    *,
    v6only: bool = False,
    resolver: NameResolver | None = None,
) -> tuple[Address, int]:
    """Return the address and port; a name is looked up by the resolver, or by trio.

    Raises:
        OSError: `socket.gaierror`; ENETUNREACH for IPv4 and `v6only`.
        ValueError, OverflowError: it is no address of the family.
    """
    known = parsed(address, family, v6only=v6only)
    if known is not None:
        return known
    host, port = address[:2]
    flags = _lookup_flags(family, v6only=v6only)
    kind = stdlib_socket.SOCK_STREAM
    look_up = trio.socket.getaddrinfo if resolver is None else resolver.getaddrinfo
    found = await look_up(host, port, family, kind, flags=flags)
    return _packed(str(found[0][4][0])), port


def resolved_now(
    address: AddressFormat, family: int = _AF_INET, *, v6only: bool = False
) -> tuple[Address, int]:
    """As :func:`resolved`, as a plain call: looking up a name blocks the event loop."""
    known = parsed(address, family, v6only=v6only)
    if known is not None:
        return known
    host, port = address[:2]
    flags = _lookup_flags(family, v6only=v6only)
    kind = stdlib_socket.SOCK_STREAM
    found = stdlib_socket.getaddrinfo(host, port, family, kind, flags=flags)
    return _packed(str(found[0][4][0])), port


@contextmanager
def mapped_is_invalid() -> Iterator[None]:
    """As Linux: an IPv4 address is EINVAL to bind, where it is ENETUNREACH to connect to."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENETUNREACH:
            raise os_error(errno.EINVAL) from None
        raise


def _lookup_flags(family: int, *, v6only: bool) -> int:
    """As trio's sockets: a name with IPv4 addresses alone serves a dual-stack socket too."""
    return stdlib_socket.AI_V4MAPPED if family == _AF_INET6 and not v6only else 0


def parsed(
    address: AddressFormat, family: int = _AF_INET, *, v6only: bool = False
) -> tuple[Address, int] | None:
    """Return the address and port; None if there is a name that must be looked up.

    Raises:
        OSError: ENETUNREACH: it is an IPv4 address, and the socket is for IPv6 only.
        ValueError, OverflowError: it is no address of the family.
    """
    if family == _AF_INET6:
        return _parsed_ipv6(address, v6only=v6only)
    if not isinstance(address, tuple) or len(address) != 2:
        raise ValueError("address should be a (host, port) tuple")
    host, port = address[0], _port(address[1])
    if host in ("", b""):
        return bytes(4), port
    if isinstance(host, str):
        try:
            return IPv4Address(host).packed, port
        except ValueError:
            pass
    return None


def _parsed_ipv6(address: AddressFormat, *, v6only: bool) -> tuple[Address, int] | None:
    if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
        raise ValueError("address should be a (host, port, [flowinfo, [scopeid]]) tuple")
    host, port = address[0], _port(address[1])
    if len(address) > 2 and not 0 <= operator.index(address[2]) < _FLOW_LABELS:
        raise OverflowError("flowinfo must be 0-1048575.")
    if len(address) > 3 and not 0 <= operator.index(address[3]) < 1 << 32:
        raise OverflowError("scope_id must be 0-4294967295.")
    if host in ("", b""):
        return bytes(16), port
    if isinstance(host, str):
        try:
            found = _packed(host)
        except ValueError:
            return None
        if len(found) == 4 and v6only:
            raise os_error(errno.ENETUNREACH)
        return found, port
    return None


def _port(port: Any) -> int:
    port = operator.index(port)
    if not 0 <= port <= 65535:
        raise OverflowError("port must be 0-65535.")
    return int(port)


def _packed(host: str) -> Address:
    """Return the packed bytes of an address, without its zone; of a mapped one those of IPv4."""
    if ":" not in host:
        return IPv4Address(host).packed
    return unmapped(IPv6Address(host.partition("%")[0]).packed)


def sockaddr(address: Address, port: int, family: int = _AF_INET) -> tuple[Any, ...]:
    """Return an address and a port in the form of a family."""
    if family == _AF_INET:
        return text(address), port
    if len(address) == 4:
        return f"::ffff:{text(address)}", port, 0, 0
    is_link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
    return text(address), port, 0, _SCOPE_ID if is_link_local else 0


def printed(address: tuple[Any, ...]) -> str:
    """Return ``198.51.100.2:80`` or ``[2001:db8::2]:80`` (RFC 3986 section 3.2.2)."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


__all__ = [
    "AddressFormat",
    "mapped_is_invalid",
    "parsed",
    "printed",
    "resolved",
    "resolved_now",
    "sockaddr",
    "wildcard",
]
