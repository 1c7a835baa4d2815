"""A port of a switch in memory: a link whose packets arrive at given times."""

from __future__ import annotations

import errno
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunstack.link.base import Buffer

CAPACITY: Final = 1 << 16
"""Packets on their way to a port, at most."""


@final
class MemoryPort:
    """A :class:`~tunstack.link.base.Link` to a switch.

    It has no task: :meth:`wait_readable` sleeps until the next packet arrives, by trio's clock.

    Args:
        name: Its name.
        mtu: The largest packet, in octets.
        carry: Called with each packet that is sent; it may call :meth:`deliver` of other ports.

    Attributes:
        closed: Whether it is closed.
    """

    def __init__(self, name: str, mtu: int, carry: Callable[[bytes], None]) -> None:
        self.name = name
        self.mtu = mtu
        self.offload = False
        self._carry = carry
        self._arriving: list[tuple[float, int, str, Buffer]] = []
        self._order = 0
        self._wait_scope = trio.CancelScope()
        self.closed = False

    def deliver(self, packet: Buffer, at: float, source: str = "") -> bool:
        """Let a packet arrive at the time `at`; of the same time, in order of these calls.

        Args:
            packet: The packet, which is not changed afterwards.
            at: By trio's clock, in seconds; what is past is now.
            source: Where it comes from, for :meth:`withdraw`.

        Returns:
            False if it is dropped: `CAPACITY` are on their way, or the port is closed.
        """
        if self.closed or len(self._arriving) >= CAPACITY:
            return False
        self._order += 1
        heappush(self._arriving, (at, self._order, source, packet))
        self._wait_scope.deadline = min(self._wait_scope.deadline, at)
        return True

    def withdraw(self, source: str | None = None) -> list[tuple[float, Buffer]]:
        """Take back the packets from `source`, or all, that have not arrived; with their times."""
        now = trio.current_time()
        taken = sorted(
            each for each in self._arriving if each[0] > now and source in (None, each[2])
        )
        gone = {order for _, order, _, _ in taken}
        self._arriving = [each for each in self._arriving if each[1] not in gone]
        heapify(self._arriving)
        return [(at, packet) for at, _, _, packet in taken]

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Receive the packets that have arrived, at most `limit`; see `Link`."""
        self._check_open()
        arriving, now = self._arriving, trio.current_time()
        packets: list[Buffer] = []
        while arriving and len(packets) < limit and arriving[0][0] <= now:
            packets.append(heappop(arriving)[3])
        return packets

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Send one packet; always True: a switch drops what it has no room for.

        Raises:
            OSError: EBADF when it is closed; EMSGSIZE when the packet exceeds the MTU.
        """
        self._check_open()
        whole = b"".join(packet)
        if len(whole) > self.mtu:
            raise OSError(errno.EMSGSIZE, f"packet of {len(whole)} bytes on an MTU of {self.mtu}")
        self._carry(whole)
        return True

    async def wait_readable(self) -> None:
        """Wait for a packet; raises `trio.ClosedResourceError` when the port is closed."""
        await trio.lowlevel.checkpoint()
        while not self.closed:
            due = self._arriving[0][0] if self._arriving else float("inf")
            if due <= trio.current_time():
                return
            self._wait_scope = trio.CancelScope(deadline=due)
            with self._wait_scope:
                await trio.sleep_forever()
        raise trio.ClosedResourceError(f"the link {self.name} is closed")

    async def wait_writable(self) -> None:
        """Return at once, as sending never blocks; raises as :meth:`wait_readable` does."""
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError(f"the link {self.name} is closed")

    def close(self) -> None:
        """Close the port; idempotent."""
        self.closed = True
        self._arriving.clear()
        self._wait_scope.cancel()

    def _check_open(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, f"the link {self.name} is closed")
