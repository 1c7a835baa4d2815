"""Look-ups within a network: the names of its hosts, with no DNS server."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.host.host import loop_of
from tunstack.ip.selection import Candidate
from tunstack.resolver.ordering import ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunstack.host.host import Host

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_SAID: Final = {
    socket.EAI_NONAME: "Name or service not known",
    socket.EAI_NODATA: "No address associated with hostname",
}


def checked_name(name: str) -> str:
    """Return a host's name in lower case.

    Raises:
        ValueError: It is no host name, as ``"server"`` or ``"api.example.test"``.
    """
    lower = name.lower().removesuffix(".")
    labels = lower.split(".")
    if not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit() or lower == "localhost":
        raise ValueError(f"{name!r} is no host name: write it as 'server' or 'api.example.test'")
    return lower


@final
class NetworkNames(trio.abc.HostnameResolver):
    """Looks up names for a host of a network.

    ``localhost`` is the host itself by its own addresses, as it has no loopback interface.

    Args:
        host: The host.
        find: Returns the addresses of a name; none if there is no such name.
        reverse: Returns the name of an address, or None.
    """

    def __init__(
        self,
        host: Host,
        find: Callable[[str], Sequence[str]],
        reverse: Callable[[bytes], str | None],
    ) -> None:
        self._host = host
        self._find = find
        self._reverse = reverse

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a name; arguments, result and errors as of `socket.getaddrinfo`.

        The order of addresses is that of RFC 6724.
        """
        await trio.lowlevel.checkpoint()
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        numeric = flags | socket.AI_NUMERICHOST
        try:
            # Octets, as the labels of a `str` would be checked.
            octets = None if name is None else name.encode()
            return socket.getaddrinfo(octets, port, family, type, proto, numeric)
        except socket.gaierror as error:
            if name is None or error.errno != socket.EAI_NONAME or numeric == flags:
                raise
        entries: list[Any] = []
        for address in self._addresses(name, family, flags):
            at = 0 if ":" in address else family
            mapped = f"::ffff:{address}" if at == socket.AF_INET6 else address
            entries += socket.getaddrinfo(mapped, port, 0, type, proto, numeric)
        if flags & socket.AI_CANONNAME:
            entries[0] = (*entries[0][:3], name, entries[0][4])
        return entries

    def _addresses(self, name: str, family: int, flags: int) -> list[str]:
        """Return the addresses of a family, or for 0 of those that the host has; at least one.

        Raises:
            socket.gaierror: EAI_NONAME, EAI_NODATA.
        """
        own = [each.ip for each in self._host.addresses]
        name = name.lower().removesuffix(".")
        found = [str(each) for each in own] if name == "localhost" else [*self._find(name)]
        if not found:
            raise _error(socket.EAI_NONAME)
        of_version: dict[int, list[str]] = {
            socket.AF_INET: [each for each in found if ":" not in each],
            socket.AF_INET6: [each for each in found if ":" in each],
        }
        if family == socket.AF_INET6 and flags & socket.AI_V4MAPPED:
            chosen = of_version[family] or found
        elif family:
            chosen = of_version.get(family, [])
        else:
            chosen = [
                e
                for each, of in of_version.items()
                if loop_of(self._host).has_family(each)
                for e in of
            ]
        if not chosen:
            raise _error(socket.EAI_NODATA)
        sources = [Candidate(e.ip.packed, e.network.prefixlen) for e in self._host.addresses]
        return ordered(chosen, sources)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """Look up the name of an address; arguments, result and errors as of `getnameinfo`."""
        await trio.lowlevel.checkpoint()
        numeric = flags & ~socket.NI_NAMEREQD | socket.NI_NUMERICHOST
        address, service = socket.getnameinfo(sockaddr, numeric)
        if flags & socket.NI_NUMERICHOST:
            return address, service
        name = self._reverse(ip_address(address.partition("%")[0]).packed)
        if name is None and flags & socket.NI_NAMEREQD:
            raise _error(socket.EAI_NONAME)
        return name or address, service


def _error(number: int) -> socket.gaierror:
    return socket.gaierror(number, _SAID[number])
