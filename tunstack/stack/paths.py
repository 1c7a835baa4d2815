"""ICMP of both families in and out, and path MTU discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip import icmp
from tunstack.ip.address import is_martian_source, is_multicast
from tunstack.ip.datagram import TCP
from tunstack.ip.demux import FourTuple
from tunstack.ip.icmp_rules import RULES
from tunstack.ip.path_mtu import PathMtus, reported_mtu
from tunstack.ip.ratelimit import HostRateLimit
from tunstack.stack.flow import headers
from tunstack.tcp.sender import sizing
from tunstack.tcp.sequence import within
from tunstack.wire import (
    Discard,
    Reason,
    decode_datagram,
    decode_frame,
    decode_icmp,
    icmp_datagram,
    protocol_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tunstack.ip.datagram import Address, Buffer, Datagram
    from tunstack.ip.icmp import IcmpMessage, Quote
    from tunstack.ip.icmp_rules import IcmpRules
    from tunstack.ip.ratelimit import ErrorRateLimit
    from tunstack.stack.context import Context
    from tunstack.stack.flow import Flow
    from tunstack.wire import Problem

_DAY: Final = 24 * 60 * 60 * 1000
"""Milliseconds."""
_MAX_PMTU_UPDATES: Final = 64
"""Connections that are updated for a changed path MTU at a time."""

ErrorHandler: TypeAlias = "Callable[[Quote, OSError | None, IcmpMessage, float], bool]"
"""Processes an ICMP error about a datagram of ours: what it quotes, Linux's error for it, the
message, and the time in seconds.

