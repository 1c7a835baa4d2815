"""ICMP in and out, and path MTU discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.ip import icmp
from tunstack.ip.demux import FourTuple
from tunstack.ip.path_mtu import PathMtus, reported_mtu
from tunstack.stack.flow import headers
from tunstack.tcp.sender import sizing
from tunstack.tcp.sequence import within
from tunstack.wire import (
    NOTHING_OFFLOADED,
    Discard,
    decode_datagram,
    decode_frame,
    decode_icmp,
    encode_icmp,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tunstack.ip.datagram import Address, Buffer, Datagram
    from tunstack.ip.ratelimit import PeerRateLimit
    from tunstack.stack.context import Context
    from tunstack.stack.flow import Flow

_MAX_PMTU_UPDATES: Final = 64
"""Connections that are updated for a changed path MTU at a time."""


class Paths:
    """ICMP in and out, and the path MTUs.

    Attributes:
        mtus: The path MTUs that are lower than the link's.
        pmtu_pending: By remote address, the number of flows not yet updated for a changed path
            MTU; while there are any, call :meth:`expire` soon.
        forward_icmp: Called with an ICMP error about a flow that this stack does not have: another
            process with the same address may; see :meth:`handle_forwarded_icmp`.
    """

    def __init__(self, mtu: int, context: Context, *, rng: Random, offload: bool) -> None:
        """Make it for a link of `mtu`."""
        self.mtus = PathMtus(mtu)
        self.forward_icmp: Callable[[bytes], None] | None = None
        self._mtu = mtu
        self._broadcasts = context.addresses.broadcasts
        self._demux = context.demux
        self._peers = context.memory.peers
        self.pmtu_pending: dict[Address, int] = {}
        self._output = context.output
        self._rng = rng
        self._mark_pending = context.mark_pending
        self._offload = offload

    # In

    def icmp_arrives(self, datagram: Datagram, packet: Buffer, now: float) -> None:
        """Process an ICMP message; raises `Discard` for one that is malformed."""
        message = decode_icmp(datagram)
        self._output.counters["icmp_received"] += 1
        self._output.observe_in(packet, now, "accepted")
        answer = icmp.reply_to(datagram, message, broadcasts=self._broadcasts)
        if answer is not None:
            self._send(datagram, answer, now)
        elif (quote := icmp.quoted_tcp(message)) is not None:
            name = FourTuple(quote.src, quote.sport, quote.dst, quote.dport)
            if self.forward_icmp is not None and self._demux.find(name) is None:
                self.forward_icmp(bytes(packet))
            self._tcp_error(name, quote.seq, message, now)

    def handle_forwarded_icmp(self, packet: Buffer, now: float) -> None:
        """Process an ICMP error that another stack with our address received.

        It is ignored, and not counted, unless it is about a flow of this stack.
        """
        try:
            datagram = (decode_frame if self._offload else decode_datagram)(packet)
            message = decode_icmp(datagram)
        except Discard:
            return
        quote = icmp.quoted_tcp(message)
        if quote is not None:
            name = FourTuple(quote.src, quote.sport, quote.dst, quote.dport)
            if self._demux.find(name) is not None:
                self._tcp_error(name, quote.seq, message, now)

    def _tcp_error(self, name: FourTuple, seq: int, message: icmp.IcmpMessage, now: float) -> None:
        """An ICMP error about a segment of ours (RFC 9293 section 3.9.2.2)."""
        flow = self._demux.find(name)
        error = icmp.as_os_error(message)
        if error is None:
            return
        if flow is None or not within(seq, flow.sender.una, flow.sender.outstanding):
            # RFC 5927 section 4.1: a guess, or too late.
            self._output.counters["icmp_unmatched"] += 1
            return
        unreachable = message.type == icmp.DESTINATION_UNREACHABLE
        if unreachable and message.code == icmp.FRAGMENTATION_NEEDED:
            if (mtu := reported_mtu(message)) is not None:
                flow.sender.too_large(mtu - headers(name.remote), seq, now)
                self.check_pmtu(flow, now)
            return
        if message.type == icmp.TIME_EXCEEDED and message.code == icmp.REASSEMBLY_TIME_EXCEEDED:
            flow.report(error)  # One segment is lost, and is retransmitted, as by Linux.
        else:
            flow.icmp_error(error)
        self._mark_pending(flow)

    # Path MTUs

    def size_for(self, remote: Address) -> int:
        """Octets of TCP options and data that a packet to `remote` can carry."""
        return self.mtus.get(remote) - headers(remote)

    def check_pmtu(self, flow: Flow, now: float) -> None:
        """Record a lower path MTU that `flow` has found, for all flows to the same address."""
        path = flow.sender.path
        if not path.pmtu_pending:
            return
        path.pmtu_pending = False
        self._mark_pending(flow)
        remote = flow.four_tuple.remote
        if self.mtus.lower(remote, path.limit + headers(remote), now):
            self._output.counters["path_mtu_lowered"] += 1
            self._changed(remote)
            self._update_flows()

    def expire(self, now: float) -> None:
        """Remove expired path MTUs (RFC 1191 section 6.3), and update more of the flows."""
        for remote in self.mtus.expired(now):
            self._changed(remote)
        self._update_flows()

    def _changed(self, remote: Address) -> None:
        """Schedule an update of all flows to `remote`, whose path MTU has changed.

        They are updated from the last to the first: when a flow ends, the last one takes its
        place, and it has been updated by then. Another change restarts the update.
        """
        peer = self._peers.find(remote)
        if peer is not None:
            self.pmtu_pending[remote] = len(peer.members)

    def _update_flows(self) -> None:
        if not self.pmtu_pending:
            return
        remote, left = next(iter(self.pmtu_pending.items()))
        peer = self._peers.find(remote)
        members = [] if peer is None else peer.members
        left = min(left, len(members))
        first = max(0, left - _MAX_PMTU_UPDATES)
        size = self.size_for(remote)
        for flow in members[first:left]:
            if flow.four_tuple.remote == remote:  # With IPv6, a peer is a prefix.
                sizing.path_changed(flow.sender, size)
                flow.on_fast_path = False
        if first:
            self.pmtu_pending[remote] = first
        else:
            del self.pmtu_pending[remote]

    # Out

    def refuse(self, datagram: Datagram, limit: PeerRateLimit, now: float) -> None:
        """Send Protocol Unreachable, within the rate limit."""
        message = icmp.protocol_unreachable(datagram, broadcasts=self._broadcasts)
        self._send_error(datagram, message, limit, now)

    def refuse_options(
        self, datagram: Datagram, pointer: int, limit: PeerRateLimit, now: float
    ) -> None:
        """Send Parameter Problem for the octet `pointer`, within the rate limit."""
        message = icmp.parameter_problem(datagram, pointer, broadcasts=self._broadcasts)
        self._send_error(datagram, message, limit, now)

    def _send_error(
        self,
        datagram: Datagram,
        message: icmp.IcmpMessage | None,
        limit: PeerRateLimit,
        now: float,
    ) -> None:
        if message is None:
            return
        if limit.allows(datagram.src, now):
            self._send(datagram, message, now)
        else:
            self._output.counters["icmp_suppressed"] += 1

    def _send(self, asked: Datagram, message: icmp.IcmpMessage, now: float) -> None:
        # It may be fragmented on its way: pieces of two must not be mixed up (RFC 6864).
        identification = self._rng.getrandbits(16)
        packet = encode_icmp(asked.dst, asked.src, message, identification=identification)
        if sum(map(len, packet)) <= self._mtu:
            if self._offload:
                packet.insert(0, NOTHING_OFFLOADED)
            self._output.emit(asked.src, packet, now)
