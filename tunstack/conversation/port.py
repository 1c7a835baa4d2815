"""A port of a host that no TCP answers: its segments go to conversations."""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio

from tunstack.conversation.conversation import Conversation
from tunstack.conversation.exchange import Exchange
from tunstack.conversation.segment import decode
from tunstack.tcp.segment import ACK, SYN, flag_names
from tunstack.tcp.sequence import MASK
from tunstack.wire import Discard

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.conversation.exchange import End
    from tunstack.path.rules.packet import Packet
    from tunstack.tcp.segment import Segment

_MOST: Final = 1000
"""Conversations at once, at most; later SYNs are dropped, and reported."""
_REMARKS: Final = 10
"""Other packets that the text of a failure names, at most."""


class Port:
    """Distributes the segments that come to a port.

    Args:
        start: The sequence number of our SYNs, or None for a random one each.
        reset: Whether peers are reset at the end.
        random: Returns a random sequence number.
        mtu: Of the link.
        transmit: Puts a packet on the wire.
        skip_retransmissions: Whether they are skipped.

    Attributes:
        untaken: Conversations that a SYN has begun and that nobody has taken.
    """

    def __init__(
        self,
        *,
        start: int | None,
        reset: bool,
        random: Callable[[], int],
        mtu: int,
        transmit: Callable[[Packet], None],
        skip_retransmissions: bool,
    ) -> None:
        self.untaken: deque[Exchange] = deque()
        self._start = start
        self._reset = reset
        self._random = random
        self._mtu = mtu
        self._transmit = transmit
        self._skip_retransmissions = skip_retransmissions
        self._exchanges: dict[tuple[End, End], Exchange] = {}
        self._all: dict[Exchange, None] = {}
        self._vacant: Exchange | None = None
        self._strays: Counter[str] = Counter()
        self._news = trio.lowlevel.ParkingLot()
        self._ended = False

    # Conversations

    def new(self, ends: tuple[End, End] | None = None) -> Conversation:
        """A conversation between two ends, or with the first client that sends a SYN."""
        exchange = self._new_exchange()
        if ends is None:
            self._vacant = exchange
        else:
            self._add(exchange, *ends)
        return self._conversation(exchange, active=ends is not None)

    async def take(self, within: float) -> Conversation | None:
        """The conversation of the next client; None if none came within the time.

        Raises:
            trio.ClosedResourceError: The block has ended.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within):
            while not self.untaken and not self._ended:
                await self._news.park()
        if self._ended:
            raise trio.ClosedResourceError("the conversations have ended")
        if not self.untaken:
            return None
        return self._conversation(self.untaken.popleft(), active=False)

    def _new_exchange(self) -> Exchange:
        start = self._random() if self._start is None else self._start & MASK
        skip = self._skip_retransmissions
        exchange = Exchange(start, self._transmit, skip_retransmissions=skip)
        self._all[exchange] = None
        return exchange

    def _conversation(self, exchange: Exchange, *, active: bool) -> Conversation:
        return Conversation(
            exchange,
            active=active,
            mtu=self._mtu,
            remarks=self.remarks,
            forget=lambda: self._forget(exchange),
        )

    def _add(self, exchange: Exchange, local: End, remote: End) -> None:
        exchange.begin(local, remote)
        before = self._exchanges.get((local, remote))
        if before is not None:
            before.superseded = True
        self._exchanges[local, remote] = exchange

    def _forget(self, exchange: Exchange) -> None:
        self._all.pop(exchange, None)
        if exchange is self._vacant:
            self._vacant = None
        if exchange.local is not None and exchange.remote is not None:
            ends = exchange.local, exchange.remote
            if self._exchanges.get(ends) is exchange:
                del self._exchanges[ends]

    # Segments

    def handle(self, packet: Packet) -> Packet | None:
        """Take a packet that has come to the port; return it if it is the host's own."""
        try:
            segment, options = decode(packet.data)
        except Discard as discard:
            self._count(f"dropped: {discard.reason.phrase}")
            return None
        local = str(packet.destination), packet.destination_port or 0
        remote = str(packet.source), packet.source_port or 0
        exchange = self._exchanges.get((local, remote))
        is_syn = segment.flags & (SYN | ACK) == SYN
        if exchange is None or (is_syn and not exchange.is_begun_by(segment)):
            if not is_syn:
                return self._stray(packet, segment)
            exchange = self._begin(local, remote)
        if exchange is not None:
            exchange.handle(packet, segment, options)
        return None

    def _stray(self, packet: Packet, segment: Segment) -> Packet | None:
        """What belongs to no conversation may belong to an older connection of the host."""
        if packet.connection is not None:
            return packet
        what = f"{flag_names(segment.flags)} from {packet.source} port {packet.source_port}"
        self._count(f"of no conversation: {what}")
        return None

    def _begin(self, local: End, remote: End) -> Exchange | None:
        """A SYN begins a conversation: the one that waits for a client, or another."""
        exchange = self._vacant
        if exchange is None:
            if len(self._all) >= _MOST:
                self._count(f"dropped: a SYN beyond {_MOST} conversations")
                return None
            exchange = self._new_exchange()
            self.untaken.append(exchange)
        self._vacant = None
        self._add(exchange, local, remote)
        self._news.unpark_all()
        return exchange

    def _count(self, what: str) -> None:
        """Count a packet of no conversation; of those that differ, only the first are named."""
        named = what in self._strays or len(self._strays) < _REMARKS
        self._strays[what if named else "of other kinds"] += 1

    def remarks(self) -> list[str]:
        """What else came to the port, for the text of a failure."""
        remarks = [
            f"Another client, {each.remote[0]} port {each.remote[1]}, has sent a SYN, and its "
            "conversation was not taken."
            for each in islice(self.untaken, _REMARKS)
            if each.remote is not None
        ]
        remarks += [f"Other packets {what}: {count}." for what, count in self._strays.items()]
        return remarks

    # The end

    def end(self) -> None:
        """End all conversations."""
        for exchange in self._all:
            exchange.end(reset=self._reset)
        self._ended = True
        self._news.unpark_all()
