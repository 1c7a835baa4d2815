"""A link with an impaired path behind it."""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.path.by_address import AddressedPath
from tunstack.path.impair import Impairments, PacketPath
from tunstack.wire import gso
from tunstack.wire.virtio import NO_OFFLOAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.link.base import Buffer, Link
    from tunstack.path.by_address import ByNetwork

_RETRY_DELAY: Final = 0.001
"""Seconds until a packet is sent again that the link beneath could not accept."""
_BATCH: Final = 1024
"""Packets received from the link at a time."""

TIMER_SLACK: Final = 0.001
"""Seconds by which packets may be delivered early under trio's own clock.

trio sleeps by whole milliseconds and wakes up 1 ms late on average, which made a round trip of
66 ms take 68. A virtual clock is exact.
"""


def is_system_clock(clock: trio.abc.Clock) -> bool:
    """Whether it is trio's own clock, and no virtual one."""
    return type(clock).__name__ == "SystemClock"


@final
class ImpairedLink:
    """A link with impairments in both directions; itself a :class:`~tunstack.link.base.Link`.

    It has no task of its own. :meth:`wait_readable`, in which a host always waits, sleeps until the
    next packet of either direction is due, and delivers all that are; so do the other calls. Time
    is trio's clock, which may be a virtual one. trio's own clock has a resolution of a millisecond,
    so that packets are delivered up to one early or late.

    Closing the link delivers the outgoing packets at once, and drops the incoming ones.

    Args:
        link: The link beneath; closed with this one.
        outgoing: Impairments of packets that are sent.
        incoming: Impairments of packets that are received.
        rng: The only source of randomness; unpredictable if None.
        networks: Impairments of packets from and to addresses in these networks, in place of the
            others; the longest prefix counts.

    Attributes:
        name: The link's.
        mtu: The link's.
        offload: The link's: large segments are segmented into the packets that a wire would carry.
    """

    def __init__(
        self,
        link: Link,
        outgoing: Impairments | None = None,
        incoming: Impairments | None = None,
        rng: random.Random | None = None,
        networks: ByNetwork | None = None,
    ) -> None:
        rng = rng or random.Random()
        self.name = link.name
        self.mtu = link.mtu
        self.offload = link.offload
        self._link = link
        ways = outgoing or Impairments(), incoming or Impairments()
        self._out, self._in = (
            AddressedPath(each, networks, way, random.Random(rng.random()))
            if networks
            else PacketPath(each, random.Random(rng.random()))
            for way, each in enumerate(ways)
        )
        self._wait_scope = trio.CancelScope()
        self._retry_at = float("-inf")
        self._slack: float | None = None
        self._error: OSError | None = None
        self._closed = False

    @property
    def counts(self) -> dict[str, int]:
        """Counters of both directions: ``out_lost``, ``in_duplicated``...; see `Impairer`."""
        ways = {"out": self._out, "in": self._in}
        return {
            f"{way}_{what}": count
            for way, path in ways.items()
            for what, count in path.counts.items()
        }

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Put one packet on the path; always True, as the path's queue drops and never blocks.

        Raises:
            OSError: EBADF when closed; the link's errors.
        """
        self._check_open()
        if self._error is not None:
            raise self._error
        self._put(self._out, b"".join(packet), trio.current_time())
        self._deliver(self._due_by())
        # `wait_readable` may have to wake earlier.
        self._wait_scope.deadline = min(self._wait_scope.deadline, self._next_event())
        return True

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Receive the packets that have arrived, at most `limit`; see `Link`."""
        self._check_open()
        self._receive_from_link()
        due = self._due_by()
        self._deliver(due)
        packets: list[Buffer] = []
        while len(packets) < limit and (packet := self._in.first(due)) is not None:
            packets.append(NO_OFFLOAD + packet if self.offload else packet)
            self._in.pop()
        if not packets and self._error is not None:
            raise self._error
        return packets

    async def wait_readable(self) -> None:
        """Wait until a packet has arrived; meanwhile deliver those of both directions.

        Raises:
            trio.ClosedResourceError: the link was closed, before or meanwhile.
            OSError: the device is gone.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError(f"the link {self.name} is closed")
            self._receive_from_link()
            due = self._due_by()
            self._deliver(due)
            if self._in.next_arrival <= due or self._error is not None:
                return
            self._wait_scope = trio.CancelScope(deadline=self._next_event())
            with self._wait_scope:
                await self._link.wait_readable()

    async def wait_writable(self) -> None:
        """Return at once, as sending never blocks; raises as :meth:`wait_readable` does."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError(f"the link {self.name} is closed")

    def close(self) -> None:
        """Deliver the outgoing packets, and close the link; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self._deliver(float("inf"))
        finally:
            self._link.close()

    def _due_by(self) -> float:
        """The latest arrival time, in seconds, of packets to deliver now."""
        if self._slack is None:
            self._slack = TIMER_SLACK if is_system_clock(trio.lowlevel.current_clock()) else 0.0
        return trio.current_time() + self._slack

    def _receive_from_link(self) -> None:
        """Put the link's packets on the incoming path; an error is raised after their arrival."""
        now = trio.current_time()
        try:
            for packet in self._link.receive(_BATCH):
                self._put(self._in, packet, now)
        except OSError as error:
            self._error = self._error or error

    def _put(self, path: PacketPath, frame: Buffer, now: float) -> None:
        for packet in gso.packets(frame) if self.offload else (frame,):
            path.put(packet, now)

    def _deliver(self, due: float) -> None:
        """Send the outgoing packets that are due to the link."""
        out = self._out
        while (packet := out.first(due)) is not None:
            try:
                if not self._link.send([NO_OFFLOAD, packet] if self.offload else [packet]):
                    self._retry_at = due + _RETRY_DELAY
                    return
            except OSError as error:
                # EINVAL: corruption has hit the version, and the device refuses the packet.
                if error.errno != errno.EINVAL:
                    self._error = self._error or error
            except BaseException:
                out.pop()  # Do not send it again with the next packet.
                raise
            out.pop()

    def _next_event(self) -> float:
        """When to deliver next; after a delay if the link could not accept a packet."""
        due = min(self._in.next_arrival, max(self._out.next_arrival, self._retry_at))
        return due - (self._slack or 0.0)

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, f"the link {self.name} is closed")
