"""What the sender asks of a congestion control."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Acknowledgement(NamedTuple):
    """What a congestion control is told of an ACK; positions count octets from the start.

    Attributes:
        octets: Newly acknowledged.
        now: Seconds.
        rtt: The round-trip time that this ACK measures, in seconds; None if it measures none.
        una: Position of SND.UNA.
        nxt: Position of SND.NXT.
    """

    octets: int
    now: float
    rtt: float | None
    una: int
    nxt: int


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

    def change_mss(self, mss: int) -> None:
        """Segments carry `mss` octets from now on: the path is narrower, or wider, than it seemed.

        That is no congestion, and `cwnd` stays what it is; but in the initial slow start it was
        chosen as a number of segments, and is to remain that number when they become smaller (RFC
        5681 section 3.1).
        """
        ...

    def acknowledged(self, ack: Acknowledgement) -> None:
        """Something was newly acknowledged, outside fast recovery, while cwnd was the limit."""
        ...

    def loss(self, flight_size: int, now: float) -> None:
        """A loss was detected: set `ssthresh` (RFC 5681 equation 4). Once per window of data."""
        ...

    def marked(self, flight_size: int, now: float) -> None:
        """The network has marked what it might have dropped (RFC 3168): set `ssthresh`.

        Once per window of data, as for :meth:`loss`, and not beside it.
        """
        ...

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        """The retransmission timer fired: set `cwnd`, and `ssthresh` unless `repeated`.

        It is `repeated` when the timer has sent the same segment again before (RFC 5681 3.1).
        """
        ...

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """The latest loss was none: `cwnd` and `ssthresh` are what they were before it."""
        ...

    def idle(self) -> None:
        """Nothing was sent for longer than the RTO: restart (RFC 5681 section 4.1)."""
        ...
