"""HyStart++: leave slow start when the round-trip time says so, before a loss does (RFC 9406)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.congestion.base import Acknowledgement

_MIN_THRESHOLD: Final = 0.004
_MAX_THRESHOLD: Final = 0.016
_DIVISOR: Final = 8
_SAMPLES: Final = 8
_GROWTH_DIVISOR: Final = 4
_ROUNDS: Final = 5


class HyStart:
    """Slow start by rounds; then conservative slow start, a quarter as fast, for five of them.

    RFC 9406 also has a limit of eight segments for what one ACK may add, against bursts; there is
    none here: with offload one ACK stands for 44, and goes on doing so.

    Attributes:
        finished: Whether slow start is over.
    """

    __slots__ = (
        "_baseline",
        "_conservative",
        "_last_min",
        "_min",
        "_rounds",
        "_samples",
        "_window_end",
        "finished",
    )

    def __init__(self) -> None:
        self.finished = False
        self._conservative = False
        self._rounds = 0
        self._baseline = inf
        self._window_end = -1
        self._last_min = self._min = inf
        self._samples = 0

    def growth(self, ack: Acknowledgement) -> int:
        """How many octets `ack` adds to the window."""
        if self._window_end < 0:
            self._window_end = ack.nxt
        if ack.rtt is not None:
            self._min = min(self._min, ack.rtt)
            self._samples += 1
            self._look()
        growth = ack.octets // _GROWTH_DIVISOR if self._conservative else ack.octets
        if ack.una >= self._window_end:
            self._next_round(ack.nxt)
        return growth

    def _look(self) -> None:
        if self._samples < _SAMPLES:
            return
        if self._conservative:
            if self._min < self._baseline:  # It was no queue after all.
                self._conservative = False
                self._baseline = inf
        elif self._last_min < inf:
            threshold = max(_MIN_THRESHOLD, min(self._last_min / _DIVISOR, _MAX_THRESHOLD))
            if self._min >= self._last_min + threshold:
                self._baseline = self._min
                self._conservative = True
                self._rounds = 0

    def _next_round(self, nxt: int) -> None:
        self._window_end = nxt
        self._last_min = self._min
        self._min = inf
        self._samples = 0
        if self._conservative:
            self._rounds += 1
            self.finished = self._rounds >= _ROUNDS
