"""Rate limits for ICMP errors and resets (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4).

A limit for the whole host is a side channel: an attacker who counts the remaining answers learns
whether a packet with a spoofed source was answered (CVE-2016-5696, CVE-2020-25705). So the limit is
per peer, which also protects the owner of a spoofed address. Since addresses are free to spoof,
peers share a fixed number of buckets, by a keyed hash. The host's limit, which is higher, takes a
random number of tokens for an answer, so that they cannot be counted; Linux does the same.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address
    from tunstack.ip.demux import RandomSource

BUCKETS: Final = 4096
"""Number of token buckets."""
_PREFIX: Final = 8
"""Octets of an address that tell a peer: all of an IPv4 address, and an IPv6 /64."""
_PACES: Final[dict[int, float]] = {4: 1.0, 16: 10.0}
"""Errors a second, by octets of an address."""
_BURST: Final = 6.0


class PeerRateLimit:
    """Token buckets: `rate` answers a second for each peer, and a burst of some at once.

    Args:
        rate: Answers a second.
        secret: The key of the hash.
        burst: Answers at once; by default `rate` of them.
    """

    __slots__ = ("_full_at", "_rate", "_seconds", "_secret")

    def __init__(self, rate: float, secret: bytes, burst: float | None = None) -> None:
        self._rate = rate
        self._secret = secret
        self._seconds = 1.0 if burst is None else burst / rate  # Those that a burst takes.
        # When each bucket will be full again, in seconds: its missing tokens as time.
        self._full_at = [float("-inf")] * BUCKETS

    def allows(self, peer: Address, now: float) -> bool:
        """Take a token for an answer to `peer` at `now` (seconds); False if there is none."""
        digest = blake2b(
            peer[:_PREFIX], digest_size=2, key=self._secret, person=b"rate limit"
        ).digest()
        bucket = int.from_bytes(digest, "big") % BUCKETS
        full_at = max(self._full_at[bucket], now) + 1.0 / self._rate
        if full_at > now + self._seconds + 1e-9:
            return False
        self._full_at[bucket] = full_at
        return True


class ErrorRateLimit:
    """The limit of ICMP errors for each peer, by family.

    Args:
        rate: Errors a second, and at once; None for Linux's: of IPv4 one a second (icmp_ratelimit),
            of IPv6 ten (icmp.ratelimit), six at once (XRLIM_BURST_FACTOR).
        secret: The key of the hash.
    """

    __slots__ = ("_limits",)

    def __init__(self, rate: float | None, secret: bytes) -> None:
        if rate is None:
            self._limits = {
                size: PeerRateLimit(pace, secret, _BURST) for size, pace in _PACES.items()
            }
        else:
            self._limits = dict.fromkeys(_PACES, PeerRateLimit(rate, secret))

    def allows(self, peer: Address, now: float) -> bool:
        """Take a token for an error to `peer` at `now` (seconds); False if there is none."""
        return self._limits[len(peer)].allows(peer, now)


class HostRateLimit:
    """One token bucket: `rate` answers a second on average, with a burst of as many.

    Args:
        rate: Answers a second.
        rng: Chooses how many tokens an answer takes: none, one or two.
    """

    __slots__ = ("_full_at", "_rate", "_rng")

    def __init__(self, rate: float, rng: RandomSource) -> None:
        self._rate = rate
        self._rng = rng
        self._full_at = float("-inf")

    def allows(self, now: float) -> bool:
        """Take tokens for an answer at `now` (seconds); False if there is none."""
        full_at = max(self._full_at, now)
        if full_at + 1.0 / self._rate > now + 1.0 + 1e-9:
            return False
        self._full_at = full_at + self._rng.randrange(3) / self._rate
        return True
