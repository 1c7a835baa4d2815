"""Slow start and congestion avoidance as everyone knows them (RFC 5681)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.congestion.base import Acknowledgement

_UNLIMITED: Final = 1 << 30


class Reno:
    """RFC 5681 section 3.1, with octets counted (RFC 3465): one ACK may stand for many segments."""

    __slots__ = ("_avoidance", "_initial", "_mss", "cwnd", "ssthresh")

    def __init__(self) -> None:
        self.cwnd = 0
        self.ssthresh = _UNLIMITED
        self._mss = 0
        self._initial = 0
        self._avoidance = 0

    def set_mss(self, mss: int, initial_segments: int) -> None:
        """Begin with min(10 MSS, max(2 MSS, 14600)) for the usual ten segments (RFC 6928)."""
        self._mss = mss
        self._initial = min(initial_segments * mss, max(2 * mss, initial_segments * 1460))
        self.cwnd = self._initial

    def change_mss(self, mss: int) -> None:
        """Go on with other segments, as many octets of them; in the initial slow start, as many."""
        if mss < self._mss and self.ssthresh == _UNLIMITED:
            self.cwnd = self.cwnd * mss // self._mss
        self._initial = self._initial * mss // self._mss
        self._mss = mss

    def acknowledged(self, ack: Acknowledgement) -> None:
        """Grow: by what was acknowledged in slow start, by an MSS a round trip beyond it."""
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
        """Halve (RFC 5681 equation 4).

        To whole segments: of half a one nothing can be sent, but to grow by the next one would take
        half a one more to be acknowledged, and often a round trip more.
        """
        mss = self._mss
        self.ssthresh = max(flight_size // 2 // mss, 2) * mss
        self._avoidance = 0

    def marked(self, flight_size: int, now: float) -> None:
        """Reduce to 0.8: who marks keeps its queue short (RFC 8511). Slow start overshoots."""
        if self.cwnd < self.ssthresh:
            self.loss(flight_size, now)
        else:
            self.ssthresh = max(flight_size * 4 // 5, 2 * self._mss)
            self._avoidance = 0

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """Fall back to one segment, the loss window."""
        if not repeated:
            self.loss(flight_size, now)
        self.cwnd = self._mss

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """Back to what was."""
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)

    def idle(self) -> None:
        """Return to the initial window, no more (RFC 5681 section 4.1)."""
        self.cwnd = min(self.cwnd, self._initial)
