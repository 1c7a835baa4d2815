"""The limits of a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from tunstack.compiled import reduced

SynCookiePolicy: TypeAlias = Literal["when full", "always", "never"]

_POLICIES: Final = get_args(SynCookiePolicy)
_POSITIVE: Final = (
    "memory",
    "connections",
    "orphans",
    "peer_connections",
    "half_open",
    "resets",
    "icmp_errors",
    "icmp_errors_in_all",
    "fragment_memory",
)


@dataclass(slots=True, frozen=True)
class Limits:
    """The limits of a host; those of a single connection are in `tunstack.Config`.

    Attributes:
        memory: Octets of memory of all connections (as Linux's tcp_mem): receive and send buffers,
            reassembly queues, and about 4 KiB for each connection until its socket is closed, or
            320 octets in TIME-WAIT without a socket. The process uses at most half as much again.
            From three quarters of the limit on, windows and send buffers do not grow. At the limit,
            out-of-order data is dropped, the oldest first; then TIME-WAITs and orphans are
            evicted. If that does not free enough, new connections, and data beyond RCV.NXT, are
            dropped, as if the network had lost them.
        connections: Connections, in any state. When there are as many, a new one evicts the oldest
            TIME-WAIT, else the oldest orphan of the peer that has most orphans, else see `evict`.
        orphans: Orphans (Linux's tcp_max_orphans): connections that the application has closed,
            without those in TIME-WAIT. Beyond the limit the oldest orphan of the peer that has most
            is reset. For the retries of each see `Config.orphan_retries`.
        peer_connections: Connections of one peer, without those in TIME-WAIT; further SYNs are
            dropped. A peer is an IPv4 address (or an IPv6 /64). With None there is no limit but
            `connections`, shared fairly by `evict`.
        evict: Whether a connection in use is evicted when the host is full, so that no peer locks
            out the others: the one idle longest of the peer that has most connections, if that has
            more than the new peer. If memory is full, the largest connections of the peer that uses
            most, if that is more than a sixteenth. If no peer has more than the new one, a
            connection that has been idle for a minute. It is reset, and its application gets
            ECONNABORTED. A SYN, which may be forged, is answered by a SYN cookie first, and the ACK
            of the cookie evicts; with `syncookies` ``"never"`` the SYN does. With False, new
            connections are dropped while the host is full.
        half_open: Connections in SYN-RECEIVED, of all listeners together. Each listener also has a
            limit of its own: its backlog, but at least 256 and at most 1024.
        syncookies: What to do with a SYN when the SYN queue is full. ``"when full"``: send a SYN
            cookie (RFC 4987 section 3.6). ``"never"``: evict the oldest half-open connection
            (section 3.4); dropping the SYN would let a low rate of SYNs keep the queue full.
            ``"always"``: send a SYN cookie for every SYN; for tests.
        resets: RSTs per second and peer, in reply to segments that match no connection.
        icmp_errors: ICMP errors per second and peer, which may come at once (RFC 1812 section
            4.3.2.8). None is Linux's limit: of IPv4 one a second, of IPv6 ten, and six at once.
        icmp_errors_in_all: ICMP errors per second to all peers together, on average.
        fragment_memory: Octets of memory for fragments of incomplete datagrams (as Linux's
            ipfrag_high_thresh), not a part of `memory`. A peer has at most a quarter of it, and 64
            datagrams; beyond a limit the oldest datagram is evicted. A datagram of 64 KiB takes
            75 KiB on a link with an MTU of 1500.

    Raises:
        ValueError: A number is not positive, or the policy is unknown.
    """

    memory: int = 256 << 20
    connections: int = 32768
    orphans: int = 8192
    peer_connections: int | None = None
    evict: bool = True
    half_open: int = 4096
    syncookies: SynCookiePolicy = "when full"
    resets: int = 1000
    icmp_errors: int | None = None
    icmp_errors_in_all: int = 1000
    fragment_memory: int = 2 << 20

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"limits: {name} must be positive")
        if self.syncookies not in _POLICIES:
            raise ValueError(f"limits: syncookies must be one of {', '.join(_POLICIES)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)
