"""Which connection or listener a segment belongs to, and which ports are taken."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container
    from typing import Self

    from tunstack.ip.datagram import Address

EPHEMERAL_PORTS: Final = range(32768, 61000)
"""Linux's net.ipv4.ip_local_port_range."""


class RandomSource(Protocol):
    """What is asked of a `random.Random`."""

    def randrange(self, stop: int, /) -> int:
        """Return a number below `stop`."""
        ...


C = TypeVar("C")
L = TypeVar("L")


class FourTuple(NamedTuple):
    """What names a connection (RFC 9293 section 3.4)."""

    local: Address
    local_port: int
    remote: Address
    remote_port: int

    @property
    def incoming(self) -> bytes:
        """Addresses and ports as they stand in the packets that come: the remote's first."""
        return _incoming(*self)

    @classmethod
    def from_incoming(cls, name: bytes) -> Self:
        """What `incoming` has made `name` of."""
        size = len(name) // 2 - 2
        remote_port = int.from_bytes(name[-4:-2], "big")
        local_port = int.from_bytes(name[-2:], "big")
        return cls(name[size : 2 * size], local_port, name[:size], remote_port)

    @property
    def packed(self) -> bytes:
        """All of it as bytes, for keyed hashes."""
        ports = self.local_port.to_bytes(2, "big") + self.remote_port.to_bytes(2, "big")
        return self.local + self.remote + ports


def _incoming(local: Address, local_port: int, remote: Address, remote_port: int) -> bytes:
    return remote + local + (remote_port << 16 | local_port).to_bytes(4, "big")


class _Port:
    """A local port in use: by connections, by sockets that are bound to it, or both."""

    __slots__ = ("bound", "connections")

    def __init__(self) -> None:
        self.connections = 0
        self.bound: list[tuple[Address | None, bool]] = []


