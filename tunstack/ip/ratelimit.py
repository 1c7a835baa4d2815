"""How often to answer whoever sends what needs an answer (RFC 1812 section 4.3.2.8, RFC 4443 2.4).

A limit for the whole host would tell an outsider what others get: who can count how many answers
are left knows whether a packet that he sent in another's name was answered (CVE-2016-5696,
CVE-2020-25705). So each peer has a limit of its own, which also is what protects a victim in whose
name somebody else sends. And since names cost nothing to forge, peers share a fixed number of
buckets, by a secret hash.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address

BUCKETS: Final = 256


class PeerRateLimit:
    """Token buckets: each peer may draw `rate` answers a second, and as many at once.

    Args:
        rate: Answers a second.
        secret: What an outsider does not know.
    """

    __slots__ = ("_full_at", "_rate", "_secret")

    def __init__(self, rate: float, secret: bytes) -> None:
        self._rate = rate
        self._secret = secret
        # When each bucket is full again, if nothing is taken: what it lacks, told as time.
        self._full_at = [float("-inf")] * BUCKETS

    def allows(self, peer: Address, now: float) -> bool:
        """Whether to answer `peer` once more, `now` (seconds); if so, it is counted."""
        bucket = blake2b(peer, digest_size=1, key=self._secret, person=b"rate limit").digest()[0]
        full_at = max(self._full_at[bucket], now) + 1.0 / self._rate
        if full_at > now + 1.0 + 1e-9:
            return False
        self._full_at[bucket] = full_at
        return True
