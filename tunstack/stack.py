"""The whole endpoint, sans-IO: packets in, packets out, connections in between.

:class:`Stack` is what a host and the simulator drive. It knows no trio, no device and no clock. The
order of calls:

1. any number of calls that go in: :meth:`Stack.packet_arrives`, :meth:`Stack.handle_timers`, or an
   application's call on a flow followed by :meth:`Stack.touch`; where it only gave data, or took
   some, by :meth:`Stack.gave` or :meth:`Stack.took`, which leave the flow its short way;
2. :meth:`Stack.flush`, which asks each flow that was touched what it sends: one ACK per connection
   and batch (RFC 9293 MUST-58, MUST-59), and one notice per application;
3. take what is in `outgoing`;
4. :meth:`Stack.deadline` says when to call `handle_timers`.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import Counter, deque
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from tunstack.admission import Admission
from tunstack.flow import FLOW_SIZE, IP_AND_TCP_HEADERS, Flow
from tunstack.ip import address as ip_address
from tunstack.ip import icmp
from tunstack.ip.datagram import ICMP, TCP
from tunstack.ip.demux import Demultiplexer, FourTuple
from tunstack.ip.path_mtu import PathMtus, reported_mtu
from tunstack.limits import Limits
from tunstack.memory import Memory
from tunstack.observation import Observation
from tunstack.statistics import collected
from tunstack.tcp import fast_open, prediction, sizing
from tunstack.tcp.budget import Budget
from tunstack.tcp.config import Config
from tunstack.tcp.ecn import CE
from tunstack.tcp.fast_open_cookies import CookieCache, CookieMint
from tunstack.tcp.isn import InitialNumbers
from tunstack.tcp.listener import Listener
from tunstack.tcp.segment import ACK, PSH, SYN, Segment
from tunstack.tcp.sequence import MASK, within
from tunstack.tcp.state import SYN_RECEIVED, State
from tunstack.tcp.verdict import Verdict
from tunstack.time_wait import TimeWaits
from tunstack.timers import TimerQueue
from tunstack.wire import (
    NOTHING_OFFLOADED,
    VNET_SIZE,
    Discard,
    Reason,
    completed,
    decode_datagram,
    decode_icmp,
    decode_segment,
    decode_vnet,
    encode_icmp,
    encode_segment,
    lean,
    lean_syn,
    read_gso_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Interface
    from random import Random

    from tunstack.flow import TcpInfo
    from tunstack.ip.datagram import Address, Buffer, Datagram

_ESTABLISHED: Final = State.ESTABLISHED.value
_TIME_WAIT: Final = State.TIME_WAIT.value
_ACCEPTED: Final = Verdict.ACCEPTED
_NEW_INCARNATION: Final = Verdict.NEW_INCARNATION

_SMALL: Final = 2048
"""Octets of a packet whose data is copied rather than looked at in place: that lets go of it."""
_MUCH: Final = 1 << 14
"""Octets that an application may need more than one turn to read."""
_LARGEST_PAYLOAD: Final = 0xFFFF - 20 - 60
"""Of a segment that the link will cut, beside the largest headers."""

_LITTLE: Final = 2048
"""Octets that come and go with a small request, which makes no difference to the accounts."""

_ISN_STEP: Final = 1 << 17
"""How far beyond the old connection's numbers a new incarnation's begin, at least."""


class Stack:
    """A TCP/IP endpoint with one or more addresses on one link.

    Attributes:
        interfaces: Our addresses, each with the prefix of its network.
        mtu: The largest packet that the link carries, in octets.
        config: What every connection begins with.
        limits: What bounds all of it.
        memory: Who holds how much.
        time_waits: Connections in TIME-WAIT that nobody owns, which `demux` has not.
        turns_follow: Whether applications get turns after the :meth:`flush` that follows: then
            :meth:`flush` lets wait what had better wait for that.
        awaiting: The connections whose applications are to have a turn first, for there is much to
            read, or something waits; who has given them turns calls :meth:`gave` for each.
        outgoing: Packets for the link, each as the buffers that make it up.
        path_mtus: Which paths are narrower than the link.
        counters: How often what happened; the keys are `Reason` and `Verdict` values among others.
        stray: Called with an ICMP error about a flow that is not here, for it may be in another
            process that has the same address; see :meth:`take_stray`.
        only_listens: Whether :meth:`connect` is refused, as answers might go to such a process.
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
        self.interfaces = tuple(interfaces)
        self.mtu = mtu
        config = config or Config()
        mss = min(config.mss, mtu - IP_AND_TCP_HEADERS)
        largest = config.max_payload or (_LARGEST_PAYLOAD if offload else 0)
        self.config = replace(config, mss=mss, max_payload=largest)
        self._offload = offload
        self._read = lean.read_frame if offload else lean.read_packet
        self._read_syn = lean_syn.read_syn_frame if offload else lean_syn.read_syn_packet
        self._data_at = lean.HEADERS + (VNET_SIZE if offload else 0)
        self._predicts = predict
        self._predicted = 0
        self.outgoing: deque[list[Buffer]] = deque()
        self.counters: Counter[str] = Counter()
        self.limits = limits or Limits()
        self.demux: Demultiplexer[Flow, Listener] = Demultiplexer(rng)
        budget = Budget(self.limits.memory)
        self.time_waits = TimeWaits(self.demux, self.config, budget)
        self.memory = Memory(budget, self.time_waits, self.counters)
        self.tap = tap
        self.stray: Callable[[bytes], None] | None = None
        self.only_listens = False
        self._epoch = 0.0
        self._addresses = [interface.ip.packed for interface in self.interfaces]
        self._local = frozenset(self._addresses)
        self._broadcasts = frozenset(
            broadcast
            for interface in self.interfaces
            if (broadcast := ip_address.subnet_broadcast(interface)) is not None
        )
        self._rng = rng
        secret = rng.randbytes(32)
        self._numbers = InitialNumbers(secret)
        self._admission = Admission(
            self.limits,
            secret,
            numbers=self._numbers,
            budget=self.memory.budget,
            make_room=self._make_room,
            counters=self.counters,
        )
        self._cookie_mint = CookieMint(secret)
        self._cookie_cache = CookieCache()
        self._order = itertools.count()
        self._timers: TimerQueue[Flow] = TimerQueue()
        self._touched: deque[Flow] = deque()
        self._due: deque[Flow] = deque()
        self._looped: deque[bytes] = deque()
        self.turns_follow = False
        self.awaiting: list[Flow] = []
        self.path_mtus = PathMtus(mtu)

    def set_epoch(self, epoch: float) -> None:
        """Tell what to add to the clock for the time of observations, in seconds."""
        self._epoch = epoch

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
                if flow.four_tuple.remote not in self._local:
                    self._lean_arrives(flow, fields, data, packet, now)
                    return
        self._process(packet, now, looped=False)

    def _was_expected(self, flow: Flow, frame: Buffer, now: float) -> None:
        """It was the next segment of an ordinary connection, which has taken it."""
        self._predicted += 1
        flow.received_tos = 0
        if self.tap is not None:
            self._observe_in(frame, now, _ACCEPTED, _ESTABLISHED, _ESTABLISHED)
        receiver, sender = flow.receiver, flow.sender
        if (
            flow.awaited
            and not receiver.ack_now
            and 0 < receiver.buffer.size < _MUCH
            and sender.buffer.size == (sender.nxt - sender.una) & MASK
        ):
            # There is nothing to send, and whoever waits for it reads it now, and may answer.
            due, scheduled = receiver.ack_due, flow.scheduled
            if scheduled is None or (due is not None and due < scheduled):
                self._timers.schedule(flow)
            if flow.changed is not None:
                flow.changed()
        else:
            self.note(flow)

    def _lean_arrives(
        self, flow: Flow, fields: lean.Lean, data: Buffer, frame: Buffer, now: float
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
                self._check_addresses(name[:4], name[4:8], looped=looped)
                self._tcp_arrives(name, segment, 0, frame, now)
                return
            if self._offload:
                packet, trusted, gso_size = decode_vnet(frame)
            datagram = decode_datagram(packet)
            self._check_addresses(datagram.src, datagram.dst, looped=looped)
            if datagram.more_fragments or datagram.fragment_offset:
                raise Discard(Reason.FRAGMENT)
            if datagram.protocol == TCP:
                sport, dport, segment = decode_segment(datagram, trusted=trusted)
                segment.gso_size = gso_size
                name = FourTuple(datagram.dst, dport, datagram.src, sport).incoming
                self._tcp_arrives(name, segment, datagram.tos, frame, now)
            elif datagram.protocol == ICMP:
                self._icmp_arrives(datagram, frame, now)
            else:
                self._answer_icmp(datagram, icmp.protocol_unreachable, now)
                raise Discard(Reason.UNKNOWN_PROTOCOL)
        except Discard as discard:
            self.counters[discard.reason] += 1
            self._observe_in(frame, now, f"dropped: {discard.reason.phrase}")

    def _check_addresses(self, src: Address, dst: Address, *, looped: bool) -> None:
        if dst not in self._local:
            raise Discard(Reason.NOT_OUR_ADDRESS)
        if ip_address.is_martian_source(src, self._broadcasts):
            raise Discard(Reason.BAD_SOURCE)
        if src in self._local and not looped:
            raise Discard(Reason.BAD_SOURCE)  # Only what we send ourselves comes from us.

    def _tcp_arrives(
        self, incoming: bytes, segment: Segment, tos: int, packet: Buffer, now: float
    ) -> None:
        flow = self.demux.incoming.get(incoming)
        if flow is None and incoming in self.demux.waiting:
            if segment.flags & SYN and self._replaces_wait(incoming, segment, packet, now):
                return
            flow = self._wake(incoming)
        if flow is None:
            name = FourTuple.from_incoming(incoming)
            flow = self._unmatched(name, segment, packet, now)
            if flow is None:
                return
        self._segment_arrives(flow, segment, tos, packet, now)

    def _segment_arrives(
        self, flow: Flow, segment: Segment, tos: int, packet: Buffer, now: float
    ) -> None:
        before = flow.state
        if segment.ecn == CE:
            self.counters["congestion_marks"] += 1
        flow.received_tos = tos
        verdict = flow.segment_arrives(segment, now)
        self.counters[verdict] += 1
        self.touch(flow)
        if before is SYN_RECEIVED and not flow.sender.buffer.size and self._may_go_short_way(flow):
            flow.quiet.watch(flow, now)  # It has just opened: a request may be in the same batch.
        if self.tap is not None:
            flow.observed = flow.state
            self._observe_in(packet, now, verdict, before.value, flow.state.value)
        if verdict is _NEW_INCARNATION:
            self._reincarnate(flow, segment, packet, now)

    def _wake(self, incoming: bytes) -> Flow:
        flow = self.time_waits.wake(incoming)
        self.touch(flow)  # At once: whatever becomes of the segment, it is to have its timer.
        return flow

    def _unmatched(
        self,
        name: FourTuple,
        segment: Segment,
        packet: Buffer,
        now: float,
        floor: int | None = None,
    ) -> Flow | None:
        """A segment of no connection: a new one's first, or an occasion for a RST (3.10.7.1-2)."""
        listener = self.demux.find_listener(name.local, name.local_port)
        reopens = floor is not None
        verdict, answer, syn = self._admission.judge(listener, name, segment, now, reopens=reopens)
        if verdict is None:
            assert listener is not None
            if syn is not None:
                return self._begin_by_cookie(name, listener, syn, segment, now)
            given_up = self._admission.give_up_half_open(listener)
            if given_up is not None:
                assert isinstance(given_up, Flow)
                self.touch(given_up)
            flow = self._begin(name, listener, now, floor)
            if segment.fast_open is not None:
                flow.fast_open = fast_open.judge(
                    self._cookie_mint,
                    listener,
                    (name.remote, name.local),
                    segment,
                    self.counters,
                    now,
                )
            return flow
        self.counters[verdict] += 1
        self._observe_in(packet, now, verdict)
        if answer is not None:
            config = self.config if listener is None else listener.config
            self._send(name, answer, now, config=config)
        return None

    def _make_room(self) -> bool:
        """Whether there may be one connection more; that may take the end of another."""
        if len(self.demux.connections) + len(self.time_waits) < self.limits.connections:
            return True
        if self.memory.give_up_wait():
            return True
        ended = self.memory.give_up_one()
        if ended is None:
            return False
        self.demux.remove(ended.four_tuple, ended)
        self.touch(ended)
        return True

    def _begin(self, name: FourTuple, listener: Listener, now: float, iss: int | None) -> Flow:
        flow = self._make_flow(name, now, iss=iss, config=listener.config)
        flow.owner = listener
        flow.open_passive()
        listener.begin(flow)
        self.demux.add(name, flow)
        return flow

    def _begin_by_cookie(
        self, name: FourTuple, listener: Listener, syn: Segment, ack: Segment, now: float
    ) -> Flow:
        """Go through the handshake as if the SYN had been kept: `ack` is all that is missing."""
        flow = self._begin(name, listener, now, (ack.ack - 1) & MASK)
        flow.segment_arrives(syn, now)
        flow.answered_by_cookie(now)
        return flow

    def _reincarnate(self, old: Flow, syn: Segment, packet: Buffer, now: float) -> None:
        """A SYN that may reopen a connection in TIME-WAIT: from here on there is only the new."""
        if self.demux.find_listener(old.four_tuple.local, old.four_tuple.local_port) is None:
            # Nobody can: it is like any other segment (section 3.10.7.4, fourth).
            old.challenge(now)
            return
        old.end(None)
        self.demux.remove(old.four_tuple, old)
        self.touch(old)
        self._begin_anew(old.four_tuple, old.sender.nxt, syn, packet, now)

    def _replaces_wait(self, incoming: bytes, syn: Segment, packet: Buffer, now: float) -> bool:
        """Whether `syn` has reopened what nobody owns: as :meth:`_reincarnate`, without the old.

        A client that does not wait for it comes back with the same port before a minute is over.
        """
        name = FourTuple.from_incoming(incoming)
        if self.demux.find_listener(name.local, name.local_port) is None:
            return False
        nxt = self.time_waits.replace(incoming, syn)
        if nxt is None:
            return False
        if syn.ecn == CE:
            self.counters["congestion_marks"] += 1
        self.counters[_NEW_INCARNATION] += 1
        self._observe_in(packet, now, _NEW_INCARNATION, _TIME_WAIT, _TIME_WAIT)
        self._begin_anew(name, nxt, syn, packet, now)
        return True

    def _begin_anew(
        self, name: FourTuple, nxt: int, syn: Segment, packet: Buffer, now: float
    ) -> None:
        """After a connection of the same name, whose SND.NXT was `nxt`."""
        # Larger than any number that the old one used (RFC 9293 section 3.6.1).
        floor = (nxt + _ISN_STEP) & MASK
        flow = self._unmatched(name, syn, packet, now, floor)
        if flow is not None:
            flow.segment_arrives(syn, now)
            self.touch(flow)

    def _make_flow(
        self,
        name: FourTuple,
        now: float,
        *,
        iss: int | None = None,
        config: Config | None = None,
    ) -> Flow:
        packed = name.packed
        flow = Flow(
            name,
            config or self.config,
            iss=self._numbers.isn(packed, now) if iss is None else iss,
            ts_offset=self._numbers.timestamp_offset(packed),
            budget=self.memory.budget,
        )
        flow.number = next(self._order)
        flow.sender.path.told = self.path_mtus.get(name.remote) - IP_AND_TCP_HEADERS
        return flow

    def _icmp_arrives(self, datagram: Datagram, packet: Buffer, now: float) -> None:
        message = decode_icmp(datagram)
        self.counters["icmp_received"] += 1
        self._observe_in(packet, now, "accepted")
        answer = icmp.reply_to(datagram, message, broadcasts=self._broadcasts)
        if answer is not None:
            self._send_icmp(datagram, answer, now)
        elif (quote := icmp.quoted_tcp(message)) is not None:
            name = FourTuple(quote.src, quote.sport, quote.dst, quote.dport)
            if self.stray is not None and self.demux.find(name) is None:
                self.stray(bytes(packet))
            self._tcp_error(name, quote.seq, message, now)

    def take_stray(self, packet: Buffer, now: float) -> None:
        """Look at what came to `stray` of another stack with our address; :meth:`flush` after it.

        Only if it is about a flow of ours is anything done, or counted.
        """
        try:
            datagram = decode_datagram(decode_vnet(packet)[0] if self._offload else packet)
            message = decode_icmp(datagram)
        except Discard:
            return
        quote = icmp.quoted_tcp(message)
        if quote is not None:
            name = FourTuple(quote.src, quote.sport, quote.dst, quote.dport)
            if self.demux.find(name) is not None:
                self._tcp_error(name, quote.seq, message, now)

    def _tcp_error(self, name: FourTuple, seq: int, message: icmp.IcmpMessage, now: float) -> None:
        """An ICMP error about a segment of ours (RFC 9293 section 3.9.2.2)."""
        flow = self.demux.find(name)
        if message.type != icmp.DESTINATION_UNREACHABLE and message.type != icmp.TIME_EXCEEDED:
            return  # Source Quench and the rest: MUST-55.
        if flow is None or not within(seq, flow.sender.una, flow.sender.outstanding):
            self.counters["icmp_unmatched"] += 1  # RFC 5927 section 4.1: a guess, or too late.
            return
        unreachable = message.type == icmp.DESTINATION_UNREACHABLE
        if unreachable and message.code == icmp.FRAGMENTATION_NEEDED:
            if (mtu := reported_mtu(message)) is not None:
                sizing.too_large(flow.sender, mtu - IP_AND_TCP_HEADERS, seq, now)
                self._look_at_path(flow, now)
            return
        flow.icmp_error(icmp.as_os_error(message))
        self.touch(flow)

    def _look_at_path(self, flow: Flow, now: float) -> None:
        """If `flow` has learnt that its path is narrow, tell those that use the same one."""
        path = flow.sender.path
        if not path.news:
            return
        path.news = False
        self.touch(flow)
        remote = flow.four_tuple.remote
        if self.path_mtus.lower(remote, path.told + IP_AND_TCP_HEADERS, now):
            self.counters["path_mtu_lowered"] += 1
            self._path_changed(remote)

    def _path_changed(self, remote: Address) -> None:
        size = self.path_mtus.get(remote) - IP_AND_TCP_HEADERS
        for flow in self.demux.connections:
            if flow.four_tuple.remote == remote:
                sizing.path_changed(flow.sender, size)
                flow.ordinary = False

    def _answer_icmp(
        self,
        datagram: Datagram,
        make: Callable[..., icmp.IcmpMessage | None],
        now: float,
    ) -> None:
        message = make(datagram, broadcasts=self._broadcasts)
        if message is None:
            return
        if self._admission.icmp_errors.allows(datagram.src, now):
            self._send_icmp(datagram, message, now)
        else:
            self.counters["icmp_suppressed"] += 1

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
        if self.memory.budget.full:
            for flow in self.memory.relieve():
                self.touch(flow)
            self._flush(now)
        if self.memory.easing:
            for flow in self.memory.ease(self.demux.connections):
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
                if flow.write is not None and self.tap is None and segment.lean:
                    assert segment.ts_val is not None
                    flow.write(
                        segment.seq,
                        segment.ack,
                        segment.flags,
                        segment.wnd,
                        segment.ts_val,
                        segment.ts_ecr,
                        segment.payload,
                        segment.gso_size,
                        now,
                    )
                else:
                    self._send(flow.four_tuple, segment, now, flow, config=flow.config)
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
            or flow.four_tuple.remote in self._local
        ):
            return False
        flow.ordinary = True
        if flow.write is None:
            flow.write = _Writer(self, flow.four_tuple, flow.config).write
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
        tell of, and that is one ACK, and not two. Linux has it wait for the reader as well where it
        would tell of a smaller window than the one before, and where it would not, sends it now.

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

    def _send(
        self,
        name: FourTuple,
        segment: Segment,
        now: float,
        flow: Flow | None = None,
        *,
        config: Config,
    ) -> None:
        packet = encode_segment(
            name.local,
            name.remote,
            name.local_port,
            name.remote_port,
            segment,
            offload=self._offload,
            ttl=config.ttl,
            tos=config.tos,
        )
        if segment.note:
            self.counters[segment.note] += 1
        if flow is None or self.tap is None:
            self._emit(name.remote, packet, now, segment.note)
        else:
            before, after = flow.observed.value, flow.state.value
            self._emit(name.remote, packet, now, segment.note, before, after)
            flow.observed = flow.state

    def _send_icmp(self, asked: Datagram, message: icmp.IcmpMessage, now: float) -> None:
        # It may be fragmented on its way: pieces of two must not be mixed up (RFC 6864).
        identification = self._rng.getrandbits(16)
        packet = encode_icmp(asked.dst, asked.src, message, identification=identification)
        if sum(map(len, packet)) <= self.mtu:
            if self._offload:
                packet.insert(0, NOTHING_OFFLOADED)
            self._emit(asked.src, packet, now)

    def _emit(
        self,
        dst: Address,
        packet: list[Buffer],
        now: float,
        note: str = "",
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        self.counters["packets_sent"] += 1
        if dst in self._local:
            self._looped.append(b"".join(packet))
        else:
            self.outgoing.append(packet)
        if self.tap is not None:
            whole = self._whole(b"".join(packet))
            self.tap(Observation(self._epoch + now, "out", whole, before, after, note))

    def _observe_in(
        self,
        packet: Buffer,
        now: float,
        verdict: str,
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        if self.tap is not None:
            time = self._epoch + now
            whole = self._whole(packet)
            self.tap(Observation(time, "in", whole, before, after, str(verdict)))

    def _whole(self, frame: Buffer) -> bytes:
        """The packet as it would be on a wire, but for its size."""
        return completed(frame) if self._offload else bytes(frame)

    # Timers

    @property
    def hurried(self) -> bool:
        """Whether :meth:`deadline` may have come nearer since it was asked."""
        return self._timers.hurried

    def deadline(self) -> float | None:
        """When :meth:`handle_timers` wants to be called, in seconds; None if never."""
        if self._looped or self._due or self._touched:
            return float("-inf")
        first = self._timers.deadline()
        for at in (self.path_mtus.deadline(), self.time_waits.deadline()):
            if at is not None and (first is None or at < first):
                first = at
        return first

    def handle_timers(self, now: float) -> None:
        """Do what is due, and deliver what was sent to ourselves; :meth:`flush` after it."""
        for _ in range(len(self._looped)):
            self._process(self._looped.popleft(), now, looped=True)
        for remote in self.path_mtus.expired(now):
            self._path_changed(remote)
        self.time_waits.expire(now)
        self._due.extend(self._timers.due(now))
        while self._due:  # One by one, as in `flush`.
            flow = self._due.popleft()
            flow.handle_timer(now)
            self._look_at_path(flow, now)
            self.touch(flow)

    # The application's side

    def listen(
        self, local: Address | None, port: int, backlog: int, config: Config | None = None
    ) -> Listener:
        """Passive OPEN on a port that is bound; raises OSError (EADDRINUSE)."""
        listener = Listener(backlog, config or self.config, self._admission.half_open)
        self.demux.listen(local, port, listener)
        return listener

    def close_listener(self, local: Address | None, port: int, listener: Listener) -> None:
        """End a listener; what waits in it is reset."""
        self.demux.unlisten(local, port)
        for connection in listener.close():
            assert isinstance(connection, Flow)
            self.touch(connection)

    def connect(
        self,
        remote: Address,
        remote_port: int,
        now: float,
        *,
        local: Address | None = None,
        local_port: int = 0,
        config: Config | None = None,
        early: bool = False,
    ) -> Flow:
        """Active OPEN: begin a connection; :meth:`flush` sends its SYN.

        With `early` its SYN takes along data that is sent by then, if RFC 7413 allows it.

        Raises:
            OSError: ENETUNREACH for an address that is no single host's (MUST-46), EADDRNOTAVAIL,
                EADDRINUSE, ECONNREFUSED for port 0, ENOBUFS when there are too many connections,
                EOPNOTSUPP when we only listen.
        """
        if self.only_listens:
            raise OSError(errno.EOPNOTSUPP, "a worker only listens")
        if not ip_address.is_valid_remote(remote, self._broadcasts):
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        if remote_port == 0:
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        if not self._make_room():
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        if local is None:
            local = self.source_for(remote)
        port = local_port or self.demux.ephemeral_port(local, remote, remote_port)
        name = FourTuple(local, port, remote, remote_port)
        flow = self._make_flow(name, now, config=config)
        self.demux.add(name, flow)
        if early:
            path = (local, remote)
            flow.fast_open = fast_open.Attempt(self._cookie_cache, path, self.counters, now)
        flow.open_active()
        self.touch(flow)
        return flow

    def source_for(self, remote: Address) -> Address:
        """Our address in the network of `remote`; the first, if there is none (MUST-44)."""
        at = ip_address.ip_address(remote)
        for interface, packed in zip(self.interfaces, self._addresses, strict=True):
            if at in interface.network:
                return packed
        return self._addresses[0]

    def is_local(self, address: Address) -> bool:
        """Whether the address is one of ours."""
        return address in self._local

    def connections(self) -> list[TcpInfo]:
        """All connections, those in TIME-WAIT included, in the order in which they began."""
        flows, waits = self.demux.connections, self.time_waits
        infos = [(flow.number, flow.info()) for flow in flows]
        infos += [(wait.number, wait.info()) for wait in waits]
        return [info for _, info in sorted(infos, key=itemgetter(0))]

    def statistics(self) -> dict[str, int]:
        """Return all counters by name; those of what never happened are 0.

        What they are called, and which of them are no counters, :mod:`tunstack.statistics` says.
        """
        return collected(
            self.counters,
            predicted=self._predicted,
            memory_held=self.memory.budget.used,
            half_open=len(self._admission.half_open),
        )


class _Writer:
    """What sends the lean segments of a connection.

    An object, and no function within one, as there is one for each connection: its variables would
    take half a kilobyte more.
    """

    __slots__ = ("_remote", "_stack", "_template")

    def __init__(self, stack: Stack, name: FourTuple, config: Config) -> None:
        ports = name.local_port.to_bytes(2, "big") + name.remote_port.to_bytes(2, "big")
        self._stack = stack
        self._remote = name.remote
        self._template = lean.Template(
            name.local,
            name.remote,
            ports,
            offload=stack._offload,
            ttl=config.ttl,
            tos=config.tos,
        )

    def write(
        self,
        seq: int,
        ack: int,
        flags: int,
        wnd: int,
        ts_val: int,
        ts_ecr: int,
        data: Buffer,
        gso_size: int,
        now: float,
    ) -> None:
        """Send a segment."""
        header = self._template.headers(seq, ack, flags, wnd, ts_val, ts_ecr, data, gso_size)
        # To copy little costs less than to have it gathered.
        packet: list[Buffer] = [header + data] if len(data) < _SMALL else [header, data]
        stack = self._stack
        if stack.tap is None:
            stack.counters["packets_sent"] += 1
            stack.outgoing.append(packet)
        else:
            stack._emit(self._remote, packet, now, "", _ESTABLISHED, _ESTABLISHED)
