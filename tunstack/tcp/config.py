"""What can be set for a connection, with the defaults and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunstack.tcp.congestion import Cubic
from tunstack.tcp.connection import ecn
from tunstack.tcp.receiver.buffer_tuning import sizes
from tunstack.tcp.sender import mtu_probing

if TYPE_CHECKING:
    from tunstack.tcp.congestion import CongestionFactory


@dataclass(slots=True, frozen=True)
class Config:
    """The parameters of a connection; every one of a host's connections begins with the same.

    Times are in seconds, sizes in octets.

    Attributes:
        mss: The Maximum Segment Size that we announce, at most: a stack cuts it to its link's MTU
            less the fixed headers (RFC 9293 section 3.7.1, MUST-67).
        default_send_mss: Assumed when the peer announces none: 536 for IPv4 (MUST-15).
        max_payload: The largest payload the link takes in one segment; at most one MSS when 0.
        receive_buffer: Bounds what is received and not yet read, and so the window (SO_RCVBUF).
            With None it begins with 128 KiB, and grows with what the application reads.
        receive_buffer_max: How far it grows; on Linux the third number of tcp_rmem says it.
        send_buffer: Bounds what is sent or queued and not yet acknowledged (SO_SNDBUF). With None
            that is 128 KiB, or twice the congestion window where that is more.
        send_buffer_max: How far it grows; on Linux the third number of tcp_wmem says it.
        timestamps: Offer and accept the Timestamps option (RFC 7323 section 3).
        window_scaling: Offer and accept the Window Scale option (RFC 7323 section 2).
        sack: Offer and accept SACK-Permitted (RFC 2018 section 2).
        tail_loss_probe: Ask after the end of a flight of which nothing is heard, before the
            retransmission timer does (RFC 8985 section 7); Linux's tcp_early_retrans.
        nodelay: Switch the Nagle algorithm off (TCP_NODELAY; MUST-17).
        cork: Send full segments only, for 200 ms or an RTO at the most (TCP_CORK).
        rto_initial: Before any measurement (RFC 6298 section 2.1).
        rto_min: Linux's 200 ms, not RFC 6298's 1 s, which is an eternity on today's paths.
        rto_max: RFC 6298 section 2.5 wants 60 s or more; Linux has 120.
        rto_after_syn_loss: The timeout that data begins with (RFC 6298 section 5.7).
        delayed_ack: How long an ACK may wait for company; less than 0.5 s (MUST-40). Linux's 40 ms.
            With 0, every batch is acknowledged at once (TCP_QUICKACK).
        quick_acks: How many of the first that might wait for so long wait for 5 ms at the most.
        syn_timeout: R2 for a SYN: at least three minutes (MUST-23).
        data_timeout: R2 for data: how long it may go unacknowledged (MUST-20; SHLD-11 asks for 100
            s or more). The default is what Linux's 15 retransmissions add up to.
        orphan_retries: How often the same is sent again for a connection that the application has
            closed, or a window of zero probed without an answer: Linux's 8 (tcp_orphan_retries). Of
            data that is a time, as with `data_timeout`: what so many add up to when they begin with
            `rto_min`, 102.2 s. A peer that answers, and keeps its window shut, is given up when the
            probes are `rto_max` apart. `user_timeout` replaces the time.
        r1: How many retransmissions of one segment the application hears of, as a soft error
            (SHLD-9); three at the least (SHLD-10).
        user_timeout: What the application wants instead (TCP_USER_TIMEOUT, RFC 5482; MUST-21); None
            if it has no wish. It holds for a SYN where that takes longer, decides instead of
            `keepalive_count`, and ends a connection whose window was closed for so long, even if
            the peer answers probes.
        msl: Maximum Segment Lifetime. TIME-WAIT lasts twice that: 60 s, Linux's, where RFC 9293
            would have four minutes.
        rfc1337: Ignore RSTs in TIME-WAIT, so that only a new SYN of the peer's can cut it short.
            Off by default, as RFC 9293 section 3.10.7.4 has it, and Linux: what RFC 1337 warns of,
            old duplicates that meet a new connection, timestamps rule out already (RFC 7323 section
            5), and only a RST exactly at RCV.NXT counts (RFC 5961), which no outsider can guess.
            But a peer without timestamps that opens anew with a lower number would be shut out for
            a minute, while its RST gets it in after a second.
        fin_wait_2_timeout: How long a connection that nobody owns waits for the peer's FIN:
            Linux's 60 s. With a negative number it does not, and is reset (TCP_LINGER2).
        keepalive: Whether to ask an idle peer if it is there (SO_KEEPALIVE; MUST-24, MUST-25).
        keepalive_idle: After how much quiet (TCP_KEEPIDLE); two hours or more (MUST-28).
        keepalive_interval: Between probes (TCP_KEEPINTVL).
        keepalive_count: How many go unanswered before the peer is taken for dead (TCP_KEEPCNT).
        initial_window: In segments of one MSS (RFC 6928 section 2).
        defer_accept: How often a listener sends a SYN,ACK again while it waits for data, and does
            not take a bare ACK for the end of the handshake (TCP_DEFER_ACCEPT); 0 for not at all.
        fast_open_queue: How many connections of a listener may be open before their handshake has
            ended (TCP_FASTOPEN, RFC 7413); 0, as on Linux, for none.
        fast_open_connect: Whether connections begin with data in the SYN where they can, which then
            waits for the data (TCP_FASTOPEN_CONNECT).
        congestion: Makes the congestion control: a class of :mod:`tunstack.tcp.congestion`, or your
            own that does what :class:`~tunstack.tcp.congestion.CongestionControl` says.
        ecn: Explicit congestion notification (RFC 3168): 0 off, 1 on request and when asked, 2 only
            when asked. As Linux's tcp_ecn, and with its default.
        mtu_probing: Whether to find out by trying how large a segment arrives (RFC 4821): 0 never,
            1 once a black hole shows, 2 always. As Linux's tcp_mtu_probing, whose default is 0.
        max_out_of_order_runs: How many separate runs of octets may wait for a gap to fill.
        urgent_inline: Whether the peer's urgent data is data like any other (SO_OOBINLINE), as RFC
            6093 has it; else its last octet is taken out of the stream, as elsewhere by default.
        ttl: Time to live of what is sent, in hops (IP_TTL; MUST-49).
        tos: The Differentiated Services field, and two bits of 0 (IP_TOS; MUST-48).
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

    # What follows from the others, worked out once: each connection asks several times.

    receive_sizes: tuple[int, int] = field(init=False, repr=False, compare=False)
    """The receive buffer's size at first, and at most."""
    send_sizes: tuple[int, int] = field(init=False, repr=False, compare=False)
    """The send buffer's size at first, and at most."""
    data_r2: float = field(init=False, repr=False, compare=False)
    """How long data may go unacknowledged, the user's wish considered."""
    orphan_r2: float = field(init=False, repr=False, compare=False)
    """The same when the application has closed the connection."""
    syn_r2: float = field(init=False, repr=False, compare=False)
    """How long a SYN may, the user's wish considered."""

    def __post_init__(self) -> None:
        wish = self.user_timeout
        note = object.__setattr__  # It is frozen from here on.
        note(self, "receive_sizes", sizes(self.receive_buffer, self.receive_buffer_max))
        note(self, "send_sizes", sizes(self.send_buffer, self.send_buffer_max))
        note(self, "data_r2", self.data_timeout if wish is None else wish)
        orphans = min(self.data_timeout, ((2 << self.orphan_retries) - 1) * self.rto_min)
        note(self, "orphan_r2", orphans if wish is None else wish)
        note(self, "syn_r2", self.syn_timeout if wish is None else min(wish, self.syn_timeout))

    def __hash__(self) -> int:
        """Of a few fields: hosts have few configurations, and all would take a microsecond."""
        return hash((self.mss, self.nodelay, self.congestion))
