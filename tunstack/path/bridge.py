"""A bridge between two descriptors of packets, seen from the process that wants it."""

from __future__ import annotations

import errno
import marshal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast, final

import trio

from tunstack.link.holder import MESSAGE_SIZE
from tunstack.link.starting import start_process

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from tunstack.path.impair import Impairments


@asynccontextmanager
async def open_crossing(
    left: int,
    right: int,
    ways: tuple[Impairments, Impairments],
    *,
    mtu: int,
    offload: bool = False,
    seed: int | None = None,
    capture: int | None = None,
) -> AsyncIterator[Crossing]:
    """Carry packets between two descriptors that do not block, in a process of its own.

    Both may be closed here once this has begun: the process has copies.

    Args:
        left: A TUN device, or a packet socket.
        right: Another one.
        ways: What happens from left to right, and from right to left.
        mtu: The largest packet, in bytes.
        offload: Whether packets come behind a virtio header on both sides.
        seed: Of what is random; unpredictable if None.
        capture: Descriptor of a file for a capture (pcapng) of all that comes to the bridge.
    """
    files = [left, right] if capture is None else [left, right, capture]
    process, channel = await start_process(
        "path.crossing",
        *(str(left), str(right), str(mtu), "offload" if offload else ""),
        "" if seed is None else str(seed),
        *map(str, ways),
        "" if capture is None else str(capture),
        libraries=() if capture is None else ("dpkt",),
        pass_fds=tuple(files),
    )
    with channel:
        crossing = Crossing(channel)
        try:
            crossing.statistics()  # It has begun: nothing that comes from now on is missed.
            yield crossing
        finally:
            crossing._ended = True
            channel.close()
            with trio.CancelScope(shield=True):
                await process.wait()


@final
class Crossing:
    """A bridge that runs; made by :func:`open_crossing`."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._ended = False

    @trio.lowlevel.enable_ki_protection  # an interrupt must not part an answer from its question
    def statistics(self) -> dict[str, int]:
        """What happened to how many packets; ``out_`` from left to right, ``in_`` the other way.

        ``out_admitted`` came, and of those ``out_lost``, ``out_overflowed`` (the queue was full),
        ``out_duplicated``, ``out_reordered``, ``out_corrupted``; ``out_refused`` by the far side
        as too damaged, ``out_delivered`` and ``out_delivered_bytes``. Once the capture could not
        be written any more, ``unrecorded`` packets are not in it, because of ``unrecorded_errno``.

        Raises:
            OSError: EPIPE, the bridge is gone, as one of its sides is.
            trio.ClosedResourceError: it has ended.
        """
        if self._ended:
            raise trio.ClosedResourceError("the bridge has ended")
        try:
            self._channel.send(b"?")
            answer = self._channel.recv(MESSAGE_SIZE)
        except OSError:
            answer = b""
        if not answer:
            raise OSError(errno.EPIPE, "the bridge is gone")
        return cast("dict[str, int]", marshal.loads(answer))