class Demultiplexer(Generic[C, L]):
    """Connections by their four-tuple, listeners by their local address, ports by who uses them.

    An address of None stands for every address of the host.
    """

    def __init__(self, rng: RandomSource) -> None:
        self._rng = rng
        self.incoming: dict[bytes, C] = {}
        """All connections, by `FourTuple.incoming`: the name that their packets bring along."""
        self.waiting: Container[bytes] = ()
        """Names, as `FourTuple.incoming`, that are taken by what is left of connections."""
        self._listeners: dict[tuple[Address | None, int], L] = {}
        self._ports: dict[int, _Port] = {}

    @property
    def connections(self) -> Collection[C]:
        """All connections, in the order in which they were added."""
        return self.incoming.values()

    # Connections

    def find(self, four_tuple: tuple[Address, int, Address, int]) -> C | None:
        """Return the connection of a four-tuple, or of a plain tuple of its fields; or None."""
        return self.incoming.get(_incoming(*four_tuple))

    def add(self, four_tuple: FourTuple, connection: C) -> None:
        """Add a connection.

        Raises:
            OSError: EADDRNOTAVAIL, as on Linux: there is one with this name.
        """
        incoming = four_tuple.incoming
        if incoming in self.incoming or incoming in self.waiting:
            raise _not_available()
        self.incoming[incoming] = connection
        port = self._ports.get(four_tuple.local_port)
        if port is None:
            port = self._ports[four_tuple.local_port] = _Port()
        port.connections += 1

    def remove(self, four_tuple: FourTuple, connection: C) -> None:
        """Remove a connection; no matter if it is gone, or if its name is another's by now."""
        if self.leave(four_tuple, connection):
            self.free(four_tuple.local_port)

    def leave(self, four_tuple: FourTuple, connection: C) -> bool:
        """Remove a connection, and leave its port taken until :meth:`free`; False if it is gone."""
        incoming = four_tuple.incoming
        if self.incoming.get(incoming) is not connection:
            return False
        del self.incoming[incoming]
        return True

    def come_back(self, four_tuple: FourTuple, connection: C) -> None:
        """Undo :meth:`leave`, for another connection perhaps."""
        self.incoming[four_tuple.incoming] = connection

    def free(self, local_port: int) -> None:
        """What has left a connection's port taken is over."""
        port = self._ports[local_port]
        port.connections -= 1
        self._drop_if_free(local_port, port)

    # Listeners

    def find_listener(self, address: Address, port: int) -> L | None:
        """Return the listener for a SYN to `address` and `port`: the closest match, or None."""
        listener = self._listeners.get((address, port))
        return self._listeners.get((None, port)) if listener is None else listener

    def listen(self, address: Address | None, port: int, listener: L) -> None:
        """Add a listener on a port that is bound.

        Raises:
            OSError: EADDRINUSE, somebody listens there.
        """
        taken = {at for at, number in self._listeners if number == port}
        if taken and (address is None or None in taken or address in taken):
            raise _in_use()
        self._listeners[address, port] = listener

    def unlisten(self, address: Address | None, port: int) -> None:
        """Remove a listener."""
        del self._listeners[address, port]

    # Ports

    def bind(self, address: Address | None, port: int, *, reuse: bool) -> int:
        """Take a local port, any free one if it is 0; returns which. :meth:`unbind` gives it back.

        With `reuse` (SO_REUSEADDR) it may be shared with connections, such as those in TIME-WAIT,
        and with other sockets that say `reuse`, as long as only one listens.

        Raises:
            OSError: EADDRINUSE, it is taken, or there is no free one.
        """
        if port == 0:
            port = self._free_port()
        entry = self._ports.get(port)
        if entry is not None:
            listening = {at for at, number in self._listeners if number == port}
            for at, shares in entry.bound:
                if _overlap(at, address) and not (reuse and shares and at not in listening):
                    raise _in_use()
            if entry.connections and not entry.bound and not reuse:
                raise _in_use()
        self._ports.setdefault(port, _Port()).bound.append((address, reuse))
        return port

    def unbind(self, address: Address | None, port: int, *, reuse: bool) -> None:
        """Give back what :meth:`bind` took."""
        entry = self._ports[port]
        entry.bound.remove((address, reuse))
        self._drop_if_free(port, entry)

    def ephemeral_port(
        self,
        local: Address,
        remote: Address,
        remote_port: int,
        *,
        reusable: Callable[[bytes], bool] | None = None,
    ) -> int:
        """Choose a local port for a connection, at random: RFC 6056, algorithm 1.

        A port is shared with connections to elsewhere, never with a socket that is bound to it.
        One whose connection of the same name is in TIME-WAIT is taken if there is no other, and
        `reusable` is true of that name, as `FourTuple.incoming` has it.

        Raises:
            OSError: EADDRNOTAVAIL, all are in use.
        """
        first = self._rng.randrange(len(EPHEMERAL_PORTS))
        last_resort: int | None = None
        for number in range(len(EPHEMERAL_PORTS)):
            port = EPHEMERAL_PORTS[(first + number) % len(EPHEMERAL_PORTS)]
            entry = self._ports.get(port)
            if entry is None:
                return port
            name = _incoming(local, port, remote, remote_port)
            if entry.bound or name in self.incoming:
                continue
            if name not in self.waiting:
                return port
            if last_resort is None and reusable is not None and reusable(name):
                last_resort = port
        if last_resort is not None:
            return last_resort
        raise _not_available()

    def _free_port(self) -> int:
        first = self._rng.randrange(len(EPHEMERAL_PORTS))
        for number in range(len(EPHEMERAL_PORTS)):
            port = EPHEMERAL_PORTS[(first + number) % len(EPHEMERAL_PORTS)]
            if port not in self._ports:
                return port
        raise _in_use()

    def _drop_if_free(self, number: int, port: _Port) -> None:
        if not port.connections and not port.bound:
            del self._ports[number]


def _overlap(one: Address | None, other: Address | None) -> bool:
    return one is None or other is None or one == other


def _not_available() -> OSError:
    return OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")


def _in_use() -> OSError:
    return OSError(errno.EADDRINUSE, "Address already in use")
