"""Input and timers of a stack.

:class:`Engine` is the part of :class:`~tunstack.stack.stack.Stack` that the event loop calls.
:meth:`Engine.handle_packet` dispatches a packet to its connection;
:meth:`~tunstack.stack.transmission.Transmission.flush` transmits for each pending connection.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.datagram import TCP, UDP
from tunstack.ip.demux import FourTuple
from tunstack.ip.family import FAMILIES, IPV4, IPV6
from tunstack.ip.flow_label import FlowLabels
from tunstack.ip.options import fault
from tunstack.ip.ratelimit import ErrorRateLimit
from tunstack.stack.addresses import Addresses
from tunstack.stack.configs import Configs
from tunstack.stack.context import Context
from tunstack.stack.datagrams import Datagrams
from tunstack.stack.echo import Echoes
from tunstack.stack.flow import FLOW_SIZE
from tunstack.stack.limits import Limits
from tunstack.stack.memory import SMALL_FLOW
from tunstack.stack.opening import Opening
from tunstack.stack.paths import Paths
from tunstack.stack.reassembly import Reassembly
from tunstack.stack.transmission import DEFER_UNREAD, Transmission
from tunstack.tcp.config import Config
from tunstack.tcp.connection import fast_path
from tunstack.tcp.connection.ecn import CE
from tunstack.tcp.connection.state import SYN_RECEIVED, State
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
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from random import Random

    from tunstack.ip.address import Interface, Network
    from tunstack.ip.datagram import Address, Buffer, Datagram
    from tunstack.stack.flow import Flow
    from tunstack.stack.observation import Observation
    from tunstack.stack.profile import Profile

_ESTABLISHED: Final = State.ESTABLISHED.value
_DATA: Final[int] = ACK | PSH
_ACCEPTED: Final = Verdict.ACCEPTED
_NEW_INCARNATION: Final = Verdict.NEW_INCARNATION

_IPV6: Final = 0x60
"""The first octet of an IPv6 packet of traffic class 0."""
_OPTION_FAULTS: Final[dict[int, Callable[[bytes], int | None]]] = {IPV4.address_size: fault}
"""What finds the wrong octet in options, by octets of an address."""
_SMALL: Final = 2048
"""Octets of a packet up to which its data is copied, so that the packet itself is freed."""
Handler: TypeAlias = "Callable[[Datagram, Buffer, float], None]"
"""Processes a whole datagram, the packet that completed it, and the time in seconds.

