"""The whole endpoint, sans-IO: packets in, packets out, connections in between.

:class:`Stack` is what a host and the simulator drive. It knows no trio, no device and no clock. The
order of calls:

1. any number of calls that go in: :meth:`Stack.packet_arrives`, :meth:`Stack.handle_timers`, or an
   application's call on a flow followed by :meth:`Stack.touch`; where it only gave data, or took
   some, by :meth:`Stack.gave` or :meth:`Stack.took`, which leave the flow its short way, or, for
   data that can go out at once, :meth:`Stack.answer` in place of that call;
2. :meth:`Stack.flush`, which asks each flow that was touched what it sends: one ACK per connection
   and batch (RFC 9293 MUST-58, MUST-59), and one notice per application;
3. take what is in `outgoing`;
4. :meth:`Stack.deadline` says when to call `handle_timers`.

What comes in finds its connection here, and each connection its turn. How connections begin is in
:mod:`tunstack.stack.opening`; ICMP, and what it tells of paths, in :mod:`tunstack.stack.paths`; all
that leaves goes by :mod:`tunstack.stack.output`.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from tunstack.ip.datagram import ICMP, TCP
from tunstack.ip.demux import Demultiplexer, FourTuple
from tunstack.ip.fragments import UNFRAGMENTED, Fragments
from tunstack.ip.options import fault
from tunstack.stack.addresses import Addresses
from tunstack.stack.flow import FLOW_SIZE, IP_AND_TCP_HEADERS, Flow
from tunstack.stack.limits import Limits
from tunstack.stack.memory import Memory
from tunstack.stack.opening import Opening
from tunstack.stack.output import Output
from tunstack.stack.paths import Paths
from tunstack.stack.statistics import collected
from tunstack.stack.time_wait import TimeWaits
from tunstack.stack.timers import TimerQueue
from tunstack.tcp.budget import Budget
from tunstack.tcp.config import Config
from tunstack.tcp.connection import fast_path as prediction
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
    decode_segment,
    decode_vnet,
    read_gso_size,
)
from tunstack.wire.fast import segment as lean
from tunstack.wire.fast import syn as lean_syn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import IPv4Interface
    from random import Random

    from tunstack.ip.datagram import Buffer, Datagram
    from tunstack.stack.flow import TcpInfo
    from tunstack.stack.observation import Observation
    from tunstack.tcp.listen.listener import Listener

_ESTABLISHED: Final = State.ESTABLISHED.value
_ACCEPTED: Final = Verdict.ACCEPTED
_NEW_INCARNATION: Final = Verdict.NEW_INCARNATION

_SMALL: Final = 2048
"""Octets of a packet whose data is copied rather than looked at in place: that lets go of it."""
_MUCH: Final = 1 << 14
"""Octets that an application may need more than one turn to read."""
_LARGEST_PAYLOAD: Final = 0xFFFF - 20 - 60
"""Of a segment that the link will cut, beside the largest headers."""

_LATE: Final = 0.01
"""Seconds after which it makes a difference that a segment has waited for its way out."""
_LITTLE: Final = 2048
"""Octets that come and go with a small request, which makes no difference to the accounts."""


def _fitted(config: Config, mtu: int, *, offload: bool) -> Config:
    """Return `config` with segments that a link of `mtu` carries, large ones where it cuts them."""
    largest = config.max_payload or (_LARGEST_PAYLOAD if offload else 0)
    mss = min(config.mss, mtu - IP_AND_TCP_HEADERS)
    return replace(config, mss=mss, max_payload=largest)


class Stack:
    """A TCP/IP endpoint with one or more addresses on one link.

    Attributes:
        mtu: The largest packet that the link carries, in octets.
        limits: What bounds all of it.
        addresses: Ours.
        opening: Begins connections, in both roles.
        paths: ICMP, and how narrow each path is.
        output: The way out, and who is told of what comes and goes.
        demux: All connections and listeners, by name.
        memory: Who holds how much.
        time_waits: Connections in TIME-WAIT that nobody owns, which `demux` has not.
        only_wakes: Whether a flow's `changed` does no more than wake who waits: then it may be
            called in the middle of a batch, for each packet, and else only in :meth:`flush`.
        turns_follow: Whether applications get turns after the :meth:`flush` that follows: then
            :meth:`flush` lets wait what had better wait for that.
        awaiting: The connections whose applications are to have a turn first, for there is much to
            read, or something waits; who has given them turns calls :meth:`gave` for each.
        outgoing: Packets for the link, each as the buffers that make it up.
        counters: How often what happened; the keys are `Reason` and `Verdict` values among others.
    """

    def __init__(
        self,
        interfaces: Sequence[IPv4Interface],
        mtu: int,
        *,
        rng: Random,
        config: Config | None = None,
        limits: Limits | None = None,
        tap: Callable[[Observation], None] | None = None,
        offload: bool = False,
        predict: bool = True,
    ) -> None:
        """Make an endpoint.

        Args:
            interfaces: Our addresses.
            mtu: Of the link.
            rng: Source of everything that is to be unpredictable, or repeatable.
            config: Defaults for connections; its `mss` is cut to what `mtu` allows.
            limits: What bounds it.
            tap: Called with every packet, and what was made of it.
            offload: Whether packets come and go behind a virtio header: then segments may be larger
                than the MTU, and whoever needs checksums fills them in.
            predict: Whether segments that are as expected go the short way (`tcp.prediction`); it
                changes nothing but the time that they take.
        """
        self.mtu = mtu
        self.limits = limits or Limits()
        self.addresses = Addresses(interfaces)
        self.counters: Counter[str] = Counter()
        self.demux: Demultiplexer[Flow, Listener] = Demultiplexer(rng)
        self.output = Output(self.addresses.local, self.counters, tap, offload=offload)
        self.outgoing = self.output.packets
        config = _fitted(config or Config(), mtu, offload=offload)
        budget = Budget(self.limits.memory)
        self.time_waits = TimeWaits(self.demux, config, budget)
        self.memory = Memory(budget, self.time_waits, self.counters, orphans=self.limits.orphans)
        self.paths = Paths(
            mtu,
            self.addresses,
            self.demux,
            self.memory.peers,
            self.output,
            rng=rng,
            touch=self.touch,
            offload=offload,
        )
        self.opening = Opening(
            config,
            self.limits,
            rng.randbytes(32),
            addresses=self.addresses,
            demux=self.demux,
            memory=self.memory,
            time_waits=self.time_waits,
            paths=self.paths,
            output=self.output,
            touch=self.touch,
        )
        self._fragments = Fragments() if mtu < UNFRAGMENTED else None
        self.only_wakes = False
        self.turns_follow = False
        self.awaiting: list[Flow] = []
        self._offload = offload
        self._read = lean.read_frame if offload else lean.read_packet
        self._read_syn = lean_syn.read_syn_frame if offload else lean_syn.read_syn_packet
        self._data_at = lean.HEADERS + (VNET_SIZE if offload else 0)
        self._predicts = predict
        self._predicted = 0
        self._timers: TimerQueue[Flow] = TimerQueue()
        self._touched: deque[Flow] = deque()
        self._due: deque[Flow] = deque()

    @property
    def config(self) -> Config:
        """What every connection begins with."""
        return self.opening.config

    @config.setter
    def config(self, config: Config) -> None:
        self.opening.config = config

    # Packets

    def packet_arrives(self, packet: Buffer, now: float) -> None:
        """Process a packet from the link; whatever is in it, it makes nothing raise."""
        self.counters["packets_received"] += 1
        fields = self._read(packet)
        if fields is not None:
            flow = self.demux.incoming.get(fields[0])
            if flow is not None:
                _, seq, ack, flags, wnd, ts_val, ts_ecr = fields
                start = self._data_at
                data = packet[start:] if len(packet) < _SMALL else memoryview(packet)[start:]
                if (
                    flow.ordinary
                    and flags & ~PSH == ACK
                    and prediction.arrives(flow, seq, ack, wnd, ts_val, ts_ecr, data, now)
                ):
                    self._was_expected(flow, packet, now)
                    return
                if flow.four_tuple.remote not in self.addresses.local:
                    self._lean_arrives(flow, fields, data, packet, now)
                    return
        self._process(packet, now, looped=False)

    def _was_expected(self, flow: Flow, frame: Buffer, now: float) -> None:
        """It was the next segment of an ordinary connection, which has taken it."""
        self._predicted += 1
        flow.received_tos = 0
        if self.output.tap is not None:
            self.output.observe_in(frame, now, _ACCEPTED, _ESTABLISHED, _ESTABLISHED, flow)
        receiver, sender = flow.receiver, flow.sender
        if (
            not self.only_wakes
            or receiver.ack_now
            or receiver.buffer.size >= _MUCH
            or sender.buffer.size != (sender.nxt - sender.una) & MASK
        ):
            self.note(flow)
            return
        # There is nothing to send: so there is nothing that would have to wait for the others.
        due, scheduled = receiver.ack_due, flow.scheduled
        if scheduled is None or (due is not None and due < scheduled):
            self._timers.schedule(flow)
        self.memory.account_ordinary(flow)
        if flow.changed is not None:
            flow.changed()

    def _lean_arrives(
        self, flow: Flow, fields: lean.Fields, data: Buffer, frame: Buffer, now: float
    ) -> None:
        """A segment with a lean header, to which all rules apply."""
        _, seq, ack, flags, wnd, ts_val, ts_ecr = fields
        segment = Segment(seq, ack, flags, wnd, 0, data, ts_val=ts_val, ts_ecr=ts_ecr)
        if self._offload:
            segment.gso_size = read_gso_size(frame)
        self._segment_arrives(flow, segment, 0, frame, now)

    def _process(self, frame: Buffer, now: float, *, looped: bool) -> None:
        packet, trusted, gso_size = frame, False, 0
        try:
            if (syn := self._read_syn(frame)) is not None:
                name, segment = syn
                self.addresses.check(name[:4], name[4:8], looped=looped)
                self._tcp_arrives(name, segment, 0, frame, now)
                return
            if self._offload:
                packet, trusted, gso_size = decode_vnet(frame)
            datagram = decode_datagram(packet)
            self.addresses.check(datagram.src, datagram.dst, looped=looped)
            if datagram.options and (wrong := fault(datagram.options)) is not None:
                limit = self.opening.admission.icmp_errors
                self.paths.refuse_options(datagram, wrong, limit, now)
                raise Discard(Reason.BAD_IP_OPTIONS)
            if datagram.more_fragments or datagram.fragment_offset:
                whole = self._fragment_arrives(datagram, frame, now)
                if whole is None:
                    return
                datagram, trusted, gso_size = whole, False, 0
            if datagram.protocol == TCP:
                sport, dport, segment = decode_segment(datagram, trusted=trusted)
                segment.gso_size = gso_size
                name = FourTuple(datagram.dst, dport, datagram.src, sport).incoming
                self._tcp_arrives(name, segment, datagram.tos, frame, now)
            elif datagram.protocol == ICMP:
                self.paths.icmp_arrives(datagram, frame, now)
            else:
                self.paths.refuse(datagram, self.opening.admission.icmp_errors, now)
                raise Discard(Reason.UNKNOWN_PROTOCOL)
        except Discard as discard:
            self.counters[discard.reason] += 1
            self.output.observe_in(frame, now, f"dropped: {discard.reason.phrase}")

    def _fragment_arrives(self, fragment: Datagram, frame: Buffer, now: float) -> Datagram | None:
        """Return the datagram that it completes, if it does."""
        fragments = self._fragments
        if fragments is None:
            raise Discard(Reason.FRAGMENT)
        before = fragments.dropped
        whole = fragments.add(fragment, now)
        dropped = fragments.dropped - before
        self.counters[Reason.FRAGMENT] += dropped
        if whole is None:
            self.output.observe_in(frame, now, "fragment dropped" if dropped else "fragment kept")
        return whole

    def _tcp_arrives(
        self, incoming: bytes, segment: Segment, tos: int, packet: Buffer, now: float
    ) -> None:
        flow = self.demux.incoming.get(incoming)
        if flow is not None and flow.state is CLOSED and segment.flags & SYN:
            # It has ended in this very batch, by a RST: whoever begins anew need not wait for that.
            self.demux.remove(flow.four_tuple, flow)
            flow = None
        if flow is None and incoming in self.demux.time_waits:
            if segment.flags & SYN and self.opening.replaces_wait(incoming, segment, packet, now):
                return
            flow = self._wake(incoming)
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
        self.touch(flow)
        if before is SYN_RECEIVED and not flow.sender.buffer.size and self._may_go_short_way(flow):
            flow.idle_timers.watch(
                flow, now
            )  # It has just opened: a request may be in the same batch.
        if self.output.tap is not None:
            flow.observed = flow.state
            self.output.observe_in(packet, now, verdict, before.value, flow.state.value, flow)
        if verdict is _NEW_INCARNATION:
            self.opening.reincarnate(flow, segment, packet, now)

    def _wake(self, incoming: bytes) -> Flow:
        flow = self.time_waits.wake(incoming)
        self.memory.enter(flow)
        self.touch(flow)  # At once: whatever becomes of the segment, it is to have its timer.
        return flow

    # Transmission

    def touch(self, flow: Flow) -> None:
        """Have `flow` asked, at the next :meth:`flush`, what it sends and when it wants a call."""
        flow.ordinary = False
        self.note(flow)

    def took(self, flow: Flow) -> bool:
        """The application has read from `flow`; returns whether there is something to send now."""
        if not flow.ordinary:
            self.memory.account(flow)
        elif self.memory.budget.tight:
            self.memory.account_ordinary(flow)
        elif flow.accounted > FLOW_SIZE + _LITTLE:
            self.memory.account_later(flow)
        return flow.receiver.ack_now or (self.memory.was_tight and self.memory.easing)

    def answer(self, flow: Flow, data: Buffer, now: float) -> bool:
        """The application gives `flow` data that goes out at once: it is in `outgoing` then.

        Returns:
            Whether that was so; else nothing is done, and :meth:`Flow.send` is to be called.
        """
        if not flow.ordinary or flow.touched:
            return False
        assert flow.write is not None
        if not prediction.answer(flow, data, now, flow.write):
            return False
        sender, scheduled = flow.sender, flow.scheduled
        due = sender.early_timer or sender.timer
        if scheduled is None or (due is not None and due < scheduled):
            self._timers.schedule(flow)
        if len(data) + flow.receiver.buffer.size > _LITTLE:
            self.memory.account_later(flow)
        return True

    def leave(self, flows: Iterable[Flow], now: float) -> None:
        """What :meth:`answer` sent for `flows`, and has waited in `outgoing`, leaves now."""
        for flow in flows:
            if flow.ordinary and now - flow.sender.last_sent > _LATE:
                prediction.leaves_late(flow, now)

    @property
    def unread(self) -> int:
        """Octets that the applications of those in `awaiting` have not read."""
        return sum([flow.receiver.buffer.size for flow in self.awaiting])

    def gave(self, flow: Flow, now: float) -> None:
        """The application has given `flow` data to send; what goes at once is in `outgoing` then.

        Else as :meth:`touch`: the rest is :meth:`flush`'s.
        """
        if flow.ordinary and not flow.touched:
            assert flow.write is not None
            prediction.transmit(flow, now, flow.write)
            if flow.ordinary:
                self._timers.schedule(flow)
                self.memory.account_later(flow)
                return
        self.note(flow)

    def note(self, flow: Flow) -> None:
        """As :meth:`touch`, where nothing happened but that the application gave or took data."""
        if not flow.touched:
            flow.touched = True
            self._touched.append(flow)

    def flush(self, now: float) -> None:
        """Collect in `outgoing` what the touched flows send; schedule them; tell who waits."""
        self._flush(now)
        if self.memory.budget.full or self.memory.orphans_over:
            for flow in self.memory.relieve():
                self.touch(flow)
            self._flush(now)
        if self.memory.was_tight and self.memory.easing:
            for flow in self.memory.ease():
                self.touch(flow)
            self._flush(now)

    def _flush(self, now: float) -> None:
        # One by one: should a bug of ours raise for one, the next call goes on with the rest.
        while self._touched:
            flow = self._touched.popleft()
            flow.touched = False
            if flow.ordinary:
                self._flush_ordinary(flow, now)
                continue
            for segment in flow.transmit(now):
                self.output.send(flow.four_tuple, segment, now, flow, config=flow.config)
            if flow.finished:
                self.demux.remove(flow.four_tuple, flow)
                self._timers.forget(flow)
            elif flow.changed is None and flow.only_waits and self.time_waits.take(flow):
                self._timers.forget(flow)
                self.memory.forget(flow)
                continue
            else:
                self._timers.schedule(flow)
            if flow.changed is not None:
                flow.changed()
            self.memory.account(flow)
            self._may_go_short_way(flow)

    def _may_go_short_way(self, flow: Flow) -> bool:
        """See if `flow` is ordinary, and returns whether it is; what we send ourselves never is."""
        if (
            not prediction.is_ordinary(flow)
            or not self._predicts
            or flow.four_tuple.remote in self.addresses.local
        ):
            return False
        flow.ordinary = True
        if flow.write is None:
            flow.write = self.output.writer(flow.four_tuple, flow.config)
        return True

    def _flush_ordinary(self, flow: Flow, now: float) -> None:
        assert flow.write is not None
        if not (self.turns_follow and self._waits(flow)):
            prediction.transmit(flow, now, flow.write)
        self._timers.schedule(flow)
        if flow.changed is not None:
            flow.changed()
        self.memory.account_ordinary(flow)

    def _waits(self, flow: Flow) -> bool:
        """Whether what `flow` has to send is better sent when its application has had a turn.

        So it is with an ACK while the window is narrow: when the data is read, it has more room to
        tell of, and that is one ACK, and not two.

        And so it is with the small rest of large segments: whoever gave that much may go on.
        """
        receiver, sender = flow.receiver, flow.sender
        unread, unsent = receiver.buffer.size, sender.buffer.size
        if unsent:
            unsent -= (sender.nxt - sender.una) & MASK
        if unsent:
            waits = unsent < flow.config.max_payload and not receiver.ack_now
        else:
            waits = receiver.ack_now and unread * 2 > receiver.size
        if waits or unread >= _MUCH:
            self.awaiting.append(flow)
        return waits

    # Timers

    @property
    def hurried(self) -> bool:
        """Whether :meth:`deadline` may have come nearer since it was asked."""
        return self._timers.hurried

    def deadline(self) -> float | None:
        """When :meth:`handle_timers` wants to be called, in seconds; None if never."""
        if self.output.looped or self._due or self._touched:
            return float("-inf")
        if self.paths.untold or (self.memory.was_tight and self.memory.easing):
            return float("-inf")  # It is done bit by bit.
        first = self._timers.deadline()
        for at in (self.paths.mtus.deadline(), self.time_waits.deadline()):
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
        self._due.extend(self._timers.due(now))
        while self._due:  # One by one, as in `flush`.
            flow = self._due.popleft()
            flow.handle_timer(now)
            self.paths.look_at(flow, now)
            self.touch(flow)

    # The application's side

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
            half_open=len(self.opening.admission.half_open),
        )
