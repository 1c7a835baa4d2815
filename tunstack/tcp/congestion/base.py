"""What the sender asks of a congestion control."""

from __future__ import annotations

from typing import Protocol


class CongestionControl(Protocol):
    """Decides on the congestion window; the sender tells it what happens. All sizes are in octets.

    Attributes:
        cwnd: The congestion window.
        ssthresh: The slow start threshold.
    """

    cwnd: int
    ssthresh: int

    def set_mss(self, mss: int, initial_segments: int) -> None:
        """Begin, with the MSS that the handshake found and an initial window (RFC 6928)."""
        ...

    def acknowledged(self, octets: int, now: float) -> None:
        """`octets` were newly acknowledged, outside loss recovery, while cwnd was the limit."""
        ...

    def loss(self, flight_size: int, now: float) -> None:
        """A loss was detected: set `ssthresh` (RFC 5681 equation 4). Once per window of data."""
        ...

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """The retransmission timer fired: set `cwnd`, and `ssthresh` unless `repeated`.

        It is `repeated` when the timer has sent the same segment again before (RFC 5681 3.1).
        """
        ...

    def idle(self) -> None:
        """Nothing was sent for longer than the RTO: restart (RFC 5681 section 4.1)."""
        ...
