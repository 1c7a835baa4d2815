"""The tail loss probe: detects the loss of a flight's last segments (RFC 8985 section 7).

It is sent before the retransmission timer fires, to draw an ACK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.sender.rtt import RttEstimator

MAX_ACK_DELAY: Final = 0.2
"""TLP.max_ack_delay, in seconds, if one segment is outstanding."""

PROMPT_ACK: Final = 0.002
"""The same if two segments or more are outstanding, in seconds."""

_LEAST: Final = 0.05
"""The minimum of PTO, in seconds: a peer on the same machine may delay an ACK or wait to run."""


def probe_timeout(rtt: RttEstimator, ack_delay: float) -> float:
    """Return PTO, in seconds, if the ACK may be delayed by `ack_delay` (section 7.2)."""
    srtt = rtt.srtt
    if srtt is None:
        return 1.0
    timeout = 2 * srtt + ack_delay
    return timeout if timeout > _LEAST else _LEAST


class TailLossProbe:
    """A probe that was sent, at most one a flight: new data, or the last segment again.

    Attributes:
        end: Position of SND.NXT when it was sent; None when it is acknowledged.
        flight: How many octets were outstanding before it.
    """

    __slots__ = ("_retransmission", "end", "flight")

    def __init__(self, end: int | None, flight: int, *, retransmission: bool) -> None:
        self.end = end
        self.flight = flight
        self._retransmission = retransmission

    def is_duplicated(self, dsack: tuple[int, int]) -> bool:
        """Whether a D-SACK reports the probe."""
        return self._retransmission and dsack[1] == self.end

    def acknowledged(self, una: int, *, duplicate: bool, is_duplicated: bool) -> bool:
        """Process an ACK (section 7.4.2); returns whether the probe repaired a loss.

        Args:
            una: Position of SEG.ACK.
            duplicate: Whether it is a duplicate ACK without any SACK blocks.
            is_duplicated: Whether it has a D-SACK for the probe.
        """
        if self.end is None or una < self.end:
            return False
        repaired = False
        if not self._retransmission or is_duplicated:
            self.end = None
        elif una > self.end:
            self.end = None
            repaired = True
        elif duplicate:
            self.end = None
        return repaired


NO_PROBE: Final = TailLossProbe(None, 0, retransmission=False)
"""That of a flight without a probe: it takes no memory."""
