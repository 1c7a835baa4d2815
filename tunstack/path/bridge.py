"""Start and query the process that forwards packets between two descriptors."""

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
    """Forward packets between two non-blocking descriptors, in a process of its own.

    Once the block has begun both may be closed here: the process has duplicates.

    Args:
        left: A TUN device, or a SOCK_SEQPACKET socket.
        right: Another one.
        ways: The impairments from left to right, and from right to left.
        mtu: The largest packet, in octets.
        offload: Whether packets have a virtio header on both sides.
        seed: Of the impairments; unpredictable if None.
        capture: Descriptor of a file for a capture (pcapng) of all packets that arrive.
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
            crossing.statistics()  # The reply shows that the process is forwarding.
            yield crossing
        finally:
            crossing._ended = True
            channel.close()
            with trio.CancelScope(shield=True):
                await process.wait()


@final
class Crossing:
    """A running forwarding process; returned by :func:`open_crossing`."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._ended = False

    @trio.lowlevel.enable_ki_protection  # Ctrl-C must not separate a reply from its request.
    def statistics(self) -> dict[str, int]:
        """Return packet counters; ``out_`` from left to right, ``in_`` from right to left.

        ``out_admitted`` arrived, and of those ``out_lost``, ``out_overflowed`` (the queue was
        full), ``out_duplicated``, ``out_reordered``, ``out_corrupted``; ``out_refused`` by the
        device as invalid, ``out_delivered`` and ``out_delivered_bytes``. After an error in writing
        the capture, ``unrecorded`` packets are missing from it, because of ``unrecorded_errno``.

        Raises:
            OSError: EPIPE, the process has ended, as one of its descriptors was closed.
            trio.ClosedResourceError: the block has ended.
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
