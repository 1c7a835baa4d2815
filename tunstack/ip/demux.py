"""Demultiplexing: connections by four-tuple, listeners by address and port, ports in use."""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, final

from tunstack.ip.family import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container

    from tunstack.ip.datagram import Address

EPHEMERAL_PORTS: Final[range] = range(32768, 61000)
"""Ports, as Linux's net.ipv4.ip_local_port_range."""

_SHARED_TRIES: Final = 16
"""Ports tried for one that connections can share, before an unused one is looked for."""


class RandomSource(Protocol):
    """The part of `random.Random` that is used."""

    def randrange(self, stop: int, /) -> int:
        """Return a number below `stop`."""
        ...


C = TypeVar("C")
L = TypeVar("L")


@final
class FourTuple:
    """The two sockets that identify a connection (RFC 9293 section 3.4).

    Attributes:
        local: Our address.
        local_port: Our port.
        remote: The peer's address.
        remote_port: Its port.
        incoming: The lookup key: addresses and ports in the order of received packets.
    """

    __slots__ = ("incoming", "local", "local_port", "remote", "remote_port")

    def __init__(self, local: Address, local_port: int, remote: Address, remote_port: int) -> None:
        self.local = local
        self.local_port = local_port
        self.remote = remote
        self.remote_port = remote_port
        self.incoming = _incoming(local, local_port, remote, remote_port)

    @staticmethod
    def from_incoming(name: bytes) -> FourTuple:
        """Return the four-tuple of the key `name`, the inverse of :attr:`incoming`."""
        size = len(name) // 2 - 2
        ports = int.from_bytes(name[-4:], "big")
        return FourTuple(name[size : 2 * size], ports & 0xFFFF, name[:size], ports >> 16)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FourTuple) and self.incoming == other.incoming

    def __hash__(self) -> int:
        return hash(self.incoming)

    def __repr__(self) -> str:
        ends = self.local, self.local_port, self.remote, self.remote_port
        return f"FourTuple{ends!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        return FourTuple, (self.local, self.local_port, self.remote, self.remote_port)

    @property
    def packed(self) -> bytes:
        """The four-tuple as bytes, for keyed hashes."""
        ports = (self.local_port << 16 | self.remote_port).to_bytes(4, "big")
        return self.local + self.remote + ports


def _incoming(local: Address, local_port: int, remote: Address, remote_port: int) -> bytes:
    return remote + local + (remote_port << 16 | local_port).to_bytes(4, "big")


class _Port(Generic[L]):
    """A local port of one family in use by connections, bound sockets, or both.

    The address None is every address of the family.

    Attributes:
        connections: Number of connections.
        bound: Number of bound sockets, by address.
        exclusive: Number of those without SO_REUSEADDR, by address.
        listening: The listeners, by address.
    """

    __slots__ = ("bound", "connections", "exclusive", "listening")

    def __init__(self) -> None:
        self.connections = 0
        self.bound: Counter[Address | None] = Counter()
        self.exclusive: Counter[Address | None] = Counter()
        self.listening: dict[Address | None, L] = {}

    def refuses(self, address: Address | None, *, reuse: bool) -> bool:
        """Whether binding one more socket at `address` is refused with EADDRINUSE."""
        if reuse:
            return _overlaps(self.exclusive, address) or _overlaps(self.listening, address)
        return _overlaps(self.bound, address) or (self.connections > 0 and not self.bound)


class _Ports(Generic[L]):
    """The ports of one family that are in use."""

    __slots__ = ("by_number", "taken")

    def __init__(self) -> None:
        self.by_number: dict[int, _Port[L]] = {}
        self.taken = bytearray(len(EPHEMERAL_PORTS))
        """Of each ephemeral port, 1 if it is in `by_number`."""

    def get(self, number: int) -> _Port[L]:
        """Return a port, which is in use from now on."""
        port = self.by_number.get(number)
        if port is None:
            port = self.by_number[number] = _Port()
            if number in EPHEMERAL_PORTS:
                self.taken[number - EPHEMERAL_PORTS.start] = 1
        return port

    def drop_if_free(self, number: int, port: _Port[L]) -> None:
        """Forget a port that nothing uses any more."""
        if not (port.connections or port.bound or port.listening):
            del self.by_number[number]
            if number in EPHEMERAL_PORTS:
                self.taken[number - EPHEMERAL_PORTS.start] = 0

    def unused(self, first: int) -> int | None:
        """Return the first unused ephemeral port from index `first` on, cyclically, or None."""
        index = self.taken.find(0, first)
        if index < 0:
            index = self.taken.find(0)
        return None if index < 0 else EPHEMERAL_PORTS[index]

    def refuses(self, address: Address | None, number: int, *, reuse: bool) -> bool:
        """Whether binding a socket is refused with EADDRINUSE."""
        port = self.by_number.get(number)
        return port is not None and port.refuses(address, reuse=reuse)


