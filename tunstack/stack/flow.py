"""A connection with its four-tuple, as the stack has it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from tunstack.ip.family import family_of
from tunstack.stack.peers import HEAVY
from tunstack.tcp.budget import UNLIMITED, Budget
from tunstack.tcp.congestion import name_of
from tunstack.tcp.connection.connection import Connection
from tunstack.tcp.connection.state import CLOSED, LISTEN
from tunstack.tcp.info import TcpInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Address
    from tunstack.ip.demux import Demultiplexer, FourTuple
    from tunstack.stack.peers import Peer
    from tunstack.tcp.config import Config
    from tunstack.tcp.connection.fast_path import Write

FLOW_SIZE: Final = 4096
"""Octets of memory of a connection without data; measured with CPython 3.11, rounded."""
GAP_SIZE: Final = 640
"""Octets of memory of a range in the reassembly queue, without its data; measured."""
RANGE_SIZE: Final = 200
"""Octets of memory of a range on the scoreboard; measured."""
TCP_HEADER: Final = 20
"""Octets, options not counted."""


def headers(address: Address) -> int:
    """Octets of the fixed headers of a segment to `address`: what an MTU has beside an MSS."""
    return family_of(address).header + TCP_HEADER


class Flow(Connection):
    """A connection with its four-tuple, and the state that the stack keeps for it.

    Attributes:
        beside: Octets that its application holds for it, beside what is here; they are counted with
            it.
        accounted: Octets in its memory account (:mod:`tunstack.stack.memory`).
        four_tuple: Its addresses and ports.
        number: Its index among all connections of the stack, in order of creation.
        flow_label: The flow label of its packets (RFC 6437); 0 for IPv4.
        loops: Whether its remote address is one of ours, so that its packets do not go out.
        changed: Called on an event that its application may wait for; None if it is
            not attached.
        demux: The table of connections, which it leaves when it ends; None without a stack.
        scheduled: The time of its entry in the timer queue, in seconds, or None.
        pending: Whether the next flush transmits for it.
        observed: Its state in the last observation.
        peer: Its peer, as long as the stack has it (:mod:`tunstack.stack.peers`, whose own are
            `heavy_from`, `place` and `place_of_all`).
        write: Sends its segments by the header template; None until it is on the fast path.
        received_tos: The TOS octet of the latest datagram whose
            segment was accepted.
    """

    __slots__ = (
        "accounted",
        "beside",
        "changed",
        "demux",
        "flow_label",
        "four_tuple",
        "heavy_from",
        "loops",
        "number",
        "observed",
        "peer",
        "pending",
        "place",
        "place_of_all",
        "received_tos",
        "scheduled",
        "write",
    )

    def __init__(
        self,
        four_tuple: FourTuple,
        config: Config,
        *,
        iss: int,
        ts_offset: int = 0,
        budget: Budget = UNLIMITED,
    ) -> None:
        super().__init__(config, iss=iss, ts_offset=ts_offset, budget=budget)
        self.accounted = 0
        self.beside = 0
        self.four_tuple = four_tuple
        self.demux: Demultiplexer[Flow, Any] | None = None
        self.flow_label = 0
        self.loops = False
        self.number = 0
        self.peer: Peer[Flow] | None = None
        self.heavy_from = HEAVY
        self.place = self.place_of_all = 0
        self.changed: Callable[[], None] | None = None
        self.scheduled: float | None = None
        self.pending = False
        self.write: Write | None = None
        self.observed = self.state
        self.received_tos = 0

    def end(self, error: OSError | None) -> None:
        """End the connection: what arrives from now on, in this batch as well, is for none."""
        super().end(error)
        self._leave()

    def return_to_listen(self) -> None:
        """End the handshake; the listener has the next SYN, and counts it."""
        super().return_to_listen()
        self._leave()

    def _leave(self) -> None:
        if self.demux is not None:
            self.demux.remove(self.four_tuple, self)

    def reconfigure(self, config: Config) -> None:
        """Apply changed socket options; TTL and TOS go into the header template."""
        before = self.config
        if config.ttl != before.ttl or config.tos != before.tos:
            self.write = None
        super().reconfigure(config)

    @property
    def active_at(self) -> float:
        """When the last segment was received or sent, in seconds."""
        heard, sent = self.idle_timers.received_at, self.sender.last_sent
        return heard if heard > sent else sent

    def memory(self) -> int:
        """Return the octets in use; after CLOSED, until they are read and its socket is closed."""
        receiver, sender, state = self.receiver, self.sender, self.state
        size = FLOW_SIZE + receiver.buffer.size + self.beside
        if (state is CLOSED or state is LISTEN) and self.finished:
            # Until its socket is closed, if it has one.
            is_kept = self.changed is not None or receiver.buffer.size
            return size if is_kept and not sender.orphaned else 0
        if sender.buffer.size:
            sent = sender.buffer.held
            # Few ranges of many octets are not counted: the usual case.
            ranges = RANGE_SIZE * (len(sender.recovery.board) - 1) - (sent >> 2)
            size += sent + ranges if ranges > 0 else sent
        gaps = receiver.reassembly
        return size + gaps.size + GAP_SIZE * len(gaps) if gaps.size else size

    def info(self) -> TcpInfo:
        """Return a snapshot."""
        sender, receiver, rtt = self.sender, self.receiver, self.sender.rtt
        name = self.four_tuple
        return TcpInfo(
            state=self.state.value,
            local=(ipaddress.ip_address(name.local), name.local_port),
            remote=(ipaddress.ip_address(name.remote), name.remote_port),
            rtt=rtt.srtt,
            rttvar=rtt.rttvar,
            min_rtt=rtt.min_rtt,
            rto=rtt.rto,
            snd_cwnd=sender.congestion.cwnd,
            snd_ssthresh=sender.congestion.ssthresh,
            snd_wnd=sender.wnd,
            rcv_wnd=receiver.wnd,
            snd_mss=sender.mss,
            pmtu=sender.path.known + headers(name.remote),
            rcv_mss=receiver.mss,
            unacked=sender.outstanding,
            notsent=sender.unsent,
            unread=receiver.buffer.size,
            out_of_order=receiver.reassembly.size,
            bytes_acked=sender.buffer.acknowledged,
            bytes_received=receiver.buffer.total,
            retransmits=sender.retransmissions,
            timestamps=self.timestamps_ok,
            sack=self.sack_ok,
            ecn=self.ecn.capable,
            congestion=name_of(self.config.congestion),
            rcv_tos=self.received_tos,
            snd_wscale=sender.shift,
            rcv_wscale=receiver.shift,
            soft_error=self.soft_error,
        )
