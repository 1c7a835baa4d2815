"""The receive queue of a UDP socket, and its memory as Linux accounts it (SO_RCVBUF)."""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

Received: TypeAlias = tuple[bytes, bytes, int, bytes, int, int, int]
"""A received datagram: its data, the source's address and port, the destination's address, TTL,
TOS, and `gso_size`: octets of each datagram if its data is that of several (UDP_GRO), else 0."""

OVERHEAD: Final = 832
"""Octets charged for a datagram besides its data: the least that Linux charges (truesize).

Linux charges the rest of a larger block as well: 1,280 octets for 400 of data, 2,304 for 1,000.
"""


class ReceiveQueue:
    """Received datagrams, in the order of arrival.

    Attributes:
        items: The datagrams.
        used: Octets that they are charged for.
    """

    __slots__ = ("items", "used")

    def __init__(self) -> None:
        self.items: deque[Received] = deque()
        self.used = 0

    def __len__(self) -> int:
        return len(self.items)

    def add(self, received: Received, size: int) -> int:
        """Append a datagram unless more than `size` octets are in use; returns its charge, or 0.

        As on Linux, the last one may exceed the size, so that one of any size fits an empty queue.
        """
        if self.used > size:
            return 0
        charge = OVERHEAD + len(received[0])
        self.used += charge
        self.items.append(received)
        return charge

    def take(self) -> Received:
        """Remove and return the first datagram; there must be one."""
        received = self.items.popleft()
        self.used -= OVERHEAD + len(received[0])
        return received

    def clear(self) -> int:
        """Drop all datagrams; returns the octets that they were charged for."""
        self.items.clear()
        used, self.used = self.used, 0
        return used
