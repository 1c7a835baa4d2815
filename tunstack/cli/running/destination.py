"""The destination of `connect` and `ping`: an address, or the name of one that can be reached."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import trio

from tunstack.cli.status import Failure

if TYPE_CHECKING:
    import tunstack

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_EXAMPLES: Final = {
    socket.AF_INET: ("IPv4", "198.51.100.2/24"),
    socket.AF_INET6: ("IPv6", "2001:db8::2/64"),
}


async def find(ours: tunstack.Host, host: str) -> tuple[int, str]:
    """Return the family and the address of `host`: of a name, its first of a family that we have.

    Raises:
        Failure: there is no such name, or we have no address of its family.
    """
    try:
        version = ip_address(host.partition("%")[0]).version
        found: list[tuple[int, str]] = [(_FAMILIES[version], host)]
    except ValueError:
        try:
            looked_up = await trio.socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
        except OSError:
            raise Failure(f"{host}: neither an address nor the name of one") from None
        found = [(int(each[0]), str(each[4][0])) for each in looked_up]
    of_ours = {_FAMILIES[each.version] for each in ours.addresses}
    for family, address in found:
        if family in of_ours:
            return family, address
    name, example = _EXAMPLES[socket.AddressFamily(found[0][0])]
    raise Failure(f"{host}: tunstack has no {name} address: give one too, as --address {example}")
