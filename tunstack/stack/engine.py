"""What goes on in a stack: packets find their connections, and connections send, one by one.

:class:`Engine` is the part of :class:`~tunstack.stack.stack.Stack` that the loop drives. Each
arriving packet finds its connection here; :meth:`Engine.flush` asks each connection that something
happened to what it sends; and one method, :meth:`Engine._settle`, sees to what follows from any
change: timer, wake-up, memory account.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.datagram import TCP, UDP
from tunstack.ip.demux import FourTuple
from tunstack.ip.family import FAMILIES, IPV4, IPV6
from tunstack.ip.flow_label import FlowLabels
from tunstack.ip.options import fault
from tunstack.ip.ratelimit import PeerRateLimit
from tunstack.stack.configs import Configs
from tunstack.stack.context import Context
from tunstack.stack.datagrams import Datagrams
from tunstack.stack.echo import Echoes
from tunstack.stack.flow import FLOW_SIZE, Flow
from tunstack.stack.limits import Limits
from tunstack.stack.opening import Opening
from tunstack.stack.paths import Paths
from tunstack.stack.reassembly import Reassembly
from tunstack.stack.timers import TimerQueue
from tunstack.tcp.config import Config
from tunstack.tcp.connection import fast_path
from tunstack.tcp.connection.ecn import CE
from tunstack.tcp.connection.state import CLOSED, SYN_RECEIVED, State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK, PSH, SYN, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import (
    VNET_SIZE,
    Discard,
    Reason,
    decode_datagram,
    decode_frame,
    decode_segment,
    read_gso_size,
)
from tunstack.wire.fast import datagram as lean_datagram
from tunstack.wire.fast import segment as lean
from tunstack.wire.fast import segment6 as lean6
from tunstack.wire.fast import syn as lean_syn
from tunstack.wire.fast import syn6 as lean_syn6

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tunstack.ip.address import Interface
    from tunstack.ip.datagram import Buffer, Datagram
    from tunstack.stack.observation import Observation

_ESTABLISHED: Final = State.ESTABLISHED.value
_ACCEPTED: Final = Verdict.ACCEPTED
_NEW_INCARNATION: Final = Verdict.NEW_INCARNATION

_IPV6: Final = 0x60
"""The first octet of an IPv6 packet of traffic class 0."""
_OPTION_FAULTS: Final[dict[int, Callable[[bytes], int | None]]] = {IPV4.address_size: fault}
"""What finds the wrong octet in options, by octets of an address."""
_SMALL: Final = 2048
"""Octets of a packet up to which its data is copied, so that the packet itself is freed."""
_MUCH: Final = 1 << 14
"""Octets unread from which the application gets turns before the next batch."""
Handler: TypeAlias = "Callable[[Datagram, Buffer, float], None]"
"""Processes a whole datagram, the packet that completed it, and the time in seconds.

