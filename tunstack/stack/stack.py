"""The whole endpoint, sans-IO: packets in, packets out, connections in between.

:class:`Stack` is what a host and the simulator drive. It knows no trio, no device and no clock. The
order of calls:

1. any number of calls that go in: :meth:`Stack.handle_packet`, :meth:`Stack.handle_timers`,
   :meth:`Stack.handle_stray`, and those of applications: :meth:`Stack.connect`,
   :meth:`Stack.send`, :meth:`Stack.read`, :meth:`Stack.close` and so on;
2. :meth:`Stack.flush`, which asks each flow that something happened to what it sends: one ACK per
   connection and batch (RFC 9293 MUST-58, MUST-59), and one wake-up per application. After a call
   of an application it is only needed while `Flow.pending`;
3. take what is in `outgoing`;
4. :meth:`Stack.deadline` says when to call `handle_timers`.

An application may call a flow itself as well, if it then calls :meth:`Stack.mark_pending`.

How connections begin is in :mod:`tunstack.stack.opening`; ICMP, and what it tells of paths, in
:mod:`tunstack.stack.paths`; all that leaves goes by :mod:`tunstack.stack.output`.
"""

from __future__ import annotations

import errno
import os
from operator import itemgetter
from typing import TYPE_CHECKING, Final, final

from tunstack.ip.family import FAMILIES
from tunstack.stack.engine import Engine
from tunstack.stack.flow import FLOW_SIZE
from tunstack.stack.memory import SOCKET_SIZE
from tunstack.stack.statistics import collected
from tunstack.tcp.connection import fast_path
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.ip.address import Interface
    from tunstack.ip.datagram import Address, Buffer
    from tunstack.stack.flow import Flow, TcpInfo
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config
    from tunstack.tcp.listen.listener import Listener

_LATE: Final = 0.01
"""Seconds in `outgoing` after which a reply's timers and its RTT measurement start anew."""
_LITTLE: Final = 2048
"""Octets of a small request or reply, which are not worth an account."""
_WILDCARDS: Final[frozenset[Address | None]] = frozenset(
    {None, *(family.wildcard for family in FAMILIES)}
)
_UNHEARD: Final = frozenset({State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK})


