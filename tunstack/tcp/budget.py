"""The memory that the connections of a host share, with two pressure levels (Linux's tcp_mem)."""

from __future__ import annotations

from typing import Final

SMALL_BUFFER: Final = 16384
"""Octets per direction of a connection under memory pressure."""
SMALLEST_BUFFER: Final = 4096
"""Octets per direction when memory is exhausted, so that data still flows; as Linux's minimum."""


class Budget:
    """An account of octets; the owner of the connections updates it, connections read the flags.

    Attributes:
        limit: Octets that may be held; exceeded by one batch of packets at most.
        used: Octets held.
        ease: Octets to reduce to when full: three quarters, where pressure begins.
        tight: Memory pressure: from three quarters of the limit until below half. Nothing grows.
        full: The limit is reached: data that would have to wait is dropped.
    """

    __slots__ = ("ease", "full", "limit", "tight", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.ease = limit - (limit >> 2)
        self.used = 0
        self.tight = False
        self.full = False

    def add(self, octets: int) -> None:
        """Add `octets` to the account; they may be negative."""
        self.used = used = self.used + octets
        if self.tight or used >= self.ease:
            self.full = used >= self.limit
            self.tight = used > self.limit >> 1 if self.tight else used >= self.ease

    def share(self, size: int) -> int:
        """Return how much of a buffer of `size` octets may be filled now."""
        if not self.tight:
            return size
        return min(size, SMALLEST_BUFFER if self.full else SMALL_BUFFER)


UNLIMITED: Final[Budget] = Budget(1 << 62)
"""For connections without a host."""
