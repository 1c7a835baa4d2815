"""Fast Open cookies: those that a server gives out, and those that a client keeps (RFC 7413 4.1).

A cookie says that its bearer can receive at the address from which it sends: a SYN that brings it
is not forged, and its data may be given to an application. It is a keyed hash of that address, so
that a server remembers nothing; a client remembers one for each server, and which of them are
better left in peace.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, TypeAlias

PERIOD: Final = 86400.0
"""Seconds after which the key changes. A cookie is good in its own period and in the next."""

COOKIE_SIZE: Final = 8
"""Octets of a cookie of ours, as of Linux's; others have 4 to 16."""

CACHE_SIZE: Final = 1024
"""How many servers a client remembers; the one not heard of for the longest time goes first."""

PAUSE: Final = 300.0
"""Seconds without Fast Open after it failed once, twice as many for each time in a row after that.

Longer than it takes to give up a SYN: after an attempt that came to nothing, the next is plain.
"""
_MOST_DOUBLINGS: Final = 8

_PURPOSE: Final = b"Fast Open"

Path: TypeAlias = tuple[bytes, bytes]
"""The addresses of a client and of a server."""


class CookieMint:
    """Makes the cookies of a server, and knows them again; it holds a secret, and nothing else."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, path: Path, now: float) -> bytes:
        """The cookie that a client is to have now (section 4.1.2)."""
        return self._hash(path, int(now // PERIOD))

    def knows(self, cookie: bytes, path: Path, now: float) -> bool:
        """Whether this is a cookie of ours for that client, and not too old."""
        period = int(now // PERIOD)
        return any(compare_digest(cookie, self._hash(path, at)) for at in (period, period - 1))

    def _hash(self, path: Path, period: int) -> bytes:
        what = b"".join(path) + period.to_bytes(8, "big", signed=True)
        return blake2b(what, digest_size=COOKIE_SIZE, key=self._secret, person=_PURPOSE).digest()


@dataclass(slots=True)
class _Server:
    """What a client knows of a server."""

    cookie: bytes = b""
    mss: int = 0
    failures: int = 0
    paused_until: float = float("-inf")


class CookieCache:
    """What a client remembers of servers (section 4.1.3): cookies, and where they did harm."""

    __slots__ = ("_servers",)

    def __init__(self) -> None:
        self._servers: dict[Path, _Server] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def recall(self, path: Path, now: float) -> tuple[bytes | None, int]:
        """The cookie for a SYN, and the peer's MSS, 0 if it told none.

        The cookie is ``b""`` where one is to be asked for, and None where the SYN had better be
        plain (section 4.1.3.1).
        """
        server = self._servers.get(path)
        if server is None:
            return b"", 0
        return (None if now < server.paused_until else server.cookie), server.mss

    def learn(self, path: Path, cookie: bytes, mss: int) -> None:
        """The server gave a cookie, and announced its MSS."""
        self._keep(path, _Server(cookie, mss))

    def worked(self, path: Path, mss: int) -> None:
        """The server took data in a SYN, so that nothing stands in the way."""
        server = self._servers.get(path)
        if server is not None:
            self.learn(path, server.cookie, mss)

    def failed(self, path: Path, now: float) -> None:
        """A SYN with the option, or with data, came to nothing: leave both out for a while."""
        server = self._servers.get(path) or _Server()
        server.paused_until = now + PAUSE * 2 ** min(server.failures, _MOST_DOUBLINGS)
        server.failures += 1
        self._keep(path, server)

    def _keep(self, path: Path, server: _Server) -> None:
        self._servers.pop(path, None)
        self._servers[path] = server
        if len(self._servers) > CACHE_SIZE:
            del self._servers[next(iter(self._servers))]
