"""The SYN queue: connections in SYN-RECEIVED, bounded, in the order of their SYNs."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.tcp.connection.connection import Connection


class HalfOpen:
    """The SYN queue of a listener, or with `shared` of None the one that all listeners share.

    Attributes:
        limit: The largest number of connections in it.
        shared: The queue that bounds this one together with those of other listeners, or None.
    """

    __slots__ = ("_connections", "limit", "shared")

    def __init__(self, limit: int, shared: HalfOpen | None = None) -> None:
        self.limit = limit
        self.shared = shared
        # In the order of arrival; lookup and removal take constant time.
        self._connections: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._connections

    @property
    def full(self) -> bool:
        """Whether this queue or the shared one is full."""
        shared = self.shared
        return len(self._connections) >= self.limit or (
            shared is not None and len(shared._connections) >= shared.limit
        )

    def oldest(self, count: int) -> list[Connection]:
        """Return up to `count` of the oldest connections of the queue that is full."""
        shared = self.shared
        queue = shared if shared is not None and shared.full else self
        return [*islice(queue._connections, count)]

    def add(self, connection: Connection) -> None:
        """Append a connection whose SYN has arrived."""
        self._connections[connection] = None
        if self.shared is not None:
            self.shared.add(connection)

    def discard(self, connection: Connection) -> None:
        """Remove a connection if it is in the queue."""
        if self._connections.pop(connection, self) is None and self.shared is not None:
            self.shared.discard(connection)

    def clear(self) -> list[Connection]:
        """Remove and return all connections."""
        connections = [*self._connections]
        for connection in connections:
            self.discard(connection)
        return connections
