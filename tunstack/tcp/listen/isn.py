"""Initial sequence numbers and timestamp offsets that an attacker cannot guess (RFC 6528)."""

from __future__ import annotations

from hashlib import blake2b

from tunstack.tcp.sequence import MASK


class InitialNumbers:
    """ISN = M + F(local, remote, secret): RFC 9293 section 3.4.1 (MUST-8, MUST-9, SHLD-1).

    M is a clock with a tick of 4 microseconds, so that the ISNs of successive incarnations of a
    connection increase; F is a keyed hash, so that those of other four-tuples reveal nothing.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def isn(self, four_tuple: bytes, now: float) -> int:
        """Return the initial sequence number of a connection that opens `now` (seconds)."""
        return (int(now * 250_000) + self._hash(four_tuple, b"isn")) & MASK

    def timestamp_offset(self, four_tuple: bytes) -> int:
        """Return the offset of the timestamp clock of this connection (RFC 7323 section 7.1)."""
        return self._hash(four_tuple, b"timestamp")

    def _hash(self, four_tuple: bytes, purpose: bytes) -> int:
        digest = blake2b(four_tuple, digest_size=4, key=self._secret, person=purpose).digest()
        return int.from_bytes(digest, "big")
