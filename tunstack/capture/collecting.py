"""Sort decoded packets into rows and connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tunstack.capture.numbering import Numbering
from tunstack.capture.rows import ConnectionRow, PacketRow, Rows
from tunstack.tcp.segment import ACK, SYN, flag_names

if TYPE_CHECKING:
    from tunstack.ladder.packets import Endpoint, Pair
    from tunstack.ladder.step import Direction, Step
    from tunstack.stack.observation import Windows
    from tunstack.tcp.segment import Segment


class Collector:
    """Makes a row of each packet; numbers connections as ``tunstack trace`` does.

    Args:
        start: The time of 0 in the rows; None for that of the first packet.

    Attributes:
        start: As given, or of the first packet.
        packets: The rows so far.
    """

    def __init__(self, start: float | None = None) -> None:
        self.start = start
        self.packets: list[PacketRow] = []
        self._connections: list[_Connection] = []
        self._current: dict[Pair, _Connection] = {}
        self._flows: dict[Pair, int] = {}
        self._numbers = 0

    def add(
        self,
        step: Step,
        size: int,
        *,
        direction: Direction | None,
        windows: Windows | None,
        pipe: int | None = None,
        lost: bool = False,
    ) -> None:
        """Add the next packet.

        Args:
            step: The packet, decoded.
            size: Octets of the packet.
            direction: As of a row; in doubt, of an accepted packet it is "in".
            windows: Our congestion window from then on, if known.
            pipe: As of a row.
            lost: As of a row.
        """
        if self.start is None:
            self.start = step.time
        if direction is None and step.verdict == "accepted":  # only of arriving segments
            direction = "in"
        values: dict[str, Any] = {
            "number": len(self.packets) + 1,
            "time": step.time - self.start,
            "direction": direction,
            "protocol": step.kind,
            "source": step.source[0],
            "destination": step.destination[0],
            "size": size,
            "length": step.size,
            "fragment": step.fragment is not None,
            "info": step.text,
            "state_before": step.before,
            "state": step.after,
            "verdict": step.verdict,
            "pipe": pipe,
            "lost": lost,
        }
        if step.protocol in ("TCP", "UDP"):
            values.update(source_port=step.source[1], destination_port=step.destination[1])
        if windows is not None:
            values.update(cwnd=windows.cwnd, ssthresh=windows.ssthresh, smss=windows.mss)
        connection = None
        if step.segment is not None:
            connection = self._connection_of(step, step.segment)
            values["connection"] = connection.number
            if step.fragment is None:
                values.update(connection.values(step, step.segment))
        elif step.protocol:
            values["connection"] = self._flow_of(step.pair)
        row = PacketRow(**values)
        self.packets.append(row)
        if connection is not None and not row.fragment:
            connection.packets.append(row)

    @property
    def connections(self) -> list[ConnectionRow]:
        """The TCP connections so far, in order of their numbers."""
        return [each.row() for each in self._connections if each.packets]

    def _connection_of(self, step: Step, segment: Segment) -> _Connection:
        connection = self._current.get(step.pair)
        if connection is None or connection.is_over(step, segment):
            self._numbers += 1
            connection = self._current[step.pair] = _Connection(self._numbers, step, segment)
            self._connections.append(connection)
        return connection

    def _flow_of(self, pair: Pair) -> int:
        if pair not in self._flows:
            self._numbers += 1
            self._flows[pair] = self._numbers
        return self._flows[pair]


@dataclass
class _Side:
    """What one side of a connection sent."""

    packets: int = 0
    octets: int = 0
    retransmissions: int = 0


class _Connection:
    """One TCP connection, while its packets are added."""

    def __init__(self, number: int, first: Step, segment: Segment) -> None:
        self.number = number
        self.client, self.server = first.source, first.destination
        handshake = segment.flags & (SYN | ACK)
        ascending = first.source[1] < first.destination[1]
        if handshake == SYN | ACK or (not handshake & SYN and ascending):
            self.client, self.server = self.server, self.client
        self.packets: list[PacketRow] = []
        self._numbering = Numbering()
        self._syns = {first.source: segment.seq} if segment.flags & SYN else {}

    def is_over(self, step: Step, segment: Segment) -> bool:
        """Whether this SYN opens another connection of the same four-tuple."""
        return (
            segment.flags & (SYN | ACK) == SYN
            and self._syns.get(step.source, segment.seq) != segment.seq
        )

    def values(self, step: Step, segment: Segment) -> dict[str, Any]:
        """The values of a segment's row that TCP has."""
        source, destination = step.source, step.destination
        numbering = self._numbering
        if segment.flags & SYN:
            self._syns.setdefault(source, segment.seq)
        numbering.record(source, destination, segment)
        seq = numbering.position(source, segment.seq)
        new = not segment.length or numbering.is_new(source, seq + segment.length)
        acks = segment.flags & ACK
        return {
            "info": "",
            "length": len(segment.payload),
            "flags": flag_names(segment.flags),
            "seq": seq,
            "ack": numbering.position(destination, segment.ack) if acks else None,
            "window": numbering.window(source, segment),
            "retransmission": not new,
            "mss": segment.mss,
            "window_scale": segment.wscale,
            "sack_permitted": segment.sack_permitted,
            "sack": tuple(
                (numbering.position(destination, left), numbering.position(destination, right))
                for left, right in segment.sack
            ),
            "timestamp": segment.ts_val,
            "timestamp_echo": None if segment.ts_val is None else segment.ts_ecr,
            "fast_open": None if segment.fast_open is None else segment.fast_open.hex(),
        }

    def row(self) -> ConnectionRow:
        """The connection as a row."""
        sides = {self.client: _Side(), self.server: _Side()}
        ours: Endpoint | None = None
        state: str | None = None
        for each in self.packets:
            source = (each.source, each.source_port or 0)
            side = sides[source]
            side.packets += 1
            side.octets += each.length
            side.retransmissions += each.retransmission
            if each.direction is not None:
                destination = (each.destination, each.destination_port or 0)
                ours = source if each.direction == "out" else destination
            if each.state_before is not None or each.state is not None:
                state = each.state or "CLOSED"
        client, server = sides[self.client], sides[self.server]
        names: dict[Endpoint | None, Literal["client", "server"]] = {
            self.client: "client",
            self.server: "server",
        }
        return ConnectionRow(
            number=self.number,
            client=self.client[0],
            client_port=self.client[1],
            server=self.server[0],
            server_port=self.server[1],
            ours=names.get(ours),
            start=self.packets[0].time,
            end=self.packets[-1].time,
            packets_to_server=client.packets,
            packets_to_client=server.packets,
            octets_to_server=client.octets,
            octets_to_client=server.octets,
            retransmissions_to_server=client.retransmissions,
            retransmissions_to_client=server.retransmissions,
            state=state,
            packets=Rows(self.packets),
        )
