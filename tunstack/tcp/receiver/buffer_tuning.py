"""Receive buffer auto-tuning, by dynamic right-sizing (Linux's tcp_rcv_space_adjust).

The right size is the bandwidth-delay product, which is not known beforehand: a buffer for the
largest would waste memory on all other paths, and a small one would limit the rate.

The receive buffer, and the window with it, begins small, and is kept at twice of what the
application read in the last round trip, so that the sender can go on at this rate while a loss is
repaired. While the rate grows it is four times that, since slow start doubles the rate each round
trip. A round trip is over when the peer echoes a timestamp of ours from after its begin, so it
needs no measurement; without timestamps the RTT of the handshake is used. The size is checked once
per round trip.

The send buffer is twice the congestion window (:attr:`.sender.Sender.bound`). SO_RCVBUF and
SO_SNDBUF fix the sizes.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from tunstack.tcp.clock import timestamp
from tunstack.tcp.sender.rtt import CLOCK_GRANULARITY
from tunstack.tcp.sequence import gt

if TYPE_CHECKING:
    from tunstack.tcp.receiver.receiver import Receiver
    from tunstack.tcp.sender.rtt import RttEstimator

_UNKNOWN_RTT: Final = 0.1
"""Seconds: the RTT that is assumed for a peer without timestamps whose SYN was lost."""


class ReceiveTuning:
    """Auto-tuning of one connection's receive buffer.

    Attributes:
        at: When to call :meth:`adjust` next at the earliest, in seconds.
    """

    __slots__ = ("_mark", "_most", "_most_read", "_read", "at")

    def __init__(self, most: int) -> None:
        """Allow the buffer to grow up to `most` octets."""
        self.at = -inf
        self._most = most
        self._mark: int | None = None
        self._read = 0
        self._most_read = 0

    def pause(self) -> None:
        """Leave the size as it is until :meth:`restart`."""
        self.at = inf

    def restart(self) -> None:
        """Measure a new round trip."""
        self.at = -inf
        self._mark = None

    def adjust(
        self,
        receiver: Receiver,
        rtt: RttEstimator,
        ts_offset: int,
        ts_ecr: int | None,
        now: float,
    ) -> None:
        """Adjust the size if a round trip has ended; call it when data has arrived.

        Args:
            receiver: The receiver whose buffer it is.
            rtt: The connection's RTT estimator.
            ts_offset: The offset of the connection's timestamp clock.
            ts_ecr: The TSecr of its segment; None without timestamps.
            now: Seconds.
        """
        read = receiver.buffer.total - receiver.buffer.size
        if self._mark is not None:
            if ts_ecr is not None and not gt(ts_ecr, self._mark):
                return
            self._grow(receiver, read - self._read)
        self._read = read
        self._mark = timestamp(now, ts_offset)
        least = rtt.min_rtt
        if least is None:
            least = _UNKNOWN_RTT if ts_ecr is None else 0.0
        # No shorter than a tick of the timestamp clock.
        self.at = now + (least if least > CLOCK_GRANULARITY else CLOCK_GRANULARITY)

    def _grow(self, receiver: Receiver, size: int) -> None:
        """Grow the buffer if `size`, the octets read in the last round trip, are a new maximum."""
        if size <= self._most_read or receiver.budget.tight:
            return
        wanted = 4 * size if 2 * size > 3 * self._most_read else 2 * size
        receiver.size = max(receiver.size, min(wanted, self._most))
        self._most_read = size
