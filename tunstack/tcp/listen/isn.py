"""Initial sequence numbers and timestamp offsets that tell nothing to an outsider (RFC 6528)."""

from __future__ import annotations

from hashlib import blake2b

from tunstack.tcp.sequence import MASK


class InitialNumbers:
    """ISN = M + F(local, remote, secret): RFC 9293 section 3.4.1 (MUST-8, MUST-9, SHLD-1).

    M ticks every 4 microseconds, so that the numbers of one four-tuple rise from one incarnation of
    a connection to the next; F, a keyed hash, sets every four-tuple apart from the others.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def isn(self, four_tuple: bytes, now: float) -> int:
        """The initial sequence number for a connection that opens `now` (seconds)."""
        return (int(now * 250_000) + self._hash(four_tuple, b"isn")) & MASK

    def timestamp_offset(self, four_tuple: bytes) -> int:
        """What to add to the clock in the timestamps of this connection (RFC 7323 section 7.1)."""
        return self._hash(four_tuple, b"timestamp")

    def _hash(self, four_tuple: bytes, purpose: bytes) -> int:
        digest = blake2b(four_tuple, digest_size=4, key=self._secret, person=purpose).digest()
        return int.from_bytes(digest, "big")


def timestamp(now: float, offset: int) -> int:
    """TSval: a clock of milliseconds, offset for each connection (RFC 7323 section 5.4)."""
    return (int(now * 1000) + offset) & MASK
