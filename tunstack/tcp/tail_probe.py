"""The tail loss probe: when the last segments of a flight are lost, nobody is left to tell of it.

RFC 8985 section 7: before the retransmission timer, send something that draws an ACK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .rtt import RttEstimator

_WORST_DELAYED_ACK: Final = 0.2
"""TLP.max_ack_delay, in seconds: a lone segment may have its ACK delayed."""

_LEAST: Final = 0.05
"""Seconds: on a path of microseconds, a delayed ACK, or a peer that waits for a processor, is no loss."""


class TailLossProbe:
    """At most one probe a flight.

    Attributes:
        end: Position of SND.NXT when the probe was sent; None when no probe is out.
    """

    __slots__ = ("_retransmission", "end")

    def __init__(self) -> None:
        self.end: int | None = None
        self._retransmission = False

    @staticmethod
    def timeout(rtt: RttEstimator, *, single: bool) -> float:
        """PTO, in seconds (section 7.2); `single`: less than two are outstanding."""
        if rtt.srtt is None:
            return 1.0
        return max(2 * rtt.srtt + (_WORST_DELAYED_ACK if single else 0.0), _LEAST)

    def sent(self, nxt: int, *, retransmission: bool) -> None:
        """A probe went out: something new, or the last segment again."""
        self.end = nxt
        self._retransmission = retransmission

    def acknowledged(
        self, una: int, *, duplicate: bool, sacks: bool, dsack: tuple[int, int] | None
    ) -> bool:
        """Take an ACK (section 7.4.2); returns whether it shows that the probe repaired a loss."""
        if self.end is None or una < self.end:
            return False
        repaired = False
        if not self._retransmission or dsack is not None:
            self.end = None
        elif una > self.end:
            self.end = None
            repaired = True
        elif duplicate and not sacks:
            self.end = None
        return repaired
