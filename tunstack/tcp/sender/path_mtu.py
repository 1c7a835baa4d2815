"""The largest segment that the path of one connection carries, as far as is known.

Routers report what does not fit (RFC 1191); the report is checked, as anyone can send an ICMP
message (RFC 5927). Without reports, :mod:`~tunstack.tcp.sender.mtu_probing` searches.
Sizes are as the MSS option counts them, the data and the TCP options, but where it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tunstack.tcp.sender.mtu_probing import ALWAYS, BASE, OFF, TIMEOUTS, MtuSearch, below

_INITIAL_PROVEN: Final = 500
"""Octets of data; no router is believed that a segment of this size is too large."""


@dataclass(slots=True)
class Trial:
    """A segment of a size that has not been seen to arrive; positions are the scoreboard's.

    Attributes:
        start: Position of its first octet.
        end: Position behind its last.
        size: Octets of data.
        probe: Whether it is larger than our segments are: a probe.
        sent_again: Whether its data was retransmitted: its ACK proves nothing of a probe then.
        lost: Whether it is a probe that was lost, and nothing else was.
    """

    start: int
    end: int
    size: int
    probe: bool
    sent_again: bool = False
    lost: bool = False


class PathMtu:
    """What one connection knows of its path.

    Attributes:
        limit: What routers have reported, or the link's size.
        search: The search by probes; None while there is no reason for one.
        proven: The largest segment that has arrived, in octets of data.
        trial: One on its way whose arrival would prove more, if there is one.
        pmtu_pending: Whether a report was accepted that the other connections do not know of yet.
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
        """The handshake allows segments of `size`, each with so many octets of options."""
        self._agreed = size
        self._options = options
        if probing == ALWAYS:
            self.search = MtuSearch(min(BASE, size))

    @property
    def agreed(self) -> bool:
        """Whether there was a handshake yet."""
        return self._agreed > 0

    @property
    def known(self) -> int:
        """What the path is thought to carry."""
        return self.limit if self.search is None else min(self.limit, self.search.low)

    @property
    def mss(self) -> int:
        """How many octets of data to send in a segment, the options deducted (MUST-16)."""
        return min(self._agreed, self.known) - self._options

    # Reports of routers (ICMP)

    def accepts_report(self, size: int, position: int) -> bool:
        """A router reports that what was sent at `position` did not fit, but `size` does.

        RFC 5927 section 7.2: it is ignored where nothing that large was sent. Where as much has
        arrived before, it may be forged: then it is deferred until that segment times out.

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
        """The segment at `una` has timed out; returns whether that confirms a deferred report."""
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
        """The segment at `una`, with `size` octets of data, has timed out.

        Returns whether smaller ones are to be sent: after it happened to the same one some times.
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
        # The path has changed: what has arrived before says nothing of it.
        self.proven = min(self.proven, _INITIAL_PROVEN)
        return True

    def next_probe(self, now: float) -> int | None:
        """How many octets of data to put into a probe; None when there is nothing to find out."""
        if self.search is None or (self.trial is not None and self.trial.probe):
            return None
        size = self.search.next_size(min(self._agreed, self.limit), now)
        return None if size is None else size - self._options

    def trial_arrived(self) -> None:
        """The trial has arrived: segments of its size fit."""
        assert self.trial is not None
        self.proven = max(self.proven, self.trial.size)
        if self.trial.probe and self.search is not None:
            self.search.arrived(self.trial.size + self._options)
        self.trial = None

    def probe_was_lost(self, now: float) -> None:
        """The probe was lost, and nothing else was: it was too large."""
        assert self.trial is not None
        if self.search is not None:
            self.search.was_lost(self.trial.size + self._options, now)
        self.trial = None
