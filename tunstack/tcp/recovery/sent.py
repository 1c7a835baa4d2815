"""A range of sent sequence numbers and its state: SACKed, lost, retransmitted."""

from __future__ import annotations


class Sent:
    """The sequence numbers [start, end), in one state and sent at one time.

    Attributes:
        start: Position of the first.
        end: Position behind the last.
        time: When they were last sent, in seconds.
        retransmitted: Whether they were sent more than once.
        sacked: Whether the peer has SACKed them.
        lost: Whether they are marked lost, and not retransmitted since.
    """

    __slots__ = ("end", "lost", "retransmitted", "sacked", "start", "time")

    def __init__(self, start: int, end: int, time: float) -> None:
        self.start = start
        self.end = end
        self.time = time
        self.retransmitted = False
        self.sacked = False
        self.lost = False

    def split(self, position: int) -> Sent:
        """Split at `position`; keep what follows it, and return what precedes it."""
        before = Sent(self.start, position, self.time)
        before.retransmitted = self.retransmitted
        before.sacked = self.sacked
        before.lost = self.lost
        self.start = position
        return before

    def is_new(self, now: float) -> bool:
        """Whether they were sent `now`, and nothing happened to them since."""
        return self.time == now and not (self.retransmitted or self.sacked or self.lost)

    def is_like(self, other: Sent) -> bool:
        """Whether both are in the same state and can be merged; SACKed ones whatever their time."""
        if self.sacked or other.sacked:
            return self.sacked and other.sacked
        return (
            self.time == other.time
            and self.retransmitted == other.retransmitted
            and self.lost == other.lost
        )
