"""The time-sequence diagram of a connection, from its sender's point of view.

As of tcptrace: time to the right, sequence numbers upwards. Each segment is a bar between the line
of SND.UNA below and that of the window's right edge above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.plot.chart import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    YELLOW,
    Bars,
    Crosses,
    Line,
    Panel,
)
from tunstack.tcp.segment import ACK, RST, SYN

if TYPE_CHECKING:
    from tunstack.plot.chart import Point
    from tunstack.tcp.segment import Segment

DATA: Final = "data"
AGAIN: Final = "sent again"
KINDS: Final = {
    DATA: BLUE,
    AGAIN: ORANGE,
    "sent again: fast": ORANGE,
    "tail loss probe": PURPLE,
    "sent again: timeout": YELLOW,
}
"""The kinds of segments and their colors."""

_WHY: Final = {
    "retransmission: fast": "sent again: fast",
    "retransmission: tail loss probe": "tail loss probe",
    "retransmission: timeout": "sent again: timeout",
}
"""The kind by the verdict of our side's retransmissions."""

_UNIT: Final = 1000
_SMALL: Final = 10_000
"""Octets: smaller diagrams have an axis in octets instead of kB."""
_MODULUS: Final = 1 << 32


class TimeSequence:
    """Collects the segments of both sides, in order, for a panel.

    Sequence numbers are relative to the sender's SYN, or to the first octet seen.

    Attributes:
        octets: Octets sent, retransmissions included.
        retransmissions: The number of segments retransmitted.
        outstanding: Octets sent and not acknowledged, over time.
    """

    def __init__(self) -> None:
        self.octets = 0
        self.retransmissions = 0
        self.outstanding: list[Point] = []
        self._una = 0
        self._origin: int | None = None
        self._highest = 0
        self._bars: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
        self._acknowledged: list[Point] = []
        self._edge: list[Point] = []
        self._sacked: list[tuple[float, float, float]] = []
        self._resets: list[Point] = []
        self._lost: list[Point] = []
        self._probes: list[Point] = []
        self._scales: dict[str, int | None] = {}
        """The window scales of both SYNs, by side; None without the option."""

    def sent(self, time: float, segment: Segment, why: str = "", *, lost: bool = False) -> None:
        """Add a segment of the sender; `why` is the verdict, `lost` that it never arrives."""
        if segment.flags & SYN:
            self._scales["sender"] = segment.wscale
        start = self._position(segment.seq)
        end = start + segment.length
        if segment.flags & RST:
            self._resets.append((time, start / _UNIT))
        elif not segment.length and start < self._highest:  # So that it must be answered.
            self._probes.append((time, start / _UNIT))
        if not segment.length:
            return
        kind = DATA if end > self._highest else _WHY.get(why, AGAIN)
        self._highest = max(self._highest, end)
        self._measure(time)
        self.octets += len(segment.payload)
        self.retransmissions += kind != DATA
        self._bars[kind].append((time, start / _UNIT, end / _UNIT))
        if lost:
            self._lost.append((time, (start + end) / 2 / _UNIT))

    def answered(self, time: float, segment: Segment) -> None:
        """Add a segment of the peer."""
        if segment.flags & SYN:
            self._scales["peer"] = segment.wscale
        if not segment.flags & ACK or segment.flags & RST:
            return
        ack = self._position(segment.ack)
        wnd = segment.wnd << (0 if segment.flags & SYN else self._shift)
        self._una = max(self._una, ack)
        self._measure(time)
        self._acknowledged.append((time, ack / _UNIT))
        self._edge.append((time, (ack + wnd) / _UNIT))
        for left, right in segment.sack:
            edges = self._position(left) / _UNIT, self._position(right) / _UNIT
            self._sacked.append((time, *edges))

    def _measure(self, time: float) -> None:
        self.outstanding.append((time, max(0, self._highest - self._una)))

    @property
    def _shift(self) -> int:
        """The scale of the peer's windows, if both SYNs were seen (RFC 7323 section 2.2)."""
        scales = self._scales.values()
        if len(scales) < 2 or None in scales:
            return 0
        return min(self._scales["peer"] or 0, 14)

    def _position(self, number: int) -> int:
        """The relative sequence number."""
        if self._origin is None:
            self._origin = number
        distance = (number - self._origin - self._highest) % _MODULUS
        if distance >= _MODULUS >> 1:
            distance -= _MODULUS
        return self._highest + distance

    def panel(self, height: int = 300) -> Panel:
        """The panel of the segments added so far."""
        data, *again = self._bars.items()
        # A window far above the data must not determine the range of the axis.
        top = self._highest / _UNIT * 1.1
        small = self._highest < _SMALL
        edge = self._edge if any(y <= top for _, y in self._edge) else []
        return Panel(
            "sequence number, octets" if small else "sequence number, kB",
            [
                Line("window", GREY, edge, dashed=True),
                Line("acknowledged", GREEN, self._acknowledged),
                Bars("SACK", SKY, self._sacked, width=1.0),
                Bars(DATA, KINDS[DATA], data[1]),
                *(Bars(kind, KINDS[kind], bars, width=3.0, least=7.0) for kind, bars in again),
                Crosses("probe", PURPLE, self._probes),
                Crosses("lost", "#c00", self._lost),
                Crosses("reset", "#000", self._resets),
            ],
            height,
            top if any(y > top for _, y in edge) else None,
            _UNIT if small else 1.0,
        )
