"""Connections in SYN-RECEIVED, which anybody can make us have: few, and the oldest known."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.tcp.connection.connection import Connection


class HalfOpen:
    """The half-open connections of a listener; those of all listeners together are the `whole`'s.

    Attributes:
        limit: How many there may be.
        whole: What bounds them together with those of the other listeners, if anything does.
    """

    __slots__ = ("_connections", "limit", "whole")

    def __init__(self, limit: int, whole: HalfOpen | None = None) -> None:
        self.limit = limit
        self.whole = whole
        # In the order of their arrival, and found without a search.
        self._connections: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._connections

    @property
    def full(self) -> bool:
        """Whether there is no room for one more, here or in the whole."""
        return len(self._connections) >= self.limit or (self.whole is not None and self.whole.full)

    def oldest(self, count: int) -> list[Connection]:
        """Those that have waited longest where there is no room, the oldest first, at most so many.

        One of them is to be given up.
        """
        crowded = self.whole if self.whole is not None and self.whole.full else self
        return [*islice(crowded._connections, count)]

    def add(self, connection: Connection) -> None:
        """A SYN has begun one more."""
        self._connections[connection] = None
        if self.whole is not None:
            self.whole.add(connection)

    def discard(self, connection: Connection) -> None:
        """It is half open no more; no matter if it never was."""
        if self._connections.pop(connection, self) is None and self.whole is not None:
            self.whole.discard(connection)

    def clear(self) -> list[Connection]:
        """Forget all, and return them."""
        connections = [*self._connections]
        for connection in connections:
            self.discard(connection)
        return connections
