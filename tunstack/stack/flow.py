"""A connection with its addresses, and what the stack notes about it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.family import family_of
from tunstack.stack.peers import HEAVY
from tunstack.tcp.budget import UNLIMITED, Budget
from tunstack.tcp.congestion import name_of
from tunstack.tcp.connection.connection import Connection
from tunstack.tcp.connection.state import CLOSED, LISTEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Address
    from tunstack.ip.demux import FourTuple
    from tunstack.stack.peers import Peer
    from tunstack.tcp.config import Config
    from tunstack.tcp.connection.fast_path import Write

FLOW_SIZE: Final = 4096
"""Octets that a connection takes which holds no data: measured with CPython 3.11, rounded."""
GAP_SIZE: Final = 640
"""Octets that each run of data beyond a gap takes beside the data: measured as well."""
RANGE_SIZE: Final = 200
"""Octets that each range of the scoreboard takes: measured as well."""
TCP_HEADER: Final = 20
"""Octets, options not counted."""

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def headers(address: Address) -> int:
    """Octets of the fixed headers of a segment to `address`: what an MTU has beside an MSS."""
    return family_of(address).header + TCP_HEADER


@dataclass(slots=True, frozen=True)
class TcpInfo:
    """A connection at one moment: what Linux's TCP_INFO tells, and both addresses.

    Times are in seconds; sizes in octets, cwnd included (Linux counts segments there).

    Of a connection in TIME-WAIT that the application has closed little is kept: the names, the
    windows and their scales, what was agreed on, `rcv_mss` and `rcv_tos`. The rest is None, 0 or
    ``""`` then.

    Attributes:
        state: RFC 9293's name, as ``"ESTABLISHED"``.
        local: Our address and port.
        remote: The peer's address and port.
        rtt: Smoothed round-trip time; None before the first measurement.
        rttvar: Its variation.
        min_rtt: The shortest; None before the first measurement.
        rto: Retransmission timeout, back-off included.
        snd_cwnd: Congestion window.
        snd_ssthresh: Slow start threshold.
        snd_wnd: The window that the peer offers.
        rcv_wnd: The window that we offer.
        snd_mss: Octets of data that one of our segments can carry.
        pmtu: The largest packet that the path to the peer is thought to carry.
        rcv_mss: Octets of data that one of the peer's segments can carry.
        unacked: Sent and not acknowledged.
        notsent: Queued and not sent.
        unread: Received in order, and not read by the application.
        out_of_order: Received beyond a gap.
        bytes_acked: Acknowledged by the peer, in all.
        bytes_received: Received in order, in all.
        retransmits: Segments sent again, in all.
        timestamps: Whether both sides use timestamps (RFC 7323).
        sack: Whether both sides permit SACK (RFC 2018).
        ecn: Whether what we send may be marked in place of dropped (RFC 3168).
        congestion: The congestion control's name.
        rcv_tos: The Differentiated Services and ECN octet of what came last (MAY-9).
        snd_wscale: How far the peer's window field is scaled.
        rcv_wscale: How far ours is.
        soft_error: The latest error that did not end the connection, or None; forgotten when the
            peer acknowledges more.
    """

    state: str
    local: tuple[IPAddress, int]
    remote: tuple[IPAddress, int]
    rtt: float | None
    rttvar: float
    min_rtt: float | None
    rto: float
    snd_cwnd: int
    snd_ssthresh: int
    snd_wnd: int
    rcv_wnd: int
    snd_mss: int
    pmtu: int
    rcv_mss: int
    unacked: int
    notsent: int
    unread: int
    out_of_order: int
    bytes_acked: int
    bytes_received: int
    retransmits: int
    timestamps: bool
    sack: bool
    ecn: bool
    congestion: str
    rcv_tos: int
    snd_wscale: int
    rcv_wscale: int
    soft_error: OSError | None


class Flow(Connection):
    """A connection with its four-tuple, and what the stack notes about it.

    Attributes:
        accounted: Octets in its memory account (:mod:`tunstack.stack.memory`).
        four_tuple: Its addresses and ports.
        number: Its place in the order in which the connections of the stack began.
        flow_label: The flow label of its packets (RFC 6437); 0 of IPv4.
        changed: Called when something happened that its application may wait for; None if it is
            not attached.
        scheduled: When it is in the timer queue, in seconds; the queue's own.
        pending: Whether the next flush asks it what it sends.
        observed: The state that the last observation told of.
        peer: Its peer, as long as the stack has it (:mod:`tunstack.stack.peers`, whose own are
            `heavy_from`, `place` and `place_of_all`).
        write: Sends lean segments of it; None until it has been on the fast path.
        received_tos: The Differentiated Services and ECN octet of the latest datagram whose
            segment was accepted.
    """

    __slots__ = (
        "accounted",
        "changed",
        "flow_label",
        "four_tuple",
        "heavy_from",
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
        self.four_tuple = four_tuple
        self.flow_label = 0
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

    def reconfigure(self, config: Config) -> None:
        """Take other parameters; what goes into every header may be among them."""
        before = self.config
        if config.ttl != before.ttl or config.tos != before.tos:
            self.write = None
        super().reconfigure(config)

    @property
    def active_at(self) -> float:
        """When something was last heard of the peer, or sent to it, in seconds."""
        heard, sent = self.idle_timers.received_at, self.sender.last_sent
        return heard if heard > sent else sent

    @property
    def held(self) -> int:
        """Octets of memory that it holds now; of one that is over, until it is read and closed."""
        receiver, sender, state = self.receiver, self.sender, self.state
        size = FLOW_SIZE + receiver.buffer.size
        if (state is CLOSED or state is LISTEN) and self.finished:
            # Until its socket is closed, if it has one.
            is_kept = self.changed is not None or receiver.buffer.size
            return size if is_kept and not sender.orphaned else 0
        if sender.buffer.size:
            sent = sender.buffer.held
            # Few ranges of many octets need not be counted: that is every honest peer's case.
            ranges = RANGE_SIZE * (len(sender.recovery.board) - 1) - (sent >> 2)
            size += sent + ranges if ranges > 0 else sent
        gaps = receiver.reassembly
        return size + gaps.size + GAP_SIZE * len(gaps) if gaps.size else size

    def info(self) -> TcpInfo:
        """What it is like now."""
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