It returns False if what sent the datagram is not here; an error that is a guess (RFC 5927) or too
late it counts as ``icmp_unmatched``. If the error tells a path MTU, it calls `Paths.too_big`.
"""
EchoHandler: TypeAlias = "Callable[[Datagram, IcmpMessage], bool]"
"""Processes an echo reply; returns False if nobody waits for it."""


class Paths:
    """ICMP in and out, and the path MTUs.

    Attributes:
        mtus: The path MTUs that are lower than the link's.
        pmtu_pending: By remote address, the number of flows not yet updated for a changed path
            MTU; while there are any, call :meth:`expire` soon.
        forward: Called with an ICMP error about a flow that this stack does not have: another
            process with the same address may; see :meth:`handle_forwarded`.
        error_handlers: What an ICMP error goes to, by the protocol of the datagram that it quotes.
        echo_reply_arrives: What an echo reply goes to.
        limit: The rate limit of ICMP errors, by peer.
    """

    def __init__(
        self, mtu: int, context: Context, limit: ErrorRateLimit, *, rng: Random, offload: bool
    ) -> None:
        """Make it for a link of `mtu`."""
        self.mtus = PathMtus(mtu)
        self.forward: Callable[[bytes], None] | None = None
        self.error_handlers: dict[int, ErrorHandler] = {TCP: self._tcp_error}
        self.echo_reply_arrives: EchoHandler | None = None
        self.limit = limit
        self._host_limit = HostRateLimit(context.limits.icmp_errors_in_all, rng)
        self._addresses = context.addresses
        self._configs = context.configs
        self._broadcasts = context.addresses.broadcasts
        self._demux = context.demux
        self._peers = context.memory.peers
        self.pmtu_pending: dict[Address, int] = {}
        self._output = context.output
        self._counters = context.counters
        self._mark_pending = context.mark_pending
        self._decode = decode_frame if offload else decode_datagram

    # In

    def icmp_arrives(self, datagram: Datagram, packet: Buffer, now: float) -> None:
        """Process an ICMP message; raises `Discard` for one that is malformed."""
        message = decode_icmp(datagram)
        rules = RULES[len(datagram.src)]
        if not rules.is_acceptable(datagram, message):
            raise Discard(Reason.BAD_ICMP_HOP_LIMIT)
        self._counters["icmp_received"] += 1
        self._output.observe_in(packet, now, "accepted")
        if message.quoted is not None:
            self._error_arrives(rules, message, packet, now)
            return
        time = int((self._output.epoch + now) * 1000) % _DAY
        answer = rules.reply_to(datagram, message, time=time, broadcasts=self._broadcasts)
        if answer is not None:
            options = rules.reply_options(datagram, time)
            self._send(datagram, answer, now, tos=datagram.tos, options=options)
        elif message.type != rules.ECHO_REPLY or self.echo_reply_arrives is None:
            self._counters["icmp_ignored"] += 1
        elif not self.echo_reply_arrives(datagram, message):
            self._counters["icmp_unmatched"] += 1

    def _error_arrives(
        self, rules: IcmpRules, message: IcmpMessage, packet: Buffer, now: float
    ) -> None:
        error = rules.as_os_error(message)
        if error is None:
            self._counters["icmp_ignored"] += 1
        elif not self._tell(message, error, now):
            self._counters["icmp_unmatched"] += 1
            if self.forward is not None:
                self.forward(bytes(packet))

    def _tell(self, message: IcmpMessage, error: OSError, now: float) -> bool:
        """Give an error to what sent the datagram that it quotes; False if that is not here."""
        quote, quoted = icmp.quoted(message), message.quoted
        if quote is None or quoted is None:
            return False
        handler = self.error_handlers.get(quoted.protocol)
        return handler is not None and handler(quote, error, message, now)

    def too_big(self, remote: Address, message: IcmpMessage, now: float) -> None:
        """Lower the path MTU to `remote`, by an error about a datagram that is no TCP segment."""
        mtu = reported_mtu(message)
        if mtu is not None:
            self._lower(remote, mtu, now)

    def handle_forwarded(self, packet: Buffer, now: float) -> None:
        """Process an ICMP error that another stack with our address received.

        It is ignored, and not counted, unless it is about something of this stack.
        """
        try:
            datagram = self._decode(packet)
            message = decode_icmp(datagram)
        except Discard:
            return
        error = RULES[len(datagram.src)].as_os_error(message)
        if error is not None:
            self._tell(message, error, now)

    def _tcp_error(
        self, quote: Quote, error: OSError | None, message: IcmpMessage, now: float
    ) -> bool:
        """An ICMP error about a segment of ours (RFC 9293 section 3.9.2.2)."""
        flow = self._demux.find(FourTuple(quote.src, quote.sport, quote.dst, quote.dport))
        if flow is None or error is None:
            return False
        seq = int.from_bytes(quote.octets[4:8], "big")
        if not within(seq, flow.sender.una, flow.sender.outstanding):
            # RFC 5927 section 4.1: a guess, or too late.
            self._counters["icmp_unmatched"] += 1
            return True
        rules = RULES[len(quote.dst)]
        if rules.is_too_big(message):
            if (mtu := reported_mtu(message)) is not None:
                flow.sender.too_large(mtu - headers(quote.dst), seq, now)
                self.check_pmtu(flow, now)
            return True
        if rules.is_reassembly_timeout(message):
            flow.report(error)  # One segment is lost, and is retransmitted, as by Linux.
        else:
            flow.icmp_error(error)
        self._mark_pending(flow)
        return True

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
        self._lower(remote, path.limit + headers(remote), now)

    def _lower(self, remote: Address, mtu: int, now: float) -> None:
        if self.mtus.lower(remote, mtu, now):
            self._counters["path_mtu_lowered"] += 1
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

    def refuse(self, datagram: Datagram, limit: ErrorRateLimit, now: float) -> None:
        """Send Protocol Unreachable, or ICMPv6's Parameter Problem, within the rate limits."""
        rules = RULES[len(datagram.src)]
        at = protocol_at(datagram)
        message = rules.protocol_unreachable(datagram, at, broadcasts=self._broadcasts)
        self._send_error(datagram, message, limit, now)

    def refuse_port(self, datagram: Datagram, now: float) -> None:
        """Send Port Unreachable, within the rate limits."""
        rules = RULES[len(datagram.src)]
        message = rules.port_unreachable(datagram, broadcasts=self._broadcasts)
        self._send_error(datagram, message, self.limit, now)

    def refuse_options(
        self, datagram: Datagram, pointer: int, limit: ErrorRateLimit, now: float
    ) -> None:
        """Send Parameter Problem for the octet `pointer`, within the rate limits."""
        self.refuse_header(datagram, 0, pointer, limit, now)

    def refuse_header(
        self, datagram: Datagram, code: int, pointer: int, limit: ErrorRateLimit, now: float
    ) -> None:
        """Send Parameter Problem of a `code` for the octet `pointer`, within the rate limits."""
        rules = RULES[len(datagram.src)]
        message = rules.parameter_problem(datagram, pointer, code, broadcasts=self._broadcasts)
        self._send_error(datagram, message, limit, now)

    def refuse_problem(self, problem: Problem, now: float) -> None:
        """Send the Parameter Problem that the codec asks for, if its packet was for us, or many.

        None is sent to a source that cannot be (RFC 4443 section 2.4 e.6), or is one of ours: the
        codec refuses a header before the addresses are looked at.
        """
        datagram, code, pointer = problem
        src, dst, local = datagram.src, datagram.dst, self._addresses.local
        if is_martian_source(src) or src in local:
            return
        if is_multicast(dst) or dst in local:
            self.refuse_header(datagram, code, pointer, self.limit, now)

    def reassembly_expired(self, first: Datagram, now: float) -> None:
        """Send Time Exceeded, as others of a datagram's fragments never came, within the limits.

        Args:
            first: The first fragment: without it no error is sent.
            now: Seconds.
        """
        rules = RULES[len(first.src)]
        message = rules.reassembly_time_exceeded(first, broadcasts=self._broadcasts)
        self._send_error(first, message, self.limit, now)

    def _send_error(
        self, datagram: Datagram, message: IcmpMessage | None, limit: ErrorRateLimit, now: float
    ) -> None:
        if message is None:
            return
        if limit.allows(datagram.src, now) and self._host_limit.allows(now):
            tos = RULES[len(datagram.src)].error_tos(datagram.tos)
            self._send(datagram, message, now, tos=tos)
        else:
            self._counters["icmp_suppressed"] += 1

    def _send(
        self,
        asked: Datagram,
        message: IcmpMessage,
        now: float,
        *,
        tos: int,
        options: bytes = b"",
    ) -> None:
        src = asked.dst
        if src not in self._addresses.local:  # It was to a multicast address.
            src = self._addresses.source_for(asked.src)
        datagram = icmp_datagram(
            src,
            asked.src,
            message,
            ttl=self._configs.ttl(src),
            tos=tos,
            options=options,
            flow_label=self._output.label_of(src, asked.src),
        )
        self._output.send_datagram(datagram, now, mtu=self.mtus.get(asked.src))
