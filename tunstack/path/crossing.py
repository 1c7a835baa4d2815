"""The process that forwards packets between two descriptors, in both directions.

A tight loop in an interpreter of its own, with as few imports as possible, so that it neither
delays others nor is delayed by them. Each side is a TUN device or a SOCK_SEQPACKET socket, which is
read and written in the same way. It uses `select`, not epoll, whose timeout has 1 ms resolution.

With offload on both sides, frames of up to 64 KiB are forwarded with their virtio headers, and take
the time and the room in the queue that their packets would take on a wire. A frame that would
occupy the bottleneck for longer than a millisecond is segmented into several, which bounds the
error of arrival times and lets the queue drop a part of it.

The socket to the parent carries requests for the statistics (of any content) and replies, a
dictionary in `marshal` format. The process exits when that socket ends.
"""

from __future__ import annotations

import errno
import marshal
import math
import os
import random
import signal
import socket
import time
from contextlib import suppress
from select import select
from typing import TYPE_CHECKING, Final

from tunstack.link.base import LARGEST_FRAME
from tunstack.path.impair import Impairments, PacketPath
from tunstack.wire.gso import frames, packets, wire_size

if TYPE_CHECKING:
    from tunstack.path.pcapng import PcapngWriter

_BATCH: Final = 64
"""Packets read from one side before the other side is served."""
_MIN_SLEEP: Final = 0.0001
"""The shortest sleep, in seconds: packets that fall due within it are delivered together."""
_MAX_FRAME_TIME: Final = 0.001
"""Seconds that a frame of several packets may occupy the bottleneck."""
_NOT_ACCEPTED: Final = frozenset({errno.EINVAL, errno.EIO, errno.ENETDOWN, errno.ECONNREFUSED})
"""A write's errors for a packet without a valid IP version, and for a device that is down."""
_DEVICE_GONE: Final = frozenset(
    {errno.EBADFD, errno.EFAULT, errno.ENODEV, errno.EPIPE, errno.ECONNRESET}
)


def main(
    control: str,
    left: str,
    right: str,
    mtu: str,
    offload: str,
    seed: str,
    out: str,
    back: str,
    capture: str,
) -> None:
    """Forward packets until the socket `control` ends.

    Args:
        control: Descriptor of the socket to the parent.
        left: Non-blocking descriptor of one side.
        right: That of the other.
        mtu: The largest packet, in octets.
        offload: Not empty if packets have a virtio header on both sides.
        seed: Of the impairments; empty for an unpredictable one.
        out: The impairments from left to right, as text.
        back: Those from right to left.
        capture: Descriptor of a file for a capture; empty for none.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # The parent handles them, and then ends us.
    recorder = CaptureWriter(int(capture)) if capture else None
    directions = []
    for name, source, sink, text in (("out", left, right, out), ("in", right, left, back)):
        rng = random.Random(f"{name} {seed}") if seed else random.Random()
        path = PacketPath(Impairments.parse(text), rng)
        largest = LARGEST_FRAME if offload else int(mtu)
        directions.append(
            Direction(name, int(source), int(sink), largest, bool(offload), path, recorder)
        )
    with socket.socket(fileno=int(control)) as channel, suppress(BrokenPipeError):
        forward(directions, channel, recorder)


class Direction:
    """One direction of the bridge.

    Attributes:
        name: ``out`` or ``in``.
        source: The descriptor to read.
        sink: The descriptor to write.
        path: The impaired path between them.
        is_blocked: Whether the sink's queue is full.
    """

    __slots__ = (
        "_bytes",
        "_delivered",
        "_largest",
        "_offload",
        "_recorder",
        "_refused",
        "is_blocked",
        "name",
        "path",
        "sink",
        "source",
    )

    def __init__(
        self,
        name: str,
        source: int,
        sink: int,
        largest: int,
        offload: bool,
        path: PacketPath,
        recorder: CaptureWriter | None,
    ) -> None:
        self.name = name
        self.source = source
        self.sink = sink
        self.path = path
        self.is_blocked = False
        self._largest = largest
        self._offload = offload
        self._recorder = recorder
        self._delivered = self._bytes = self._refused = 0

    def receive(self) -> None:
        """Read a batch of packets from the source, and put them on the path.

        Raises:
            BrokenPipeError: the source is gone.
        """
        source, largest, put = self.source, self._largest, self._put
        now = time.monotonic()
        try:
            for _ in range(_BATCH):
                packet = os.read(source, largest)
                if not packet:  # the other end of a packet socket was closed
                    raise BrokenPipeError
                put(packet, now)
        except BlockingIOError:
            pass
        except OSError as error:
            raise _translated(error) from error

    def _put(self, packet: bytes, now: float) -> None:
        path, recorder = self.path, self._recorder
        if not self._offload:
            arrivals = path.put(packet, now)
            if recorder is not None:
                recorder.record(self, [packet], arrivals, now)
            return
        rate = path.impairer.impairments.rate
        for frame in (
            [packet] if rate == math.inf else frames(packet, int(rate / 8 * _MAX_FRAME_TIME))
        ):
            count, size = wire_size(frame)
            arrivals = path.put(frame, now, size, count)
            if recorder is not None:
                recorder.record(self, packets(frame), arrivals, now)

    def deliver(self, now: float) -> None:
        """Write all packets that are due to the sink.

        Raises:
            BrokenPipeError: the sink is gone.
        """
        path, sink = self.path, self.sink
        self.is_blocked = False
        while (packet := path.first(now)) is not None:
            try:
                os.write(sink, packet)
                count, size = wire_size(packet) if self._offload else (1, len(packet))
                self._delivered += count
                self._bytes += size
            except BlockingIOError:
                self.is_blocked = True
                return
            except OSError as error:
                if error.errno not in _NOT_ACCEPTED:
                    raise _translated(error) from error
                self._refused += 1
            path.pop()

    @property
    def statistics(self) -> dict[str, int]:
        """Packet counters, prefixed with the direction's name."""
        counts = {
            **self.path.impairer.counts,
            "refused": self._refused,
            "delivered": self._delivered,
            "delivered_bytes": self._bytes,
        }
        return {f"{self.name}_{what}": count for what, count in counts.items()}


