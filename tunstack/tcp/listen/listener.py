"""A listener: a passive OPEN with unspecified remote address (RFC 9293 section 3.10.1)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from tunstack.tcp.listen.fast_open_queue import PendingRequests
from tunstack.tcp.listen.half_open import HalfOpen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.tcp.config import Config
    from tunstack.tcp.connection.connection import Connection

MAX_BACKLOG: Final = 4096
"""Connections: a larger backlog is reduced to this (Linux's net.core.somaxconn)."""

SYN_QUEUE_SIZES: Final[range] = range(256, 1025)
"""Connections: the SYN queue's limit is the backlog, but within this range.

Each half-open connection takes about 4 KB. SYNs beyond the limit are answered with a SYN cookie
(:mod:`~tunstack.tcp.listen.cookies`).
"""


class Listener:
    """A local address and port in LISTEN; each SYN creates a connection of its own.

    Half-open connections are in the SYN queue until they are ESTABLISHED, then in the accept queue
    until they are accepted. Their :class:`~.owner.Owner`.

    Attributes:
        backlog: The limit of the accept queue.
        config: The configuration of its connections.
        changed: Called when a connection is added to the accept queue.
        half_open: The SYN queue.
        fast_open: Connections accepted before their handshake has ended (RFC 7413).
        cookies_until: Until when ACKs may carry a SYN cookie of ours, in seconds.
    """

    __slots__ = (
        "_ready",
        "backlog",
        "changed",
        "config",
        "cookies_until",
        "fast_open",
        "half_open",
    )

    def __init__(self, backlog: int, config: Config, shared: HalfOpen | None = None) -> None:
        """Listen; `shared` bounds the SYN queues of several listeners together."""
        self.backlog = 0
        self.half_open = HalfOpen(0, shared)
        self.fast_open = PendingRequests()
        self.set_backlog(backlog)
        self.config = config
        self.changed: Callable[[], None] | None = None
        self.cookies_until = float("-inf")
        self._ready: deque[Connection] = deque()

    def set_backlog(self, backlog: int) -> None:
        """Set the backlog, within 0 and `MAX_BACKLOG`, and the limit of the SYN queue with it."""
        self.backlog = max(0, min(backlog, MAX_BACKLOG))
        self.half_open.limit = max(SYN_QUEUE_SIZES.start, min(self.backlog, SYN_QUEUE_SIZES[-1]))

    @property
    def full(self) -> bool:
        """Whether the accept queue is full: SYNs are dropped, and the peer retransmits them."""
        # One more than the backlog fits, as on Linux (sk_acceptq_is_full), even with 0.
        return len(self._ready) > self.backlog

    def __len__(self) -> int:
        return len(self._ready)

    def add_half_open(self, connection: Connection) -> None:
        """Put `connection`, in SYN-RECEIVED, into the SYN queue."""
        self.half_open.add(connection)

    def may_open(self) -> bool:
        """Whether a handshake may end now: not while the accept queue is full.

        As on Linux, the ACK that would end it is dropped then. The SYN,ACK is retransmitted, and
        draws another ACK; there may be room by then.
        """
        return len(self._ready) <= self.backlog

    def opened(self, connection: Connection) -> None:
        """Move a connection that is ESTABLISHED to the accept queue."""
        if self.fast_open.opened(connection):
            return  # It was in the accept queue before.
        self.half_open.discard(connection)
        self._append_ready(connection)

    def opened_early(self, connection: Connection) -> None:
        """Move a connection to the accept queue before it is ESTABLISHED (RFC 7413 4.2.2)."""
        self.half_open.discard(connection)
        self.fast_open.add(connection)
        self._append_ready(connection)

    def _append_ready(self, connection: Connection) -> None:
        self._ready.append(connection)
        if self.changed is not None:
            self.changed()

    def failed_to_open(self, connection: Connection) -> None:
        """Remove a connection whose handshake has failed: reset (back to LISTEN) or timed out."""
        self.half_open.discard(connection)
        self.fast_open.failed(connection)

    def accept(self) -> Connection | None:
        """Remove and return the first connection of the accept queue, or None."""
        return self._ready.popleft() if self._ready else None

    def close(self) -> list[Connection]:
        """Abort all connections of both queues, and return them: the caller sends their RSTs."""
        waiting = [*self.half_open.clear(), *self._ready]
        self._ready.clear()
        for connection in waiting:
            connection.abort()
        return waiting
