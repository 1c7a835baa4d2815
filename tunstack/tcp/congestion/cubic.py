"""CUBIC (RFC 9438), with HyStart++ (RFC 9406) for its slow start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .hystart import HyStart

if TYPE_CHECKING:
    from .base import Acknowledgement

_C: Final = 0.4
_BETA: Final = 0.7
_BETA_ECN: Final = 0.85
_ALPHA: Final = 3 * (1 - _BETA) / (1 + _BETA)
_UNLIMITED: Final = 1 << 30


class Cubic:
    """The window as a cubic function of the time since it was last reduced.

    Sizes are in octets, as everywhere here; the formulas of RFC 9438 count segments.
    """

    __slots__ = (
        "_epoch",
        "_hystart",
        "_initial",
        "_k",
        "_last_ack",
        "_mss",
        "_w_est",
        "_w_max",
        "cwnd",
        "ssthresh",
    )

    name = "cubic"

    def __init__(self) -> None:
        self.cwnd = 0
        self.ssthresh = _UNLIMITED
        self._mss = 0
        self._initial = 0
        self._w_max = 0.0
        self._w_est = 0.0
        self._k = 0.0
        self._epoch: float | None = None
        self._last_ack = 0.0
        self._hystart = HyStart()

    def set_mss(self, mss: int, initial_segments: int) -> None:
        """Begin, with the initial window of RFC 6928."""
        self._mss = mss
        self._initial = min(initial_segments * mss, max(2 * mss, initial_segments * 1460))
        self.cwnd = self._initial

    def change_mss(self, mss: int) -> None:
        """Go on with other segments, as many octets of them; in the initial slow start, as many."""
        if mss < self._mss and self.ssthresh == _UNLIMITED:
            self.cwnd = self.cwnd * mss // self._mss
        self._w_max *= self._mss / mss
        self._epoch = None
        self._initial = self._initial * mss // self._mss
        self._mss = mss

    def acknowledged(self, ack: Acknowledgement) -> None:
        """Grow: by slow start, or towards what the curve says for the next round trip."""
        if self.cwnd < self.ssthresh:
            self.cwnd += self._hystart.growth(ack, self._mss)
            if self._hystart.finished:
                self.ssthresh = self.cwnd
            return
        if ack.rtt is None:
            return
        if self._epoch is None:
            self._begin_epoch(ack.now)
        assert self._epoch is not None
        elapsed = ack.now - self._epoch
        mss = self._mss
        cwnd = self.cwnd / mss
        # Section 4.3: what Reno would have by now, with CUBIC's beta.
        alpha = _ALPHA if self._w_est < self._w_max else 1.0
        self._w_est += alpha * (ack.octets / mss) / cwnd
        target = _C * (elapsed + ack.rtt - self._k) ** 3 + self._w_max
        now_at = _C * (elapsed - self._k) ** 3 + self._w_max
        if now_at < self._w_est:
            cwnd = max(cwnd, self._w_est)
        else:
            target = min(max(target, cwnd), 1.5 * cwnd)
            cwnd += (target - cwnd) / cwnd * (ack.octets / mss)
        self.cwnd = int(cwnd * mss)

    def _begin_epoch(self, now: float) -> None:
        self._epoch = now
        cwnd = self.cwnd / self._mss
        if self._w_max <= cwnd:
            self._w_max = cwnd
            self._k = 0.0
        else:
            self._k = ((self._w_max - cwnd) / _C) ** (1 / 3)
        self._w_est = cwnd

    def loss(self, flight_size: int, now: float) -> None:
        """Reduce to 0.7 (section 4.6), and make room for others if it was less than last time."""
        self._reduce(flight_size, _BETA)

    def marked(self, flight_size: int, now: float) -> None:
        """Reduce to 0.85: who marks keeps its queue short (RFC 8511). Slow start overshoots."""
        self._reduce(flight_size, _BETA if self.cwnd < self.ssthresh else _BETA_ECN)

    def _reduce(self, flight_size: int, beta: float) -> None:
        cwnd = self.cwnd / self._mss
        self._w_max = cwnd * (1 + _BETA) / 2 if cwnd < self._w_max else cwnd  # Section 4.7
        self.ssthresh = max(int(flight_size * beta), 2 * self._mss)
        self._epoch = None
        self._hystart.restart()

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """Fall back to one segment (section 4.8)."""
        if not repeated:
            self.loss(flight_size, now)
        self.cwnd = self._mss

    def idle(self) -> None:
        """Return to the initial window, no more (RFC 5681 section 4.1)."""
        self.cwnd = min(self.cwnd, self._initial)
        self._epoch = None

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """The loss was none: back to what was (section 4.9)."""
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)
        self._w_max = max(self._w_max, self.cwnd / self._mss)
        self._epoch = None
