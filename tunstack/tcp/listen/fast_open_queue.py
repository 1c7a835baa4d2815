"""The Fast Open queue of a listener: connections that it accepted before their handshake ended."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.connection.connection import Connection

RESET_PENALTY: Final = 60.0
"""Seconds for which a connection still counts as pending if it was reset (section 5.1).

Without it, an attacker with a cookie who spoofs an address could have the RSTs of its victim free
the slots again and again.
"""


class PendingRequests:
    """PendingFastOpenRequests of a listener: accepted before their handshake ended (section 4.2.2).

    TCP_FASTOPEN bounds them, since each may cost the application work for a duplicate SYN, or one
    that is forged by someone with a cookie.
    """

    __slots__ = ("_connections", "_resets")

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self._resets: deque[float] = deque()  # Times until which resets count, in seconds.

    def has_room(self, limit: int, now: float) -> bool:
        """Whether there are less than `limit`."""
        while self._resets and self._resets[0] <= now:
            self._resets.popleft()
        return len(self._connections) + len(self._resets) < limit

    def add(self, connection: Connection) -> None:
        """Add a connection accepted before its handshake has ended."""
        self._connections.add(connection)

    def opened(self, connection: Connection) -> bool:
        """Remove a connection whose handshake has ended; returns False if it is not pending."""
        if connection not in self._connections:
            return False
        self._connections.remove(connection)
        return True

    def failed(self, connection: Connection) -> None:
        """Remove a connection that failed, if pending; a reset one still counts for a while."""
        if self.opened(connection):
            error = connection.error
            if error is not None and error.errno == errno.ECONNRESET:
                self._resets.append(connection.sender.stalled_since + RESET_PENALTY)
