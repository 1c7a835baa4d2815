"""Who may come in: what becomes of segments that belong to no connection.

Every SYN may be forged, and costs its sender nothing. So what it costs us is bounded: by the
backlog, by what may be half open, by how many connections there may be, and by memory. When too
many are half open, cookies take over, which cost nothing either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.ip.ratelimit import PeerRateLimit
from tunstack.tcp.arrival import reset_for
from tunstack.tcp.cookies import LIFETIME, SynCookies
from tunstack.tcp.half_open import HalfOpen
from tunstack.tcp.isn import timestamp
from tunstack.tcp.segment import ACK, FIN, RST, SYN
from tunstack.tcp.verdict import Verdict

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tunstack.ip.demux import FourTuple
    from tunstack.limits import Limits
    from tunstack.tcp.budget import Budget
    from tunstack.tcp.connection import Connection
    from tunstack.tcp.isn import InitialNumbers
    from tunstack.tcp.listener import Listener
    from tunstack.tcp.segment import Segment

COUNTERS: Final = (
    "syncookies_sent",
    "syncookies_received",
    "syncookies_failed",
    "half_open_dropped",
    "resets_suppressed",
)
"""What is counted here; the names in the statistics."""


class Decision(NamedTuple):
    """What to do with a segment of no connection.

    Attributes:
        verdict: What becomes of it; None if it begins a connection.
        answer: What to send, if anything.
        syn: The SYN that the connection begins with, if that was an earlier one.
    """

    verdict: Verdict | None
    answer: Segment | None = None
    syn: Segment | None = None


_WELCOME: Final = Decision(None)


class Admission:
    """The doorkeeper of a stack.

    Attributes:
        half_open: What all listeners have half open together.
        icmp_errors: How often a stranger is told of a mistake.
    """

    def __init__(
        self,
        limits: Limits,
        secret: bytes,
        *,
        numbers: InitialNumbers,
        budget: Budget,
        make_room: Callable[[], bool],
        counters: Counter[str],
    ) -> None:
        """Make one; `make_room` says if one more connection may be, and sees to it."""
        self.half_open = HalfOpen(limits.half_open)
        self.icmp_errors = PeerRateLimit(limits.icmp_errors, secret)
        self._resets = PeerRateLimit(limits.resets, secret)
        self._policy = limits.syncookies
        self._cookies = SynCookies(secret)
        self._numbers = numbers
        self._budget = budget
        self._make_room = make_room
        self._counters = counters

    def judge(
        self,
        listener: Listener | None,
        name: FourTuple,
        segment: Segment,
        now: float,
        *,
        reopens: bool,
    ) -> Decision:
        """What becomes of a segment for which there is no connection (section 3.10.7.1 and 2).

        Args:
            listener: Who listens where it goes, if somebody does.
            name: Where it goes, and whence it comes.
            segment: The segment.
            now: Seconds.
            reopens: Whether it is a SYN that has ended a connection in TIME-WAIT.
        """
        kind = segment.flags & (SYN | ACK | RST)
        if listener is not None and (not kind or segment.flags & (SYN | FIN | ACK) == SYN | FIN):
            # Section 3.10.7.2, fourth, drops the first; the other nobody sends in good faith, and
            # Linux drops it as well.
            return Decision(Verdict.IGNORED)
        if listener is not None and kind == SYN:
            # Whoever had a connection before is real; and a cookie's number could be an old one.
            if not reopens and self._wants_cookie(listener):
                return self._send_cookie(listener, name, segment, now)
            refusal = self._refusal(listener) or self._no_room()
            return _WELCOME if refusal is None else Decision(refusal)
        if listener is not None and kind == ACK and now < listener.cookies_until:
            syn = self._cookies.recall(name.packed, segment, listener.config, now)
            if syn is not None:
                self._counters["syncookies_received"] += 1
                return Decision(self._refusal(listener) or self._no_room(), syn=syn)
            self._counters["syncookies_failed"] += 1
        return self._reset(name, segment, now)

    def give_up_half_open(self, listener: Listener) -> Connection | None:
        """End the oldest half-open connection, and return it, if there is no room for one more."""
        oldest = listener.half_open.oldest if listener.half_open.full else None
        if oldest is not None:
            self._counters["half_open_dropped"] += 1
            oldest.end(None)
        return oldest

    def _refusal(self, listener: Listener) -> Verdict | None:
        if listener.full:
            return Verdict.BACKLOG_FULL
        return Verdict.NO_MEMORY if self._budget.full else None

    def _no_room(self) -> Verdict | None:
        return None if self._make_room() else Verdict.TOO_MANY

    def _wants_cookie(self, listener: Listener) -> bool:
        if self._policy == "when full":
            return listener.half_open.full
        return self._policy == "always"

    def _send_cookie(
        self, listener: Listener, name: FourTuple, syn: Segment, now: float
    ) -> Decision:
        refusal = self._refusal(listener)
        if refusal is not None:
            return Decision(refusal)
        listener.cookies_until = now + LIFETIME
        self._counters["syncookies_sent"] += 1
        packed = name.packed
        clock = timestamp(now, self._numbers.timestamp_offset(packed))
        answer = self._cookies.answer(packed, syn, listener.config, clock, now)
        return Decision(Verdict.SYN_COOKIE, answer)

    def _reset(self, name: FourTuple, segment: Segment, now: float) -> Decision:
        reset = reset_for(segment)
        if reset is None:
            return Decision(Verdict.IGNORED)
        if not self._resets.allows(name.remote, now):
            self._counters["resets_suppressed"] += 1
            return Decision(Verdict.IGNORED)
        return Decision(Verdict.REFUSED, reset)
