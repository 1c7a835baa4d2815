"""A snapshot of a connection, for programs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, TypeAlias

from tunstack.compiled import reduced

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(slots=True, frozen=True)
class TcpInfo:
    """A snapshot of a connection, as Linux's TCP_INFO, with both addresses.

    Times are in seconds, sizes in octets, cwnd included (Linux counts it in segments).

    Of a connection in TIME-WAIT without a socket only these are kept: addresses, ports, the
    windows and their scales, negotiated options, `rcv_mss` and `rcv_tos`. The rest is None, 0 or
    ``""``.

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
        snd_wnd: SND.WND.
        rcv_wnd: RCV.WND.
        snd_mss: Octets of data in our segments, at most.
        pmtu: The path MTU, as far as known.
        rcv_mss: Octets of data in the peer's segments, at most.
        unacked: Octets sent and not acknowledged.
        notsent: Octets queued and not sent.
        unread: Octets received in order, and not read by the application.
        out_of_order: Octets in the reassembly queue.
        bytes_acked: Octets acknowledged by the peer, in total.
        bytes_received: Octets received in order, in total.
        retransmits: Segments retransmitted, in total.
        timestamps: Whether both sides use timestamps (RFC 7323).
        sack: Whether SACK was negotiated (RFC 2018).
        ecn: Whether our data is sent as ECN-capable (RFC 3168).
        congestion: The congestion control's name.
        rcv_tos: The TOS octet (DSCP and ECN) of the last segment received (MAY-9).
        snd_wscale: Snd.Wind.Shift (RFC 7323 section 2.2).
        rcv_wscale: Rcv.Wind.Shift.
        soft_error: The latest soft error, or None; cleared when the
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

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)
