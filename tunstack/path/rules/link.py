"""A link with a gate of rules before it."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.path.impaired import TIMER_SLACK, is_system_clock
from tunstack.path.rules.gate import MOST_WAITING
from tunstack.path.rules.packet import Packet
from tunstack.wire import gso
from tunstack.wire.virtio import NO_OFFLOAD, SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tunstack.link.base import Buffer, Link
    from tunstack.path.rules.gate import Gate
    from tunstack.path.rules.known import Lookup
    from tunstack.path.rules.packet import Direction

_RETRY_DELAY: Final = 0.001
"""Seconds until a packet is sent again that the link beneath could not accept."""
_REFUSED: Final = frozenset({errno.EINVAL, errno.EMSGSIZE})
"""Errors of a link that refuses a packet: a rule has damaged its version, or made it too long."""
_WITH_PORTS: Final = frozenset({6, 17})


class _Batch(list["Buffer"]):
    """Frames that pass the gate when they are iterated over, once.

    So a rule sees its connection as the frame before has left it.
    """

    def __init__(self, frames: list[Buffer], through: Callable[[Buffer], Iterable[Buffer]]) -> None:
        super().__init__(frames)
        self._through = through

    def __iter__(self) -> Iterator[Buffer]:
        for frame in super().__iter__():
            yield from self._through(frame)


@final
class RuledLink:
    """A link whose packets pass a `Gate`; itself a :class:`~tunstack.link.base.Link`.

    Who uses it calls :meth:`deliver` at :attr:`next_event`, and passes on what that returns. Large
    segments are segmented for the rules; those of connections that no rule is about stay whole.

    Args:
        link: The link beneath; closed with this one.
        gate: The gate.
        lookup: Finds the connection of a packet.

    Attributes:
        name: The link's.
        mtu: The link's.
        offload: The link's.
    """

    def __init__(self, link: Link, gate: Gate, lookup: Lookup) -> None:
        self.name = link.name
        self.mtu = link.mtu
        self.offload = link.offload
        self._link = link
        self._gate = gate
        self._lookup = lookup
        self._pending: deque[Packet] = deque()
        self._sending = False
        """Whether rules see a packet: what their functions send has to wait for that."""
        self._retry_at = float("-inf")
        self._slack: float | None = None
        self.wait_readable = link.wait_readable
        self.wait_writable = link.wait_writable

    @property
    def idle(self) -> bool:
        """Whether no rule is there, and nothing waits."""
        return not self._pending and self._gate.idle

    @property
    def next_event(self) -> float:
        """When to call :meth:`deliver`, in seconds; infinite if nothing waits."""
        due = self._gate.next_due - (self._slack or 0.0)
        return min(due, self._retry_at) if self._pending else due

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Send one packet through the gate; False when the link's queue is full; see `Link`."""
        if self._sending or (self._pending and not self._send_pending()):
            return False
        frame = b"".join(packet)
        if self._gate.ignores("out", self._key(frame, "out")):
            return self._link.send(packet)
        self._sending = True
        try:
            for each in self._packets(frame, "out"):
                for passing in self._gate.put(each, trio.current_time()):
                    if passing.direction == "out":
                        self.transmit(passing)
                    else:
                        self._gate.deliver(passing)
        finally:
            self._sending = False
        return True

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Receive frames, at most `limit`; they pass the gate when they are iterated over."""
        frames = self._link.receive(limit)
        return _Batch(frames, self._arrive) if frames else frames

    def _arrive(self, frame: Buffer) -> Iterator[Buffer]:
        """Put a frame through the gate; yields what comes to the stack."""
        if self._gate.ignores("in", self._key(frame, "in")):
            yield frame
            return
        for each in self._packets(frame, "in"):
            for passing in self._gate.put(each, trio.current_time()):
                if passing.direction == "in":
                    yield self._framed(passing)
                else:
                    self.transmit(passing)

    def deliver(self) -> list[Buffer]:
        """Send what is due out, and return what is due in, as frames."""
        if self._slack is None:
            self._slack = TIMER_SLACK if is_system_clock(trio.lowlevel.current_clock()) else 0.0
        if self._pending:
            self._send_pending()
        arriving: list[Buffer] = []
        for packet in self._gate.due(trio.current_time() + self._slack):
            if packet.direction == "in":
                arriving.append(self._framed(packet))
            else:
                self.transmit(packet)
        return arriving

    def transmit(self, packet: Packet) -> None:
        """Send a packet that has passed the gate; it waits while the link's queue is full.

        Raises:
            OSError: the link's, but for a packet that it refuses: that is dropped and counted.
        """
        if not (self._pending or self._try(packet)):
            self._retry_at = trio.current_time() + _RETRY_DELAY
            self._pending.append(packet)
            self._gate.wake()
        elif self._pending:
            if len(self._pending) < MOST_WAITING:
                self._pending.append(packet)
            else:
                self._gate.took(packet, "overflowed", trio.current_time())

    def _send_pending(self) -> bool:
        while self._pending:
            if not self._try(self._pending[0]):
                self._retry_at = trio.current_time() + _RETRY_DELAY
                return False
            self._pending.popleft()
        return True

    def _try(self, packet: Packet) -> bool:
        try:
            return self._link.send([NO_OFFLOAD, packet.data] if self.offload else [packet.data])
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self._gate.took(packet, "refused", trio.current_time())
            return True

    def close(self) -> None:
        """Send what was delayed on its way out, end all rules, and close the link."""
        try:
            for packet in self._gate.due(trio.current_time(), early=True):
                if packet.direction == "out":
                    self._try(packet)
        finally:
            self._gate.clear()
            self._link.close()

    def _packets(self, frame: Buffer, direction: Direction) -> Iterator[Packet]:
        for data in gso.packets(frame) if self.offload else (bytes(frame),):
            yield Packet(data, direction, lookup=self._lookup)

    def _framed(self, packet: Packet) -> Buffer:
        return NO_OFFLOAD + packet.data if self.offload else packet.data

    def _key(self, frame: Buffer, direction: Direction) -> bytes | None:
        """Return the connection of a frame, as `key_of`; None if it has none, or is not simple."""
        start = SIZE if self.offload else 0
        if len(frame) < start + 24:
            return None
        if frame[start] >> 4 == 4:
            protocol, ends, size = frame[start + 9], start + 12, 4
            ports = start + (frame[start] & 0xF) * 4
            if frame[start + 6] & 0x3F or frame[start + 7]:
                return None
        else:
            protocol, ends, size, ports = frame[start + 6], start + 8, 16, start + 40
        if protocol not in _WITH_PORTS or len(frame) < ports + 4:
            return None
        src, dst = bytes(frame[ends : ends + size]), bytes(frame[ends + size : ends + 2 * size])
        sport, dport = bytes(frame[ports : ports + 2]), bytes(frame[ports + 2 : ports + 4])
        return src + dst + sport + dport if direction == "in" else dst + src + dport + sport
