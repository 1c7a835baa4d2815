"""Proportional rate reduction: how much to send while a loss is repaired (RFC 9937, RFC 6937)."""

from __future__ import annotations


class ProportionalRateReduction:
    """Sends in proportion to what arrives, so that the window is down to ssthresh at the end.

    Neither half a round trip of silence nor a burst: RFC 9937 section 6.2.
    """

    __slots__ = ("_delivered", "_flight", "_out")

    def __init__(self, flight: int) -> None:
        """Begin with `flight` octets to arrive until the recovery ends (RecoverFS)."""
        self._delivered = 0
        self._out = 0
        self._flight = max(flight, 1)

    def delivered(self, octets: int, pipe: int, ssthresh: int, more: int) -> int:
        """`octets` have arrived; returns the window that this ACK allows.

        Below ssthresh the window grows as in slow start, by `more` octets beyond what arrives: an
        MSS if all goes well, that is if SND.UNA advances and no more is lost; else nothing.
        """
        self._delivered += octets
        if pipe > ssthresh:
            allowed = -(-self._delivered * ssthresh // self._flight) - self._out
        else:
            limit = max(self._delivered - self._out, octets) + more
            allowed = min(ssthresh - pipe, limit)
        return pipe + max(allowed, 0)

    def sent(self, octets: int) -> None:
        """`octets` went out."""
        self._out += octets