It raises `Discard` for a datagram that is to be dropped.
"""


class Engine:
    """Packets in, packets out, and timers.

    Attributes:
        mtu: The largest packet that the link carries, in octets.
        limits: The limits of the host.
        configs: Fits the configuration of a connection to its family.
        addresses: Our addresses.
        opening: Active and passive OPEN.
        paths: ICMP, and the path MTUs.
        datagrams: UDP.
        echoes: Ping sockets.
        output: Packets out, and observations of packets in and out.
        demux: All connections and listeners, by four-tuple.
        memory: What each connection holds.
        time_waits: Connections in TIME-WAIT without a socket, which `demux` has not.
        immediate: Whether applications are tasks, which a flow's `changed` only wakes: then it may
            be called for each packet of a batch, and a small reply goes out in
            :meth:`Stack.send`. Otherwise applications act within `changed`, and all is sent by
            :meth:`flush`.
        defer_acks: Whether applications get a turn after the :meth:`flush` that follows. Then it
            defers an ACK that will tell of a wider window, and the rest of large segments.
        deferred: The flows whose applications are to have that turn, as there is much to read, or
            something was deferred; :meth:`resume_deferred` after it.
        outgoing: Packets for the link, each as the buffers that make it up.
        counters: How often what happened; the keys are `Reason` and `Verdict` values among others.
    """

    def __init__(
        self,
        interfaces: Sequence[Interface],
        mtu: int,
        *,
        rng: Random,
        config: Config | None = None,
        limits: Limits | None = None,
        tap: Callable[[Observation], None] | None = None,
        offload: bool = False,
        udp_offload: bool = False,
        predict: bool = True,
    ) -> None:
        """Make an endpoint.

        Args:
            interfaces: Our addresses.
            mtu: Of the link.
            rng: Source of everything that is to be unpredictable, or repeatable.
            config: Defaults for connections; its `mss` is cut to what `mtu` allows.
            limits: The limits of the host.
            tap: Called with every packet, and what was made of it.
            offload: Whether packets have a virtio header before them: then segments may be larger
                than the MTU, and the other side of the link fills in checksums.
            udp_offload: Whether it cuts UDP datagrams as well (USO).
            predict: Whether expected segments take the fast path
                (:mod:`tunstack.tcp.connection.fast_path`); it changes nothing but the time that
                they take.

        Raises:
            ValueError: `mtu` is too small for an address among `interfaces`.
        """
        self.mtu = mtu
        secret = rng.randbytes(32)
        configs = Configs(mtu, offload=offload)
        config = configs.base(config or Config())
        context = Context(
            interfaces,
            configs,
            config,
            limits or Limits(),
            rng=rng,
            tap=tap,
            labels=FlowLabels(secret),
            offload=offload,
        )
        for family in context.addresses.families:
            configs.check(family)
        self.limits = context.limits
        self.configs = configs
        self.addresses = context.addresses
        self.counters = context.counters
        self.demux = context.demux
        self.output = context.output
        self.outgoing = context.output.packets
        self.time_waits = context.time_waits
        self.memory = context.memory
        limit = PeerRateLimit(context.limits.icmp_errors, secret)
        self.paths = Paths(mtu, context, limit, rng=rng, offload=offload)
        self.datagrams = Datagrams(
            context, self.paths, rng=rng, offload=offload, udp_offload=udp_offload
        )
        self.paths.error_handlers[UDP] = self.datagrams.icmp_error
        self.echoes = Echoes(context, self.paths, rng)
        self.opening = Opening(config, secret, context, self.paths)
        self._reassembly = Reassembly(context, self.paths, offload=offload)
        self.immediate = False
        self.defer_acks = False
        self.deferred: list[Flow] = []
        self._offload = offload
        self._decode = decode_frame if offload else decode_datagram
        self._read = lean.read_frame if offload else lean.read_packet
        self._read_udp = lean_datagram.read_frame if offload else lean_datagram.read_packet
        self._read6 = lean6.read_frame if offload else lean6.read_packet
        start = VNET_SIZE if offload else 0
        self._data_at = lean.HEADERS + start
        self._data6_at = lean6.HEADERS + start
        self._ip_at = start
        read_syn = lean_syn.read_syn_frame if offload else lean_syn.read_syn_packet
        read_syn6 = lean_syn6.read_syn_frame if offload else lean_syn6.read_syn_packet
        self._syn_readers: dict[int, tuple[lean_syn.SynReader, int, int]] = {
            lean_syn.SIZE + start: (read_syn, IPV4.address_size, 2 * IPV4.address_size),
            lean_syn6.SIZE + start: (read_syn6, IPV6.address_size, 2 * IPV6.address_size),
        }
        """By octets of the packet: the reader, and where the addresses end in the name."""
        self._predicts = predict
        self._predicted = 0
        self._timers: TimerQueue[Flow] = TimerQueue()
        self._pending = context.pending
        self._protocols: dict[tuple[int, int], Handler] = {
            (family.address_size, protocol): handler
            for family in FAMILIES
            for protocol, handler in (
                (TCP, self._tcp_datagram_arrives),
                (UDP, self.datagrams.datagram_arrives),
                (family.icmp, self.paths.icmp_arrives),
            )
        }
        """What processes a datagram, by octets of its addresses and its protocol."""
        self._due: deque[Flow] = deque()

    # Packets

    def handle_packet(self, packet: Buffer, now: float) -> None:
        """Process a packet from the link; raises nothing, whatever is in it."""
        self.counters["packets_received"] += 1
        fields = self._read(packet)
        start = self._data_at
        if fields is None and len(packet) > self._ip_at and packet[self._ip_at] == _IPV6:
            fields = self._read6(packet)
            start = self._data6_at
        if fields is not None:
            flow = self.demux.incoming.get(fields[0])
            if flow is not None:
                _, seq, ack, flags, wnd, ts_val, ts_ecr = fields
                data = packet[start:] if len(packet) < _SMALL else memoryview(packet)[start:]
                if (
                    flow.on_fast_path
                    and flags & ~PSH == ACK
                    and fast_path.arrives(flow, seq, ack, wnd, ts_val, ts_ecr, data, now)
                ):
                    self._expected_arrived(flow, packet, now)
                    return
                if flow.four_tuple.remote not in self.addresses.local:
                    self._lean_arrives(flow, fields, data, packet, now)
                    return
        self._process(packet, now, looped=False)

    def _expected_arrived(self, flow: Flow, frame: Buffer, now: float) -> None:
        """`frame` had the next segment of a flow on the fast path, which has taken it."""
        self._predicted += 1
        flow.received_tos = 0
        if self.output.tap is not None:
            self.output.observe_in(frame, now, _ACCEPTED, _ESTABLISHED, _ESTABLISHED, flow)
        receiver, sender = flow.receiver, flow.sender
        if (
            not self.immediate
            or receiver.ack_now
            or receiver.buffer.size >= _MUCH
            or sender.buffer.size != (sender.nxt - sender.una) & MASK
        ):
            self._enqueue(flow)
            return
        # It sends nothing: its application need not wait for the end of the batch.
        due, scheduled = receiver.ack_due, flow.scheduled
        earlier = scheduled is None or (due is not None and due < scheduled)
        self._settle(flow, earlier)

    def _lean_arrives(
        self, flow: Flow, fields: lean.Fields, data: Buffer, frame: Buffer, now: float
    ) -> None:
        """Process a segment with a lean header by all rules."""
        _, seq, ack, flags, wnd, ts_val, ts_ecr = fields
        segment = Segment(seq, ack, flags, wnd, 0, data, ts_val=ts_val, ts_ecr=ts_ecr)
        if self._offload:
            segment.gso_size = read_gso_size(frame)
        self._segment_arrives(flow, segment, 0, frame, now)

    def _process(self, frame: Buffer, now: float, *, looped: bool) -> None:
        try:
            reader = self._syn_readers.get(len(frame))
            if reader is not None:
                read_syn, middle, end = reader
                if (syn := read_syn(frame)) is not None:
                    name, segment = syn
                    self.addresses.check(name[:middle], name[middle:end], looped=looped)
                    self._tcp_arrives(name, segment, 0, frame, now)
                    return
            udp = self._read_udp(frame)
            if udp is not None and self.datagrams.lean_arrives(udp, frame, now, looped=looped):
                return
            datagram = self._decode(frame)
            self.addresses.check(datagram.src, datagram.dst, looped=looped)
            if datagram.options:
                self._check_options(datagram, now)
            if datagram.more_fragments or datagram.fragment_offset:
                whole = self._reassembly.fragment_arrives(datagram, frame, now)
                if whole is None:
                    return
                datagram, frame = whole
            handler = self._protocols.get((len(datagram.dst), datagram.protocol))
            if handler is None:
                self.paths.refuse(datagram, self.paths.limit, now)
                raise Discard(Reason.UNKNOWN_PROTOCOL)
            handler(datagram, frame, now)
        except Discard as discard:
            self.counters[discard.reason] += 1
            if discard.problem is not None:
                self.paths.refuse_problem(discard.problem, now)
            self.output.observe_in(frame, now, f"dropped: {discard.reason.phrase}")

    def _check_options(self, datagram: Datagram, now: float) -> None:
        """Refuse options of IPv4 that are malformed; the codec has looked at IPv6's headers."""
        find_fault = _OPTION_FAULTS.get(len(datagram.dst))
        wrong = None if find_fault is None else find_fault(datagram.options)
        if wrong is not None:
            limit = self.paths.limit
            self.paths.refuse_options(datagram, wrong, limit, now)
            raise Discard(Reason.BAD_IP_OPTIONS)

    def _tcp_datagram_arrives(self, datagram: Datagram, frame: Buffer, now: float) -> None:
        sport, dport, segment = decode_segment(datagram)
        name = FourTuple(datagram.dst, dport, datagram.src, sport).incoming
        self._tcp_arrives(name, segment, datagram.tos, frame, now)

    def _tcp_arrives(
        self, incoming: bytes, segment: Segment, tos: int, packet: Buffer, now: float
    ) -> None:
        flow = self.demux.incoming.get(incoming)
        if flow is not None and flow.state is CLOSED and segment.flags & SYN:
            # It has ended in this batch, by a RST: a new incarnation need not wait for the flush.
            self.demux.remove(flow.four_tuple, flow)
            flow = None
        if flow is None and incoming in self.demux.time_waits:
            if segment.flags & SYN and self.opening.reopens_time_wait(
                incoming, segment, packet, now
            ):
                return
            flow = self._restore(incoming)
        if flow is None:
            name = FourTuple.from_incoming(incoming)
            flow = self.opening.unmatched(name, segment, packet, now)
            if flow is None:
                return
        self._segment_arrives(flow, segment, tos, packet, now)

    def _segment_arrives(
        self, flow: Flow, segment: Segment, tos: int, packet: Buffer, now: float
    ) -> None:
        before = flow.state
        if segment.ecn == CE:
            self.counters["congestion_marks"] += 1
        verdict = flow.segment_arrives(segment, now)
        if verdict is _ACCEPTED:
            flow.received_tos = tos
        self.counters[verdict] += 1
        self.mark_pending(flow)
        if before is SYN_RECEIVED and not flow.sender.buffer.size and self._enter_fast_path(flow):
            # It has just opened: a request may be in the same batch.
            flow.idle_timers.watch(flow, now)
        if self.output.tap is not None:
            flow.observed = flow.state
            self.output.observe_in(packet, now, verdict, before.value, flow.state.value, flow)
        if verdict is _NEW_INCARNATION:
            self.opening.reincarnate(flow, segment, packet, now)

    def _restore(self, incoming: bytes) -> Flow:
        flow = self.time_waits.wake(incoming)
        self.memory.enter(flow)
        self.mark_pending(
            flow
        )  # At once: whatever becomes of the segment, it is to have its timer.
        return flow

    def handle_stray(self, packet: Buffer, now: float) -> None:
        """Process what reached another process with our addresses.

        That is an ICMP error, or a segment that came in fragments; others are ignored.
        """
        try:
            datagram = self._decode(packet)
            if datagram.protocol == TCP:
                sport, dport, segment = decode_segment(datagram)
                name = FourTuple(datagram.dst, dport, datagram.src, sport).incoming
                if name in self.demux.incoming or name in self.demux.time_waits:
                    self._tcp_arrives(name, segment, datagram.tos, packet, now)
                return
        except Discard:
            pass
        self.paths.take_stray(packet, now)

    # Transmission

    def mark_pending(self, flow: Flow) -> None:
        """Have the next :meth:`flush` ask `flow` what it sends, by all rules of TCP."""
        flow.on_fast_path = False
        if not flow.pending:
            flow.pending = True
            self._pending.append(flow)

    def _enqueue(self, flow: Flow) -> None:
        """As :meth:`mark_pending`, but a flow on the fast path stays there."""
        if not flow.pending:
            flow.pending = True
            self._pending.append(flow)

    @property
    def deferred_unread(self) -> int:
        """Octets that the applications of the flows in `deferred` have not read."""
        return sum([flow.receiver.buffer.size for flow in self.deferred])

    def resume_deferred(self) -> None:
        """Have the next :meth:`flush` send what waited for the turns of the applications."""
        while self.deferred:
            flow = self.deferred.pop()
            # One that has left the fast path meanwhile has been asked since.
            if flow.on_fast_path and (flow.receiver.ack_now or flow.sender.unsent):
                self._enqueue(flow)

    def flush(self, now: float) -> None:
        """Put in `outgoing` what the pending flows send: one ACK per connection and batch."""
        self._flush(now)
        if self.memory.budget.full or self.memory.orphans_over:
            for flow in self.memory.relieve():
                self.mark_pending(flow)
            self._flush(now)
        if self.memory.was_tight and self.memory.easing:
            for flow in self.memory.ease():
                self.mark_pending(flow)
            self._flush(now)

    def _flush(self, now: float) -> None:
        # One by one: should a bug of ours raise for one, the next call goes on with the rest.
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
            if flow.finished:
                self.demux.remove(flow.four_tuple, flow)
                self._timers.forget(flow)
                self._settle(flow, False)
            elif flow.changed is None and flow.only_waits and self.time_waits.take(flow):
                self._timers.forget(flow)
                self.memory.forget(flow)
            else:
                self._settle(flow)
                self._enter_fast_path(flow)

    def _settle(self, flow: Flow, reschedule: bool = True) -> None:
        """After a change of `flow`: start its timer, wake its application, account its memory.

        With `reschedule` off its deadline is known to be no earlier than the timer queue has it.
        On the fast path all that it holds is in its two buffers.
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
        """Put `flow` on the fast path if it qualifies; a flow to our own address never does."""
        if (
            not fast_path.is_eligible(flow)
            or not self._predicts
            or flow.four_tuple.remote in self.addresses.local
        ):
            return False
        flow.on_fast_path = True
        if flow.write is None:
            flow.write = self.output.writer(flow.four_tuple, flow.config, flow.flow_label)
        return True

    def _defers(self, flow: Flow) -> bool:
        """Whether to defer what `flow` has to send until its application has had a turn.

        An ACK while the window is narrow: after the data is read it advertises a wider one, in one
        ACK and not two. The small rest of large segments: the application may have more to send.
        """
        receiver, sender = flow.receiver, flow.sender
        unread, unsent = receiver.buffer.size, sender.buffer.size
        if unsent:
            unsent -= (sender.nxt - sender.una) & MASK
        if unsent:
            defers = unsent < flow.config.max_payload and not receiver.ack_now
        else:
            defers = receiver.ack_now and unread * 2 > receiver.size
        if defers or unread >= _MUCH:
            self.deferred.append(flow)
        return defers

    # Timers

    @property
    def hurried(self) -> bool:
        """Whether :meth:`deadline` may have come nearer since it was asked."""
        return self._timers.hurried

    def deadline(self) -> float | None:
        """When :meth:`handle_timers` wants to be called, in seconds; None if never."""
        if self.output.looped or self._due or self._pending:
            return float("-inf")
        if self.paths.untold or (self.memory.was_tight and self.memory.easing):
            return float("-inf")  # They are told a few at a time.
        first = self._timers.deadline()
        for at in (self.paths.mtus.deadline(), self.time_waits.deadline()):
            if at is not None and (first is None or at < first):
                first = at
        if self._reassembly.fragments.held:
            at = self._reassembly.fragments.deadline()
            if at is not None and (first is None or at < first):
                first = at
        return first

    def is_due(self, now: float) -> bool:
        """Whether :meth:`handle_timers` has something to do: most deadlines move in time."""
        deadline = self.deadline()
        if deadline is None or deadline > now:
            return False
        return deadline != self._timers.deadline() or self._timers.is_due(now)

    def handle_timers(self, now: float) -> None:
        """Do what is due, and deliver what was sent to ourselves; :meth:`flush` after it."""
        for _ in range(len(self.output.looped)):
            self._process(self.output.take_looped(), now, looped=True)
        self.paths.expire(now)
        self.time_waits.expire(now)
        self._reassembly.expire(now)
        self._due.extend(self._timers.due(now))
        while self._due:  # One by one, as in `flush`.
            flow = self._due.popleft()
            flow.handle_timer(now)
            self.paths.look_at(flow, now)
            self.mark_pending(flow)
