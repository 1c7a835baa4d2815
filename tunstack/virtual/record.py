"""The packets of a network: written to a capture, and kept for a ladder."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, final

import trio
from trio.testing import MockClock

from tunstack.ladder import Ladder, plain_text, read_packet
from tunstack.path.pcapng import PcapngWriter

if TYPE_CHECKING:
    import os
    from typing import IO

    from tunstack.virtual.switch import Sent

KEPT: Final = 10_000
"""Packets that are kept for the ladder."""


@final
class Record:
    """The latest packets of a network, and the capture of all.

    Times are those of trio's clock if that is virtual, and of the UNIX epoch if not.

    Args:
        capture: A pcapng file: its path, or a binary file, which is left open; None for none.

    Raises:
        OSError: The file cannot be written.

    Attributes:
        epoch: What to add to times of trio's clock.
    """

    def __init__(self, capture: str | os.PathLike[str] | IO[bytes] | None) -> None:
        self.epoch = epoch()
        self._packets: deque[Sent] = deque(maxlen=KEPT)
        self._writer = None if capture is None else PcapngWriter(capture, "network")

    def add(self, packet: Sent) -> None:
        """Add a packet."""
        self._packets.append(packet)
        if self._writer is not None:
            self._writer.write(packet.data, self.epoch + packet.time, packet.comment)

    def ladder(self, names: set[str], width: int) -> str:
        """Draw the packets between hosts of `names`, as ``tunstack ladder`` does."""
        ladder = Ladder(width=width, states=False)
        lines = []
        for packet in self._packets:
            if packet.source in names and packet.target in (None, *names):
                time = self.epoch + packet.time
                lines += ladder.add(read_packet(time, packet.data, verdict=packet.fate))
        lines += ladder.flush()
        return "".join(f"{plain_text(line)}\n" for line in lines)

    def close(self) -> None:
        """Close the capture."""
        if self._writer is not None:
            self._writer.close()


def epoch() -> float:
    """Return what to add to times of trio's clock: 0 for a virtual one, which begins at 0."""
    if isinstance(trio.lowlevel.current_clock(), MockClock):
        return 0.0
    return time.time() - trio.current_time()
