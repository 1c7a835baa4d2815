"""Proportional rate reduction: how much to send while a loss is repaired (RFC 6937)."""

from __future__ import annotations


class ProportionalRateReduction:
    """Sends in proportion to what arrives, so that the window is down to ssthresh at the end.

    Neither half a round trip of silence nor a burst: RFC 6937 section 3, with the slow start
    reduction bound.
    """

    __slots__ = ("_delivered", "_flight", "_out")

    def __init__(self, flight: int) -> None:
        """Begin with `flight` octets outstanding (RecoverFS)."""
        self._delivered = 0
        self._out = 0
        self._flight = max(flight, 1)

    def delivered(self, octets: int, pipe: int, ssthresh: int, mss: int) -> int:
        """`octets` have arrived; returns the window that this ACK allows."""
        self._delivered += octets
        if pipe > ssthresh:
            allowed = -(-self._delivered * ssthresh // self._flight) - self._out
        else:
            limit = max(self._delivered - self._out, octets) + mss
            allowed = min(ssthresh - pipe, limit)
        return pipe + max(allowed, 0)

    def sent(self, octets: int) -> None:
        """`octets` went out."""
        self._out += octets
