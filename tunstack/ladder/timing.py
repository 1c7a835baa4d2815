"""Where the time of each connection went: look-up, connect, TLS, first octet, transfer.

The phases are those of curl's ``--write-out``, as seen where the packets were captured, and from
the client's side. A look-up is that of the name whose answer has the server's address, for the
first connection to it afterwards. TLS ends when the client's Finished is sent, in TLS 1.2 when both
were. The first octet is the server's first after the request; if encrypted, it may be of a session
ticket. The transfer ends with the server's last octet, apart from alerts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tunstack.ladder.conversation import Conversation, Flow
from tunstack.ladder.reader import Reader
from tunstack.ladder.rows import remember
from tunstack.tcp.segment import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.ladder.message import Message
    from tunstack.ladder.packets import Endpoint, Pair
    from tunstack.ladder.step import Step
    from tunstack.tcp.segment import Segment

_LATEST: Final = 5.0
"""Seconds between an answer and a connection that is opened because of it, at most."""
_OLD_FINISHED: Final = "TLS Finished"


@dataclass(slots=True)
class LookUp:
    """The queries for a name, of both families, and the answers to them.

    Attributes:
        name: The name.
        begin: Of the first query.
        end: Of the last answer; None without one.
        used: Whether a connection was opened because of it.
    """

    name: str
    begin: float
    end: float | None = None
    used: bool = False


@dataclass(slots=True)
class Timing:
    """The times of a connection, in seconds since the UNIX epoch; None for what did not happen.

    Attributes:
        number: The connection's, as in the ladder.
        client: Who opened it.
        server: The other end.
        syn: When it was opened.
        name: Of the server, as it was looked up, or as TLS names it.
        lookup: Of the name; None if it was not looked up for this connection.
        connected: When the client acknowledged the SYN,ACK.
        secured: When the TLS handshake was over.
        first: When the first octet of the answer came.
        last: When the last octet of the answer came.
        ended: How it failed: ``"refused"``, ``"reset"``; else empty.
    """

    number: int
    client: Endpoint
    server: Endpoint
    syn: float
    name: str = ""
    lookup: LookUp | None = None
    connected: float | None = None
    secured: float | None = None
    first: float | None = None
    last: float | None = None
    ended: str = ""

    @property
    def phases(self) -> tuple[float | None, ...]:
        """Seconds of look-up, connect, TLS, first octet, transfer, and of all of it."""
        begin, lookup = self.syn, None
        if self.lookup is not None and self.lookup.end is not None:
            begin, lookup = self.lookup.begin, self.lookup.end - self.lookup.begin
        ready = self.connected if self.secured is None else self.secured
        return (
            lookup,
            _between(self.syn, self.connected),
            _between(self.connected, self.secured),
            _between(ready, self.first),
            _between(self.first, self.last),
            _between(begin, self.last),
        )


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else end - begin


class Timings:
    """Collects the times of connections, packet by packet, in order of time.

    Attributes:
        connections: In the order of their SYNs.
        unopened: Connections whose beginning was not seen, and which are left out.
    """

    def __init__(self) -> None:
        self._reader = Reader()
        self._count = 0
        self._conversations: dict[Pair, Conversation | Flow] = {}
        self._watched: dict[Pair, _Watched] = {}
        self._names: dict[str, LookUp] = {}
        self._addresses: dict[str, LookUp] = {}
        self.connections: list[Timing] = []
        self.unopened = 0

    def add(self, step: Step) -> None:
        """Add the next packet."""
        if not step.protocol:
            return
        self._number(step)
        messages = self._reader.read(step)
        for message in messages:
            self._look_up(step.time, message)
        if step.segment is not None and step.fragment is None:
            watched = self._watched.get(step.pair)
            if watched is not None:
                watched.add(step, step.segment, messages)

    def _number(self, step: Step) -> None:
        """Count conversations as the ladder does, and watch a new connection."""
        pair, segment = step.pair, step.segment
        known = self._conversations.get(pair)
        if known is not None and not (isinstance(known, Conversation) and known.is_new(step)):
            return
        self._count += 1
        if segment is None:
            self._conversations[pair] = Flow(self._count, step)
            return
        conversation = self._conversations[pair] = Conversation(self._count, step)
        conversation.words(step, segment)  # It remembers the sequence number.
        self._watched.pop(pair, None)
        if not conversation.has_syn:
            self.unopened += 1
            return
        timing = Timing(self._count, step.source, step.destination, step.time)
        lookup = self._addresses.pop(step.destination[0], None)
        fresh = lookup is not None and step.time - (lookup.end or step.time) <= _LATEST
        if lookup is not None and fresh and not lookup.used:
            timing.lookup = lookup
            timing.name = lookup.name
            self._names.pop(lookup.name, None)
        self.connections.append(timing)
        self._watched[pair] = _Watched(timing)

    def _look_up(self, time: float, message: Message) -> None:
        name = message.name.lower()
        if message.kind == "query":
            known = self._names.get(name)
            if known is None or (known.end is not None and time - known.end > _LATEST):
                remember(self._names, name, LookUp(name, time))
        elif message.kind == "answer" and name in self._names:
            known = self._names[name]
            known.end = time
            for address in message.answers:
                remember(self._addresses, address, known)


class _Watched:
    """A connection while it lasts."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._accepted = False
        self._tls = False
        self._ending = False
        self._asked = False

    def add(self, step: Step, segment: Segment, messages: Sequence[Message]) -> None:
        timing, time = self._timing, step.time
        from_client = step.source == timing.client
        self._ending |= bool(segment.flags & FIN)
        if segment.flags & RST:
            # One that answers what comes after a close is usual: the program was done.
            if not timing.ended and not self._ending:
                timing.ended = "refused" if timing.connected is None else "reset"
            return
        if segment.flags & SYN:
            self._accepted |= not from_client
        elif from_client and self._accepted and timing.connected is None and segment.flags & ACK:
            timing.connected = time
            if timing.lookup is not None:
                timing.lookup.used = True
        if not segment.payload:
            return
        for message in messages:
            self._hear(time, message, from_client=from_client)
        kinds = {message.kind for message in messages}
        if not from_client and kinds != {"alert"}:
            self._answer(time, data="data" in kinds)

    def _hear(self, time: float, message: Message, *, from_client: bool) -> None:
        timing = self._timing
        if message.kind == "ClientHello":
            self._tls = True
            timing.name = timing.name or message.name
        elif message.kind == "handshake":
            old = message.title[0] == _OLD_FINISHED
            if old or (from_client and timing.secured is None):
                timing.secured = time
        elif message.kind == "data" and from_client and timing.secured is not None:
            self._asked = True

    def _answer(self, time: float, *, data: bool) -> None:
        """The server has sent octets: of its answer, unless they are of the TLS handshake."""
        timing = self._timing
        if self._tls:
            if timing.secured is None or (timing.first is None and not data):
                return
            if not self._asked:
                return
        if timing.first is None:
            timing.first = time
        timing.last = time
