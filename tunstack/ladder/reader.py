"""Read what is above UDP and TCP: DNS on its port, TLS on any, across segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.ladder.dns import PORT, DnsStream, read_dns
from tunstack.ladder.streams import Stream
from tunstack.ladder.tls import TlsConnection, TlsStream
from tunstack.tcp.segment import ACK, SYN

if TYPE_CHECKING:
    from tunstack.ladder.message import Message
    from tunstack.ladder.packets import Endpoint, Pair
    from tunstack.ladder.step import Step
    from tunstack.tcp.segment import Segment

_MOST_CONNECTIONS: Final = 256
"""Connections that are read at a time; of more, those without a segment for the longest time are
forgotten, and read from a record's begin on."""


class Reader:
    """Reads messages packet by packet, in order of time."""

    def __init__(self) -> None:
        self._connections: dict[Pair, _Connection] = {}

    def read(self, step: Step) -> list[Message]:
        """The messages that a packet completes, and the records that begin in it."""
        if step.fragment is not None or step.verdict.startswith("dropped"):
            return []
        if step.segment is not None:
            return self._of_segment(step, step.segment)
        if step.protocol == "UDP" and _is_dns(step) and step.data:
            return [read_dns(step.data)]
        return []

    def _of_segment(self, step: Step, segment: Segment) -> list[Message]:
        pair = step.pair
        opens = segment.flags & (SYN | ACK) == SYN
        connection = self._connections.pop(pair, None)
        if connection is None or (opens and connection.isn != segment.seq):
            if not opens and not segment.payload:
                return []
            connection = _Connection(segment.seq if opens else None, dns=_is_dns(step))
        if len(self._connections) >= _MOST_CONNECTIONS:
            del self._connections[next(iter(self._connections))]
        self._connections[pair] = connection
        return connection.add(step, segment)


def _is_dns(step: Step) -> bool:
    return PORT in (step.source[1], step.destination[1])


class _Connection:
    """Both directions of one connection.

    Args:
        isn: The client's initial sequence number, if its SYN was seen.
        dns: Whether it is of DNS, by its port.
    """

    def __init__(self, isn: int | None, *, dns: bool) -> None:
        self.isn = isn
        self._dns = dns
        self._tls = TlsConnection()
        self._directions: dict[Endpoint, _Direction] = {}

    def add(self, step: Step, segment: Segment) -> list[Message]:
        direction = self._directions.get(step.source)
        if direction is None:
            direction = self._directions[step.source] = _Direction(
                DnsStream() if self._dns else None, self._tls
            )
        return direction.add(segment, step.missing)


class _Direction:
    """The octets of one side, and who reads them.

    Args:
        reader: Who reads them; None for TLS, if they look like it.
        tls: What both directions know.
    """

    def __init__(self, reader: DnsStream | None, tls: TlsConnection) -> None:
        self._reader: DnsStream | TlsStream | None = reader
        self._tls = tls
        self._stream: Stream | None = Stream()
        self._first = b""

    def add(self, segment: Segment, missing: int) -> list[Message]:
        stream = self._stream
        if stream is None:
            return []
        seq = segment.seq
        if segment.flags & SYN:
            seq = (seq + 1) & 0xFFFF_FFFF
            stream.begin(seq)
        size = len(segment.payload)
        if not size:
            return []
        missing = min(missing, size)
        messages: list[Message] = []
        for piece in stream.add(seq, bytes(segment.payload[: size - missing]), missing):
            found = self._feed(piece)
            if found is None:
                self._stream = self._reader = None
                break
            messages += found
        return messages

    def _feed(self, piece: bytes | int) -> list[Message] | None:
        if self._reader is None:
            if isinstance(piece, int):
                return None
            piece = self._first = self._first + piece
            looks_like = TlsStream.may_begin(piece)
            if looks_like is None:
                return []
            if not looks_like:
                return None
            self._reader = TlsStream(self._tls)
            self._first = b""
        return self._reader.feed(piece)
