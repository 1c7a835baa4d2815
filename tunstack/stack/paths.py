"""ICMP in and out, and the path MTUs that it tells."""

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

_TOLD: Final = 64
"""Connections that are told of a change of their path MTU in one go."""


class Paths:
    """ICMP in and out, and the path MTUs.

    Attributes:
        mtus: The path MTUs that are lower than the link's.
        untold: By address, how many flows are still to be told that their path MTU has changed:
            while there are any, call :meth:`expire` soon.
        stray: Called with an ICMP error about a flow that is not here, as it may be in another
            process with the same address; see :meth:`take_stray`.
    """

    def __init__(self, mtu: int, context: Context, *, rng: Random, offload: bool) -> None:
        """Make it for a link of `mtu`."""
        self.mtus = PathMtus(mtu)
        self.stray: Callable[[bytes], None] | None = None
        self._mtu = mtu
        self._broadcasts = context.addresses.broadcasts
        self._demux = context.demux
        self._peers = context.memory.peers
        self.untold: dict[Address, int] = {}
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
            if self.stray is not None and self._demux.find(name) is None:
                self.stray(bytes(packet))
            self._tcp_error(name, quote.seq, message, now)

    def take_stray(self, packet: Buffer, now: float) -> None:
        """Look at what came to `stray` of another stack with our address.

        Only if it is about a flow of ours is anything done, or counted.
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
                self.look_at(flow, now)
            return
        if message.type == icmp.TIME_EXCEEDED and message.code == icmp.REASSEMBLY_TIME_EXCEEDED:
            flow.report(error)  # One segment is lost, and goes again: as on Linux, nothing ends.
        else:
            flow.icmp_error(error)
        self._mark_pending(flow)

    # Path MTUs

    def size_for(self, remote: Address) -> int:
        """Octets of TCP options and data that a packet to `remote` can carry."""
        return self.mtus.get(remote) - headers(remote)

    def look_at(self, flow: Flow, now: float) -> None:
        """If `flow` has found a lower path MTU, tell the flows on the same path."""
        path = flow.sender.path
        if not path.pmtu_pending:
            return
        path.pmtu_pending = False
        self._mark_pending(flow)
        remote = flow.four_tuple.remote
        if self.mtus.lower(remote, path.limit + headers(remote), now):
            self._output.counters["path_mtu_lowered"] += 1
            self._changed(remote)
            self._tell_some()

    def expire(self, now: float) -> None:
        """Forget path MTUs that have expired, and go on telling flows of changes."""
        for remote in self.mtus.expired(now):
            self._changed(remote)
        self._tell_some()

    def _changed(self, remote: Address) -> None:
        """The path MTU to `remote` has changed: tell all flows to it, some at a time.

        They are told from the last one on, so that one that takes the place of an ended one
        was told already. Another change begins anew: the latest is what counts.
        """
        peer = self._peers.find(remote)
        if peer is not None:
            self.untold[remote] = len(peer.members)

    def _tell_some(self) -> None:
        if not self.untold:
            return
        remote, left = next(iter(self.untold.items()))
        peer = self._peers.find(remote)
        members = [] if peer is None else peer.members
        left = min(left, len(members))
        first = max(0, left - _TOLD)
        size = self.size_for(remote)
        for flow in members[first:left]:
            if flow.four_tuple.remote == remote:  # Of IPv6 they may be several.
                sizing.path_changed(flow.sender, size)
                flow.on_fast_path = False
        if first:
            self.untold[remote] = first
        else:
            del self.untold[remote]

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