It raises `Discard` for a datagram that is to be dropped.
"""


class Engine(Transmission):
    """Packets in, and timers.

    Attributes:
        opening: Active and passive OPEN.
        paths: ICMP, and the path MTUs.
        datagrams: UDP.
        echoes: Ping sockets.
    """

    def __init__(
        self,
        interfaces: Sequence[Interface | Network],
        mtu: int,
        *,
        rng: Random,
        excluded: Iterable[Address] = (),
        config: Config | None = None,
        profiles: Mapping[Network, Profile] | None = None,
        limits: Limits | None = None,
        tap: Callable[[Observation], None] | None = None,
        offload: bool = False,
        udp_offload: bool = False,
        predict: bool = True,
    ) -> None:
        """Make an endpoint.

        Args:
            interfaces: Our addresses; a network stands for every address of it.
            mtu: The link's MTU, in octets.
            rng: Source of all random numbers and secrets.
            excluded: Addresses in these networks that are not ours.
            config: Defaults for connections; its `mss` is cut to what `mtu` allows.
            profiles: What differs from that in connections from some of our addresses, by prefix.
            limits: The limits of the host.
            tap: Called with an observation of each packet.
            offload: Whether packets have a virtio header: then segments may be larger
                than the MTU, and the other side of the link fills in checksums.
            udp_offload: Whether the link segments UDP datagrams as well (USO).
            predict: Whether segments in order take the fast path
                (:mod:`tunstack.tcp.connection.fast_path`); packets sent are the same with and
                without.

        Raises:
            ValueError: `mtu` is too small for an address among `interfaces`; a network has no
                address left; none of our addresses is in the prefix of a profile.
        """
        addresses = Addresses(interfaces, excluded)
        secret = rng.randbytes(32)
        configs = _configs(addresses, mtu, profiles, offload=offload)
        config = configs.base(config or Config())
        context = Context(
            addresses,
            configs,
            config,
            limits or Limits(),
            rng=rng,
            tap=tap,
            labels=FlowLabels(secret),
            offload=offload,
        )
        super().__init__(context, predict=predict)
        limit = ErrorRateLimit(context.limits.icmp_errors, secret)
        self.paths = Paths(mtu, context, limit, rng=rng, offload=offload)
        self.datagrams = Datagrams(
            context, self.paths, rng=rng, offload=offload, udp_offload=udp_offload
        )
        self.paths.error_handlers[UDP] = self.datagrams.icmp_error
        self.echoes = Echoes(context, self.paths, rng)
        self.opening = Opening(config, secret, context, self.paths)
        self._reassembly = Reassembly(context, self.paths, offload=offload)
        self._decode = decode_frame if offload else decode_datagram
        self._read_udp = lean_datagram.read_frame if offload else lean_datagram.read_packet
        self._ip_at = VNET_SIZE if offload else 0
        self._syn_readers = _syn_readers(offload=offload)
        self._protocols = self._handlers()
        self._received = 0
        self._predicted = 0
        self._due: deque[Flow] = deque()

    def _handlers(self) -> dict[tuple[int, int], Handler]:
        """Return the handlers of datagrams, by address size and protocol."""
        return {
            (family.address_size, protocol): handler
            for family in FAMILIES
            for protocol, handler in (
                (TCP, self._tcp_datagram_arrives),
                (UDP, self.datagrams.datagram_arrives),
                (family.icmp, self.paths.icmp_arrives),
            )
        }

    # Packets

    def handle_packet(self, packet: Buffer, now: float) -> None:
        """Process a packet from the link; invalid packets are dropped and counted."""
        self._received += 1
        start = self._ip_at
        fields = lean.read(packet, start)
        if fields is not None:
            start += lean.HEADERS
        elif len(packet) > start and packet[start] == _IPV6:
            fields = lean6.read(packet, start)
            start += lean6.HEADERS
        if fields is not None:
            flow = self.demux.incoming.get(fields[0])
            if flow is not None:
                _, seq, ack, flags, wnd, ts_val, ts_ecr = fields
                data = packet[start:] if len(packet) < _SMALL else memoryview(packet)[start:]
                if (
                    flow.on_fast_path
                    and flags | PSH == _DATA
                    and fast_path.segment_arrives(flow, seq, ack, wnd, ts_val, ts_ecr, data, now)
                ):
                    self._expected_arrived(flow, packet, now)
                    return
                if not flow.loops:
                    self._lean_arrives(flow, fields, data, packet, now)
                    return
        self._process(packet, now, looped=False)

    def _expected_arrived(self, flow: Flow, frame: Buffer, now: float) -> None:
        """Count, observe and enqueue after :func:`fast_path.segment_arrives` took `frame`."""
        self._predicted += 1
        flow.received_tos = 0
        output = self.output
        if output.tap is not None and output.observes(flow.four_tuple):
            output.observe_in(frame, now, _ACCEPTED, _ESTABLISHED, _ESTABLISHED, flow)
        receiver, sender = flow.receiver, flow.sender
        queued = sender.buffer.size
        if (
            not self.immediate
            or receiver.ack_now
            or receiver.buffer.size >= DEFER_UNREAD
            or (queued and queued != (sender.nxt - sender.una) & MASK)
        ):
            self._enqueue(flow)
            return
        # Nothing to send: as `_settle`, before the end of the batch.
        due, scheduled = receiver.ack_due, flow.scheduled
        if scheduled is None or (due is not None and due < scheduled):
            self._timers.schedule(flow)
        if flow.changed is not None:
            flow.changed()
        held = FLOW_SIZE + receiver.buffer.size + queued
        if held != flow.accounted and (
            held > flow.accounted or flow.accounted > SMALL_FLOW or self.memory.budget.tight
        ):
            self.memory.account(flow)

    def _lean_arrives(
        self, flow: Flow, fields: lean.Fields, data: Buffer, frame: Buffer, now: float
    ) -> None:
        """Process a segment, read by the fast reader, by the full rules."""
        _, seq, ack, flags, wnd, ts_val, ts_ecr = fields
        segment = Segment(seq, ack, flags, wnd, 0, data, ts_val=ts_val, ts_ecr=ts_ecr)
        if self._ip_at:
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
            if datagram.options and not self._check_options(datagram, frame, now):
                return
            if datagram.more_fragments or datagram.fragment_offset:
                whole = self._reassembly.fragment_arrives(datagram, frame, now)
                if whole is None:
                    return
                datagram, frame = whole
            handler = self._protocols.get((len(datagram.dst), datagram.protocol))
            if handler is None:
                self.output.drop(Reason.UNKNOWN_PROTOCOL, frame, now)
                self.paths.refuse(datagram, self.paths.limit, now)
            else:
                handler(datagram, frame, now)
        except Discard as discard:
            self.output.drop(discard.reason, frame, now)
            if discard.problem is not None:
                self.paths.refuse_problem(discard.problem, now)

    def _check_options(self, datagram: Datagram, frame: Buffer, now: float) -> bool:
        """Refuse options of IPv4 that are malformed; the codec has validated IPv6's headers.

        Returns whether they are well-formed.
        """
        find_fault = _OPTION_FAULTS.get(len(datagram.dst))
        wrong = None if find_fault is None else find_fault(datagram.options)
        if wrong is None:
            return True
        self.output.drop(Reason.BAD_IP_OPTIONS, frame, now)
        self.paths.refuse_options(datagram, wrong, self.paths.limit, now)
        return False

    def _tcp_datagram_arrives(self, datagram: Datagram, frame: Buffer, now: float) -> None:
        sport, dport, segment = decode_segment(datagram)
        name = FourTuple(datagram.dst, dport, datagram.src, sport).incoming
        self._tcp_arrives(name, segment, datagram.tos, frame, now)

    def _tcp_arrives(
        self, incoming: bytes, segment: Segment, tos: int, packet: Buffer, now: float
    ) -> None:
        flow = self.demux.incoming.get(incoming)
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
            # Just opened: a request may follow in the same batch.
            flow.idle_timers.watch(flow, now)
        if self.output.tap is not None:
            flow.observed = flow.state
            self.output.observe_in(packet, now, verdict, before.value, flow.state.value, flow)
        if verdict is _NEW_INCARNATION:
            self.opening.reincarnate(flow, segment, packet, now)

    def _restore(self, incoming: bytes) -> Flow:
        flow = self.time_waits.wake(incoming)
        self.closed.restored()
        flow.loops = flow.four_tuple.remote in self.addresses.local
        self.memory.enter(flow)
        self.mark_pending(flow)  # At once, so that its timer is scheduled whatever the verdict.
        return flow

    def handle_forwarded(self, packet: Buffer, now: float) -> None:
        """Process a packet that another process with our addresses received.

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
        self.paths.handle_forwarded(packet, now)

    # Timers

    @property
    def deadline_changed(self) -> bool:
        """Whether :meth:`deadline` may be earlier than at its last call."""
        return self._timers.deadline_changed

    def deadline(self) -> float | None:
        """When to call :meth:`handle_timers`, in seconds; None if no timer runs."""
        if self.output.looped or self._due or self._pending:
            return float("-inf")
        if self.paths.pmtu_pending or (self.memory.was_tight and self.memory.easing):
            return float("-inf")  # Flows are updated a few at a time.
        first = self._timers.deadline()
        # Asked only if they have anything: this is called for each batch.
        if self.time_waits.by_name:
            first = _earlier(first, self.time_waits.deadline())
        if self.paths.mtus.lowered:
            first = _earlier(first, self.paths.mtus.deadline())
        if self._reassembly.fragments.held:
            first = _earlier(first, self._reassembly.fragments.deadline())
        return first

    def is_due(self, now: float) -> bool:
        """Whether a timer has expired: most deadlines have moved later before."""
        deadline = self.deadline()
        if deadline is None or deadline > now:
            return False
        return deadline != self._timers.deadline() or self._timers.is_due(now)

    def handle_timers(self, now: float) -> None:
        """Run expired timers, and deliver looped packets; call :meth:`flush` afterwards."""
        for _ in range(len(self.output.looped)):
            self._process(self.output.take_looped(), now, looped=True)
        self.paths.expire(now)
        self.time_waits.expire(now)
        self._reassembly.expire(now)
        self._due.extend(self._timers.due(now))
        while self._due:  # One by one, as in `flush`.
            flow = self._due.popleft()
            flow.handle_timer(now)
            self.paths.check_pmtu(flow, now)
            self.mark_pending(flow)


