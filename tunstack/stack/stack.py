"""The endpoint, sans-IO: packets in, packets out, and the calls of applications.

A host or the simulator drives :class:`Stack`; time and packets are arguments. The order of calls:

1. any number of inputs: :meth:`Stack.handle_packet`, :meth:`Stack.handle_timers`,
   :meth:`Stack.handle_forwarded`, and the calls of applications: :meth:`Stack.connect`,
   :meth:`Stack.send`, :meth:`Stack.read`, :meth:`Stack.close` and so on;
2. :meth:`Stack.flush`, which transmits for each pending flow: one ACK per connection and batch
   (RFC 9293 MUST-58, MUST-59), and one wake-up per application. After a call of an application
   it is needed only while `Flow.pending`;
3. write the packets in `outgoing` to the link;
4. :meth:`Stack.deadline` returns when to call `handle_timers`.

An application may also call a flow directly, if it then calls :meth:`Stack.mark_pending`.

Connections are opened in :mod:`tunstack.stack.opening`; ICMP and path MTU discovery are in
:mod:`tunstack.stack.paths`; packets are sent by :mod:`tunstack.stack.output`.
"""

from __future__ import annotations

import errno
from operator import itemgetter
from typing import TYPE_CHECKING, Final, final

from tunstack.ip.errors import os_error
from tunstack.ip.family import FAMILIES
from tunstack.stack.engine import Engine
from tunstack.stack.memory import SMALL_FLOW, SOCKET_SIZE
from tunstack.stack.statistics import collected
from tunstack.tcp.connection import fast_path
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.ip.address import Interface
    from tunstack.ip.datagram import Address, Buffer
    from tunstack.ip.demux import FourTuple
    from tunstack.stack.flow import Flow
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config
    from tunstack.tcp.info import TcpInfo
    from tunstack.tcp.listen.listener import Listener

_RESTAMP_AFTER: Final = 0.01
"""Seconds in `outgoing` after which a reply's timers and its RTT measurement restart."""
_SMALL: Final = 2048
"""Octets of a small request or reply, whose memory need not be accounted at once."""
_WILDCARDS: Final[frozenset[Address | None]] = frozenset(
    {None, *[family.wildcard for family in FAMILIES]}
)
_FIN_UNACKED: Final = frozenset({State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK})


