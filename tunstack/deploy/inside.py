"""The network of a namespace, as the sockets of this process see it: see `Namespace.sockets`."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.ip.selection import Candidate
from tunstack.resolver.ordering import ordered
from tunstack.resolver.wanted import Found, Wanted, gaierror, numeric, plain
from tunstack.socket.kernel import original

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tunstack.deploy.naming import Naming
    from tunstack.link.netns import NetworkNamespace

_LOOPBACK: Final[dict[int, str]] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_PREFIXES: Final = {socket.AF_INET: 24, socket.AF_INET6: 64}
_SEARCHED: Final = "test"
"""The domain that is searched, as in the resolv.conf of programs."""
_HOST_NOT_FOUND: Final = 1  # netdb.h


@final
class Inside:
    """Creates sockets in a namespace, and looks up names as its programs do, but without asking.

    Args:
        network: The namespace.
        naming: The names that it has at the moment.
    """

    def __init__(self, network: NetworkNamespace, naming: Naming) -> None:
        self.name = f"the namespace of process {network.pid}"
        self._network = network
        self._naming = naming
        self._devices: list[tuple[str, ...]] = []

    @contextmanager
    def reached_from(self, kernel_addresses: tuple[str, ...]) -> Iterator[None]:
        """The kernel has these addresses on the device of a host while the block runs."""
        self._devices.append(kernel_addresses)
        try:
            yield
        finally:
            self._devices.remove(kernel_addresses)

    def descriptor(self, family: int, type: int, proto: int) -> int:
        """Create a kernel socket; a namespace that has ended is ENETDOWN."""
        try:
            return self._network.socket_descriptor(family, type, proto)
        except trio.ClosedResourceError as error:
            why = f"{os.strerror(errno.ENETDOWN)}: {error}"
            raise OSError(errno.ENETDOWN, why) from None

    def look_up(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Do what `function` of `socket` does."""
        return getattr(self, function)(*args, **kwargs)

    def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As `socket.getaddrinfo`; the order of addresses is that of RFC 6724."""
        local = flags & ~socket.AI_ADDRCONFIG  # The machine's addresses are not asked for.
        wanted = Wanted(port, family, type, proto, local)
        if host is None or flags & socket.AI_NUMERICHOST:
            numbers: list[Any] = original["getaddrinfo"](host, port, family, type, proto, local)
            return numbers
        known = numeric(host, wanted)
        if known is not None:
            return known
        wanted.check()
        families = [family] if family else [*_LOOPBACK]
        if family == socket.AF_INET6 and flags & socket.AI_V4MAPPED:
            families.append(socket.AF_INET)
        own = [_candidate(each) for each in sum(self._devices, ())]
        if flags & socket.AI_ADDRCONFIG and own:
            sizes = {len(each.address) for each in own}
            families = [each for each in families if _SIZES[each] in sizes]
        found = self._find(host, families)
        by_family = found.addresses
        if by_family.get(socket.AF_INET6) and family and not flags & socket.AI_ALL:
            by_family.pop(socket.AF_INET, None)
        addresses = [address for each in by_family.values() for address in each]
        if not addresses:
            raise gaierror(socket.EAI_NODATA)
        if "127.0.0.1" in addresses or "::1" in addresses:
            own = _LOOPBACK_CANDIDATES
        return wanted.all_entries(ordered(addresses, own), found.name)

    def gethostbyname(self, hostname: str) -> str:
        """As `socket.gethostbyname`."""
        return self.gethostbyname_ex(hostname)[2][0]

    def gethostbyname_ex(self, hostname: str) -> tuple[str, list[str], list[str]]:
        """As `socket.gethostbyname_ex`."""
        if hostname in ("", "<broadcast>") or _is_address(hostname, socket.AF_INET):
            return hostname, [], [original["gethostbyname"](hostname)]
        found = self._find(hostname, [socket.AF_INET])
        if not found.addresses[socket.AF_INET]:
            raise gaierror(socket.EAI_NODATA)
        return found.name, found.aliases, found.addresses[socket.AF_INET]

    def gethostbyaddr(self, ip_address: str) -> tuple[str, list[str], list[str]]:
        """As `socket.gethostbyaddr`; a name is looked up first."""
        address = self.getaddrinfo(ip_address, None, type=socket.SOCK_STREAM)[0][4][0]
        name = self._name_of(address)
        if name is None:
            raise socket.herror(_HOST_NOT_FOUND, "Unknown host")
        return name, [], [address]

    def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """As `socket.getnameinfo`."""
        numeric_flags = flags & ~socket.NI_NAMEREQD | socket.NI_NUMERICHOST
        address, service = original["getnameinfo"](sockaddr, numeric_flags)
        if flags & socket.NI_NUMERICHOST:
            return address, service
        name = self._name_of(address.partition("%")[0])
        if name is None and flags & socket.NI_NAMEREQD:
            raise gaierror(socket.EAI_NONAME)
        return name or address, service

    def _find(self, host: bytes | str, families: Iterable[int]) -> Found:
        """Look up a name.

        Raises:
            socket.gaierror: EAI_NONAME, there is no such name.
            UnicodeError: it cannot be one.
        """
        text = (host.encode("idna") if isinstance(host, str) else host).decode("latin-1")
        if plain(text).rpartition(".")[2] == "localhost":
            at_home = {each: [_LOOPBACK[each]] for each in families}
            return Found(plain(text), [], at_home)
        names = self._naming.current
        if names is not None:
            from tunstack.resolver.known import known  # here, as it needs dnspython

            for candidate in _candidate_names(text):
                found = known(names, candidate, families)
                if found is not None:
                    return found
        raise gaierror(socket.EAI_NONAME)

    def _name_of(self, address: str) -> str | None:
        """Return the name of an address (PTR), or None."""
        if address in _LOOPBACK.values():
            return "localhost"
        names = self._naming.current
        if names is None:
            return None
        from tunstack.resolver.known import name_of

        return name_of(names, address)


_SIZES: Final[dict[int, int]] = {socket.AF_INET: 4, socket.AF_INET6: 16}


def _candidate(address: str) -> Candidate:
    """An address of the kernel's as a source address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return Candidate(socket.inet_pton(family, address), _PREFIXES[family])


_LOOPBACK_CANDIDATES: Final = [_candidate(each) for each in _LOOPBACK.values()]


def _candidate_names(text: str) -> list[str]:
    """The names that a text may stand for: with the domain that is searched, as glibc does."""
    if text.endswith("."):
        return [text]
    searched = f"{text}.{_SEARCHED}"
    return [text, searched] if "." in text else [searched, text]


def _is_address(text: str, family: int) -> bool:
    try:
        return bool(original["getaddrinfo"](text, None, family, 0, 0, socket.AI_NUMERICHOST))
    except socket.gaierror:
        return False
