"""DNS (RFC 1035): answers queries about names, over UDP and TCP; :mod:`tunstack.dns` has it all.

Without names of its own it serves ``peer.test``, at the default addresses of a host.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tunstack import DnsServer, Names

if TYPE_CHECKING:
    import trio

_DEFAULT: Final = Names(own=("198.51.100.2", "2001:db8::2"))


def load() -> None:
    """Import what answers queries."""
    serving(_DEFAULT)


@lru_cache(maxsize=16)
def serving(names: Names) -> DnsServer:
    """Return the server of names, the same for TCP and UDP, ready for the first query."""
    _ = names.zones
    return DnsServer(names)


async def handler(stream: trio.abc.Stream) -> None:
    """Answer the queries of a connection."""
    await serving(_DEFAULT).handler(stream)


async def datagram_handler(sock: trio.socket.SocketType) -> None:
    """Answer the datagrams of a bound socket, until cancelled."""
    await serving(_DEFAULT).datagram_handler(sock)