@final
class Stack(Engine):
    """A TCP/IP endpoint with one or more addresses on one link: the calls of applications."""

    # Of all connections

    @property
    def config(self) -> Config:
        """What every connection begins with."""
        return self.opening.config

    @config.setter
    def config(self, config: Config) -> None:
        self.opening.config = config

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Our addresses, with their networks."""
        return self.addresses.interfaces

    def set_tap(self, tap: Callable[[Observation], None] | None) -> None:
        """Have `tap` called with every packet, and what was made of it; None for none."""
        self.output.tap = tap

    def set_epoch(self, epoch: float) -> None:
        """Set what is added to `now` for the time of observations, in seconds."""
        self.output.epoch = epoch

    def share_addresses(self, stray: Callable[[bytes], None]) -> None:
        """Only listen, as another process has our addresses too.

        Args:
            stray: Called with ICMP errors about flows that are not here, and with segments of such
                flows that came in fragments; the other process gives them to :meth:`handle_stray`.
        """
        self.opening.only_listens = True
        self.paths.stray = stray

    def connections(self) -> list[TcpInfo]:
        """All connections, those in TIME-WAIT included, in the order in which they began."""
        flows, waits = self.demux.connections, self.time_waits
        infos = [(flow.number, flow.info()) for flow in flows]
        infos += [(wait.number, wait.info()) for wait in waits]
        return [info for _, info in sorted(infos, key=itemgetter(0))]

    def statistics(self) -> dict[str, int]:
        """Return all counters by name; those of what never happened are 0.

        What they are called, and which of them are no counters, :mod:`tunstack.stack.statistics`
        says.
        """
        return collected(
            self.counters,
            predicted=self._predicted,
            memory_held=self.memory.budget.used,
            fragment_memory_held=self._reassembly.fragments.held,
            half_open=len(self.opening.admission.half_open),
        )

    @property
    def is_closing(self) -> bool:
        """Whether a FIN of ours is not acknowledged yet."""
        return any(flow.state in _UNHEARD for flow in self.demux.connections)

    def abort_all(self) -> None:
        """Reset all connections."""
        for flow in [*self.demux.connections]:
            self.abort(flow)

    def end_all(self, error: OSError) -> None:
        """End all connections with `error`, without a packet: the link is gone."""
        for flow in [*self.demux.connections]:
            flow.end(error)
            self.mark_pending(flow)
        self.time_waits.clear()
        self.datagrams.end_all(error.errno or errno.ENETDOWN)

    # Opening

    def source_for(self, remote: Address) -> Address:
        """The address from which to send to `remote` (MUST-44); see :class:`Addresses`.

        Raises:
            OSError: ENETUNREACH: we have no address of its family.
        """
        return self.addresses.source_for(remote)

    def bind(self, local: Address | None, port: int, *, reuse: bool) -> int:
        """Take a port at one of our addresses, or at all; returns it.

        Args:
            local: One of our addresses; None for all, a family's wildcard for all of that family.
            port: 0 for any that is free.
            reuse: Whether connections may use it already (SO_REUSEADDR).

        Raises:
            OSError: EADDRNOTAVAIL, EADDRINUSE.
        """
        if local not in self.addresses.local and local not in _WILDCARDS:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        return self.demux.bind(local, port, reuse=reuse)

    def unbind(self, local: Address | None, port: int, *, reuse: bool) -> None:
        """Release what :meth:`bind` took."""
        self.demux.unbind(local, port, reuse=reuse)

    def listen(
        self, local: Address | None, port: int, backlog: int, config: Config | None = None
    ) -> Listener:
        """Passive OPEN on a port that is bound; raises OSError (EADDRINUSE)."""
        return self.opening.listen(local, port, backlog, config)

    def unlisten(self, local: Address | None, port: int, listener: Listener) -> None:
        """Close a listener; connections that wait in it are reset."""
        self.opening.unlisten(local, port, listener)

    def connect(
        self,
        remote: Address,
        port: int,
        now: float,
        *,
        local: Address | None = None,
        local_port: int = 0,
        config: Config | None = None,
        early: bool = False,
    ) -> Flow:
        """Active OPEN; see :meth:`tunstack.stack.opening.Opening.connect`."""
        return self.opening.connect(
            remote, port, now, local=local, local_port=local_port, config=config, early=early
        )

    def attach(self, flow: Flow, changed: Callable[[], None]) -> None:
        """An application has `flow` from now on: call `changed` when it may go on."""
        flow.changed = changed
        self.memory.budget.add(SOCKET_SIZE)

    def detach(self, flow: Flow) -> None:
        """Its application has `flow` no more."""
        if flow.changed is not None:
            flow.changed = None
            self.memory.budget.add(-SOCKET_SIZE)

    def forget(self, flow: Flow) -> None:
        """Detach `flow`, which has ended, whose socket was never closed."""
        self.detach(flow)
        self.memory.forget(flow)

    # Data

    def send(
        self, flow: Flow, data: Buffer, now: float, *, urgent: bool = False, more: bool = False
    ) -> int:
        """SEND: queue `data`, or as much of it as there is room for; returns how many octets.

        If `immediate`, a reply that fits in one segment, and may go at once, is in `outgoing` then.
        Otherwise `Flow.pending` is set: call :meth:`flush`.

        Args:
            flow: The connection.
            data: The octets.
            now: Seconds.
            urgent: Whether the last one is urgent.
            more: Whether a segment that it does not fill waits for the next call.

        Raises:
            OSError: EPIPE after shutdown, ENOTCONN, or what ended the connection.
        """
        sender = flow.sender
        sender.more = more
        if flow.on_fast_path and not urgent:
            if self.immediate and not flow.pending:
                assert flow.write is not None
                if fast_path.answer(flow, data, now, flow.write):
                    # As `_settle`, but there is nothing to wake for.
                    scheduled = flow.scheduled
                    due = sender.early_timer or sender.timer
                    if scheduled is None or (due is not None and due < scheduled):
                        self._timers.schedule(flow)
                    size = len(data)
                    if size + flow.receiver.buffer.size > _LITTLE:
                        self.memory.account_later(flow)
                    return size
            sent = flow.send(data, now)
            self._enqueue(flow)
        else:
            sent = flow.send(data, now, urgent=urgent)
            self.mark_pending(flow)
        return sent

    def replies_leave(self, flows: Iterable[Flow], now: float) -> None:
        """Replies of `flows`, which have waited in `outgoing`, leave now: time them from now."""
        for flow in flows:
            if flow.on_fast_path and now - flow.sender.last_sent > _LATE:
                fast_path.leaves_late(flow, now)

    def read(self, flow: Flow, size: int, *, peek: bool = False) -> bytes:
        """RECEIVE: take at most `size` octets; ``b""`` at the end of the stream.

        `Flow.pending` is set if a window update is due then: call :meth:`flush`.

        Raises:
            OSError: what ended the connection.
        """
        data = flow.peek(size) if peek else flow.receive(size)
        memory = self.memory
        if not flow.on_fast_path or memory.budget.tight:
            memory.account(flow)
        elif flow.accounted > FLOW_SIZE + _LITTLE:
            memory.account_later(flow)
        if flow.receiver.ack_now or (memory.was_tight and memory.easing):
            self._enqueue(flow)
        return data

    def push(self, flow: Flow, *, small: bool) -> None:
        """Send what waits for more to come; if `small`, what Nagle's algorithm holds as well."""
        sender = flow.sender
        if small:
            sender.push()
        sender.more = False
        if sender.unsent:
            self.mark_pending(flow)

    def reconfigure(self, flow: Flow, config: Config, *, only_nodelay: bool = False) -> None:
        """Give `flow` other parameters; `only_nodelay`: none but that one have changed."""
        flow.reconfigure(self.configs.fitted(config, flow.four_tuple.local))
        if flow.sender.unsent or not only_nodelay:
            self.mark_pending(flow)

    # Closing

    def withhold_syn(self, flow: Flow) -> None:
        """After :meth:`connect`: the SYN waits for data to take along (RFC 7413)."""
        flow.withhold_syn()
        self.mark_pending(flow)

    def shutdown(self, flow: Flow, *, send: bool = True, receive: bool = False) -> None:
        """End our half, behind all that was sent (SHUT_WR), or stop reading (SHUT_RD)."""
        if receive:
            flow.shutdown_receive()
        if send:
            flow.shutdown()
        self.mark_pending(flow)

    def close(self, flow: Flow, linger: float | None = None) -> None:
        """CLOSE: the application detaches; what it has sent is still delivered.

        With `linger` the rest is reset after so many seconds (SO_LINGER).
        """
        self.detach(flow)
        flow.close(linger)
        self.mark_pending(flow)

    def abort(self, flow: Flow) -> None:
        """ABORT: end `flow` with a RST; an application that is attached hears of it."""
        flow.abort()
        self.mark_pending(flow)
