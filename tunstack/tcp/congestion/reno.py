"""Reno: slow start and congestion avoidance (RFC 5681)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.compiled import mypyc_attr
from tunstack.tcp.congestion.base import initial_window

if TYPE_CHECKING:
    from tunstack.tcp.congestion.base import Acknowledgement

_UNLIMITED: Final[int] = 1 << 30
"""Octets: ssthresh before the first loss."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Reno:
    """RFC 5681 section 3.1 with byte counting (RFC 3465), as one ACK may cover many segments.

    Attributes:
        cwnd: The congestion window, in octets.
        ssthresh: The slow start threshold, in octets.
    """

    __slots__ = ("_avoidance", "_initial", "_mss", "cwnd", "ssthresh")

    def __init__(self) -> None:
        self.cwnd = 0
        self.ssthresh = _UNLIMITED
        self._mss = 0
        self._initial = 0
        self._avoidance = 0

    def set_mss(self, mss: int, initial_segments: int) -> None:
        """Set the MSS, and cwnd to the initial window of RFC 6928."""
        self._mss = mss
        self._initial = initial_window(mss, initial_segments)
        self.cwnd = self._initial

    def change_mss(self, mss: int) -> None:
        """Change the MSS; cwnd keeps its octets, in the initial slow start its segments."""
        if mss < self._mss and self.ssthresh == _UNLIMITED:
            self.cwnd = self.cwnd * mss // self._mss
        self._initial = self._initial * mss // self._mss
        self._mss = mss

    def acknowledged(self, ack: Acknowledgement) -> None:
        """Increase cwnd: exponentially in slow start, else by an MSS per round trip."""
        octets = ack.octets
        if self.cwnd < self.ssthresh:
            growth = min(octets, self.ssthresh - self.cwnd)
            self.cwnd += growth
            octets -= growth
        self._avoidance += octets
        if self._avoidance >= self.cwnd:
            self._avoidance -= self.cwnd
            self.cwnd += self._mss

    def loss(self, flight_size: int, now: float) -> None:
        """Set ssthresh to half of FlightSize (RFC 5681 equation 4), in whole segments.

        Half a segment more cannot be sent, but delays the next increase, often by a round trip.
        """
        mss = self._mss
        self.ssthresh = max(flight_size // 2 // mss, 2) * mss
        self._avoidance = 0

    def marked(self, flight_size: int, now: float) -> None:
        """Reduce to 0.8 (RFC 8511: a marking queue is short), but in slow start to half."""
        if self.cwnd < self.ssthresh:
            self.loss(flight_size, now)
        else:
            self.ssthresh = max(flight_size * 4 // 5, 2 * self._mss)
            self._avoidance = 0

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """Set cwnd to the loss window, one segment."""
        if not repeated:
            self.loss(flight_size, now)
        self.cwnd = self._mss

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """Restore cwnd and ssthresh after a spurious reduction."""
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)

    def idle(self) -> None:
        """Reduce cwnd to the initial window (RFC 5681 section 4.1)."""
        self.cwnd = min(self.cwnd, self._initial)
