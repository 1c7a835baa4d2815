"""Chooses the connection to evict when the host is full.

In this order: the oldest TIME-WAIT; the oldest orphan of the peer that has most orphans; and
unless `Limits.evict` is off, a connection in use. That is one of the peer that has most, if that is
more than the new peer has: by connections the one idle longest, by memory the
largest one. If all peers have as much, one that has been idle for a minute, of any peer.

A SYN, which may be forged, never evicts a connection in use. Instead it is answered by a
SYN cookie, and the ACK that returns the cookie evicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.tcp.connection.verdict import Verdict

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address
    from tunstack.stack.context import Context
    from tunstack.stack.flow import Flow

IDLE: Final = 60.0
"""Seconds without a segment after which the only connection of a peer may be evicted."""

_SHARE: Final = 4
"""The share of memory that every peer may use, as a shift: a sixteenth."""

COUNTERS: Final[tuple[str, ...]] = ("connections_evicted", "peer_limited")
"""Statistics counted here."""


class Eviction:
    """Evicts connections to make room for another."""

    def __init__(self, context: Context) -> None:
        self._limits = context.limits
        self._demux = context.demux
        self._memory = context.memory
        self._time_waits = context.time_waits
        self._counters = context.counters
        self._mark_pending = context.mark_pending

    def make_room(self, remote: Address, now: float, *, proven: bool) -> Verdict | None:
        """Make room for one more connection; returns None, or why there is none.

        Args:
            remote: Its peer.
            now: Seconds.
            proven: Whether `remote` is not forged: only then a connection in use is evicted.
        """
        while self._memory.budget.full:
            if not (proven and self._evict(self._for_memory(remote, now))):
                return Verdict.NO_MEMORY
        return self.make_place(remote, now, proven=proven)

    def make_place(self, remote: Address, now: float, *, proven: bool) -> Verdict | None:
        """Make room within the limits of connections, but not of memory."""
        limits = self._limits
        if limits.peer_connections is not None and self._is_limited(remote):
            self._counters["peer_limited"] += 1
            return Verdict.TOO_MANY
        while len(self._demux.incoming) + len(self._time_waits.by_name) >= limits.connections:
            if self._memory.evict_time_wait():
                continue
            ended = self._memory.evict_ended()
            if ended is not None:
                self._mark_pending(ended)
            elif not (proven and self._evict(self._for_connection(remote, now))):
                return Verdict.TOO_MANY
        return None

    def could(self, refusal: Verdict, remote: Address, now: float) -> bool:
        """Whether :meth:`make_room` would succeed with `proven`, after `refusal` without."""
        if refusal is Verdict.NO_MEMORY:
            return self._for_memory(remote, now) is not None
        return not self._is_limited(remote) and self._for_connection(remote, now) is not None

    def _is_limited(self, remote: Address) -> bool:
        most, peer = self._limits.peer_connections, self._memory.peers.find(remote)
        return most is not None and peer is not None and len(peer.members) >= most

    def _for_memory(self, remote: Address, now: float) -> Flow | None:
        """Return the connection to evict when memory is full; None if there is none."""
        if not self._limits.evict:
            return None
        peers = self._memory.peers
        newcomer = peers.find(remote)
        largest = peers.with_most_memory()
        flow = peers.idle_longest() if largest is None else largest.heaviest()
        share = max(self._limits.memory >> _SHARE, 0 if newcomer is None else newcomer.held)
        if largest is not None and largest is not newcomer and largest.held > share:
            return flow
        return flow if flow is not None and now - flow.active_at >= IDLE else None

    def _for_connection(self, remote: Address, now: float) -> Flow | None:
        """Return the connection to evict when there are too many; None if there is none."""
        if not self._limits.evict:
            return None
        peers = self._memory.peers
        largest = peers.with_most_connections()
        if largest is not None:
            newcomer = peers.find(remote)
            own = 0 if newcomer is None else len(newcomer.members)
            if len(largest.members) > own + 1:
                return largest.idle_longest()
        flow = peers.idle_longest() if largest is None else largest.idle_longest()
        return flow if flow is not None and now - flow.active_at >= IDLE else None

    def _evict(self, flow: Flow | None) -> bool:
        if flow is None:
            return False
        self._counters["connections_evicted"] += 1
        flow.evict()
        self._memory.forget(flow)
        self._mark_pending(flow)
        return True
