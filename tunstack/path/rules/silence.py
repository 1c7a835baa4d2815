"""Connections that have vanished: nothing of them passes a gate any more."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, final

from tunstack.path.rules.selection import key_of
from tunstack.tcp.segment import ACK, RST, SYN

if TYPE_CHECKING:
    from tunstack.ip.demux import FourTuple
    from tunstack.path.rules.known import Lookup
    from tunstack.path.rules.packet import Direction, Packet

MOST_SILENT: Final = 1 << 16
"""Connections that are remembered, at about 220 octets each: twice as many as a host has."""


@final
class Silence:
    """The connections whose packets are dropped, by four-tuple.

    A connection is remembered when the host has it no more: its peer may retransmit, or send
    keep-alives, for hours. It is forgotten

    - when its four-tuple is used anew: by another connection of the host, or by a SYN that comes
      when the host has none;
    - when its peer resets it, and the host has it no more: nothing follows;
    - when there are more than `most`: the one of which no packet came for the longest time.

    Args:
        lookup: Finds the host's connection of a four-tuple.
        most: How many are remembered.
    """

    def __init__(self, lookup: Lookup, most: int = MOST_SILENT) -> None:
        self._lookup = lookup
        self._most = most
        self._connections: OrderedDict[bytes, tuple[int, tuple[Direction, ...]]] = OrderedDict()
        """By `FourTuple.incoming`: the number of each, and the directions that are silent."""

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, key: bytes) -> bool:
        return key in self._connections

    def add(self, ends: FourTuple, number: int, directions: tuple[Direction, ...]) -> None:
        """Drop packets of these directions of the connection with this `Known.number`."""
        connections = self._connections
        before = connections.pop(ends.incoming, None)
        if before is not None and before[0] == number:
            directions = before[1] + directions
        connections[ends.incoming] = number, directions
        if len(connections) > self._most:
            connections.popitem(last=False)

    def takes(self, packet: Packet) -> bool:
        """Whether a packet is to be dropped."""
        key = key_of(packet)
        found = self._connections.get(key) if key is not None else None
        if key is None or found is None or packet.protocol != "tcp":
            return False
        ends, (number, directions), flags = packet.four_tuple, found, packet.flag_bits or 0
        assert ends is not None
        known = self._lookup(ends)
        begins = known is None and packet.direction == "in" and flags & (SYN | ACK) == SYN
        if begins or (known is not None and known.number != number):
            del self._connections[key]
            return False
        if packet.direction not in directions:
            return False
        if known is None and packet.direction == "in" and flags & RST:
            del self._connections[key]
        else:
            self._connections.move_to_end(key)
        return True

    def clear(self) -> None:
        """Forget all."""
        self._connections.clear()


__all__ = ["MOST_SILENT", "Silence"]
