"""CUBIC (RFC 9438), with HyStart++ (RFC 9406) for its slow start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.compiled import mypyc_attr
from tunstack.tcp.congestion.base import initial_window
from tunstack.tcp.congestion.hystart import HyStart

if TYPE_CHECKING:
    from tunstack.tcp.congestion.base import Acknowledgement

_C: Final = 0.4
"""C of RFC 9438, segments per second cubed."""
_BETA: Final = 0.7
"""beta_cubic: the factor of a reduction after a loss."""
_BETA_ECN: Final = 0.85
"""The factor of a reduction after an ECN mark (RFC 8511)."""
_ALPHA: Final[float] = 3 * (1 - _BETA) / (1 + _BETA)
"""alpha_cubic: segments per round trip by which the Reno-friendly estimate grows."""
_UNLIMITED: Final[int] = 1 << 30
"""Octets: ssthresh before the first loss."""


class _Curve(NamedTuple):
    """The variables of RFC 9438 section 4.1.2 that an undo restores, in segments and seconds."""

    w_max: float
    k: float
    epoch: float | None
    w_est: float
    cwnd_prior: float


_INITIAL: Final[_Curve] = _Curve(0.0, 0.0, None, 0.0, 0.0)


@mypyc_attr(allow_interpreted_subclasses=True)
class Cubic:
    """cwnd as a cubic function of the time since the last reduction (RFC 9438 section 4.2).

    Attributes are in octets; the formulas of RFC 9438 are in segments.

    Attributes:
        name: As TCP_CONGESTION has it.
        cwnd: The congestion window.
        ssthresh: The slow start threshold.
    """

    __slots__ = (
        "_before",
        "_carry",
        "_curve",
        "_hystart",
        "_initial",
        "_last_ack",
        "_mss",
        "_rtt",
        "cwnd",
        "ssthresh",
    )

    name = "cubic"

    def __init__(self) -> None:
        self.cwnd = 0
        self.ssthresh = _UNLIMITED
        self._mss = 0
        self._initial = 0
        self._curve = _INITIAL
        self._before: _Curve | None = None
        self._carry = 0.0
        self._rtt: float | None = None
        self._last_ack = 0.0
        self._hystart: HyStart | None = None

    def set_mss(self, mss: int, initial_segments: int) -> None:
        """Set the MSS, and cwnd to the initial window of RFC 6928."""
        self._mss = mss
        self._initial = initial_window(mss, initial_segments)
        self.cwnd = self._initial

    def change_mss(self, mss: int) -> None:
        """Change the MSS; cwnd keeps its octets, in the initial slow start its segments."""
        if mss < self._mss and self.ssthresh == _UNLIMITED:
            self.cwnd = self.cwnd * mss // self._mss
        curve, ratio = self._curve, self._mss / mss
        self._curve = _Curve(
            curve.w_max * ratio, 0.0, None, curve.w_est * ratio, curve.cwnd_prior * ratio
        )
        self._initial = self._initial * mss // self._mss
        self._mss = mss

    def acknowledged(self, ack: Acknowledgement) -> None:
        """Increase cwnd, by slow start or by the cubic function (sections 4.2 to 4.5)."""
        if ack.rtt is not None:
            self._rtt = ack.rtt if self._rtt is None else self._rtt + (ack.rtt - self._rtt) / 8
        if self.cwnd < self.ssthresh:
            self._slow_start(ack)
        else:
            self._avoid_congestion(ack)

    def _slow_start(self, ack: Acknowledgement) -> None:
        if self.ssthresh < _UNLIMITED:  # HyStart++ is for the initial one (RFC 9406 4.3).
            # Not beyond ssthresh: one ACK may cover many segments.
            self.cwnd = min(self.cwnd + ack.octets, self.ssthresh)
            return
        if self._hystart is None:
            self._hystart = HyStart()
        self.cwnd += self._hystart.growth(ack)
        if self._hystart.finished:
            self.ssthresh = self.cwnd

    def _avoid_congestion(self, ack: Acknowledgement) -> None:
        mss, now, rtt = self._mss, ack.now, self._rtt or 0.0
        cwnd = self.cwnd / mss
        curve = self._curve
        if curve.epoch is None:
            curve = self._begin_epoch(cwnd, now)
        elif (pause := now - self._last_ack - rtt) > 0:
            # cwnd was not the limit for a while: leave that time out (section 5.8).
            curve = curve._replace(epoch=curve.epoch + pause)
        self._last_ack = now
        assert curve.epoch is not None
        elapsed = now - curve.epoch
        # Section 4.3: W_est, Reno's window with CUBIC's beta.
        alpha = _ALPHA if curve.w_est < curve.cwnd_prior else 1.0
        w_est = curve.w_est + alpha * (ack.octets / mss) / cwnd
        self._curve = curve._replace(w_est=w_est)
        if _C * (elapsed - curve.k) ** 3 + curve.w_max < w_est:
            self.cwnd = max(self.cwnd, int(w_est * mss))
            return
        target = _C * (elapsed + rtt - curve.k) ** 3 + curve.w_max
        target = min(max(target, cwnd), 1.5 * cwnd)
        self._carry += (target - cwnd) / cwnd * ack.octets
        growth = int(self._carry)
        self._carry -= growth
        self.cwnd += growth

    def _begin_epoch(self, cwnd: float, now: float) -> _Curve:
        w_max = max(self._curve.w_max, cwnd)
        k = ((w_max - cwnd) / _C) ** (1 / 3)
        self._carry = 0.0
        self._before = None
        return _Curve(w_max, k, now, cwnd, self._curve.cwnd_prior)

    def loss(self, flight_size: int, now: float) -> None:
        """Reduce to 0.7 (section 4.6), with fast convergence (section 4.7)."""
        self._reduce(flight_size, _BETA)

    def marked(self, flight_size: int, now: float) -> None:
        """Reduce to 0.85 (RFC 8511: a marking queue is short), but in slow start to 0.7."""
        self._reduce(flight_size, _BETA if self.cwnd < self.ssthresh else _BETA_ECN)

    def _reduce(self, flight_size: int, beta: float) -> None:
        curve = self._curve
        if self._before is None:
            self._before = curve
        cwnd = self.cwnd / self._mss
        w_max = cwnd * (1 + _BETA) / 2 if cwnd < curve.w_max else cwnd  # Section 4.7
        self._curve = _Curve(w_max, 0.0, None, 0.0, cwnd)
        self.ssthresh = max(round(flight_size * beta), 2 * self._mss)

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """Set cwnd to one segment; the next epoch begins where slow start ends (section 4.8)."""
        if not repeated:
            self.loss(flight_size, now)
        self._curve = self._curve._replace(w_max=0.0)
        self.cwnd = self._mss

    def idle(self) -> None:
        """Reduce cwnd to the initial window, and begin a new epoch (RFC 5681 section 4.1)."""
        self.cwnd = min(self.cwnd, self._initial)
        if self._curve.epoch is not None:
            self._curve = self._curve._replace(epoch=None)

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """Restore cwnd, ssthresh and the curve after a spurious reduction (section 4.9)."""
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)
        if self._before is not None:
            self._curve, self._before = self._before, None