def _configs(
    addresses: Addresses,
    mtu: int,
    profiles: Mapping[Network, Profile] | None,
    *,
    offload: bool,
) -> Configs:
    """Return what fits the configuration of a connection to `mtu`.

    Raises:
        ValueError: as :meth:`Engine.__init__` does.
    """
    for network in profiles or ():
        if not addresses.have(network):
            raise ValueError(f"the profile of {network}: no address of the host is in it")
    configs = Configs(mtu, offload=offload, profiles=profiles)
    for family in addresses.families:
        configs.check(family)
    return configs


def _syn_readers(*, offload: bool) -> dict[int, tuple[lean_syn.SynReader, int, int]]:
    """Return by octets of a packet: the reader, and where the addresses end in the name."""
    start = VNET_SIZE if offload else 0
    read_syn = lean_syn.read_syn_frame if offload else lean_syn.read_syn_packet
    read_syn6 = lean_syn6.read_syn_frame if offload else lean_syn6.read_syn_packet
    return {
        lean_syn.SIZE + start: (read_syn, IPV4.address_size, 2 * IPV4.address_size),
        lean_syn6.SIZE + start: (read_syn6, IPV6.address_size, 2 * IPV6.address_size),
    }


def _earlier(left: float | None, right: float | None) -> float | None:
    """Return the earlier of two deadlines, of which either may be None."""
    if left is None or right is None:
        return right if left is None else left
    return left if left < right else right
