"""Which resolver a host uses, and how it gets one of its own."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, cast

from tunstack.host.loop import Loop

if TYPE_CHECKING:
    import random

    from tunstack.dns.names import Names
    from tunstack.link.base import Link
    from tunstack.resolver.resolver import Resolver
    from tunstack.socket.endpoint import Endpoint, NameResolver
    from tunstack.stack.stack import Stack


class ResolvingLoop(Loop):
    """A host's loop, and what looks up names for the host."""

    def __init__(self, link: Link, stack: Stack, rng: random.Random) -> None:
        super().__init__(link, stack)
        self._rng = rng
        self._resolver: NameResolver | None = None

    @property
    def rng(self) -> random.Random:
        """Its source of random numbers; with a seed the run can be repeated."""
        return self._rng

    @property
    def resolver(self) -> NameResolver | None:
        """See :attr:`tunstack.Host.resolver`."""
        return self._resolver

    def use_resolver(self, resolver: NameResolver | None) -> None:
        """See :meth:`tunstack.Host.use_resolver`."""
        self._resolver = resolver

    def use_nameservers(
        self,
        *nameservers: str,
        names: Names | None = None,
        port: int = 53,
        timeout: float = 1.0,
        rounds: int = 3,
    ) -> Resolver:
        """See :meth:`tunstack.Host.use_nameservers`."""
        import tunstack.dns  # noqa: F401 # It says what to install.
        from tunstack.resolver.resolver import Resolver

        resolver = Resolver(
            cast("Endpoint", self),  # A host is one.
            nameservers or self._neighbours(),
            rng=self._rng,
            names=names,
            port=port,
            timeout=timeout,
            rounds=rounds,
        )
        self._resolver = resolver
        return resolver

    def _neighbours(self) -> list[str]:
        """The first address of each network that is not ours."""
        own = self.stack.addresses.local
        found: list[str] = []
        for interface in self.stack.interfaces:
            start = int(interface.network.num_addresses > 2)
            few = [str(each) for each in islice(interface.network, start, 8)]
            other = next((each for each in few if ip_address(each).packed not in own), None)
            if other is not None and other not in found:
                found.append(other)
        return found
