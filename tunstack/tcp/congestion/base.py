"""The interface between the sender and a congestion control (Linux's tcp_congestion_ops)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol


class Acknowledgement(NamedTuple):
    """An ACK, as a congestion control sees it; positions count octets from the ISS.

    Attributes:
        octets: Octets newly acknowledged.
        now: Seconds.
        rtt: The RTT sample of this ACK, in seconds, or None.
        una: Position of SND.UNA.
        nxt: Position of SND.NXT.
    """

    octets: int
    now: float
    rtt: float | None
    una: int
    nxt: int


@lru_cache(maxsize=256)
def initial_window(mss: int, segments: int) -> int:
    """Return the initial window of RFC 6928 in octets, of so many segments at most."""
    return min(segments * mss, max(2 * mss, segments * 1460))


class CongestionControl(Protocol):
    """Computes cwnd and ssthresh from the events that the sender reports. Sizes are in octets.

    Attributes:
        cwnd: The congestion window.
        ssthresh: The slow start threshold.
    """

    cwnd: int
    ssthresh: int

    def set_mss(self, mss: int, initial_segments: int) -> None:
        """Set the MSS after the handshake, and cwnd to the initial window (RFC 6928)."""
        ...

    def change_mss(self, mss: int) -> None:
        """Change the MSS, as the path MTU has changed.

        This is not congestion: `cwnd` stays the same in octets. But in the initial slow start,
        where it was set as a number of segments, it stays the same number of segments when they
        become smaller (RFC 5681 section 3.1).
        """
        ...

    def acknowledged(self, ack: Acknowledgement) -> None:
        """Increase `cwnd` for an ACK of new data, outside recovery, while cwnd is the limit."""
        ...

    def loss(self, flight_size: int, now: float) -> None:
        """Set `ssthresh` for a loss (RFC 5681 equation 4); called once per window of data."""
        ...

    def marked(self, flight_size: int, now: float) -> None:
        """Set `ssthresh` for an ECN mark (RFC 3168, RFC 8511).

        Called once per window of data, and not beside :meth:`loss`.
        """
        ...

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """Set `cwnd` for a retransmission timeout, and `ssthresh` unless `repeated`.

        It is `repeated` if the timer has retransmitted the same segment before (RFC 5681 3.1).
        """
        ...

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """Restore `cwnd` and `ssthresh` from before the last reduction, which was spurious."""
        ...

    def idle(self) -> None:
        """Restart after an idle period longer than the RTO (RFC 5681 section 4.1)."""
        ...
