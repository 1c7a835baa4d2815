"""Captures and traces, as tables of packets and connections."""

from __future__ import annotations

import os
from collections import Counter
from typing import IO, TYPE_CHECKING, Literal, final

from tunstack.capture.collecting import Collector
from tunstack.capture.rows import ConnectionRow, PacketRow, Rows
from tunstack.ladder.step import step_from_capture, step_from_observation
from tunstack.path import pcapng

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.stack.observation import Observation


@final
class Capture:
    """The packets and TCP connections of a capture file, or of a live trace.

    :func:`read_capture` makes one of a file, :meth:`from_observations` of what a host's tap saw.

    Attributes:
        title: Its name in errors.
        start: The time of the first packet, in seconds since the UNIX epoch; None without one.
        packets: All IP packets, in the order of the file.
        connections: The TCP connections, in the order of their first packets.
        skipped: The frames that are no IP packets, counted by name: ``"ARP"``.
        damage: Why reading stopped before the end of the file; empty if it did not.
    """

    def __init__(
        self,
        start: float | None,
        packets: Iterable[PacketRow],
        connections: Iterable[ConnectionRow],
        *,
        skipped: Counter[str] | None = None,
        title: str = "the capture",
        damage: str = "",
    ) -> None:
        self.title = title
        self.start = start
        self.packets: Rows[PacketRow] = Rows(packets)
        self.connections: Rows[ConnectionRow] = Rows(connections)
        self.skipped: Counter[str] = Counter() if skipped is None else skipped
        self.damage = damage

    def __repr__(self) -> str:
        return f"<Capture of {len(self.packets)} packets, {len(self.connections)} connections>"

    def connection(self, number: int | None = None) -> ConnectionRow:
        """A TCP connection by its number; by default, the one with the most data.

        Raises:
            ValueError: there is none.
        """
        if not self.connections:
            raise ValueError(self.damage or f"{self.title} has no TCP connection")
        if number is None:
            return max(self.connections, key=lambda each: each.octets)
        for each in self.connections:
            if each.number == number:
                return each
        for packet in self.packets:
            if packet.connection == number and packet.protocol != "TCP":
                kind = "UDP" if packet.protocol == "UDP" else "a ping"
                raise ValueError(f"number {number} in {self.title} is {kind}, not TCP")
        raise ValueError(
            f"{self.title} has {len(self.connections)} TCP connections, and none is number {number}"
        )

    @classmethod
    def from_observations(cls, observations: Iterable[Observation]) -> Capture:
        """The capture of a live trace: what the tap of one host was given, in order.

        ::

            trace: list[tunstack.Observation] = []
            async with tunstack.open_host("198.51.100.2/24", tap=trace.append) as host:
                ...
            capture = tunstack.Capture.from_observations(trace)
        """
        collector = Collector()
        for seen in observations:
            collector.add(
                step_from_observation(seen),
                len(seen.packet),
                direction=seen.direction,
                windows=seen.windows,
            )
        return cls(collector.start, collector.packets, collector.connections, title="the trace")


def read_capture(
    source: str | os.PathLike[str] | IO[bytes],
    *,
    title: str = "the capture",
    strict: bool = True,
) -> Capture:
    """Read a capture: pcap or pcapng, of IPv4 and IPv6, written by tunstack or another program.

    Link types: raw IP, Ethernet (with VLAN tags), Linux cooked (SLL, SLL2), BSD loopback. The
    comments of tunstack's captures give the columns of our side: states, verdicts, windows. The
    whole file is in memory, about 600 octets a packet.

    Args:
        source: Path of the file; or a binary file, which may be a pipe, and is left open.
        title: The name in errors of a file that has no path.
        strict: Whether damage raises; if not, the packets before it are returned, and
            `Capture.damage` says what it is.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no capture, or has another link type; or, if `strict`, it is
            truncated or damaged.
    """
    collector = Collector()
    skipped: Counter[str] = Counter()
    damage = ""
    try:
        for packet in pcapng.read_packets(source, title=title, skipped=skipped):
            step = step_from_capture(packet.time, packet.packet, packet.comment)
            collector.add(
                step,
                len(packet.packet),
                direction=_DIRECTIONS[packet.outbound],
                windows=step.windows,
            )
    except ValueError as error:
        if strict or not collector.packets:
            raise
        damage = str(error)
    return Capture(
        collector.start,
        collector.packets,
        collector.connections,
        skipped=skipped,
        title=os.fspath(source) if isinstance(source, (str, os.PathLike)) else title,
        damage=damage,
    )


_DIRECTIONS: dict[bool | None, Literal["in", "out"] | None] = {True: "out", False: "in", None: None}
