"""F-RTO: detect a spurious retransmission timeout from the ACKs after it (RFC 5682 section 3).

The timeout retransmits the first segment. If its ACK advances SND.UNA, the sender sends new data
instead of more retransmissions. If the next ACK then covers data that was marked lost and sent only
once, that data was delayed, not lost, and the timeout was spurious.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.tcp.recovery.sent import Sent


class _Step(Enum):
    """The step of the algorithm."""

    OFF = "off"
    WAIT = "step 2: wait for the ACK of the retransmission"
    SEND_NEW = "step 2 b: send new data"
    DECIDE = "step 3: the next ACK decides"


class ForwardRto:
    """The SACK-enhanced algorithm of RFC 5682 section 3.1, for one timeout."""

    __slots__ = ("_recovery_point", "_step")

    def __init__(self) -> None:
        """Start at step 1: the timer fired outside of recovery."""
        self._step = _Step.WAIT
        self._recovery_point = 0

    @property
    def wants_new_data(self) -> bool:
        """Whether new data goes out before lost data is retransmitted (step 2 b)."""
        return self._step in (_Step.SEND_NEW, _Step.DECIDE)

    def on_new_data_sent(self) -> None:
        """Record that new data went out (step 2 b)."""
        if self._step is _Step.SEND_NEW:
            self._step = _Step.DECIDE

    def on_ack(self, una: int, nxt: int, delivered: list[Sent], *, advanced: bool) -> bool:
        """Process an ACK that delivers data or is a duplicate; returns if the RTO was spurious.

        Args:
            una: Position of SEG.ACK.
            nxt: Position of SND.NXT.
            delivered: The ranges that this ACK or its SACK blocks newly deliver.
            advanced: Whether it advances SND.UNA.
        """
        step = self._step
        if step is _Step.WAIT:
            if advanced:
                self._recovery_point = nxt
                self._step = _Step.SEND_NEW if una < nxt else _Step.OFF
        elif step is not _Step.OFF:
            # If no new data was sent in step 2 b, the ACK may be of a retransmission.
            self._step = _Step.OFF
            return (
                step is _Step.DECIDE
                and any(sent.lost and not sent.retransmitted for sent in delivered)
                and all(sent.end <= self._recovery_point for sent in delivered)
            )
        return False
