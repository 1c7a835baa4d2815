"""The congestion window of a connection, its threshold, and what is in flight, over time."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final

from tunstack.plot.sequences import TimeSequence
from tunstack.plot.series import Line, Panel

if TYPE_CHECKING:
    from tunstack.capture.rows import ConnectionRow, PacketRow
    from tunstack.plot.sequences import Side
    from tunstack.plot.series import Point

_DEFAULT_MSS: Final = 536  # RFC 9293 section 3.7.1


def has_windows(connection: ConnectionRow, sender: Side) -> bool:
    """Whether the capture has the congestion window of the sender."""
    return connection.ours == sender and any(
        packet.cwnd is not None for packet in connection.packets
    )


def window_panel(connection: ConnectionRow, sender: Side) -> Panel:
    """The congestion window, the threshold and the flight size, in the sender's segments.

    In flight is what the simulator's sender counts (RFC 6675's pipe); in a capture, what was sent
    and neither acknowledged nor in SACK blocks. Of a sender that is not ours it is all that a
    capture shows.
    """
    begin = connection.start
    ours = has_windows(connection, sender)
    known = [packet for packet in connection.packets if ours and packet.cwnd is not None]
    pipes = [
        (each.time - begin, each.pipe / _size(each)) for each in known if each.pipe is not None
    ]
    if pipes:
        flight = Line("in flight", "dim", pipes)
    else:
        mss = _size(known[-1]) if known else _largest(connection, sender)
        outstanding = TimeSequence(connection, sender).outstanding
        flight = Line("not acknowledged", "dim", [(x, y / mss) for x, y in outstanding])
    threshold: list[Point] = [
        (each.time - begin, nan if each.ssthresh is None else each.ssthresh / _size(each))
        for each in known
    ]
    cwnd = [(each.time - begin, (each.cwnd or 0) / _size(each)) for each in known]
    return Panel(
        "",
        "segments",
        [
            flight,
            Line("threshold", "orange", threshold, dashed=True),
            Line("congestion window", "blue", cwnd),
        ],
    )


def _size(packet: PacketRow) -> int:
    return packet.smss or _DEFAULT_MSS


def _largest(connection: ConnectionRow, sender: Side) -> int:
    """Octets of the largest segment up to the MSS that the receiver announced, if it did."""
    sizes, announced = [0], 0
    for packet in connection.packets:
        if connection.is_from(packet, sender):
            sizes.append(packet.length)
        elif packet.mss is not None:
            announced = packet.mss
    return min(max(sizes), announced or max(sizes)) or _DEFAULT_MSS
