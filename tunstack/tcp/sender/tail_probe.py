"""The tail loss probe (RFC 8985 section 7): the loss of a flight's last segments draws no ACKs.

So something that draws an ACK is sent before the retransmission timer fires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.tcp.sender.rtt import RttEstimator

MAX_ACK_DELAY: Final = 0.2
"""TLP.max_ack_delay, in seconds: a lone segment may have its ACK delayed."""

PROMPT_ACK: Final = 0.002
"""Seconds: the same where two segments or more are outstanding."""

_LEAST: Final = 0.05
"""Seconds: on a path of microseconds, a delayed ACK is no loss, nor is a peer that waits to run."""


def probe_timeout(rtt: RttEstimator, ack_delay: float) -> float:
    """PTO of RFC 8985 section 7.2, in seconds, where the ACK may be delayed by `ack_delay`."""
    srtt = rtt.srtt
    if srtt is None:
        return 1.0
    timeout = 2 * srtt + ack_delay
    return timeout if timeout > _LEAST else _LEAST


class TailLossProbe:
    """At most one probe a flight.

    Attributes:
        end: Position of SND.NXT when the probe was sent; None when no probe is out.
        flight: How many octets were outstanding before it.
    """

    __slots__ = ("_retransmission", "end", "flight")

    def __init__(self) -> None:
        self.end: int | None = None
        self.flight = 0
        self._retransmission = False

    def sent(self, nxt: int, flight: int, *, retransmission: bool) -> None:
        """A probe goes out: something new, or the last segment again."""
        self.end = nxt
        self.flight = flight
        self._retransmission = retransmission

    def forget(self) -> None:
        """Ignore what becomes of the probe."""
        self.end = None

    def is_duplicated(self, dsack: tuple[int, int]) -> bool:
        """Whether a D-SACK reports the probe."""
        return self._retransmission and dsack[1] == self.end

    def acknowledged(self, una: int, *, duplicate: bool, is_duplicated: bool) -> bool:
        """Take an ACK (section 7.4.2); returns whether it shows that the probe repaired a loss.

        Args:
            una: Position of SEG.ACK.
            duplicate: Whether it is a duplicate ACK without any SACK blocks.
            is_duplicated: Whether it says that the probe came twice.
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