class Demultiplexer(Generic[C, L]):
    """The tables of connections, listeners and ports of one host.

    Each family has ports of its own. The address None is every address of the host, as Linux's
    ``::`` without IPV6_V6ONLY; a family's unspecified address (`Family.wildcard`) is every address
    of that family: ``0.0.0.0``, and ``::`` with IPV6_V6ONLY. Two sockets conflict where an address
    is both's.
    """

    def __init__(self, rng: RandomSource, detached: Callable[[C], None] | None = None) -> None:
        """Make it empty; `detached` is called with each connection that is removed."""
        self._rng = rng
        self._detached = detached
        self.incoming: dict[bytes, C] = {}
        """All connections, by `FourTuple.incoming`."""
        self.time_waits: Container[bytes] = ()
        """The four-tuples in TIME-WAIT, as `FourTuple.incoming`."""
        self._ports: dict[int, _Ports[L]] = {family.address_size: _Ports() for family in FAMILIES}
        """By octets of an address."""
        self._wildcards: dict[Address | None, tuple[_Ports[L], ...]] = {
            family.wildcard: (self._ports[family.address_size],) for family in FAMILIES
        }
        self._wildcards[None] = tuple(self._ports.values())

    @property
    def connections(self) -> Collection[C]:
        """All connections, in the order in which they were added."""
        return self.incoming.values()

    # Connections

    def find(self, four_tuple: FourTuple) -> C | None:
        """Return the connection of a four-tuple, or None."""
        return self.incoming.get(four_tuple.incoming)

    def add(self, four_tuple: FourTuple, connection: C) -> None:
        """Add a connection.

        Raises:
            OSError: EADDRNOTAVAIL, as on Linux: the four-tuple is in use.
        """
        incoming = four_tuple.incoming
        if incoming in self.incoming or incoming in self.time_waits:
            raise _not_available()
        self.incoming[incoming] = connection
        self._ports[len(four_tuple.local)].get(four_tuple.local_port).connections += 1

    def remove(self, four_tuple: FourTuple, connection: C) -> None:
        """Remove a connection and release its port, unless its four-tuple is another's by now."""
        if self.detach(four_tuple, connection):
            self.release_port(four_tuple.incoming)

    def detach(self, four_tuple: FourTuple, connection: C) -> bool:
        """Remove a connection but keep its port in use, for TIME-WAIT; False if it is gone."""
        incoming = four_tuple.incoming
        if self.incoming.get(incoming) is not connection:
            return False
        del self.incoming[incoming]
        if self._detached is not None:
            self._detached(connection)
        return True

    def reattach(self, four_tuple: FourTuple, connection: C) -> None:
        """Undo :meth:`detach`, perhaps with another connection."""
        self.incoming[four_tuple.incoming] = connection

    def release_port(self, incoming: bytes) -> None:
        """Release the port of `incoming`, a `FourTuple.incoming`, that :meth:`detach` kept."""
        number = int.from_bytes(incoming[-2:], "big")
        ports = self._ports[len(incoming) // 2 - 2]
        port = ports.by_number[number]
        port.connections -= 1
        ports.drop_if_free(number, port)

    # Listeners

    def find_listener(self, address: Address, port: int) -> L | None:
        """Return the listener for `address` and `port`, else that for the wildcard, or None."""
        entry = self._ports[len(address)].by_number.get(port)
        if entry is None:
            return None
        listener = entry.listening.get(address)
        return entry.listening.get(None) if listener is None else listener

    def listeners(self) -> list[tuple[Address | None, int, L]]:
        """Return all listeners, each with its address and port, in order of ports."""
        found: dict[int, tuple[Address | None, int, L]] = {}
        for family in FAMILIES:
            for number, port in self._ports[family.address_size].by_number.items():
                for address, listener in port.listening.items():
                    where = family.wildcard if address is None else address
                    both = id(listener) in found  # It listens in the family before, too.
                    found[id(listener)] = None if both else where, number, listener
        return sorted(found.values(), key=lambda each: each[1])

    def listen(self, address: Address | None, port: int, listener: L) -> None:
        """Add a listener on a port that is bound.

        Raises:
            OSError: EADDRINUSE: there is a listener.
        """
        families, key = self._split(address)
        for ports in families:
            entry = ports.by_number.get(port)
            if entry is not None and _overlaps(entry.listening, key):
                raise _in_use()
        for ports in families:
            ports.get(port).listening[key] = listener

    def unlisten(self, address: Address | None, port: int) -> None:
        """Remove a listener."""
        families, key = self._split(address)
        for ports in families:
            entry = ports.by_number[port]
            del entry.listening[key]
            ports.drop_if_free(port, entry)

    # Ports

    def bind(self, address: Address | None, port: int, *, reuse: bool) -> int:
        """Bind a local port, any free one if it is 0; returns the port. :meth:`unbind` undoes it.

        With `reuse` (SO_REUSEADDR) it may be shared with connections, such as those in TIME-WAIT,
        and with other sockets that have `reuse`, as long as only one listens.

        Raises:
            OSError: EADDRINUSE: the port is in use, or none is free.
        """
        families, key = self._split(address)
        if port == 0:
            port = self._free_port(families, key)
        for ports in families:
            if ports.refuses(key, port, reuse=reuse):
                raise _in_use()
        for ports in families:
            entry = ports.get(port)
            entry.bound[key] += 1
            if not reuse:
                entry.exclusive[key] += 1
        return port

    def unbind(self, address: Address | None, port: int, *, reuse: bool) -> None:
        """Undo :meth:`bind`."""
        families, key = self._split(address)
        for ports in families:
            entry = ports.by_number[port]
            _count_down(entry.bound, key)
            if not reuse:
                _count_down(entry.exclusive, key)
            ports.drop_if_free(port, entry)

    def ephemeral_port(
        self,
        local: Address,
        remote: Address,
        remote_port: int,
        *,
        reusable: Callable[[bytes], bool] | None = None,
    ) -> int:
        """Choose a random local port for a connection (RFC 6056, algorithm 1).

        A port may be shared with connections to other remote sockets, and with sockets bound to
        other addresses, not with a socket bound to this one, or to all. One
        with the same four-tuple in TIME-WAIT is chosen if there is no other and `reusable` returns
        true for it, a `FourTuple.incoming`.

        Raises:
            OSError: EADDRNOTAVAIL: all are in use.
        """
        ports = self._ports[len(local)]
        first = self._rng.randrange(len(EPHEMERAL_PORTS))
        last_resort: int | None = None
        for number in range(len(EPHEMERAL_PORTS)):
            if number == _SHARED_TRIES and (unused := ports.unused(first)) is not None:
                return unused
            port = EPHEMERAL_PORTS[(first + number) % len(EPHEMERAL_PORTS)]
            entry = ports.by_number.get(port)
            if entry is None:
                return port
            name = _incoming(local, port, remote, remote_port)
            if _overlaps(entry.bound, local) or name in self.incoming:
                continue
            if name not in self.time_waits:
                return port
            if last_resort is None and reusable is not None and reusable(name):
                last_resort = port
        if last_resort is not None:
            return last_resort
        raise _not_available()

    def _free_port(self, families: tuple[_Ports[L], ...], key: Address | None) -> int:
        """Return an ephemeral port for a socket at `key` in all of `families`.

        It is one that nobody uses, if there is one; else one that is used at other addresses.
        """
        first = self._rng.randrange(len(EPHEMERAL_PORTS))
        if len(families) == 1:
            unused = families[0].unused(first)
            if unused is not None:
                return unused
        for number in range(len(EPHEMERAL_PORTS)):
            port = EPHEMERAL_PORTS[(first + number) % len(EPHEMERAL_PORTS)]
            if not any(ports.refuses(key, port, reuse=False) for ports in families):
                return port
        raise _in_use()

    def _split(self, address: Address | None) -> tuple[tuple[_Ports[L], ...], Address | None]:
        """Return the ports that a socket at `address` takes, and by which key it is there."""
        every = self._wildcards.get(address)
        return ((self._ports[len(address or b"")],), address) if every is None else (every, None)


def _overlaps(taken: Collection[Address | None], address: Address | None) -> bool:
    """Whether `address` conflicts with any of `taken`: equal, or either is None, for all."""
    return len(taken) > 0 and (address is None or None in taken or address in taken)


def _count_down(counts: Counter[Address | None], address: Address | None) -> None:
    counts[address] -= 1
    if not counts[address]:
        del counts[address]


def _not_available() -> OSError:
    return OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")


def _in_use() -> OSError:
    return OSError(errno.EADDRINUSE, "Address already in use")
