"""Initial sequence numbers and timestamp offsets that an attacker cannot guess (RFC 6528)."""

from __future__ import annotations

from hashlib import blake2b

from tunstack.tcp.sequence import MASK


class InitialNumbers:
    """ISN = M + F(local, remote, secret): RFC 9293 section 3.4.1 (MUST-8, MUST-9, SHLD-1).

    M is a clock with a tick of 4 microseconds, so that the ISNs of successive incarnations of a
    connection increase; F is a keyed hash, so that those of other four-tuples reveal nothing.
    """

    __slots__ = ("_isn", "_timestamp")

    def __init__(self, secret: bytes) -> None:
        # Copied for each connection: that takes half the time of a new one.
        self._isn = blake2b(digest_size=4, key=secret, person=b"isn")
        self._timestamp = blake2b(digest_size=4, key=secret, person=b"timestamp")

    def isn(self, four_tuple: bytes, now: float) -> int:
        """Return the initial sequence number of a connection that opens `now` (seconds)."""
        return (int(now * 250_000) + _hash(self._isn, four_tuple)) & MASK

    def timestamp_offset(self, four_tuple: bytes) -> int:
        """Return the offset of the timestamp clock of this connection (RFC 7323 section 7.1)."""
        return _hash(self._timestamp, four_tuple)


def _hash(keyed: blake2b, four_tuple: bytes) -> int:
    copy = keyed.copy()
    copy.update(four_tuple)
    return int.from_bytes(copy.digest(), "big")
