"""The process in which packets cross a bridge: from one descriptor to the other, and back.

A tight loop, in an interpreter of its own with as few imports as possible, so that nothing disturbs
it and it disturbs nobody: a TUN device on either side, or a packet socket, which is read and
written in the same way. `select` and not epoll, since it sleeps by the microsecond.

With offload on both sides, frames of up to 64 KiB cross behind their virtio headers, with the time
and the room in the queue that their packets would take on a wire. One that would keep the
bottleneck for longer than a millisecond is cut into several, so that what it holds does not arrive
later by more than that, and finds no room only as far as there is none.

The socket to the parent carries one question, of any content, and its answer: what was done, as
`marshal` writes a dictionary. When that socket ends, so does the process.
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
"""Packets read from one side before what is due on the other one is looked at again."""
_GRAIN: Final = 0.0001
"""The shortest sleep, in seconds: what comes and falls due within it is moved together."""
_LONGEST: Final = 0.001
"""Seconds that a frame of several packets may keep the bottleneck."""
_REFUSED: Final = frozenset({errno.EINVAL, errno.EIO, errno.ENETDOWN, errno.ECONNREFUSED})
"""A damaged packet that is none any more; a device that is down."""
_GONE: Final = frozenset({errno.EBADFD, errno.EFAULT, errno.ENODEV, errno.EPIPE, errno.ECONNRESET})


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
    """Carry packets until the socket `control` ends.

    Args:
        control: Descriptor of the socket to the parent.
        left: Descriptor of one side, which does not block.
        right: That of the other.
        mtu: The largest packet, in bytes.
        offload: Anything where packets come behind a virtio header on both sides; else empty.
        seed: Of what is random; empty for the unpredictable.
        out: The impairments from left to right, as text.
        back: Those from right to left.
        capture: Descriptor of a file for a capture; empty for none.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for our parent, which ends us in its time
    recorder = Recorder(int(capture)) if capture else None
    ways = []
    for name, source, sink, text in (("out", left, right, out), ("in", right, left, back)):
        rng = random.Random(f"{name} {seed}") if seed else random.Random()
        path = PacketPath(Impairments.parse(text), rng)
        largest = LARGEST_FRAME if offload else int(mtu)
        ways.append(Way(name, int(source), int(sink), largest, bool(offload), path, recorder))
    with socket.socket(fileno=int(control)) as channel, suppress(BrokenPipeError):
        carry(ways, channel, recorder)


class Way:
    """One direction.

    Attributes:
        name: ``out`` or ``in``.
        source: Where packets come from.
        sink: Where they go.
        path: What happens to them in between.
        is_blocked: Whether the sink has no room for what is due.
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
        recorder: Recorder | None,
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

    def take_in(self) -> None:
        """Read what waits.

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
            raise _explained(error) from error

    def _put(self, packet: bytes, now: float) -> None:
        path, recorder = self.path, self._recorder
        if not self._offload:
            arrivals = path.put(packet, now)
            if recorder is not None:
                recorder.record(self, [packet], arrivals, now)
            return
        rate = path.impairer.impairments.rate
        for frame in [packet] if rate == math.inf else frames(packet, int(rate / 8 * _LONGEST)):
            count, size = wire_size(frame)
            arrivals = path.put(frame, now, size, count)
            if recorder is not None:
                recorder.record(self, packets(frame), arrivals, now)

    def deliver(self, now: float) -> None:
        """Write what is due.

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
                if error.errno not in _REFUSED:
                    raise _explained(error) from error
                self._refused += 1
            path.pop()

    @property
    def statistics(self) -> dict[str, int]:
        """What happened, with names that begin with the direction's."""
        counts = {
            **self.path.impairer.counts,
            "refused": self._refused,
            "delivered": self._delivered,
            "delivered_bytes": self._bytes,
        }
        return {f"{self.name}_{what}": count for what, count in counts.items()}


class Recorder:
    """Writes each packet that came to the bridge into a capture, with what becomes of it.

    Attributes:
        error: Why no more is written: an errno, or 0 while all is well.
        missing: How many packets the capture lacks.
    """

    def __init__(self, descriptor: int) -> None:
        from tunstack.path.pcapng import PcapngWriter  # needs dpkt, which takes its time to load

        self.error = self.missing = 0
        self._before: dict[str, dict[str, int]] = {}
        self._writer: PcapngWriter | None = None
        self._file = os.fdopen(descriptor, "wb")
        try:
            self._writer = PcapngWriter(self._file, "bridge")
        except OSError as error:
            self._end(error)

    def record(self, way: Way, together: list[bytes], arrivals: list[float], now: float) -> None:
        """Write packets that share one fate; where there is no room for them, the capture ends."""
        if self._writer is None:
            self.missing += 1
            return
        before, counts = self._before.get(way.name, {}), way.path.impairer.counts.copy()
        self._before[way.name] = counts
        fate = [what for what, count in counts.items() if count != before.get(what, 0)][1:]
        fate += [f"arrives after {(arrival - now) * 1000:.2f} ms" for arrival in arrivals]
        comment = f"{way.name}: {', '.join(fate)}"
        try:
            for packet in together:
                self._writer.write(packet, time.time(), comment, way.name == "out")
        except OSError as error:
            self.missing += 1
            self._end(error)

    def _end(self, error: OSError) -> None:
        self.error = error.errno or errno.EIO
        self._writer = None
        with suppress(OSError):  # What is buffered finds no room either.
            self._file.close()

    @property
    def statistics(self) -> dict[str, int]:
        """Nothing, unless packets are missing."""
        return {"unrecorded": self.missing, "unrecorded_errno": self.error} if self.error else {}


def carry(ways: list[Way], channel: socket.socket, recorder: Recorder | None = None) -> None:
    """Move packets, and answer questions, until the socket ends.

    Raises:
        BrokenPipeError: one of the sides is gone.
    """
    sources = [channel.fileno(), *(way.source for way in ways)]
    while True:
        due = min((way.path.next_arrival for way in ways if not way.is_blocked), default=math.inf)
        timeout = None if due == math.inf else max(due - time.monotonic(), _GRAIN)
        blocked = [way.sink for way in ways if way.is_blocked]
        readable, _, _ = select(sources, blocked, (), timeout)
        for way in ways:
            if way.source in readable:
                way.take_in()
        now = time.monotonic()
        for way in ways:
            way.deliver(now)
        if sources[0] in readable and not _answer(ways, channel, recorder):
            return


def _answer(ways: list[Way], channel: socket.socket, recorder: Recorder | None) -> bool:
    """Tell what was done; returns whether anybody wants to know."""
    try:
        if not channel.recv(16):
            return False
        told = {} if recorder is None else recorder.statistics
        channel.send(marshal.dumps({**ways[0].statistics, **ways[1].statistics, **told}))
    except OSError:
        return False
    return True


def _explained(error: OSError) -> OSError:
    return BrokenPipeError() if error.errno in _GONE else error
