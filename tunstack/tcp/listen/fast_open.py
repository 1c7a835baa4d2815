"""TCP Fast Open (RFC 7413): data in the SYN, between hosts that have met before.

::

    SYN, cookie?  --------->            SYN, cookie, data  --------->  to the application, at once
             <---------  SYN,ACK, cookie               <---------  SYN,ACK of SYN and data
    ACK, data  ------------>                           <---------  data
                                        ACK  ----------------------->

The first exchange fetches the cookie (:mod:`.fast_open_cookies`), the later ones save a round trip.
What a host may do before the handshake has ended is each role's own: a client's application may
hand over data, of which as much as fits goes into the SYN; a server's may also read, and its data
goes out. Data in a SYN counts as sent only when it is acknowledged: what is not goes out after the
handshake as if nothing had been. The price stands in section 2.1: a SYN that comes twice may be
accepted twice, so it is for requests that may.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Final

from tunstack.tcp.segment import ACK
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections import Counter

    from tunstack.tcp.config import Config
    from tunstack.tcp.connection.connection import Connection
    from tunstack.tcp.listen.fast_open_cookies import CookieCache, CookieMint, Path
    from tunstack.tcp.listen.listener import Listener
    from tunstack.tcp.segment import Segment
    from tunstack.tcp.sender.sender import Sender

COUNTERS: Final = (
    "fast_open_requested",
    "fast_open_active",
    "fast_open_active_failed",
    "fast_open_cookies_given",
    "fast_open_passive",
    "fast_open_passive_failed",
    "fast_open_overflow",
)
"""What is counted here; the names in the statistics."""

RESET_COUNTS: Final = 60.0
"""Seconds for which a connection still counts as pending if it was reset (section 5.1).

Else whoever knows a cookie could have its victim's RSTs make room, again and again.
"""

_OPTIONS: Final = 40
"""Room left in a SYN for options, whichever they are.

Where not even that fits, on links of nearly the smallest MTU there is, a SYN goes without.
"""


class FastOpen:
    """What Fast Open changes in the opening of one connection.

    Attributes:
        early: Whether the application may send before the handshake has ended.
        syn_data: Whether data in a SYN was acknowledged, by the peer or by us.
    """

    __slots__ = ("early", "syn_data")

    def __init__(self, *, early: bool) -> None:
        self.early = early
        self.syn_data = False

    @property
    def awaits_data(self) -> bool:
        """Whether a SYN of ours could take data along."""
        return False

    def dress(self, syn: Segment, sender: Sender, config: Config, now: float) -> None:
        """Put into `syn`, which is going out, for the first time or again, what belongs there."""

    def covers(self, ack: int, sender: Sender) -> bool:
        """Whether `ack` may be of data in our SYN."""
        return False

    def counts(self, ack: int, sender: Sender) -> bool:
        """Whether `ack` is of data in our SYN; if so, `sender` has sent it from now on."""
        return False

    def answered(self, syn_ack: Segment, now: float, *, retransmitted: bool) -> None:
        """The SYN,ACK came; `retransmitted` if our SYN had gone out again."""

    def opened_early(self, connection: Connection) -> None:
        """The SYN's data is there: the application may have `connection` (section 4.2.2)."""

    def failed(self, error: OSError | None) -> None:
        """The handshake came to nothing."""