class CaptureWriter:
    """Writes each packet that arrives at the bridge to a capture, commented with its fate.

    Attributes:
        error: The errno of the error that ended the capture, or 0.
        missing: Packets that are missing from the capture.
    """

    def __init__(self, descriptor: int) -> None:
        from tunstack.path.pcapng import PcapngWriter  # here, as dpkt is slow to import

        self.error = self.missing = 0
        self._before: dict[str, dict[str, int]] = {}
        self._writer: PcapngWriter | None = None
        self._file = os.fdopen(descriptor, "wb")
        try:
            self._writer = PcapngWriter(self._file, "bridge")
        except OSError as error:
            self._end(error)

    def record(
        self, direction: Direction, together: list[bytes], arrivals: list[float], now: float
    ) -> None:
        """Write packets that share one fate; an error in writing ends the capture."""
        if self._writer is None:
            self.missing += 1
            return
        before, counts = self._before.get(direction.name, {}), direction.path.impairer.counts.copy()
        self._before[direction.name] = counts
        fate = [what for what, count in counts.items() if count != before.get(what, 0)][1:]
        fate += [f"arrives after {(arrival - now) * 1000:.2f} ms" for arrival in arrivals]
        comment = f"{direction.name}: {', '.join(fate)}"
        try:
            for packet in together:
                self._writer.write(packet, time.time(), comment, direction.name == "out")
        except OSError as error:
            self.missing += 1
            self._end(error)

    def _end(self, error: OSError) -> None:
        self.error = error.errno or errno.EIO
        self._writer = None
        with suppress(OSError):  # Flushing fails in the same way.
            self._file.close()

    @property
    def statistics(self) -> dict[str, int]:
        """The packets missing and the error, if there is one."""
        return {"unrecorded": self.missing, "unrecorded_errno": self.error} if self.error else {}


def forward(
    directions: list[Direction], channel: socket.socket, recorder: CaptureWriter | None = None
) -> None:
    """Forward packets, and serve statistics, until the socket to the parent ends.

    Raises:
        BrokenPipeError: one of the sides is gone.
    """
    sources = [channel.fileno(), *(direction.source for direction in directions)]
    while True:
        due = min(
            (direction.path.next_arrival for direction in directions if not direction.is_blocked),
            default=math.inf,
        )
        timeout = None if due == math.inf else max(due - time.monotonic(), _MIN_SLEEP)
        blocked = [direction.sink for direction in directions if direction.is_blocked]
        readable, _, _ = select(sources, blocked, (), timeout)
        for direction in directions:
            if direction.source in readable:
                direction.receive()
        now = time.monotonic()
        for direction in directions:
            direction.deliver(now)
        if sources[0] in readable and not _send_statistics(directions, channel, recorder):
            return


def _send_statistics(
    directions: list[Direction], channel: socket.socket, recorder: CaptureWriter | None
) -> bool:
    """Reply with the statistics; returns False if the parent is gone."""
    try:
        if not channel.recv(16):
            return False
        capture = {} if recorder is None else recorder.statistics
        counts = {**directions[0].statistics, **directions[1].statistics, **capture}
        channel.send(marshal.dumps(counts))
    except OSError:
        return False
    return True


def _translated(error: OSError) -> OSError:
    return BrokenPipeError() if error.errno in _DEVICE_GONE else error
