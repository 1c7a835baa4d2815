"""The parameters of a connection: defaults from the RFCs and from Linux, and socket options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tunstack.compiled import reduced
from tunstack.tcp.congestion import Cubic
from tunstack.tcp.connection import ecn
from tunstack.tcp.sender import mtu_probing

if TYPE_CHECKING:
    from tunstack.tcp.congestion import CongestionFactory

INITIAL_SIZE: Final = 128 << 10
"""Octets: the size of a buffer at first, where it is tuned automatically."""


@dataclass(slots=True, frozen=True)
class Config:
    """The parameters of a connection; all connections of a host begin with the host's.

    Times are in seconds, sizes in octets.

    Attributes:
        mss: The largest MSS that we announce: a stack reduces it to its link's MTU less the fixed
            headers (RFC 9293 section 3.7.1, MUST-67).
        default_send_mss: Assumed when the peer announces none: 536 for IPv4, for which 1220 stands
            over IPv6 (MUST-15).
        max_payload: The largest payload of a segment that the link accepts; one MSS when 0.
        receive_buffer: Size of the receive buffer, which bounds the window (SO_RCVBUF). With None
            it begins with 128 KiB and is tuned automatically.
        receive_buffer_max: The largest size by auto-tuning: Linux's tcp_rmem[2].
        send_buffer: Bound of data queued or sent and not yet acknowledged (SO_SNDBUF). With None
            that is 128 KiB, or twice the congestion window where that is more.
        send_buffer_max: The largest size by auto-tuning: Linux's tcp_wmem[2].
        timestamps: Offer and accept the Timestamps option (RFC 7323 section 3).
        window_scaling: Offer and accept the Window Scale option (RFC 7323 section 2).
        sack: Offer and accept SACK-Permitted (RFC 2018 section 2).
        tail_loss_probe: Send a probe when the end of a flight is not acknowledged, before the
            retransmission timer fires (RFC 8985 section 7); Linux's tcp_early_retrans.
        nodelay: Switch the Nagle algorithm off (TCP_NODELAY; MUST-17).
        cork: Send full segments only, for 200 ms or an RTO at the most (TCP_CORK).
        rto_initial: Before any measurement (RFC 6298 section 2.1).
        rto_min: Linux's 200 ms; RFC 6298's 1 s is too long for most paths.
        rto_max: RFC 6298 section 2.5 requires 60 s or more; Linux has 120.
        rto_after_syn_loss: The RTO of the first data after a SYN was retransmitted (RFC 6298
            section 5.7).
        delayed_ack: Delay of a delayed ACK; less than 0.5 s (MUST-40). Linux's 40 ms. With 0, every
            batch is acknowledged at once (TCP_QUICKACK).
        quick_acks: Number of delayed ACKs at first whose delay is 5 ms at most.
        syn_timeout: R2 for a SYN: at least three minutes (MUST-23).
        data_timeout: R2 for data: how long it may stay unacknowledged (MUST-20; SHLD-11 asks for
            100 s or more). The default is the sum of Linux's 15 retransmissions.
        orphan_retries: Retransmissions, or unanswered zero-window probes, of an orphan, a
            connection that the application has closed: Linux's 8 (tcp_orphan_retries). For data it
            is a time, as `data_timeout`: the sum of so many from `rto_min` on, 102.2 s. An orphan
            whose peer answers and keeps its window shut is aborted when the probes are `rto_max`
            apart. `user_timeout` replaces the time.
        r1: Retransmissions of one segment after which the application gets a soft error (SHLD-9);
            at least three (SHLD-10).
        user_timeout: The application's R2 (TCP_USER_TIMEOUT, RFC 5482; MUST-21), or None. It
            applies to a SYN if shorter than `syn_timeout`, replaces `keepalive_count`, and aborts a
            connection whose window was closed for so long, even if the peer answers probes.
        msl: Maximum Segment Lifetime. TIME-WAIT lasts twice that: 60 s as on Linux, where RFC 9293
            has four minutes.
        rfc1337: Ignore RSTs in TIME-WAIT, so that only a new SYN of the peer ends it early. Off by
            default, as in RFC 9293 section 3.10.7.4 and on Linux: timestamps already exclude the
            hazard of RFC 1337, old duplicates in a new connection (RFC 7323 section 5), and only a
            RST exactly at RCV.NXT is accepted (RFC 5961), which an attacker cannot guess. With it,
            a peer without timestamps that reconnects with a lower ISN would be locked out for a
            minute, where its RST lets it in after a second.
        fin_wait_2_timeout: How long an orphan stays in FIN-WAIT-2: Linux's 60 s. With a negative
            number it is reset at once (TCP_LINGER2).
        keepalive: Whether to probe an idle peer (SO_KEEPALIVE; MUST-24, MUST-25).
        keepalive_idle: Idle time before the first probe (TCP_KEEPIDLE); two hours or more
            (MUST-28).
        keepalive_interval: Time between probes (TCP_KEEPINTVL).
        keepalive_count: Unanswered probes before the connection is aborted (TCP_KEEPCNT).
        initial_window: In segments of one MSS (RFC 6928 section 2).
        defer_accept: SYN,ACK retransmissions of a listener that waits for data, and ignores the
            bare ACK of the handshake (TCP_DEFER_ACCEPT); 0 for off.
        fast_open_queue: Connections of a listener that may be open before their handshake has ended
            (TCP_FASTOPEN, RFC 7413); 0, as on Linux, for none.
        fast_open_connect: Whether connections send data in the SYN if they have a cookie; the SYN
            then waits for the data (TCP_FASTOPEN_CONNECT).
        congestion: Makes the congestion control: a class of :mod:`tunstack.tcp.congestion`, or your
            own that implements :class:`~tunstack.tcp.congestion.CongestionControl`.
        ecn: Explicit congestion notification (RFC 3168): 0 off, 1 requested and accepted, 2 only
            accepted. As Linux's tcp_ecn, with its default.
        mtu_probing: Packetization layer path MTU discovery (RFC 4821): 0 off, 1 after a black hole
            was detected, 2 always. As Linux's tcp_mtu_probing, whose default is 0.
        max_out_of_order_runs: Separate runs of octets in the reassembly queue.
        urgent_inline: Whether urgent data is read in line (SO_OOBINLINE), as in RFC 6093; else its
            last octet is taken out of the stream, which is the default elsewhere.
        ttl: Time to live of packets sent, in hops (IP_TTL; MUST-49).
        tos: The TOS octet of packets sent: DSCP and two bits of 0 (IP_TOS; MUST-48).
        hop_limit: As `ttl`, of IPv6 (IPV6_UNICAST_HOPS). A connection over IPv6 has it as its
            `ttl`.
        traffic_class: As `tos`, of IPv6 (IPV6_TCLASS).
        chosen: The names of parameters that a socket option has set: no profile replaces them.
        receive_sizes: Derived: the initial and the largest size of the receive buffer.
        send_sizes: Derived: the same of the send buffer.
        data_r2: Derived: R2 for data, `user_timeout` or `data_timeout`.
        orphan_r2: Derived: R2 for data of an orphan.
        syn_r2: Derived: R2 for a SYN.
    """

    mss: int = 65495
    default_send_mss: int = 536
    max_payload: int = 0
    receive_buffer: int | None = None
    receive_buffer_max: int = 6 << 20
    send_buffer: int | None = None
    send_buffer_max: int = 4 << 20
    timestamps: bool = True
    window_scaling: bool = True
    sack: bool = True
    tail_loss_probe: bool = True
    nodelay: bool = False
    cork: bool = False
    rto_initial: float = 1.0
    rto_min: float = 0.2
    rto_max: float = 120.0
    rto_after_syn_loss: float = 3.0
    delayed_ack: float = 0.04
    quick_acks: int = 16
    syn_timeout: float = 180.0
    data_timeout: float = 924.6
    orphan_retries: int = 8
    r1: int = 3
    user_timeout: float | None = None
    msl: float = 30.0
    rfc1337: bool = False
    fin_wait_2_timeout: float = 60.0
    keepalive: bool = False
    keepalive_idle: float = 7200.0
    keepalive_interval: float = 75.0
    keepalive_count: int = 9
    initial_window: int = 10
    defer_accept: int = 0
    fast_open_queue: int = 0
    fast_open_connect: bool = False
    congestion: CongestionFactory = Cubic
    ecn: int = ecn.ACCEPT
    mtu_probing: int = mtu_probing.AFTER_BLACK_HOLE
    max_out_of_order_runs: int = 1024
    urgent_inline: bool = True
    ttl: int = 64
    tos: int = 0
    hop_limit: int = 64
    traffic_class: int = 0
    chosen: frozenset[str] = frozenset()

    # Derived from the others once, since each connection reads them several times.

    receive_sizes: tuple[int, int] = field(init=False, repr=False, compare=False)
    send_sizes: tuple[int, int] = field(init=False, repr=False, compare=False)
    data_r2: float = field(init=False, repr=False, compare=False)
    orphan_r2: float = field(init=False, repr=False, compare=False)
    syn_r2: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        user = self.user_timeout
        set_ = object.__setattr__  # The class is frozen.
        set_(self, "receive_sizes", _sizes(self.receive_buffer, self.receive_buffer_max))
        set_(self, "send_sizes", _sizes(self.send_buffer, self.send_buffer_max))
        set_(self, "data_r2", self.data_timeout if user is None else user)
        orphans = min(self.data_timeout, ((2 << self.orphan_retries) - 1) * self.rto_min)
        set_(self, "orphan_r2", orphans if user is None else user)
        set_(self, "syn_r2", self.syn_timeout if user is None else min(user, self.syn_timeout))

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    def __hash__(self) -> int:
        """Hash a few fields: hosts have few configurations, and hashing all takes a microsecond."""
        return hash((self.mss, self.nodelay, self.congestion))


def _sizes(fixed: int | None, most: int) -> tuple[int, int]:
    """Return the initial and the largest size of a buffer: `fixed`, or growing up to `most`."""
    return (min(INITIAL_SIZE, most), most) if fixed is None else (fixed, fixed)