@final
class Stack(Engine):
    """A TCP/IP endpoint with one or more addresses on one link: the calls of applications."""

    # Of all connections

    @property
    def config(self) -> Config:
        """The default configuration of connections."""
        return self.opening.config

    @config.setter
    def config(self, config: Config) -> None:
        self.opening.config = config

    @property
    def mtu(self) -> int:
        """The largest packet that the link carries, in octets."""
        return self.opening.configs.mtu

    @property
    def limits(self) -> Limits:
        """The limits of the host."""
        return self.opening.limits

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Our addresses, with their networks; see :class:`Addresses`."""
        return self.addresses.interfaces

    def set_tap(
        self,
        tap: Callable[[Observation], None] | None,
        connections: frozenset[FourTuple] | None = None,
    ) -> None:
        """Call `tap` for each packet received or sent; None removes it.

        With `connections` it sees their segments only: not those with IP options or extension
        headers, nor those that come in fragments.
        """
        self.output.set_tap(tap, connections)
        for flow in self.demux.connections:  # What they went through unseen is no news.
            flow.observed = flow.state

    def set_epoch(self, epoch: float) -> None:
        """Set what is added to `now` for the time of observations, in seconds."""
        self.output.epoch = epoch

    def share_addresses(self, forward: Callable[[bytes], None]) -> None:
        """Accept passive opens only, as another process has the same addresses.

        Args:
            forward: Called with each ICMP error about a flow that this stack does not have,
                and with each segment of such a flow that came in fragments; the other process
                passes it to :meth:`handle_forwarded`.
        """
        self.opening.only_listens = True
        self.paths.forward = forward

    def connections(self) -> list[TcpInfo]:
        """Return all connections, those in TIME-WAIT included, in order of creation."""
        flows, waits = self.demux.connections, self.time_waits
        infos = [(flow.number, flow.info()) for flow in flows]
        infos += [(wait.number, wait.info()) for wait in waits]
        return [info for _, info in sorted(infos, key=itemgetter(0))]

    def statistics(self) -> dict[str, int]:
        """Return all counters by name; unused ones are 0.

        For their names, and which of them are gauges, see :mod:`tunstack.stack.statistics`.
        """
        return collected(
            self.counters,
            received=self._received,
            sent=self.output.sent,
            predicted=self._predicted,
            memory_held=self.memory.budget.used,
            fragment_memory_held=self._reassembly.fragments.held,
            half_open=len(self.opening.admission.half_open),
        )

    @property
    def is_closing(self) -> bool:
        """Whether a FIN of ours is not acknowledged yet."""
        return any(flow.state in _FIN_UNACKED for flow in self.demux.connections)

    @property
    def awaits_fin(self) -> bool:
        """Whether a peer that acknowledged our FIN has not sent its own yet."""
        return any(flow.state is State.FIN_WAIT_2 for flow in self.demux.connections)

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
        """Bind a port at one of our addresses, or at all; returns the port.

        Args:
            local: One of our addresses; None for all, a family's wildcard for all of that family.
            port: 0 for any that is free.
            reuse: Whether connections may use it already (SO_REUSEADDR).

        Raises:
            OSError: EADDRNOTAVAIL, EADDRINUSE.
        """
        if local not in self.addresses.local and local not in _WILDCARDS:
            raise os_error(errno.EADDRNOTAVAIL)
        return self.demux.bind(local, port, reuse=reuse)

    def unbind(self, local: Address | None, port: int, *, reuse: bool) -> None:
        """Release a port bound by :meth:`bind`."""
        self.demux.unbind(local, port, reuse=reuse)

    def listen(
        self, local: Address | None, port: int, backlog: int, config: Config | None = None
    ) -> Listener:
        """Passive OPEN on a bound port; raises OSError (EADDRINUSE)."""
        return self.opening.listen(local, port, backlog, config)

    def unlisten(self, local: Address | None, port: int, listener: Listener) -> None:
        """Close a listener, and reset the connections in its queues."""
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
        """Attach an application to `flow`; `changed` is called on events it may wait for."""
        flow.changed = changed
        self.memory.budget.add(SOCKET_SIZE)

    def detach(self, flow: Flow) -> None:
        """Detach the application from `flow`."""
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
        """SEND: queue as much of `data` as fits; returns the number of octets.

        If `immediate`, a reply that fits in one segment and may be sent at once is put in
        `outgoing`. Otherwise `Flow.pending` is set: call :meth:`flush`.

        Args:
            flow: The connection.
            data: The octets.
            now: Seconds.
            urgent: Whether the last octet is urgent.
            more: Whether a partial segment waits for the next call (MSG_MORE).

        Raises:
            OSError: EPIPE after shutdown, ENOTCONN, or the connection's error.
        """
        sender = flow.sender
        sender.more = more
        if flow.on_fast_path and not urgent:
            if self.immediate and not flow.pending:
                assert flow.write is not None
                if size := fast_path.try_send(flow, data, now, flow.write):
                    # As `_settle`, without a wake-up.
                    scheduled = flow.scheduled
                    due = sender.early_timer or sender.timer
                    if scheduled is None or (due is not None and due < scheduled):
                        self._timers.schedule(flow)
                    if size + flow.receiver.buffer.size > _SMALL:
                        self.memory.account_later(flow)
                    return size
            sent = flow.send(data, now)
            self._enqueue(flow)
        else:
            sent = flow.send(data, now, urgent=urgent)
            self.mark_pending(flow)
        return sent

    def hold(self, flow: Flow, data: Buffer, now: float) -> int:
        """SEND, but transmit nothing before :meth:`release`, or the next event of the flow.

        Those are a segment, a timer, and any other call of the application: after `shutdown` or
        `close` the FIN is in the last segment of `data`.

        Raises:
            OSError: as :meth:`send`.
        """
        flow.sender.more = False
        return flow.send(data, now)

    def release(self, flow: Flow) -> bool:
        """Make the next :meth:`flush` send what is held of a flow; returns whether anything is."""
        if not flow.sender.unsent or flow.state is State.CLOSED:
            return False
        self._enqueue(flow)
        return True

    def restamp_replies(self, flows: Iterable[Flow], now: float) -> None:
        """Restart timers and RTT measurement of replies that have waited in `outgoing`."""
        for flow in flows:
            if flow.on_fast_path and now - flow.sender.last_sent > _RESTAMP_AFTER:
                fast_path.restamp_last(flow, now)

    def read(self, flow: Flow, size: int, *, peek: bool = False) -> bytes:
        """RECEIVE: return at most `size` octets; ``b""`` at the end of the stream.

        `Flow.pending` is set if a window update is due then: call :meth:`flush`.

        Raises:
            OSError: The connection's error.
        """
        data = flow.peek(size) if peek else flow.receive(size)
        memory = self.memory
        if not flow.on_fast_path or memory.budget.tight:
            if data:
                memory.account(flow)
        elif flow.accounted > SMALL_FLOW:
            memory.account_later(flow)
        if flow.receiver.ack_now or (memory.was_tight and memory.easing):
            self._enqueue(flow)
        all_read = self.all_read
        if all_read is not None and not flow.receiver.buffer.size and not self.deferred_unread:
            all_read()
        return data

    def count_beside(self, flow: Flow, octets: int) -> None:
        """Count what the application holds for `flow`, with the memory of that; 0 before its close.

        Under pressure that makes windows small, and evicts those who hold most.
        """
        flow.beside = octets
        self.memory.account(flow)

    def push(self, flow: Flow, *, small: bool) -> None:
        """Send what TCP_CORK or MSG_MORE holds back; if `small`, what Nagle does as well."""
        sender = flow.sender
        if small:
            sender.push()
        sender.more = False
        if sender.unsent:
            self.mark_pending(flow)

    def reconfigure(self, flow: Flow, config: Config, *, only_nodelay: bool = False) -> None:
        """Apply changed socket options; `only_nodelay`: only TCP_NODELAY has changed."""
        flow.reconfigure(self.opening.configs.fitted(config, flow.four_tuple.local))
        if flow.sender.unsent or not only_nodelay:
            self.mark_pending(flow)

    # Closing

    def withhold_syn(self, flow: Flow) -> None:
        """After :meth:`connect`: defer the SYN until there is data for it (RFC 7413)."""
        flow.withhold_syn()
        self.mark_pending(flow)

    def shutdown(self, flow: Flow, *, send: bool = True, receive: bool = False) -> None:
        """Send FIN after all queued data (SHUT_WR), or stop reading (SHUT_RD)."""
        if receive:
            flow.shutdown_receive()
        if send:
            flow.shutdown()
        self.mark_pending(flow)

    def close(self, flow: Flow, linger: float | None = None) -> None:
        """CLOSE: detach the application; queued data is still delivered.

        With `linger`, the connection is reset if that takes more seconds (SO_LINGER).
        """
        self.detach(flow)
        flow.close(linger)
        self.mark_pending(flow)

    def abort(self, flow: Flow) -> None:
        """ABORT: close `flow` with a RST; an attached application is woken."""
        flow.abort()
        self.mark_pending(flow)
