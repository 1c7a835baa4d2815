"""The limits of a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

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
    """The bounds of a host; what single connections may have is `tunstack.Config`'s.

    Attributes:
        memory: Octets that all connections hold together: what is received and not read, what is
            sent and not acknowledged, what came out of order, and about 4 KiB for each of them,
            until its socket is closed, or 320 octets for one in TIME-WAIT that the application has
            closed. What the process takes for them is no more than half as much again.
            From three quarters of it on, windows and send buffers do not grow. At the limit, what
            came out of order is dropped, the oldest first; then go those in TIME-WAIT, and others,
            that the application has closed and whose peer does not take the rest. As long as
            that is not enough, new connections, and data that would have to wait behind other
            data, are dropped, as if the network had lost them.
        connections: How many there may be, in whatever state. One more takes the place of the
            oldest in TIME-WAIT; if there is none, of the oldest that the application has closed, of
            the peer that has most of those; else see `evict`.
        orphans: How many of them may be orphans: closed by the application, and not in TIME-WAIT.
            Beyond that the oldest of the peer that has most is reset. How long each is tried for
            is `Config.orphan_retries`'.
        peer_connections: How many one peer may have, those in TIME-WAIT aside, which make way for
            anybody; what comes beyond is dropped. A peer is an IPv4 address (or an IPv6 /64). With
            None, as many as the host, as long as no other peer wants any.
        evict: Whether a connection in use is given up when the host is full, so that no peer shuts
            out the others: for one of a peer that has less, one of the peer that has most, the one
            idle longest. When it is memory that is full, and a peer holds more than a sixteenth of
            it, and most of all, its connections that hold most. And where no peer has more than the
            one that comes, one that has been idle for a minute. It is reset, and its application
            gets ECONNABORTED. No SYN does that, which may be forged: it is answered by a cookie,
            whose ACK does; with `syncookies` ``"never"`` the SYN must. With False, new connections
            are dropped as long as the host is full.
        half_open: How many of them may be in SYN-RECEIVED, for all listeners together. Each has a
            bound of its own besides: its backlog, but 256 at the least and 1024 at the most.
        syncookies: What becomes of a SYN when as many are half open as may be. ``"when full"``: it
            is answered by a cookie (RFC 4987 section 3.6). ``"never"``: it takes the place of the
            oldest (section 3.4). To drop it would let a trickle of SYNs lock everybody out: as many
            as may be half open, in the minutes for which each stays. ``"always"`` sends a cookie
            for every SYN, full or not: for tests.
        resets: How many RSTs a second one peer may draw where it has no connection.
        icmp_errors: How many ICMP errors a second one peer may draw (RFC 1812 section 4.3.2.8).
        icmp_errors_in_all: How many all peers together may draw, on average.
        fragment_memory: Octets that the fragments of incomplete datagrams take together, beside
            `memory`. Those of one peer take no more than a quarter of it, and are of no more than
            64 datagrams; beyond that the oldest datagram is given up. A datagram of 64 KiB takes
            75 KiB on a link with an MTU of 1500.

    Raises:
        ValueError: a number is not positive, or there is no such policy.
    """

    memory: int = 256 << 20
    connections: int = 32768
    orphans: int = 8192
    peer_connections: int | None = None
    evict: bool = True
    half_open: int = 4096
    syncookies: SynCookiePolicy = "when full"
    resets: int = 1000
    icmp_errors: int = 100
    icmp_errors_in_all: int = 1000
    fragment_memory: int = 2 << 20

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"limits: {name} must be positive")
        if self.syncookies not in _POLICIES:
            raise ValueError(f"limits: syncookies must be one of {', '.join(_POLICIES)}")
