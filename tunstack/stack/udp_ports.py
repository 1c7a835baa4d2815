"""UDP ports: sharing (SO_REUSEADDR, SO_REUSEPORT) and demultiplexing.

The rules are Linux's (udp_lib_lport_inuse, udp4_lib_lookup2).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, TypeVar
from zlib import crc32

from tunstack.ip.demux import EPHEMERAL_PORTS
from tunstack.ip.errors import os_error

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address
    from tunstack.ip.demux import RandomSource
    from tunstack.udp.sock import UdpSock

_K = TypeVar("_K")

_WILDCARDS: Final[dict[int, bytes]] = {4: bytes(4), 16: bytes(16)}
"""The unspecified address, by octets of an address."""


class UdpPorts:
    """The tables of UDP sockets: the connected ones by four-tuple, the others by address and port.

    A name is what identifies a datagram that was received: addresses and ports as in its headers.
    """

    def __init__(self, rng: RandomSource) -> None:
        """Make it empty; `rng` chooses ports, and the key by which SO_REUSEPORT shares the load."""
        self._rng = rng
        self._key: int | None = None
        self._connected: dict[bytes, list[UdpSock]] = {}
        self._bound: dict[bytes, list[UdpSock]] = {}
        self._ports: dict[int, list[UdpSock]] = {}
        self._taken = bytearray(len(EPHEMERAL_PORTS))

    def find(self, name: bytes) -> UdpSock | None:
        """Return the socket that a datagram is for.

        First the sockets that are connected to its source, then those that are bound to its
        destination address, then those that are bound to every address. Of several it is the
        latest, as on Linux; or, with SO_REUSEPORT, one of them by a hash of the name.
        """
        connected = self._connected.get(name)
        if connected is not None:
            return connected[-1]
        size = (len(name) >> 1) - 2
        port = name[-2:]
        bound = self._bound
        found = bound.get(name[size : size << 1] + port)
        if found is None:
            found = bound.get(_WILDCARDS[size] + port)
            if found is None:
                found = bound.get(port)
                if found is None:
                    return None
        sock = found[-1]
        if sock.reuse_port and len(found) > 1:
            return self._share(name, [each for each in found if each.reuse_port])
        return sock

    def _share(self, name: bytes, socks: list[UdpSock]) -> UdpSock:
        if self._key is None:
            self._key = self._rng.randrange(1 << 32)
        return socks[crc32(name, self._key) % len(socks)]

    @property
    def sockets(self) -> list[UdpSock]:
        """All sockets that have a port."""
        return [sock for socks in self._ports.values() for sock in socks]

    def bind(self, sock: UdpSock, local: Address | None, port: int) -> None:
        """Give `sock`, which has none, an address and a port; any that is free if it is 0.

        Raises:
            OSError: EADDRINUSE.
        """
        if port == 0:
            port = self._free_port(sock, local)
        elif self._is_refused(sock, local, port):
            raise os_error(errno.EADDRINUSE)
        sock.local, sock.port = local, port
        self._ports.setdefault(port, []).append(sock)
        self._mark(port, 1)
        self._enter(sock)

    def connect(self, sock: UdpSock, local: Address, remote: Address, port: int) -> None:
        """Connect `sock`, which has a port: it receives from `remote` and `port` alone."""
        self._leave(sock)
        sock.local, sock.remote, sock.remote_port = local, remote, port
        self._enter(sock)

    def disconnect(self, sock: UdpSock) -> None:
        """Undo :meth:`connect`; a port that was not given by `bind` is released."""
        self._leave(sock)
        sock.local, sock.remote, sock.remote_port = sock.bound_to, None, 0
        if sock.keeps_port:
            self._enter(sock)
        else:
            self._release(sock)

    def remove(self, sock: UdpSock) -> None:
        """Release the port of `sock`, if it has one."""
        if sock.port:
            self._leave(sock)
            self._release(sock)

    def _release(self, sock: UdpSock) -> None:
        _remove(self._ports, sock.port, sock)
        if sock.port not in self._ports:
            self._mark(sock.port, 0)
        sock.port = 0

    def _enter(self, sock: UdpSock) -> None:
        table = self._bound if sock.remote is None else self._connected
        table.setdefault(_key(sock), []).append(sock)

    def _leave(self, sock: UdpSock) -> None:
        table = self._bound if sock.remote is None else self._connected
        _remove(table, _key(sock), sock)

    def _is_refused(self, sock: UdpSock, local: Address | None, port: int) -> bool:
        return any(
            _overlap(other.local, local)
            and not (other.reuse_address and sock.reuse_address)
            and not (other.reuse_port and sock.reuse_port)
            for other in self._ports.get(port, ())
        )

    def _free_port(self, sock: UdpSock, local: Address | None) -> int:
        """Return an unused ephemeral port, else one that `sock` may share."""
        count = len(EPHEMERAL_PORTS)
        first = self._rng.randrange(count)
        unused = self._taken.find(0, first)
        if unused < 0:
            unused = self._taken.find(0)
        if unused >= 0:
            return EPHEMERAL_PORTS[unused]
        for number in range(count):
            port = EPHEMERAL_PORTS[(first + number) % count]
            if not self._is_refused(sock, local, port):
                return port
        raise os_error(errno.EADDRINUSE)

    def _mark(self, port: int, taken: int) -> None:
        if port in EPHEMERAL_PORTS:
            self._taken[port - EPHEMERAL_PORTS.start] = taken


def _key(sock: UdpSock) -> bytes:
    port = sock.port.to_bytes(2, "big")
    if sock.remote is None:
        return port if sock.local is None else sock.local + port
    assert sock.local is not None
    return sock.remote + sock.local + sock.remote_port.to_bytes(2, "big") + port


def _remove(table: dict[_K, list[UdpSock]], key: _K, sock: UdpSock) -> None:
    socks = table[key]
    socks.remove(sock)
    if not socks:
        del table[key]


def _overlap(one: Address | None, other: Address | None) -> bool:
    """Whether a datagram may be for either: they are equal, or one is a wildcard for the other."""
    if one is None or other is None or one == other:
        return True
    return len(one) == len(other) and not (any(one) and any(other))