class Attempt(FastOpen):
    """A client's (sections 4.1.3 and 4.2)."""

    __slots__ = (
        "_acknowledged",
        "_cache",
        "_counters",
        "_data_sent_at",
        "_mss",
        "_path",
        "_size",
        "_syn_sent_at",
        "cookie",
    )

    def __init__(self, cache: CookieCache, path: Path, counters: Counter[str], now: float) -> None:
        """Begin with what `cache` knows of the server.

        Attributes:
            cookie: What goes into the SYN; ``b""`` asks for one, None is for a plain SYN.
        """
        super().__init__(early=True)
        self._cache = cache
        self._path = path
        self._counters = counters
        self.cookie, self._mss = cache.recall(path, now)
        self._size = 0  # Octets in our SYN.
        self._acknowledged = 0
        self._syn_sent_at: float | None = None
        self._data_sent_at = 0.0

    @property
    def awaits_data(self) -> bool:
        """Where there is a cookie."""
        return bool(self.cookie)

    def dress(self, syn: Segment, sender: Sender, config: Config, now: float) -> None:
        """A SYN that goes out again is plain: something may not like the other kind (4.2.2)."""
        self._syn_sent_at = now
        if self.cookie is None or sender.nxt != sender.iss or syn.flags & ACK:
            return
        if config.mss < _OPTIONS:
            return
        syn.fast_open = self.cookie
        if not self.cookie:
            self._counters["fast_open_requested"] += 1
            return
        mss = min(self._mss or config.default_send_mss, config.mss)
        self._size = min(len(sender.buffer), max(0, mss - _OPTIONS))
        self._data_sent_at = now
        if self._size:
            syn.payload = sender.buffer.slice(sender.buffer.start, self._size)

    def covers(self, ack: int, sender: Sender) -> bool:
        """It may be of a part of it."""
        return 0 < (ack - sender.nxt) & MASK <= self._size

    def counts(self, ack: int, sender: Sender) -> bool:
        """The peer has taken so much of it."""
        if not self.covers(ack, sender):
            return False
        self._acknowledged = octets = (ack - sender.nxt) & MASK
        sender.sent_in_syn(octets, self._data_sent_at)
        return True

    def answered(self, syn_ack: Segment, now: float, *, retransmitted: bool) -> None:
        """Remember the cookie that it brings; or that it ignored us (section 4.1.3.1)."""
        if self.cookie is None or self._syn_sent_at is None:
            return
        if self._acknowledged:
            self.syn_data = True
            self._counters["fast_open_active"] += 1
        elif self._size:
            self._counters["fast_open_active_failed"] += 1
        if syn_ack.fast_open:
            self._cache.learn(self._path, syn_ack.fast_open, syn_ack.mss or 0)
        elif self._acknowledged:
            self._cache.worked(self._path, syn_ack.mss or 0)
        elif self._size or retransmitted:
            self._cache.failed(self._path, now)

    def failed(self, error: OSError | None) -> None:
        """By a RST, by ICMP, or since nobody answered: it may have been the option (4.1.3.1)."""
        ours = error is None or error.errno == errno.ECONNABORTED
        if self.cookie is not None and self._syn_sent_at is not None and not ours:
            self._counters["fast_open_active_failed"] += bool(self._size)
            self._cache.failed(self._path, self._syn_sent_at)


class Acceptance(FastOpen):
    """A server's answer to a SYN with the option (section 4.2).

    Args:
        cookie: What to give the client, if anything.
        listener: Whose connection it is from now on, if the cookie that came is good; else None.
    """

    __slots__ = ("_cookie", "_listener")

    def __init__(self, cookie: bytes | None, listener: Listener | None) -> None:
        super().__init__(early=listener is not None)
        self._cookie = cookie
        self._listener = listener

    def dress(self, syn: Segment, sender: Sender, config: Config, now: float) -> None:
        """As on Linux, a SYN,ACK that goes out again has no option either."""
        if sender.nxt == sender.iss and config.mss >= _OPTIONS:
            syn.fast_open = self._cookie

    def opened_early(self, connection: Connection) -> None:
        """Let the listener have it."""
        self.syn_data = connection.receiver.buffer.total > 0
        if self._listener is not None:
            self._listener.opened_early(connection)


class Pending:
    """A listener's connections whose handshake is under way, though they are open.

    PendingFastOpenRequests of section 4.2: as many as TCP_FASTOPEN says, for each may cost the
    application its work, for a SYN that is repeated, or forged by who has a cookie.
    """

    __slots__ = ("_connections", "_resets")

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self._resets: deque[float] = deque()  # Until when each counts.

    def has_room(self, limit: int, now: float) -> bool:
        """Whether one more would be within `limit`."""
        while self._resets and self._resets[0] <= now:
            self._resets.popleft()
        return len(self._connections) + len(self._resets) < limit

    def add(self, connection: Connection) -> None:
        """One more."""
        self._connections.add(connection)

    def opened(self, connection: Connection) -> bool:
        """Its handshake has ended; returns whether it was here at all."""
        if connection not in self._connections:
            return False
        self._connections.remove(connection)
        return True

    def failed(self, connection: Connection) -> None:
        """It has ended before; no matter if it never was here."""
        if self.opened(connection):
            error = connection.error
            if error is not None and error.errno == errno.ECONNRESET:
                self._resets.append(connection.sender.stalled_since + RESET_COUNTS)


def judge(
    mint: CookieMint,
    listener: Listener,
    path: Path,
    syn: Segment,
    counters: Counter[str],
    now: float,
) -> Acceptance | None:
    """What a listener does with the option in a SYN; None if it goes as without (section 4.2)."""
    cookie, limit = syn.fast_open, listener.config.fast_open_queue
    if cookie is None or not limit:
        return None
    if not listener.fast_open.has_room(limit, now):
        counters["fast_open_overflow"] += 1
        return None
    latest = mint.make(path, now)
    if mint.knows(cookie, path, now):
        counters["fast_open_passive"] += 1
        return Acceptance(None if cookie == latest else latest, listener)
    counters["fast_open_passive_failed" if cookie else "fast_open_cookies_given"] += 1
    return Acceptance(latest, None)
