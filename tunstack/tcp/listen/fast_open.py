"""TCP Fast Open (RFC 7413): data in the SYN, for clients that have a cookie of the server.

::

    SYN, cookie?  --------->            SYN, cookie, data  --------->  to the application, at once
             <---------  SYN,ACK, cookie               <---------  SYN,ACK of SYN and data
    ACK, data  ------------>                           <---------  data
                                        ACK  ----------------------->

The first exchange fetches the cookie (:mod:`.fast_open_cookies`), later ones save a round trip.
Before the handshake has ended, a client may write, and as much as fits goes into the SYN; a server
may read and write, and its data is sent. SND.NXT does not advance over data in a SYN until it is
acknowledged: what is not is sent after the handshake as new data. A duplicate SYN may be accepted
twice (section 2.1), so requests must be idempotent.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tunstack.tcp.connection.fast_open import FastOpen
from tunstack.tcp.segment import ACK
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections import Counter

    from tunstack.tcp.config import Config
    from tunstack.tcp.listen.fast_open_cookies import CookieCache, Path, ServerCookies
    from tunstack.tcp.listen.listener import Listener
    from tunstack.tcp.segment import Segment
    from tunstack.tcp.sender.sender import Sender

COUNTERS: Final[tuple[str, ...]] = (
    "fast_open_requested",
    "fast_open_active",
    "fast_open_active_failed",
    "fast_open_cookies_given",
    "fast_open_passive",
    "fast_open_passive_failed",
    "fast_open_overflow",
)
"""Counters of this module, by their names in the statistics."""

_OPTIONS_ROOM: Final = 40
"""Octets left for options in a SYN with data.

With a smaller MSS, on links with nearly the smallest MTU, the SYN has no Fast Open option.
"""


class FastOpenClient(FastOpen):
    """The client's role (sections 4.1.3 and 4.2.1)."""

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
        """Look up the server in `cache`.

        Attributes:
            cookie: The cookie for the SYN; ``b""`` requests one, None stands for a plain SYN.
        """
        super().__init__(early=True)
        self._cache = cache
        self._path = path
        self._counters = counters
        self.cookie, self._mss = cache.lookup(path, now)
        self._size = 0  # Octets of data in our SYN.
        self._acknowledged = 0
        self._syn_sent_at: float | None = None
        self._data_sent_at = 0.0

    @property
    def awaits_data(self) -> bool:
        """Whether there is a cookie."""
        return bool(self.cookie)

    def add_option(self, syn: Segment, sender: Sender, config: Config, now: float) -> None:
        """Add cookie and data to the first SYN; a retransmitted one has neither (section 4.2.1).

        A middlebox may have dropped the first for them.
        """
        self._syn_sent_at = now
        if self.cookie is None or sender.nxt != sender.iss or syn.flags & ACK:
            return
        if config.mss < _OPTIONS_ROOM:
            return
        syn.fast_open = self.cookie
        if not self.cookie:
            self._counters["fast_open_requested"] += 1
            return
        mss = min(self._mss or config.default_send_mss, config.mss)
        self._size = min(len(sender.buffer), max(0, mss - _OPTIONS_ROOM))
        self._data_sent_at = now
        if self._size:
            syn.payload = sender.buffer.slice(sender.buffer.start, self._size)

    def covers(self, ack: int, sender: Sender) -> bool:
        """Whether `ack` acknowledges some or all of the data."""
        return 0 < (ack - sender.nxt) & MASK <= self._size

    def take_syn_data_ack(self, ack: int, sender: Sender) -> bool:
        """Record how much of the data the server has accepted."""
        if not self.covers(ack, sender):
            return False
        self._acknowledged = octets = (ack - sender.nxt) & MASK
        sender.sent_in_syn(octets, self._data_sent_at)
        return True

    def on_syn_ack(self, syn_ack: Segment, now: float, *, retransmitted: bool) -> None:
        """Cache the cookie of the SYN,ACK, or that the data was not accepted (section 4.1.3)."""
        if self.cookie is None or self._syn_sent_at is None:
            return
        if self._acknowledged:
            self.syn_data = True
            self._counters["fast_open_active"] += 1
        elif self._size:
            self._counters["fast_open_active_failed"] += 1
        if syn_ack.fast_open:
            self._cache.store(self._path, syn_ack.fast_open, syn_ack.mss or 0)
        elif self._acknowledged:
            self._cache.on_success(self._path, syn_ack.mss or 0)
        elif self._size or retransmitted:
            self._cache.on_failure(self._path, now)

    def on_failure(self, error: OSError | None) -> None:
        """Disable Fast Open for the server for a while: it may be the cause (section 4.1.3.1).

        The SYN drew a RST or an ICMP error, or timed out.
        """
        ours = error is None or error.errno == errno.ECONNABORTED
        sent_at = self._syn_sent_at
        if self.cookie is not None and sent_at is not None and not ours:
            self._counters["fast_open_active_failed"] += bool(self._size)
            self._cache.on_failure(self._path, sent_at)


class FastOpenServer(FastOpen):
    """The server's role, for a SYN with the option (section 4.2.2).

    Args:
        cookie: The cookie for the SYN,ACK, or None.
        early: Whether the client's cookie is valid.
    """

    __slots__ = ("_cookie",)

    def __init__(self, cookie: bytes | None, *, early: bool) -> None:
        super().__init__(early=early)
        self._cookie = cookie

    def add_option(self, syn: Segment, sender: Sender, config: Config, now: float) -> None:
        """Add the cookie to the first SYN,ACK; as on Linux, not to a retransmitted one."""
        if sender.nxt == sender.iss and config.mss >= _OPTIONS_ROOM:
            syn.fast_open = self._cookie


def process_option(
    cookies: ServerCookies,
    listener: Listener,
    path: Path,
    syn: Segment,
    counters: Counter[str],
    now: float,
) -> FastOpenServer | None:
    """Process the Fast Open option of a SYN (section 4.2.2, Linux's tcp_try_fastopen).

    Returns None if the handshake goes on without it.
    """
    cookie, limit = syn.fast_open, listener.config.fast_open_queue
    if cookie is None or not limit:
        return None
    if not listener.fast_open.has_room(limit, now):
        counters["fast_open_overflow"] += 1
        return None
    latest = cookies.make(path, now)
    if cookies.is_valid(cookie, path, now):
        counters["fast_open_passive"] += 1
        return FastOpenServer(None if cookie == latest else latest, early=True)
    counters["fast_open_passive_failed" if cookie else "fast_open_cookies_given"] += 1
    return FastOpenServer(latest, early=False)
