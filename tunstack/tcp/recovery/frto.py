"""F-RTO: whether a timeout was spurious, from what is acknowledged after it (RFC 5682 section 3).

The retransmission of the first segment draws an ACK. If that advances, new data follows it, not
more of the old; if the next ACK then tells of old data that was taken for lost and sent only once,
that data was only late, and so was the first segment.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.tcp.recovery.scoreboard import Sent


class _Step(Enum):
    """Where the algorithm stands."""

    OFF = "off"
    WAIT = "step 2: wait for the ACK of what the timeout sent again"
    SEND_NEW = "step 2 b: send new data"
    JUDGE = "step 3: the next ACK decides"


class ForwardRto:
    """One timeout's worth of RFC 5682 section 3.1."""

    __slots__ = ("_recovery_point", "_step")

    def __init__(self) -> None:
        """The timer fired, and nothing was being recovered before."""
        self._step = _Step.WAIT
        self._recovery_point = 0

    @property
    def wants_new_data(self) -> bool:
        """Whether new data is to go before what is taken for lost."""
        return self._step in (_Step.SEND_NEW, _Step.JUDGE)

    def sent_new(self) -> None:
        """New data went out."""
        if self._step is _Step.SEND_NEW:
            self._step = _Step.JUDGE

    def heard(self, una: int, nxt: int, delivered: list[Sent], *, advanced: bool) -> bool:
        """Take an ACK that advances, or tells of data; returns whether the timeout was spurious.

        Args:
            una: Position of SEG.ACK.
            nxt: Position of SND.NXT.
            delivered: What this ACK tells of for the first time.
            advanced: Whether SND.UNA advances.
        """
        step = self._step
        if step is _Step.WAIT:
            if advanced:
                self._recovery_point = nxt
                self._step = _Step.SEND_NEW if una < nxt else _Step.OFF
        elif step is not _Step.OFF:
            # In step 2 b there was nothing new to send: a retransmission may be what is answered.
            self._step = _Step.OFF
            return (
                step is _Step.JUDGE
                and any(sent.lost and not sent.retransmitted for sent in delivered)
                and all(sent.end <= self._recovery_point for sent in delivered)
            )
        return False
