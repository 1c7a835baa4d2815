"""A passive OPEN without a remote address: what a listening socket is made of (section 3.10.1)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from tunstack.tcp.listen.fast_open import Pending
from tunstack.tcp.listen.half_open import HalfOpen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.tcp.config import Config
    from tunstack.tcp.connection.connection import Connection

MAX_BACKLOG: Final = 4096
"""As Linux's net.core.somaxconn: a larger backlog is cut to this."""

HALF_OPEN: Final = range(256, 1025)
"""How many SYNs may wait for their handshake: as many as the backlog, but within this.

Each costs about 4 KB until it is answered or given up. What comes beyond costs nothing: it is
answered by a cookie (:mod:`~tunstack.tcp.listen.cookies`).
"""


class Listener:
    """A local address that answers SYNs. It stays in LISTEN; each SYN gets a connection of its own.

    The connections that it begot wait here: half open ones until they are ESTABLISHED, then in the
    order in which they got there, until they are accepted. An :class:`~.connection.Owner`.

    Attributes:
        backlog: How many may wait to be accepted.
        config: What its connections begin with.
        changed: Called when one more is ready.
        half_open: Those whose handshake is under way.
        fast_open: Those that are open, though their handshake is under way.
        cookies_until: Until when an ACK may bring back a cookie of ours, in seconds.
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

    def __init__(self, backlog: int, config: Config, whole: HalfOpen | None = None) -> None:
        """Begin to listen; `whole` bounds what is half open together with other listeners'."""
        self.backlog = 0
        self.half_open = HalfOpen(0, whole)
        self.fast_open = Pending()
        self.set_backlog(backlog)
        self.config = config
        self.changed: Callable[[], None] | None = None
        self.cookies_until = float("-inf")
        self._ready: deque[Connection] = deque()

    def set_backlog(self, backlog: int) -> None:
        """Change how many may wait to be accepted, within 0 and `MAX_BACKLOG`."""
        self.backlog = max(0, min(backlog, MAX_BACKLOG))
        self.half_open.limit = max(HALF_OPEN.start, min(self.backlog, HALF_OPEN[-1]))

    @property
    def full(self) -> bool:
        """Whether as many wait to be accepted as may: a SYN is dropped, and will be sent again."""
        # One more than the backlog may be ready, as on Linux, so that a backlog of 0 is of use.
        return len(self._ready) > self.backlog

    def __len__(self) -> int:
        return len(self._ready)

    def begin(self, connection: Connection) -> None:
        """A SYN has arrived for `connection`, which is in SYN-RECEIVED."""
        self.half_open.add(connection)

    def may_open(self) -> bool:
        """Whether a handshake may end now: not while too many wait to be accepted.

        As on Linux, the ACK that would end it is dropped then. Our SYN,ACK, sent again, draws
        another; by then there may be room.
        """
        return not self.full

    def opened(self, connection: Connection) -> None:
        """It is ESTABLISHED: it may be accepted."""
        if self.fast_open.opened(connection):
            return  # Ready it was before, and accepted perhaps.
        self.half_open.discard(connection)
        self._make_ready(connection)

    def opened_early(self, connection: Connection) -> None:
        """It may be accepted, though it is not ESTABLISHED yet (RFC 7413)."""
        self.half_open.discard(connection)
        self.fast_open.add(connection)
        self._make_ready(connection)

    def _make_ready(self, connection: Connection) -> None:
        self._ready.append(connection)
        if self.changed is not None:
            self.changed()

    def failed_to_open(self, connection: Connection) -> None:
        """It is back in LISTEN, or gave up: this listener goes on without it."""
        self.half_open.discard(connection)
        self.fast_open.failed(connection)

    def accept(self) -> Connection | None:
        """The connection that has waited longest, or None."""
        return self._ready.popleft() if self._ready else None

    def close(self) -> list[Connection]:
        """Abort what waits here, and return it: its resets are still to be sent."""
        waiting = [*self.half_open.clear(), *self._ready]
        self._ready.clear()
        for connection in waiting:
            connection.abort()
        return waiting
