"""How much of a path a connection, or all packets of a capture, take over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tunstack.plot.delivery import Delivery
from tunstack.plot.series import Line, Panel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tunstack.capture.capture import Capture
    from tunstack.capture.rows import ConnectionRow, PacketRow
    from tunstack.plot.sequences import Side
    from tunstack.plot.series import Point, Unit

_INTERVALS: Final = 60
"""Intervals of a plot, about."""
_MOST: Final = 100_000
_TOO_MANY: Final = "are more than a plot shows"
_LEAST: Final = 1e-4


class Meter:
    """Counts octets in intervals.

    Args:
        begin: The time of the first interval, in seconds.
        end: The end of the last one.
        interval: Seconds; None for about sixty intervals of a round length.
        rate: Of the path, in bits per second; None if unknown.
    """

    def __init__(
        self, begin: float, end: float, interval: float | None, rate: float | None
    ) -> None:
        if interval is not None and not 0 < interval < math.inf:
            raise ValueError(f"interval must be positive, not {interval}")
        if rate is not None and not 0 < rate < math.inf:
            raise ValueError(f"rate must be positive, not {rate}")
        self._begin = begin
        self._interval = interval or _round(max(end - begin, _LEAST) / _INTERVALS)
        intervals = max(end - begin, 0.0) / self._interval
        if intervals > _MOST:
            raise ValueError(f"{intervals:,.0f} intervals of {self._interval:g} s {_TOO_MANY}")
        self._count = math.floor(intervals) + 1
        self._rate = rate

    @property
    def unit(self) -> Unit:
        """Of the points."""
        return "bit/s" if self._rate is None else "%"

    def points(self, octets: Iterable[tuple[float, int]]) -> list[Point]:
        """The rate in each interval, of octets at moments; the end of the last one as well."""
        sums = [0] * self._count
        for time, size in octets:
            index = math.floor((time - self._begin) / self._interval + 1e-9)
            sums[min(max(index, 0), self._count - 1)] += size
        factor = 8 / self._interval * (1 if self._rate is None else 100 / self._rate)
        points = [(number * self._interval, each * factor) for number, each in enumerate(sums)]
        return [*points, (self._count * self._interval, points[-1][1])]


def _round(rough: float) -> float:
    """The next of 1, 2, 5, 10, 20..., times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)


def utilisation_of_connection(
    connection: ConnectionRow,
    sender: Side,
    *,
    rate: float | None = None,
    interval: float | None = None,
) -> Panel:
    """What the sender puts on the wire, with headers, and what of its data is delivered."""
    meter = Meter(connection.start, connection.end, interval, rate)
    delivery = Delivery()
    sent, delivered = [], []
    for packet in connection.packets:
        if connection.is_from(packet, sender):
            sent.append((packet.time, packet.size))
        elif packet.ack is not None:
            delivered.append((packet.time, delivery.add(packet.ack, packet.sack)))
    return _panel(
        meter,
        [
            Line("sent, with headers", "blue", meter.points(sent)),
            Line("delivered", "green", meter.points(delivered)),
        ],
    )


def utilisation_of_capture(
    capture: Capture, *, rate: float | None = None, interval: float | None = None
) -> Panel:
    """All packets, in each direction: of our host if the capture says so, else of the client."""
    packets = capture.packets
    begin, end = (packets[0].time, packets[-1].time) if packets else (0.0, 0.0)
    meter = Meter(begin, end, interval, rate)
    names, forth = _directions(capture)
    both: tuple[list[tuple[float, int]], list[tuple[float, int]]] = ([], [])
    for packet in packets:
        both[not forth(packet)].append((packet.time, packet.size))
    first, second = (meter.points(each) for each in both)
    return _panel(meter, [Line(names[0], "blue", first), Line(names[1], "orange", second)])


def _directions(capture: Capture) -> tuple[tuple[str, str], Callable[[PacketRow], bool]]:
    """The names of both directions, and a function that tells the first."""
    if any(packet.direction is not None for packet in capture.packets):
        return ("out", "in"), lambda packet: packet.direction == "out"
    servers = {
        (connection.number, connection.server, connection.server_port)
        for connection in capture.connections
    }
    return (
        ("to servers", "to clients"),
        lambda packet: (
            (
                packet.connection or 0,
                packet.source,
                packet.source_port or 0,
            )
            not in servers
        ),
    )


def _panel(meter: Meter, lines: Sequence[Line]) -> Panel:
    label = "rate" if meter.unit == "bit/s" else "share of the path's rate"
    return Panel(label, meter.unit, lines)
