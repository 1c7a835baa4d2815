"""A link with a bad path behind it."""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.path.impair import Impairments, PacketPath
from tunstack.wire import gso
from tunstack.wire.virtio import NO_OFFLOAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.link.base import Buffer, Link

_RETRY: Final = 0.001
"""Seconds until a packet is offered again that the link beneath had no room for."""
_BATCH: Final = 1024

_AHEAD: Final = 0.001
"""Seconds. trio sleeps by whole milliseconds and wakes up late, by one on the average: a round trip
of 66 ms took 68. So what is due within the next one is delivered as well, and it takes 66. A
virtual clock wakes up when it is told to.
"""


def _is_real(clock: trio.abc.Clock) -> bool:
    """Whether the processor's time goes by: trio's own clock is the only one of which we know."""
    return type(clock).__name__ == "SystemClock"


@final
class ImpairedLink:
    """Any link, with impairments in either direction; a :class:`~tunstack.link.base.Link` itself.

    It has no task of its own. Whoever waits in :meth:`wait_readable`, as a host always does, sleeps
    until the next packet of either direction is due, and then moves all that are; so do the other
    calls. trio's clock counts, which may be a virtual one; with the real one trio wakes up to the
    millisecond, so that packets that are due within one are delivered together, by one early or
    late.

    What is on its way out when the link is closed arrives at once; what is on its way in is lost.

    Args:
        link: What carries the packets; closed with this.
        outgoing: What happens to packets that are sent.
        incoming: What happens to packets that are received.
        rng: The only source of chance; unpredictable if None.

    Attributes:
        name: The link's.
        mtu: The link's.
        offload: The link's: what is large is cut into the packets that a wire would carry.
    """

    def __init__(
        self,
        link: Link,
        outgoing: Impairments | None = None,
        incoming: Impairments | None = None,
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.Random()
        self.name = link.name
        self.mtu = link.mtu
        self.offload = link.offload
        self._link = link
        self._out = PacketPath(outgoing or Impairments(), random.Random(rng.random()))
        self._in = PacketPath(incoming or Impairments(), random.Random(rng.random()))
        self._alarm = trio.CancelScope()
        self._retry_at = float("-inf")
        self._ahead: float | None = None
        self._error: OSError | None = None
        self._closed = False

    @property
    def counts(self) -> dict[str, int]:
        """What was done to how many packets: ``out_lost``, ``in_duplicated``..., see `Impairer`."""
        ways = {"out": self._out, "in": self._in}
        return {
            f"{way}_{what}": count
            for way, path in ways.items()
            for what, count in path.impairer.counts.items()
        }

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Put one packet on its way; always True, as a path has room where a device may not.

        Raises:
            OSError: EBADF when closed; what the link raises.
        """
        self._check_open()
        if self._error is not None:
            raise self._error
        self._put(self._out, b"".join(packet), trio.current_time())
        self._deliver(self._due_by())
        # Who waits may have to wake earlier than it thought.
        self._alarm.deadline = min(self._alarm.deadline, self._next_event())
        return True

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Take the packets that have arrived, at most `limit`; see `Link`."""
        self._check_open()
        self._take_in()
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
        """Wait until a packet has arrived, and move those of both directions meanwhile.

        Raises:
            trio.ClosedResourceError: the link was closed, before or meanwhile.
            OSError: the device is gone.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError(f"the link {self.name} is closed")
            self._take_in()
            due = self._due_by()
            self._deliver(due)
            if self._in.next_arrival <= due or self._error is not None:
                return
            self._alarm = trio.CancelScope(deadline=self._next_event())
            with self._alarm:
                await self._link.wait_readable()

    async def wait_writable(self) -> None:
        """Return at once: the path has room; raises as :meth:`wait_readable` does."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError(f"the link {self.name} is closed")

    def close(self) -> None:
        """Deliver what is on its way out, and close the link; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self._deliver(float("inf"))
        finally:
            self._link.close()

    def _due_by(self) -> float:
        """Until when packets are due that are to be delivered now, in seconds."""
        if self._ahead is None:
            self._ahead = _AHEAD if _is_real(trio.lowlevel.current_clock()) else 0.0
        return trio.current_time() + self._ahead

    def _take_in(self) -> None:
        """Put what waits in the link on its way in; an error waits until that has arrived."""
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
        """Give the link what has arrived at its end."""
        out = self._out
        while (packet := out.first(due)) is not None:
            try:
                if not self._link.send([NO_OFFLOAD, packet] if self.offload else [packet]):
                    self._retry_at = due + _RETRY
                    return
            except OSError as error:
                # One that is damaged may be no IP packet any more: no device takes it, then.
                if error.errno != errno.EINVAL:
                    self._error = self._error or error
            except BaseException:
                out.pop()  # It is not tried again, as it would be with the next packet.
                raise
            out.pop()

    def _next_event(self) -> float:
        """When to look again; a little later where the link had no room for what is due."""
        due = min(self._in.next_arrival, max(self._out.next_arrival, self._retry_at))
        return due - (self._ahead or 0.0)

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, f"the link {self.name} is closed")
