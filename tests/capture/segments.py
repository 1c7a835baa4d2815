"""A TCP connection's segments as rows, without packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.capture.collecting import Collector
from tunstack.ladder.step import Step

if TYPE_CHECKING:
    from tunstack.capture import ConnectionRow
    from tunstack.stack.observation import Windows
    from tunstack.tcp.segment import Segment

CLIENT = ("198.51.100.1", 40000)
SERVER = ("198.51.100.2", 80)


class Talk:
    """Collects segments of a client, which is ours, and of its server."""

    def __init__(self) -> None:
        self._collector = Collector()

    def sent(
        self,
        time: float,
        segment: Segment,
        why: str = "",
        *,
        lost: bool = False,
        windows: Windows | None = None,
        pipe: int | None = None,
    ) -> None:
        """The client sends."""
        step = Step(time, CLIENT, SERVER, segment, verdict=why)
        size = 40 + len(segment.payload)
        self._collector.add(step, size, direction="out", windows=windows, pipe=pipe, lost=lost)

    def answered(self, time: float, segment: Segment, windows: Windows | None = None) -> None:
        """The server sends."""
        step = Step(time, SERVER, CLIENT, segment, verdict="accepted")
        size = 40 + len(segment.payload)
        self._collector.add(step, size, direction="in", windows=windows)

    @property
    def connection(self) -> ConnectionRow:
        """The connection so far."""
        (connection,) = self._collector.connections
        return connection
