"""The time-sequence diagram of a connection, from its sender's point of view.

As of tcptrace: time to the right, sequence numbers upwards. Each segment is a bar between the line
of SND.UNA below and that of the window's right edge above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from tunstack.plot.delivery import Delivery
from tunstack.plot.series import Bars, Crosses, Line, Panel

if TYPE_CHECKING:
    from tunstack.capture.rows import ConnectionRow, PacketRow
    from tunstack.plot.series import Color, Point

Side = Literal["client", "server"]

DATA: Final = "data"
AGAIN: Final = "sent again"
KINDS: Final[dict[str, Color]] = {
    DATA: "blue",
    AGAIN: "orange",
    "sent again: fast": "orange",
    "tail loss probe": "purple",
    "sent again: timeout": "yellow",
}
"""The kinds of segments and their colors."""

_WHY: Final = {
    "retransmission: fast": "sent again: fast",
    "retransmission: tail loss probe": "tail loss probe",
    "retransmission: timeout": "sent again: timeout",
}
"""The kind by the verdict of our side's retransmissions."""


def sender_of(connection: ConnectionRow, *, reverse: bool = False) -> Side:
    """The side that sent more data, or the other one."""
    more = connection.octets_to_client >= connection.octets_to_server
    return "server" if more != reverse else "client"


class TimeSequence:
    """Sorts the packets of a connection into series.

    Args:
        connection: Its packets.
        sender: Whose sequence numbers are drawn.

    Attributes:
        outstanding: Octets sent and neither acknowledged nor in SACK blocks, over time.
    """

    def __init__(self, connection: ConnectionRow, sender: Side) -> None:
        self.outstanding: list[Point] = []
        self._delivery = Delivery()
        self._highest = 0
        self._bars: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
        self._acknowledged: list[Point] = []
        self._edge: list[Point] = []
        self._sacked: list[tuple[float, float, float]] = []
        self._resets: list[Point] = []
        self._lost: list[Point] = []
        self._probes: list[Point] = []
        for packet in connection.packets:
            time = packet.time - connection.start
            if connection.is_from(packet, sender):
                self._sent(time, packet)
            else:
                self._answered(time, packet)

    def _sent(self, time: float, packet: PacketRow) -> None:
        """Add a segment of the sender."""
        flags = (packet.flags or "").split(",")
        start = packet.seq or 0
        length = packet.length + ("SYN" in flags) + ("FIN" in flags)
        end = start + length
        if "RST" in flags:
            self._resets.append((time, start))
        elif not length and start < self._highest:  # So that it must be answered.
            self._probes.append((time, start))
        if not length:
            return
        kind = _WHY.get(packet.verdict, AGAIN) if packet.retransmission else DATA
        self._highest = max(self._highest, end)
        self._measure(time)
        self._bars[kind].append((time, start, end))
        if packet.lost:
            self._lost.append((time, (start + end) / 2))

    def _answered(self, time: float, packet: PacketRow) -> None:
        """Add a segment of the peer."""
        if packet.ack is None or "RST" in (packet.flags or ""):
            return
        self._delivery.add(packet.ack, packet.sack)
        self._measure(time)
        self._acknowledged.append((time, packet.ack))
        self._edge.append((time, packet.ack + (packet.window or 0)))
        self._sacked += [(time, *edges) for edges in packet.sack]

    def _measure(self, time: float) -> None:
        self.outstanding.append((time, max(0, self._highest - 1 - self._delivery.octets)))

    def panel(self) -> Panel:
        """The panel of all segments."""
        # A window far above the data must not determine the range of the axis.
        top = self._highest * 1.1
        edge = self._edge if any(y <= top for _, y in self._edge) else []
        again = [item for item in self._bars.items() if item[0] != DATA]
        return Panel(
            "sequence number",
            "octets",
            [
                Line("window", "dim", edge, dashed=True),
                Line("acknowledged", "green", self._acknowledged),
                Bars("SACK", "sky", self._sacked, width=1.0),
                Bars(DATA, KINDS[DATA], self._bars[DATA]),
                *(Bars(kind, KINDS[kind], bars, width=3.0, least=7.0) for kind, bars in again),
                Crosses("probe", "purple", self._probes),
                Crosses("lost", "bad", self._lost),
                Crosses("reset", "ink", self._resets),
            ],
            top if any(y > top for _, y in edge) else None,
        )


def sequence_panel(connection: ConnectionRow, sender: Side) -> Panel:
    """Sequence numbers over time, as the sender sees them."""
    return TimeSequence(connection, sender).panel()
