"""Segments that match no connection: a new connection, a SYN cookie, a RST, or a drop.

A SYN may be forged, so its cost is bounded: by the
backlog and by the limits of half-open connections, connections and memory. When too
many are half open, SYN cookies are sent, which keep no state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.ip.ratelimit import PeerRateLimit
from tunstack.stack.flow import Flow
from tunstack.stack.peers import CANDIDATES
from tunstack.tcp.clock import timestamp
from tunstack.tcp.connection.arrival import reset_for
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.listen.cookies import LIFETIME, SynCookies
from tunstack.tcp.listen.half_open import HalfOpen
from tunstack.tcp.segment import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from tunstack.ip.demux import FourTuple
    from tunstack.stack.context import Context
    from tunstack.stack.eviction import Eviction
    from tunstack.tcp.connection.connection import Connection
    from tunstack.tcp.listen.isn import InitialNumbers
    from tunstack.tcp.listen.listener import Listener
    from tunstack.tcp.segment import Segment

COUNTERS: Final[tuple[str, ...]] = (
    "syncookies_sent",
    "syncookies_received",
    "syncookies_failed",
    "half_open_dropped",
    "resets_suppressed",
)
"""Statistics counted here."""


class Decision(NamedTuple):
    """What to do with a segment that matches no connection.

    Attributes:
        verdict: Why it is dropped or answered; None if it opens a connection.
        answer: The segment to send, or None.
        syn: The SYN that a valid cookie encodes, or None.
    """

    verdict: Verdict | None
    answer: Segment | None = None
    syn: Segment | None = None


_ADMIT: Final = Decision(None)


def _others(connection: Connection) -> int:
    """Return the number of connections of the peer."""
    peer = connection.peer if isinstance(connection, Flow) else None
    return 0 if peer is None else len(peer.members)


class Admission:
    """Decides which SYN opens a connection.

    Attributes:
        half_open: The half-open connections of all listeners together.
    """

    def __init__(
        self, secret: bytes, numbers: InitialNumbers, eviction: Eviction, context: Context
    ) -> None:
        """Create it; `eviction` makes room for new connections."""
        limits = context.limits
        self.half_open = HalfOpen(limits.half_open)
        self._resets = PeerRateLimit(limits.resets, secret)
        self._policy = limits.syncookies
        self._cookies = SynCookies(secret)
        self._numbers = numbers
        self._budget = context.memory.budget
        self._configs = context.configs
        self._eviction = eviction
        self._counters = context.counters

    def judge(
        self,
        listener: Listener | None,
        name: FourTuple,
        segment: Segment,
        now: float,
        *,
        reopens: bool,
    ) -> Decision:
        """Decide about a segment in CLOSED or LISTEN (section 3.10.7.1 and 3.10.7.2).

        Args:
            listener: The listener at its destination, or None.
            name: Its addresses and ports.
            segment: The segment.
            now: Seconds.
            reopens: Whether it is a SYN that has ended a TIME-WAIT.
        """
        kind = segment.flags & (SYN | ACK | RST)
        if listener is not None and (not kind or segment.flags & (SYN | FIN | ACK) == SYN | FIN):
            # Section 3.10.7.2, fourth, drops the former; SYN,FIN is invalid, and
            # dropped, as on Linux.
            return Decision(Verdict.IGNORED)
        if listener is not None and kind == SYN:
            # A SYN that reopens is not forged; and a cookie might be an old sequence number.
            if listener.full:
                return Decision(Verdict.BACKLOG_FULL)
            refusal = None
            if reopens or not self._wants_cookie(listener):
                refusal = self._no_room(name, now, proven=self._policy == "never")
                if refusal is None:
                    return _ADMIT
            elif self._budget.full:
                refusal = Verdict.NO_MEMORY
            if refusal is None:
                return self._send_cookie(listener, name, segment, now)
            if reopens or not self._eviction.could(refusal, name.remote, now):
                return Decision(refusal)
            return self._send_cookie(listener, name, segment, now)
        if listener is not None and kind == ACK and now < listener.cookies_until:
            config = self._configs.fitted(listener.config, name.local)
            syn = self._cookies.check(name.packed, segment, config, now)
            if syn is not None:
                self._counters["syncookies_received"] += 1
                if listener.full:
                    return Decision(Verdict.BACKLOG_FULL)
                return Decision(self._no_room(name, now, proven=True), syn=syn)
            self._counters["syncookies_failed"] += 1
        return self._reset(name, segment, now)

    def evict_half_open(self, listener: Listener) -> Connection | None:
        """Evict and return a half-open connection, if the SYN queue is full.

        Of the `CANDIDATES` oldest, the oldest of the peer that has most connections: one
        address with many SYNs does not evict those of others.
        """
        oldest = listener.half_open.oldest(CANDIDATES) if listener.half_open.full else []
        if not oldest:
            return None
        chosen = max(oldest, key=_others)
        self._counters["half_open_dropped"] += 1
        chosen.end(None)
        return chosen

    def _no_room(self, name: FourTuple, now: float, *, proven: bool) -> Verdict | None:
        return self._eviction.make_room(name.remote, now, proven=proven)

    def _wants_cookie(self, listener: Listener) -> bool:
        if self._policy == "when full":
            return listener.half_open.full
        return self._policy == "always"

    def _send_cookie(
        self, listener: Listener, name: FourTuple, syn: Segment, now: float
    ) -> Decision:
        listener.cookies_until = now + LIFETIME
        self._counters["syncookies_sent"] += 1
        packed = name.packed
        clock = timestamp(now, self._numbers.timestamp_offset(packed))
        config = self._configs.fitted(listener.config, name.local)
        answer = self._cookies.make_syn_ack(packed, syn, config, clock, now)
        return Decision(Verdict.SYN_COOKIE, answer)

    def _reset(self, name: FourTuple, segment: Segment, now: float) -> Decision:
        reset = reset_for(segment)
        if reset is None:
            return Decision(Verdict.IGNORED)
        if not self._resets.allows(name.remote, now):
            self._counters["resets_suppressed"] += 1
            return Decision(Verdict.IGNORED)
        return Decision(Verdict.REFUSED, reset)
