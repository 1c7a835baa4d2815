"""Buffers that grow with what a connection does, while nobody has set their size.

What a path carries at once is its rate times its round-trip time, which nobody knows beforehand: a
buffer for the longest and fattest would be a waste for all others, and a small one a brake.

The receive buffer, and the window with it, begins small, and is kept at twice of what the
application has read in a round trip: that is enough for the sender to go on at this rate while a
loss is repaired. It is twice that while the rate grows, for that is what slow start does to it in
the next one. This is known as dynamic right-sizing. A round trip is over when the peer
echoes a timestamp of ours from after its begin, so nothing has to be measured; without timestamps
the round-trip time that the handshake found has to do. Nothing is looked at but once in a round
trip.

The send buffer is as simple as twice the congestion window (:attr:`.sender.Sender.bound`).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from tunstack.tcp.sender.rtt import CLOCK_GRANULARITY
from tunstack.tcp.sequence import gt

if TYPE_CHECKING:
    from tunstack.tcp.connection.connection import Connection

FIRST_SIZE: Final = 128 << 10
"""Octets that a buffer may hold before anything is known."""
_UNKNOWN_RTT: Final = 0.1
"""Seconds, for a peer without timestamps whose SYN was lost."""


def sizes(fixed: int | None, most: int) -> tuple[int, int]:
    """The first and the largest size of a buffer that is `fixed`, or grows up to `most`."""
    return (min(FIRST_SIZE, most), most) if fixed is None else (fixed, fixed)


class ReceiveTuning:
    """The tuning of one connection's receive buffer.

    Attributes:
        at: When to :meth:`look` again at the earliest, in seconds.
    """

    __slots__ = ("_mark", "_most", "_most_read", "_read", "at")

    def __init__(self, most: int) -> None:
        """Never make it larger than `most` octets."""
        self.at = -inf
        self._most = most
        self._mark: int | None = None
        self._read = 0
        self._most_read = 0

    def look(self, connection: Connection, ts_ecr: int | None, now: float) -> None:
        """Data has arrived: see if a round trip is over, and what it brought.

        `ts_ecr` is what it echoes; None without a timestamp.
        """
        receiver = connection.receiver
        read = receiver.buffer.total - len(receiver.buffer)
        if self._mark is not None:
            if ts_ecr is not None and not gt(ts_ecr, self._mark):
                return
            self._fit(connection, read - self._read)
        self._read = read
        self._mark = connection.timestamp(now)
        rtt = connection.sender.rtt.min_rtt
        if rtt is None:
            rtt = _UNKNOWN_RTT if ts_ecr is None else 0.0
        # The clock of timestamps ticks no faster than that.
        self.at = now + (rtt if rtt > CLOCK_GRANULARITY else CLOCK_GRANULARITY)

    def _fit(self, connection: Connection, size: int) -> None:
        """The application has read `size` octets in a round trip."""
        receiver = connection.receiver
        if size <= self._most_read or receiver.budget.tight:
            return
        wanted = 4 * size if 2 * size > 3 * self._most_read else 2 * size
        receiver.size = max(receiver.size, min(wanted, self._most))
        self._most_read = size
