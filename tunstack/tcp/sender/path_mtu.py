"""The path MTU of one connection (RFC 1191, RFC 5927, RFC 4821).

Routers report packets that are too large (RFC 1191); reports are checked, as anyone can send ICMP
messages (RFC 5927). Without reports, :mod:`~tunstack.tcp.sender.mtu_probing` searches.
Sizes are those of data and TCP options, as in the MSS option, unless noted otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tunstack.tcp.sender.mtu_probing import ALWAYS, BASE, OFF, TIMEOUTS, MtuSearch, below

_INITIAL_PROVEN: Final = 500
"""Octets of data; a report that segments of this size are too large is deferred."""


@dataclass(slots=True)
class Trial:
    """An outstanding segment of a size not known to arrive; positions are the scoreboard's.

    Attributes:
        start: Position of its first octet.
        end: Position after its last.
        size: Octets of data.
        probe: Whether it is an MTU probe, larger than the MSS.
        sent_again: Whether its data was retransmitted: then its ACK does not show that it arrived.
        lost: Whether it is a probe, and was lost alone.
    """

    start: int
    end: int
    size: int
    probe: bool
    sent_again: bool = False
    lost: bool = False


class PathMtu:
    """The path MTU, as known to one connection.

    Attributes:
        limit: The size that routers have reported, or the link's.
        search: The search by probes; None if it is not active.
        proven: The largest segment that has arrived, in octets of data.
        trial: An outstanding segment larger than `proven`, or None.
        pmtu_pending: Whether a report was accepted that other connections have not been given.
    """

    __slots__ = (
        "_agreed",
        "_deferred_report",
        "_options",
        "_timed_out",
        "_timeouts",
        "limit",
        "pmtu_pending",
        "proven",
        "search",
        "trial",
    )

    def __init__(self, link: int) -> None:
        self.limit = link
        self.search: MtuSearch | None = None
        self.proven = _INITIAL_PROVEN
        self.trial: Trial | None = None
        self.pmtu_pending = False
        self._agreed = 0
        self._options = 0
        self._deferred_report: tuple[int, int] | None = None
        self._timed_out = -1
        self._timeouts = 0

    def agree(self, size: int, options: int, probing: int) -> None:
        """Set the MSS of the handshake, and the octets of options in each segment."""
        self._agreed = size
        self._options = options
        if probing == ALWAYS:
            self.search = MtuSearch(min(BASE, size))

    @property
    def agreed(self) -> bool:
        """Whether the MSS was negotiated."""
        return self._agreed > 0

    @property
    def known(self) -> int:
        """The present estimate, without the peer's MSS."""
        return self.limit if self.search is None else min(self.limit, self.search.low)

    @property
    def mss(self) -> int:
        """Octets of data in a segment: the effective send MSS (MUST-16)."""
        agreed, known = self._agreed, self.known
        return (agreed if agreed < known else known) - self._options

    # Reports of routers (ICMP)

    def accepts_report(self, size: int, position: int) -> bool:
        """Process a report that the segment at `position` is larger than the path MTU, `size`.

        It is ignored if no segment of that size was sent (RFC 5927 section 7.2). If a segment as
        large has arrived before, it may be forged: it is deferred until the segment times out.

        Returns whether it was accepted.
        """
        trial = self.trial
        if trial is not None and trial.probe and trial.start <= position < trial.end:
            largest = trial.size
        else:
            largest = self.mss
        if size - self._options >= largest:
            return False
        if size - self._options < self.proven:
            self._deferred_report = size, position
            return False
        self._accept_report(size)
        return True

    def _accept_report(self, size: int) -> None:
        self.limit = min(self.limit, size)
        self.proven = min(self.proven, self.limit - self._options)
        self._deferred_report = None
        self.pmtu_pending = True

    def confirms_report(self, una: int) -> bool:
        """Return whether the timeout of the segment at `una` confirms a deferred report."""
        if self._deferred_report is None:
            return False
        size, position = self._deferred_report
        if position < una:
            self._deferred_report = None  # It has arrived since: forged, or outdated.
            return False
        self._accept_report(size)
        return True

    # Probing

    def timed_out(self, una: int, size: int, probing: int) -> bool:
        """Process a timeout of the segment at `una`, with `size` octets of data.

        Returns whether the size was reduced, after several timeouts of the same segment.
        """
        if una != self._timed_out:
            self._timed_out = una
            self._timeouts = 0
        self._timeouts += 1
        now = min(self._agreed, self.known)
        smaller = below(now)
        if probing == OFF or size <= smaller - self._options:
            return False
        if self._timeouts < (TIMEOUTS if now > BASE else TIMEOUTS + 2):
            return False
        self._timeouts = TIMEOUTS
        if self.search is None:
            self.search = MtuSearch(smaller)
        self.search.fall_back(smaller)
        # The path has changed: sizes that arrived before may not now.
        self.proven = min(self.proven, _INITIAL_PROVEN)
        return True

    def next_probe(self, now: float) -> int | None:
        """Return the octets of data of the next probe; None if the search has ended."""
        if self.search is None or (self.trial is not None and self.trial.probe):
            return None
        size = self.search.next_size(min(self._agreed, self.limit), now)
        return None if size is None else size - self._options

    def trial_arrived(self) -> None:
        """Record that the trial has arrived: segments of its size fit."""
        assert self.trial is not None
        self.proven = max(self.proven, self.trial.size)
        if self.trial.probe and self.search is not None:
            self.search.arrived(self.trial.size + self._options)
        self.trial = None

    def probe_was_lost(self, now: float) -> None:
        """Record that the probe alone was lost: it was too large."""
        assert self.trial is not None
        if self.search is not None:
            self.search.was_lost(self.trial.size + self._options, now)
        self.trial = None
