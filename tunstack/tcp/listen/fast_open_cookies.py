"""Fast Open cookies: the server's and the client's cookie cache (RFC 7413 section 4.1).

A cookie proves that the client receives packets at its source address: a SYN with a valid cookie is
not spoofed, and its data may be passed to the application. It is a keyed hash of the addresses, so
the server keeps no state; the client caches one per server, and for which servers Fast Open failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, TypeAlias

PERIOD: Final = 86400.0
"""Seconds after which the key changes. A cookie is valid in its own period and in the next."""

COOKIE_SIZE: Final = 8
"""Octets of our cookies, as of Linux's; 4 to 16 are valid."""

CACHE_SIZE: Final = 1024
"""Servers in the client's cache; beyond that the least recently updated is evicted."""

BACKOFF: Final = 300.0
"""Seconds for which Fast Open is disabled for a server after a failure; each further doubles it.

It is longer than a SYN is retransmitted, so the attempt after a failed one has a plain SYN.
"""
_MAX_DOUBLINGS: Final = 8

_PURPOSE: Final = b"Fast Open"

Path: TypeAlias = tuple[bytes, bytes]
"""The addresses of a client and of a server."""


class ServerCookies:
    """Makes and checks the cookies of a server; its only state is a secret (section 4.1.2)."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, path: Path, now: float) -> bytes:
        """Return the current cookie of a client (GetCookie)."""
        return self._hash(path, int(now // PERIOD))

    def is_valid(self, cookie: bytes, path: Path, now: float) -> bool:
        """Whether `cookie` is a cookie of this client, of this period or the one before."""
        period = int(now // PERIOD)
        return any(compare_digest(cookie, self._hash(path, at)) for at in (period, period - 1))

    def _hash(self, path: Path, period: int) -> bytes:
        what = b"".join(path) + period.to_bytes(8, "big", signed=True)
        return blake2b(what, digest_size=COOKIE_SIZE, key=self._secret, person=_PURPOSE).digest()


@dataclass(slots=True)
class _Server:
    """A cache entry: the cookie and MSS of a server, and the failures of Fast Open in a row."""

    cookie: bytes = b""
    mss: int = 0
    failures: int = 0
    disabled_until: float = float("-inf")


class CookieCache:
    """The client's cache: cookie, MSS and failures of each server (section 4.1.3)."""

    __slots__ = ("_servers",)

    def __init__(self) -> None:
        self._servers: dict[Path, _Server] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def lookup(self, path: Path, now: float) -> tuple[bytes | None, int]:
        """Return the cookie for a SYN, and the server's MSS, 0 if unknown.

        The cookie is ``b""`` if the SYN should request one, and None if Fast Open is disabled for
        the server (section 4.1.3.1).
        """
        server = self._servers.get(path)
        if server is None:
            return b"", 0
        return (None if now < server.disabled_until else server.cookie), server.mss

    def store(self, path: Path, cookie: bytes, mss: int) -> None:
        """Store the cookie and the MSS of a SYN,ACK; failures are cleared."""
        self._put(path, _Server(cookie, mss))

    def on_success(self, path: Path, mss: int) -> None:
        """Clear the failures: the server accepted data in a SYN."""
        server = self._servers.get(path)
        if server is not None:
            self.store(path, server.cookie, mss)

    def on_failure(self, path: Path, now: float) -> None:
        """Disable Fast Open for the server, with exponential back-off (section 4.1.3.1)."""
        server = self._servers.get(path) or _Server()
        server.disabled_until = now + BACKOFF * 2 ** min(server.failures, _MAX_DOUBLINGS)
        server.failures += 1
        self._put(path, server)

    def _put(self, path: Path, server: _Server) -> None:
        self._servers.pop(path, None)
        self._servers[path] = server
        if len(self._servers) > CACHE_SIZE:
            del self._servers[next(iter(self._servers))]
