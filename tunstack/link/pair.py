"""A pair of links in memory: packets sent on one are received on the other."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.link.base import LARGEST_FRAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.link.base import Buffer

CAPACITY: Final = 1000
"""Packets that are queued in each direction."""


def memory_pair(mtu: int = 1500, *, offload: bool = False) -> tuple[MemoryLink, MemoryLink]:
    """Create two connected links, for tests and simulations under trio.

    Nothing is lost, delayed or reordered. After one end is closed, packets sent on the other are
    dropped; those sent before can still be received. With `offload` large segments stay whole, as
    between two virtual machines.
    """
    left, right = MemoryLink("memory0", mtu, offload), MemoryLink("memory1", mtu, offload)
    left._far_end, right._far_end = right, left
    return left, right


@final
class MemoryLink:
    """One end of a :func:`memory_pair`; a :class:`~tunstack.link.base.Link`."""

    def __init__(self, name: str, mtu: int, offload: bool = False) -> None:
        self.name = name
        self.mtu = mtu
        self.offload = self.udp_offload = offload
        self._largest = LARGEST_FRAME if offload else mtu
        self._far_end: MemoryLink
        self._queue: deque[Buffer] = deque()
        self._closed = False
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Receive the queued packets, at most `limit`; see :class:`~tunstack.link.base.Link`."""
        self._check_open()
        queue = self._queue
        was_full = len(queue) >= CAPACITY
        packets = [queue.popleft() for _ in range(min(limit, len(queue)))]
        if was_full and packets:
            self._far_end._writers.unpark_all()
        return packets

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Send one packet; False when the far end's queue is full.

        Raises:
            OSError: EBADF when this end is closed; EMSGSIZE when the packet exceeds the MTU: a TUN
                device would accept it, but it is always a bug of the stack.
        """
        self._check_open()
        whole = b"".join(packet)
        if len(whole) > self._largest:
            raise OSError(errno.EMSGSIZE, f"packet of {len(whole)} bytes on an MTU of {self.mtu}")
        far_end = self._far_end
        if far_end._closed:
            return True
        if len(far_end._queue) >= CAPACITY:
            return False
        far_end._queue.append(whole)
        far_end._readers.unpark_all()
        return True

    async def wait_readable(self) -> None:
        """Wait for a packet; raises `trio.ClosedResourceError` when this end is closed."""
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._queue:
            await self._readers.park()
        self._raise_if_closed()

    async def wait_writable(self) -> None:
        """Wait for room in the far end's queue; raises `trio.ClosedResourceError` as above."""
        await trio.lowlevel.checkpoint()
        far_end = self._far_end
        while not self._closed and not far_end._closed and len(far_end._queue) >= CAPACITY:
            await self._writers.park()
        self._raise_if_closed()

    def close(self) -> None:
        """Close this end; idempotent."""
        self._closed = True
        self._queue.clear()
        self._readers.unpark_all()
        self._writers.unpark_all()
        self._far_end._writers.unpark_all()

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, f"the link {self.name} is closed")

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"the link {self.name} is closed")
