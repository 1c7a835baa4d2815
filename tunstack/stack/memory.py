"""Who holds how much of a host's memory, and who gives it up when it runs short."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from tunstack.stack.flow import FLOW_SIZE
from tunstack.stack.peers import Peers
from tunstack.tcp.connection.state import CAN_RECEIVE, CAN_SEND, TIME_WAIT

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from tunstack.stack.flow import Flow
    from tunstack.stack.time_wait import TimeWaits
    from tunstack.tcp.budget import Budget

_GRAIN: Final = 4096
"""Octets: what comes and goes with each request is not worth the accounting."""

SOCKET_SIZE: Final = 1536
"""Octets that a connection's socket takes, and the least that an application takes for it.

Measured: a task that waits in a stream over it takes 3.4 KiB with both, and it is counted with a
connection that takes a little less than it is counted for.
"""
_EASED: Final = 64
"""How many connections are looked at in one go when memory is not tight any more."""

COUNTERS: Final = (
    "memory_tight",
    "out_of_order_pruned",
    "time_wait_pruned",
    "orphans_pruned",
)
"""What is counted here; the names in the statistics. What is pruned of data counts by octets."""


class Memory:
    """The accounts of all flows of a stack, by their own word (`Flow.held`) after each batch.

    Beside the sum it knows who could give something up, the oldest first, so that nobody is ever
    searched for.

    Attributes:
        budget: The sum, and the flags that connections look at.
        peers: Who has how much of it.
        orphans_over: Whether there are more orphans than there may be: :meth:`relieve` ends some.
        was_tight: Whether it was tight, and :meth:`ease` has not told since that it is not.
    """

    def __init__(
        self,
        budget: Budget,
        waits: TimeWaits,
        counters: Counter[str],
        *,
        orphans: int,
    ) -> None:
        """Begin with nothing; there may be so many `orphans`."""
        self.budget = budget
        self.peers: Peers[Flow] = Peers()
        self.orphans_over = False
        self._most_orphans = orphans
        self._waits = waits
        self._counters = counters
        self.was_tight = False
        # Who came first goes first. A plain dictionary looks for its first entry among those that
        # were deleted before it: 16 µs with 32,768 in TIME-WAIT, for each new connection.
        self._gaps: OrderedDict[Flow, None] = OrderedDict()
        self._time_wait: OrderedDict[Flow, None] = OrderedDict()
        self._held_back: OrderedDict[Flow, None] = OrderedDict()  # Those that did not grow.

    def enter(self, flow: Flow) -> None:
        """`flow` begins, or is there again."""
        flow.peer = self.peers.join(flow.four_tuple.remote, flow)

    def account(self, flow: Flow) -> None:
        """Take note of what `flow` holds now."""
        held = flow.held
        if held != flow.accounted:
            change = held - flow.accounted
            self.budget.add(change)
            flow.accounted = held
            peer = flow.peer
            if peer is not None:
                peer.held += change
                if held >= flow.heavy_from or peer.held >= peer.hoards_from:
                    self.peers.grew(peer, flow)
            if self.budget.tight:
                self._held_back[flow] = None
                if not self.was_tight:
                    self.was_tight = True
                    self._counters["memory_tight"] += 1
        if flow.finished:
            self._drop(flow)
            if not flow.receiver.buffer.size:  # There is nothing to give up for its peer.
                self._leave(flow)
            return
        if flow.receiver.reassembly.size:
            self._gaps[flow] = None
        elif flow in self._gaps:
            del self._gaps[flow]
        if flow.state is TIME_WAIT:
            self._time_wait[flow] = None
            if flow.peer is not None:
                self.peers.adopt(flow.peer, flow)
        elif flow.orphaned and flow.peer is not None:
            self.peers.orphan(flow.peer, flow)
            self.orphans_over = self.peers.orphans > self._most_orphans

    def account_later(self, flow: Flow) -> None:
        """As :meth:`account`, for a flow on the fast path; a small difference can wait.

        A reply follows its request soon, and an acknowledgement the reply.
        """
        held = FLOW_SIZE + flow.receiver.buffer.size + flow.sender.buffer.size
        if not -_GRAIN < held - flow.accounted < _GRAIN:
            self.account(flow)

    def forget(self, flow: Flow) -> None:
        """`flow` is over, or something else is in its place: it holds nothing."""
        self._drop(flow)
        self._leave(flow)
        self.budget.add(-flow.accounted)
        flow.accounted = 0

    def _drop(self, flow: Flow) -> None:
        self._gaps.pop(flow, None)
        self._time_wait.pop(flow, None)
        self._held_back.pop(flow, None)
        if flow.peer is not None:
            self.peers.adopt(flow.peer, flow)

    def _leave(self, flow: Flow) -> None:
        if flow.peer is not None:
            self.peers.leave(flow.peer, flow)
            flow.peer = None

    def relieve(self) -> Iterator[Flow]:
        """It is too much: give up what can be; yields the flows that have ended by that."""
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
        """Forget who is longest in TIME-WAIT, of those without an owner; False if there is none."""
        if not self._waits.give_up_oldest():
            return False
        self._counters["time_wait_pruned"] += 1
        return True

    def evict_ended(self) -> Flow | None:
        """End the connection that is missed least, and return it; None if all are in use.

        That is the one that is longest in TIME-WAIT, though its application has not closed it yet;
        else, of the peer that has most of those whose application has gone, the oldest.
        """
        if not self._time_wait:
            return self._evict_orphan()
        flow = next(iter(self._time_wait))
        self._counters["time_wait_pruned"] += 1
        flow.end(None)
        self.account(flow)
        return flow

    def _evict_orphan(self) -> Flow | None:
        """End the oldest of the peer that has most orphans, and return it; None if there is none.

        What it has not delivered by then is lost, and its peer hears so. Unlike one in TIME-WAIT
        that has an owner, it takes no memory any more when it has ended.
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
        """Whether memory was tight, and is not any more: :meth:`ease` tells who may go on."""
        return self.was_tight and not self.budget.tight

    def ease(self) -> Iterator[Flow]:
        """Who may do more now that memory is not tight any more: some of them at a time.

        Only those are looked at to which something happened meanwhile: nobody else has noticed.
        Peers whose window had closed hear of it; without that, they would notice with their next
        probe. Applications that wait to send are to be told.
        """
        for _ in range(min(_EASED, len(self._held_back))):
            flow, _ = self._held_back.popitem(last=False)
            if flow.state in CAN_RECEIVE and flow.receiver.update_is_worthwhile():
                flow.receiver.ack_now = True
                yield flow
            elif flow.state in CAN_SEND and flow.changed is not None:
                yield flow
        self.was_tight = bool(self._held_back)
