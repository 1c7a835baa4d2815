"""Memory accounting of connections, and release under pressure (Linux's tcp_mem)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from tunstack.stack.flow import FLOW_SIZE
from tunstack.stack.peers import Peers
from tunstack.tcp.connection.state import (
    CAN_RECEIVE,
    CAN_SEND,
    CLOSED,
    LISTEN,
    TIME_WAIT,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from tunstack.stack.flow import Flow
    from tunstack.stack.time_wait import TimeWaits
    from tunstack.tcp.budget import Budget

_GRAIN: Final = 4096
"""Octets by which the account of a flow on the fast path may be out of date."""
SMALL_FLOW: Final[int] = FLOW_SIZE + 2048
"""Octets of an account that may stay, but under pressure, when the flow holds less.

Requests and replies are small, of many sizes, and freed soon: an account that follows each of them
takes a twentieth of the time of a request. What a flow holds more is accounted at once, as it may
stay.
"""

SOCKET_SIZE: Final = 1536
"""Octets of a connection's socket, and of a task that waits on it.

Measured: a task that waits in a stream over it takes 3.4 KiB with both, and it is counted with a
connection that takes a little less than it is counted for.
"""
_MAX_EASED: Final = 64
"""Connections that are resumed at a time when memory is not tight any more."""

COUNTERS: Final[tuple[str, ...]] = (
    "memory_tight",
    "out_of_order_pruned",
    "time_wait_pruned",
    "orphans_pruned",
)
"""Statistics counted here; pruned data is counted in octets."""


class Memory:
    """The memory accounts of all flows: `Flow.memory` of each, updated after each batch.

    It also keeps lists of the flows that could free memory, the oldest first.

    Attributes:
        budget: The sum, and the pressure flags that connections read.
        peers: The memory of each peer.
        orphans_over: Whether the limit of orphans is exceeded: :meth:`relieve` evicts some.
        was_tight: Whether memory was tight, and :meth:`ease` has not resumed all flows since.
    """

    def __init__(
        self,
        budget: Budget,
        waits: TimeWaits,
        counters: Counter[str],
        *,
        orphans: int,
    ) -> None:
        """Create empty accounts; `orphans` is the limit of orphans."""
        self.budget = budget
        self.peers: Peers[Flow] = Peers()
        self.orphans_over = False
        self._most_orphans = orphans
        self._waits = waits
        self._counters = counters
        self.was_tight = False
        # In order of age. A plain dictionary searches for its first entry among those that
        # were deleted before it: 16 µs with 32,768 in TIME-WAIT, for each new connection.
        self._gaps: OrderedDict[Flow, None] = OrderedDict()
        self._time_wait: OrderedDict[Flow, None] = OrderedDict()
        self._held_back: OrderedDict[Flow, None] = (
            OrderedDict()
        )  # Flows whose buffers could not grow.

    def enter(self, flow: Flow) -> None:
        """Add `flow`, new or restored from TIME-WAIT, to its peer."""
        flow.peer = self.peers.join(flow.four_tuple.remote, flow)

    def account(self, flow: Flow) -> None:
        """Update the account of `flow`, and the lists of flows that could free memory."""
        held = flow.memory()
        if held != flow.accounted:
            change = held - flow.accounted
            self.budget.add(change)
            flow.accounted = held
            peer = flow.peer
            if peer is not None:
                peer.held += change
                if held >= flow.heavy_from or peer.held >= peer.memory_from:
                    self.peers.grew(peer, flow)
            if self.budget.tight:
                self._held_back[flow] = None
                if not self.was_tight:
                    self.was_tight = True
                    self._counters["memory_tight"] += 1
        state = flow.state
        if (state is CLOSED or state is LISTEN) and flow.finished:
            self._drop(flow)
            if not flow.receiver.buffer.size:  # No memory of its peer is left to free.
                self._leave(flow)
            return
        if flow.receiver.reassembly.size:
            self._gaps[flow] = None
        elif self._gaps and flow in self._gaps:
            del self._gaps[flow]
        if state is TIME_WAIT:
            self._time_wait[flow] = None
            if flow.peer is not None:
                self.peers.remove_orphan(flow.peer, flow)
        elif flow.sender.orphaned and flow.peer is not None:
            self.peers.add_orphan(flow.peer, flow)
            self.orphans_over = self.peers.orphans > self._most_orphans

    def account_later(self, flow: Flow) -> None:
        """Update the account of a flow on the fast path, if it is wrong by `_GRAIN` or more.

        Small requests and replies are freed again soon.
        """
        held = FLOW_SIZE + flow.receiver.buffer.size + flow.sender.buffer.size
        if not -_GRAIN < held - flow.accounted < _GRAIN:
            self.account(flow)

    def forget(self, flow: Flow) -> None:
        """Remove the account of `flow`."""
        self._drop(flow)
        self._leave(flow)
        self.budget.add(-flow.accounted)
        flow.accounted = 0

    def _drop(self, flow: Flow) -> None:
        for flows in (self._gaps, self._time_wait, self._held_back):
            if flows:
                flows.pop(flow, None)
        if flow.peer is not None:
            self.peers.remove_orphan(flow.peer, flow)

    def _leave(self, flow: Flow) -> None:
        if flow.peer is not None:
            self.peers.leave(flow.peer, flow)
            flow.peer = None

    def relieve(self) -> Iterator[Flow]:
        """Evict orphans beyond the limit, and free memory if full; yields evicted flows."""
        budget = self.budget
        while self.orphans_over and (ended := self._evict_orphan()) is not None:
            yield ended
            self.orphans_over = self.peers.orphans > self._most_orphans
        if not self.budget.full:
            return
        while self._gaps and budget.used > budget.ease:
            flow = next(iter(self._gaps))
            self._counters["out_of_order_pruned"] += flow.receiver.renege()
            self.account(flow)
        while budget.full and self.evict_time_wait():
            pass
        while budget.full and (ended := self._evict_orphan()) is not None:
            yield ended

    def evict_time_wait(self) -> bool:
        """Evict the oldest TIME-WAIT without a socket; returns whether there was one."""
        if not self._waits.evict_oldest():
            return False
        self._counters["time_wait_pruned"] += 1
        return True

    def evict_ended(self) -> Flow | None:
        """Evict the oldest TIME-WAIT with a socket, else the oldest orphan; None if none.

        The orphan is one of the peer with most orphans. Returns the evicted flow.
        """
        if not self._time_wait:
            return self._evict_orphan()
        flow = next(iter(self._time_wait))
        self._counters["time_wait_pruned"] += 1
        flow.end(None)
        self.account(flow)
        return flow

    def _evict_orphan(self) -> Flow | None:
        """Reset and return the oldest orphan of the peer with most orphans; None if none.

        Its memory is freed at once, unlike that of a TIME-WAIT with a socket.
        """
        flow = self.peers.oldest_orphan()
        if flow is None:
            return None
        self._counters["orphans_pruned"] += 1
        flow.abort()
        self.forget(flow)
        return flow

    @property
    def easing(self) -> bool:
        """Whether memory pressure has ended: call :meth:`ease`."""
        return self.was_tight and not self.budget.tight

    def ease(self) -> Iterator[Flow]:
        """Resume flows after memory pressure; yields at most `_MAX_EASED` of them.

        Those are the flows whose account changed under pressure. A peer whose window was closed
        gets a window update; an application that waits to send is woken.
        """
        for _ in range(min(_MAX_EASED, len(self._held_back))):
            flow, _ = self._held_back.popitem(last=False)
            if flow.state in CAN_RECEIVE and flow.receiver.window_update_due():
                flow.receiver.ack_now = True
                yield flow
            elif flow.state in CAN_SEND and flow.changed is not None:
                yield flow
        self.was_tight = bool(self._held_back)
