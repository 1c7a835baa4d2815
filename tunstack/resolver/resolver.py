"""Looks up names as getaddrinfo(3) and getnameinfo(3) do, over a host's own network."""

from __future__ import annotations

import socket
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.ip.selection import Candidate
from tunstack.resolver.ordering import ordered
from tunstack.resolver.wanted import Wanted, as_name, gaierror, numeric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.dns.names import Names
    from tunstack.resolver.look_ups import LookUps
    from tunstack.resolver.messages import RandomSource
    from tunstack.socket.endpoint import Endpoint

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_NAMEREQD: Final = socket.NI_NAMEREQD
PORT: Final = 53


@final
class Resolver(trio.abc.HostnameResolver):
    """Resolves names over a host's UDP and TCP; made by `Host.use_nameservers`.

    dnspython is imported at the first look-up: most hosts never make one.

    Args:
        host: The host.
        nameservers: Their addresses, the first of which is asked first.
        rng: For what others are not to guess.
        names: Names that are known without asking: what is in their zones is asked for nowhere.
        port: Of the name servers.
        timeout: Seconds to wait for an answer to the first query; twice as many after each round.
        rounds: How often each name server is asked.

    Raises:
        ValueError: what is no address.
    """

    def __init__(
        self,
        host: Endpoint,
        nameservers: Iterable[str],
        *,
        rng: RandomSource,
        names: Names | None = None,
        port: int = PORT,
        timeout: float = 1.0,
        rounds: int = 3,
    ) -> None:
        self.nameservers = tuple(nameservers)
        self._families = [_FAMILIES[ip_address(each).version] for each in self.nameservers]
        self._host = host
        self._rng = rng
        self._names = names
        self._port = port
        self._timeout = timeout
        self._rounds = rounds

    @cached_property
    def _look_ups(self) -> LookUps:
        from tunstack.resolver.exchange import Exchange, Server
        from tunstack.resolver.look_ups import LookUps

        host = self._host
        servers = [
            Server(family, each, self._port)
            for family, each in zip(self._families, self.nameservers, strict=True)
        ]
        usable = [each for each in servers if host.has_family(each.family)]
        exchange = Exchange(host, usable, self._timeout, self._rounds, self._rng)
        return LookUps(host, exchange, self._names)

    def statistics(self) -> dict[str, int]:
        """Return all counters: those of `Exchange.counts`, ``cache_hits``, ``known_names``."""
        return self._look_ups.statistics()

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

        The order of addresses is that of RFC 6724. AI_ADDRCONFIG leaves out the families that the
        host has no address of. REFUSED and SERVFAIL are EAI_AGAIN, as with glibc.
        """
        await trio.lowlevel.checkpoint()
        wanted = Wanted(port, family, type, proto, flags)
        known = numeric(host, wanted)
        if known is not None or host is None:
            return known or []
        wanted.check()
        found = await self._look_ups.addresses(as_name(host), family, flags)
        addresses = [address for answer in found for address in answer.data]
        own = [
            Candidate(each.ip.packed, each.network.prefixlen)
            for each in self._host.stack.interfaces
        ]
        canonical = ""
        if flags & socket.AI_CANONNAME:
            answered = next(each for each in found if each.data)
            canonical = answered.canonical.canonicalize().to_text(omit_final_dot=True)
        return wanted.all_entries(ordered(addresses, own), canonical)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """Look up the name of an address; arguments, result and errors as of `getnameinfo`."""
        await trio.lowlevel.checkpoint()
        address, service = socket.getnameinfo(sockaddr, flags & ~_NAMEREQD | socket.NI_NUMERICHOST)
        if flags & socket.NI_NUMERICHOST:
            return address, service
        name = await self._look_ups.name_of(address.partition("%")[0])
        if name is None and flags & _NAMEREQD:
            raise gaierror(socket.EAI_NONAME)
        return name or address, service
