"""A passive OPEN without a remote address: what a listening socket is made of (section 3.10.1)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Config
    from .connection import Connection

MAX_BACKLOG: Final = 4096
"""As Linux's net.core.somaxconn: a larger backlog is cut to this."""


class Listener:
    """A local address that answers SYNs. It stays in LISTEN; each SYN gets a connection of its own.

    The connections that it begot wait here: half open ones until they are ESTABLISHED, then in the
    order in which they got there, until they are accepted. An :class:`~.connection.Owner`.

    Attributes:
        backlog: How many may wait to be accepted.
        config: What its connections begin with.
        changed: Called when one more is ready.
    """

    __slots__ = ("_half_open", "_ready", "backlog", "changed", "config")

    def __init__(self, backlog: int, config: Config) -> None:
        self.backlog = 0
        self.set_backlog(backlog)
        self.config = config
        self.changed: Callable[[], None] | None = None
        self._half_open: set[Connection] = set()
        self._ready: deque[Connection] = deque()

    def set_backlog(self, backlog: int) -> None:
        """Change how many may wait to be accepted, within 0 and `MAX_BACKLOG`."""
        self.backlog = max(0, min(backlog, MAX_BACKLOG))

    @property
    def full(self) -> bool:
        """Whether a SYN is to be dropped now: its sender will try again."""
        # One more than the backlog may be ready, as on Linux, so that a backlog of 0 is of use.
        return len(self._ready) > self.backlog or len(self._half_open) >= max(self.backlog, 256)

    def __len__(self) -> int:
        return len(self._ready)

    def begin(self, connection: Connection) -> None:
        """A SYN has arrived for `connection`, which is in SYN-RECEIVED."""
        self._half_open.add(connection)

    def opened(self, connection: Connection) -> None:
        """It is ESTABLISHED: it may be accepted."""
        self._half_open.discard(connection)
        self._ready.append(connection)
        if self.changed is not None:
            self.changed()

    def failed_to_open(self, connection: Connection) -> None:
        """It is back in LISTEN, or gave up: this listener goes on without it."""
        self._half_open.discard(connection)

    def accept(self) -> Connection | None:
        """The connection that has waited longest, or None."""
        return self._ready.popleft() if self._ready else None

    def close(self) -> list[Connection]:
        """Abort what waits here, and return it: its resets are still to be sent."""
        waiting = [*self._half_open, *self._ready]
        self._ready.clear()
        for connection in waiting:
            connection.abort()
        self._half_open.clear()
        return waiting
