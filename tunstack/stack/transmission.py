"""Transmission of a stack's connections, once per batch of packets.

What has changed is pending until :meth:`Transmission.flush`. One method,
:meth:`Transmission._settle`, updates timer, application and memory account after any change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.stack.flow import FLOW_SIZE, Flow
from tunstack.stack.timers import TimerQueue
from tunstack.tcp.connection import fast_path
from tunstack.tcp.connection.state import CLOSED, ESTABLISHED, LISTEN
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from tunstack.stack.context import Context

DEFER_UNREAD: Final = 1 << 14
"""Unread octets from which the next batch waits until the application has read."""


class Transmission:
    """What connections send, and when.

    With fewer than 30 attributes CPython keeps those of a stack within the object, where they are
    found faster; a test counts them.

    Attributes:
        addresses: Our addresses.
        counters: Event counters, by name; among them are all `Reason` and `Verdict` values.
        closed: Sums over the connections that `demux` no longer has.
        demux: All connections and listeners, by four-tuple.
        output: Packets out, and observations of packets in and out.
        outgoing: Packets for the link, each as the buffers that make it up.
        memory: The memory account of each connection.
        time_waits: Connections in TIME-WAIT without a socket, which `demux` has not.
        immediate: Whether `Flow.changed` only wakes a task. Then it may be called for each packet
            of a batch, and a small reply is sent by :meth:`Stack.send`. Otherwise applications run
            within `changed`, and all is sent by :meth:`flush`.
        defer_acks: Whether applications run after the next :meth:`flush`. Then it defers ACKs that
            would advertise a wider window after a read, and partial large segments.
        deferred: Flows that have much unread data, or something deferred; call
            :meth:`resume_deferred` after the applications have run.
        all_read: Called by a read after which `deferred_unread` is 0; None for nothing.
    """

    def __init__(self, context: Context, *, predict: bool) -> None:
        """Make it without connections; with `predict` segments in order take the fast path."""
        self.addresses = context.addresses
        self.counters = context.counters
        self.closed = context.closed
        self.demux = context.demux
        self.output = context.output
        self.outgoing = context.output.packets
        self.memory = context.memory
        self.time_waits = context.time_waits
        self.immediate = False
        self.defer_acks = False
        self.deferred: list[Flow] = []
        self.all_read: Callable[[], None] | None = None
        self._predicts = predict
        self._timers: TimerQueue[Flow] = TimerQueue()
        self._pending = context.pending

    @property
    def pending(self) -> deque[Flow]:
        """The flows for which the next :meth:`flush` transmits."""
        return self._pending

    def mark_pending(self, flow: Flow) -> None:
        """Make the next :meth:`flush` transmit for `flow`, off the fast path."""
        flow.on_fast_path = False
        if not flow.pending:
            flow.pending = True
            self._pending.append(flow)

    def _enqueue(self, flow: Flow) -> None:
        """Make the next :meth:`flush` transmit for `flow`; it stays on the fast path."""
        if not flow.pending:
            flow.pending = True
            self._pending.append(flow)

    @property
    def deferred_unread(self) -> int:
        """Unread octets of the flows in `deferred`."""
        return sum([flow.receiver.buffer.size for flow in self.deferred])

    def resume_deferred(self) -> None:
        """Make the next :meth:`flush` send what was deferred."""
        while self.deferred:
            flow = self.deferred.pop()
            # A flow that has left the fast path has transmitted since.
            if flow.on_fast_path and (flow.receiver.ack_now or flow.sender.unsent):
                self._enqueue(flow)

    def flush(self, now: float) -> None:
        """Transmit for each pending flow: one ACK per connection and batch (MUST-58, MUST-59)."""
        if self._pending:
            self._flush(now)
        memory = self.memory
        if memory.orphans_over or memory.budget.full:
            for flow in memory.relieve():
                self.mark_pending(flow)
            self._flush(now)
        if memory.was_tight and memory.easing:
            for flow in memory.ease():
                self.mark_pending(flow)
            self._flush(now)

    def _flush(self, now: float) -> None:
        # One by one: if one raises, the next call continues with the others.
        while self._pending:
            flow = self._pending.popleft()
            flow.pending = False
            if flow.on_fast_path:
                assert flow.write is not None
                if not (self.defer_acks and self._defers(flow)):
                    fast_path.transmit(flow, now, flow.write)
                self._settle(flow)
                continue
            for segment in flow.transmit(now):
                self.output.send(flow.four_tuple, segment, now, flow, config=flow.config)
            if flow.state is ESTABLISHED:
                self._settle(flow)
                self._enter_fast_path(flow)
            elif flow.state is CLOSED or flow.state is LISTEN:
                self._timers.forget(flow)
                self._settle(flow, False)
            elif flow.changed is None and flow.only_waits and self.time_waits.take(flow):
                self._timers.forget(flow)
                self.memory.forget(flow)
            else:
                self._settle(flow)

    def _settle(self, flow: Flow, reschedule: bool = True) -> None:
        """Schedule the timer of `flow`, wake its application, and update its memory account.

        With `reschedule` off, its deadline is no earlier than its entry in the timer queue.
        On the fast path it has no memory besides its two buffers.
        """
        if reschedule:
            self._timers.schedule(flow)
        if flow.changed is not None:
            flow.changed()
        if not flow.on_fast_path or flow.accounted != (
            FLOW_SIZE + flow.receiver.buffer.size + flow.sender.buffer.size
        ):
            self.memory.account(flow)

    def _enter_fast_path(self, flow: Flow) -> bool:
        """Put `flow` on the fast path if eligible; a flow to our own address is not."""
        if flow.loops or not fast_path.is_eligible(flow) or not self._predicts:
            return False
        flow.on_fast_path = True
        if flow.write is None:
            flow.write = self.output.writer(flow.four_tuple, flow.config, flow.flow_label)
        return True

    def _defers(self, flow: Flow) -> bool:
        """Whether to defer the transmission of `flow` until its application has run.

        An ACK while the window is narrow: after a read one ACK advertises a wider window instead of
        two. A partial large segment: the application may write more.
        """
        receiver, sender = flow.receiver, flow.sender
        unread, unsent = receiver.buffer.size, sender.buffer.size
        if unsent:
            unsent -= (sender.nxt - sender.una) & MASK
        if unsent:
            defers = unsent < flow.config.max_payload and not receiver.ack_now
        else:
            defers = receiver.ack_now and unread * 2 > receiver.size
        if defers or unread >= DEFER_UNREAD:
            self.deferred.append(flow)
        return defers
