"""A receive buffer that grows with what the application reads in a round trip.

What a path carries at once is its rate times its round-trip time, which nobody knows beforehand: a
buffer for the longest and fattest would be a waste for all others, and a small one a brake. So the
window begins small, and is kept at twice of what the application has read in a round trip: that is
enough for the sender to go on at this rate while a loss is repaired. It doubles that while the rate
grows, for that is what slow start does to it in the next one.

This is dynamic right-sizing, as Linux does it. A round trip is over when the peer echoes a timestamp
of ours from after its begin, so nothing has to be measured; without timestamps the round-trip time
that the handshake found has to do. Nothing is looked at but once in a round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .sequence import gt

if TYPE_CHECKING:
    from .connection import Connection
    from .segment import Segment

_UNKNOWN_RTT: Final = 0.1
"""Seconds, for a peer without timestamps whose SYN was lost."""


class ReceiveTuning:
    """The tuning of one connection's receive buffer.

    Attributes:
        at: When to :meth:`look` again at the earliest, in seconds.
    """

    __slots__ = ("_before", "_mark", "_most", "_read", "at")

    def __init__(self, most: int) -> None:
        """Never make it larger than `most` octets."""
        self.at = float("-inf")
        self._most = most
        self._mark: int | None = None
        self._read = 0
        self._before = 0

    def look(self, connection: Connection, segment: Segment, now: float) -> None:
        """`segment` has arrived with data: see if a round trip is over, and what it brought."""
        receiver = connection.receiver
        read = receiver.buffer.total - len(receiver.buffer)
        if self._mark is not None:
            if connection.timestamps_ok and not gt(segment.ts_ecr, self._mark):
                return
            size = read - self._read
            wanted = 4 * size if 2 * size > 3 * self._before else 2 * size
            receiver.size = max(receiver.size, min(wanted, self._most))
            self._before = size
        self._read = read
        self._mark = connection.timestamp(now)
        rtt = connection.sender.rtt.min_rtt
        if rtt is None:
            rtt = 0.0 if connection.timestamps_ok else _UNKNOWN_RTT
        self.at = now + rtt
