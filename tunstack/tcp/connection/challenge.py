"""The rate limit of challenge ACKs, per connection (RFC 5961 section 7).

A limit shared by the whole host leaks whether a guess at another connection was right
(CVE-2016-5696); one for each connection does not.
"""

from __future__ import annotations

from typing import Final

PER_PERIOD: Final = 10
PERIOD: Final = 5.0
"""Seconds; ten in five of them, as RFC 5961 section 7 proposes."""


class ChallengeLimit:
    """Counts challenge ACKs.

    Attributes:
        begin: When the present period began, in seconds.
        count: How many were asked for since; one more than are sent stands for any more.
    """

    __slots__ = ("begin", "count")

    def __init__(self) -> None:
        self.begin = float("-inf")
        self.count = 0

    def allows(self, now: float) -> bool:
        """Whether another one may be sent `now`, in seconds; if so, it is counted."""
        if now - self.begin >= PERIOD:
            self.begin = now
            self.count = 0
        if self.count <= PER_PERIOD:
            self.count += 1
        return self.count <= PER_PERIOD


NEVER: Final = ChallengeLimit()
"""That of a connection that was never challenged: it takes no memory."""
