"""The rows of a capture: packets and TCP connections, as dataclasses of plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T_co = TypeVar("T_co", "PacketRow", "ConnectionRow", covariant=True)


class Rows(Generic[T_co]):
    """A sequence of rows.

    ``pandas.DataFrame(rows.to_dicts())`` makes a table, and so does
    ``polars.DataFrame(rows.to_dicts(), infer_schema_length=None)``: a column may begin with None.
    """

    def __init__(self, rows: Iterable[T_co] = ()) -> None:
        self._rows: tuple[T_co, ...] = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[T_co]:
        return iter(self._rows)

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Rows[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | Rows[T_co]:
        return Rows(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} rows>"

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dicts of plain values: numbers, strings, booleans, tuples of them, None."""
        return [row.to_dict() for row in self._rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRow:
    """One IP packet.

    Of TCP, sequence numbers are relative: the SYN is 0; without a captured SYN the first octet
    seen is 1, as in ``tunstack trace``. They do not wrap. What a packet or its capture does not
    have is None.

    Attributes:
        number: Of the IP packets of the capture, from 1.
        time: Seconds since the capture's first packet.
        connection: The number of its TCP connection, UDP flow or ping, as in ``tunstack trace``.
        direction: "in" to the capturing host, "out" from it; None if the capture does not say.
        protocol: ``"TCP"``, ``"UDP"``, ``"ICMP"``, ``"ICMPv6"``, ``"protocol 47"``...; of a packet
            that cannot be decoded, the reason.
        source: The source address.
        source_port: Of TCP and UDP.
        destination: The destination address.
        destination_port: Of TCP and UDP.
        size: Octets of the whole packet as captured.
        length: Octets of data: of TCP and UDP without the headers; SEG.LEN without SYN and FIN.
        fragment: Whether it is a fragment. The segment in one is not decoded.
        info: The description of what is not TCP: ``"ICMP echo request seq 1 len 56"``.
        flags: TCP's control bits: ``"SYN,ACK"``; ``"none"`` without one.
        seq: Relative sequence number.
        ack: Relative acknowledgment number; None without ACK.
        window: Octets, scaled where both SYNs were captured (RFC 7323 section 2.2).
        retransmission: Whether all octets of the segment were sent before.
        mss: MSS option.
        window_scale: Window Scale option, the shift.
        sack_permitted: Whether there is a SACK-Permitted option.
        sack: SACK blocks, relative: ``((left, right), ...)``.
        timestamp: TSval of the Timestamps option.
        timestamp_echo: TSecr of it.
        fast_open: Cookie of the TCP Fast Open option, in hexadecimal; empty if it asks for one.
        state_before: Our connection's state before the packet, in RFC 9293's words.
        state: The state after it.
        verdict: What our stack decided: ``"accepted"``, ``"retransmission: timeout"``...
        cwnd: Our congestion window from then on, octets.
        ssthresh: Our slow start threshold, octets; None also before the first loss.
        smss: The octets of data that our segments can carry.
        pipe: Octets in flight by RFC 6675's count; only in a simulation.
        lost: Whether the path loses it; known only in a simulation.
    """

    number: int
    time: float
    connection: int | None = None
    direction: Literal["in", "out"] | None = None
    protocol: str = "TCP"
    source: str = ""
    source_port: int | None = None
    destination: str = ""
    destination_port: int | None = None
    size: int = 0
    length: int = 0
    fragment: bool = False
    info: str = ""
    flags: str | None = None
    seq: int | None = None
    ack: int | None = None
    window: int | None = None
    retransmission: bool = False
    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    sack: tuple[tuple[int, int], ...] = ()
    timestamp: int | None = None
    timestamp_echo: int | None = None
    fast_open: str | None = None
    state_before: str | None = None
    state: str | None = None
    verdict: str = ""
    cwnd: int | None = None
    ssthresh: int | None = None
    smss: int | None = None
    pipe: int | None = None
    lost: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The row as a dict of plain values, one for each attribute."""
        return {name: getattr(self, name) for name in _PACKET_NAMES}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRow:
    """One TCP connection.

    The client sent the SYN; in a capture without the handshake, the side with the higher port is
    taken for it. ``to`` says which way: ``octets_to_client`` are sent by the server.

    Attributes:
        number: As in ``tunstack trace``.
        client: The client's address.
        client_port: Its port.
        server: The server's address.
        server_port: Its port.
        ours: Which side captured it, ``"client"`` or ``"server"``; None if unknown.
        start: The time of its first packet, in seconds since the capture's first packet.
        end: The time of its last packet.
        packets_to_server, packets_to_client: Packets.
        octets_to_server, octets_to_client: Octets of data, retransmissions included.
        retransmissions_to_server, retransmissions_to_client: Segments retransmitted.
        state: Our connection's state after the last packet, or None.
        packets: Its packets, without fragments. Not in :meth:`to_dict`.
    """

    number: int
    client: str
    client_port: int
    server: str
    server_port: int
    ours: Literal["client", "server"] | None = None
    start: float
    end: float
    packets_to_server: int = 0
    packets_to_client: int = 0
    octets_to_server: int = 0
    octets_to_client: int = 0
    retransmissions_to_server: int = 0
    retransmissions_to_client: int = 0
    state: str | None = None
    packets: Rows[PacketRow] = field(default_factory=Rows, repr=False, compare=False)

    @property
    def octets(self) -> int:
        """Octets of data in both directions, retransmissions included."""
        return self.octets_to_server + self.octets_to_client

    def is_from(self, packet: PacketRow, side: Literal["client", "server"]) -> bool:
        """Whether one side sent a packet of the connection."""
        end = (self.client, self.client_port)
        if side == "server":
            end = (self.server, self.server_port)
        return (packet.source, packet.source_port) == end

    def to_dict(self) -> dict[str, Any]:
        """The row as a dict of plain values, one for each attribute but `packets`."""
        return {name: getattr(self, name) for name in _CONNECTION_NAMES}


_PACKET_NAMES = tuple(each.name for each in fields(PacketRow))
_CONNECTION_NAMES = tuple(each.name for each in fields(ConnectionRow) if each.name != "packets")
