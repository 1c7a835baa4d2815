"""The memory that the connections of a host share, and how short of it they are."""

from __future__ import annotations

from typing import Final

SMALL_BUFFER: Final = 16384
"""Octets that a connection may hold each way when memory is short."""
SMALLEST_BUFFER: Final = 4096
"""The same when there is none left: without any, nothing would go on. Linux's least as well."""


class Budget:
    """An account of octets, kept by whoever owns the connections; they look at the two flags.

    Attributes:
        limit: What may be held, in octets; it is exceeded by one batch of packets at the most.
        ease: What relief aims at when it is full, in octets: where it begins to be tight.
        used: What is.
        tight: More than three quarters are, and since then not less than half: nothing is to grow.
        full: All of it is: nothing is to be taken that would have to wait.
    """

    __slots__ = ("ease", "full", "limit", "tight", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.ease = limit - (limit >> 2)
        self.used = 0
        self.tight = False
        self.full = False

    def add(self, octets: int) -> None:
        """Account for `octets` more, or less when negative."""
        self.used = used = self.used + octets
        self.full = used >= self.limit
        self.tight = used > self.limit >> 1 if self.tight else used >= self.ease

    def share(self, size: int) -> int:
        """How much of a buffer of `size` octets may be filled now."""
        if not self.tight:
            return size
        return min(size, SMALLEST_BUFFER if self.full else SMALL_BUFFER)


UNLIMITED: Final = Budget(1 << 62)
"""For connections that stand alone."""
