"""Proportional rate reduction: cwnd during fast recovery (RFC 9937, RFC 6937)."""

from __future__ import annotations


class ProportionalRateReduction:
    """Sends in proportion to what is delivered, so that cwnd is ssthresh when recovery ends.

    It avoids both a silence of half a round trip and a burst: RFC 9937 section 6.2.
    """

    __slots__ = ("_delivered", "_out", "_recover_fs")

    def __init__(self, recover_fs: int) -> None:
        """Enter recovery with `recover_fs` octets of flight (RecoverFS)."""
        self._delivered = 0  # prr_delivered, octets.
        self._out = 0  # prr_out, octets.
        self._recover_fs = max(recover_fs, 1)

    def on_ack(self, octets: int, pipe: int, ssthresh: int, extra: int) -> int:
        """Return the new cwnd after an ACK that delivers `octets` (DeliveredData).

        While pipe is below ssthresh, cwnd grows as in slow start, by `extra` octets beyond what is
        delivered: one MSS where SND.UNA advances and no further loss is found (PRR-SSRB), else 0
        (PRR-CRB).
        """
        self._delivered += octets
        if pipe > ssthresh:
            allowed = -(-self._delivered * ssthresh // self._recover_fs) - self._out
        else:
            limit = max(self._delivered - self._out, octets) + extra
            allowed = min(ssthresh - pipe, limit)
        return pipe + max(allowed, 0)

    def on_sent(self, octets: int) -> None:
        """Count `octets` sent during recovery, new or retransmitted (prr_out)."""
        self._out += octets
