"""Who watches every packet of a simulation, from the packets alone, and knows the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.tcp.segment import ACK, FIN, RST, SYN, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from tunstack.stack.observation import Observation

OTHER: Final = {"client": "server", "server": "client"}


class Side:
    """What one side has shown so far; numbers are relative to its initial sequence number."""

    def __init__(self) -> None:
        self.iss = 0
        self.stream = bytearray()
        self.end = 0
        """Behind everything it has sent."""
        self.fin: int | None = None
        self.ack = 0
        self.ts_val = 0
        self.shift: int | None = None
        """What its SYN says of its windows."""
        self.promised = 0
        """The right edge that it has offered, in the other's numbers."""
        self.may_send = 0
        """The right edge that it knows of, in its own numbers."""


class Referee:
    """A tap for a simulation of one connection; it raises AssertionError for a foul.

    Each side sends its octets without a hole, and the same octet the same each time; keeps within
    the window that it was offered; acknowledges what was sent, and takes neither that back nor a
    window; and its clock does not run backwards.
    """

    def __init__(self) -> None:
        self.sides = {"client": Side(), "server": Side()}
        self.packets = 0

    def __call__(self, name: str, observation: Observation) -> None:
        _, _, segment = decode_segment(decode_datagram(observation.packet))
        if segment.flags & RST:
            return
        if observation.direction == "out":
            self.packets += 1
            self._sent(self.sides[name], self.sides[OTHER[name]], segment)
        elif segment.flags & ACK:
            side, peer = self.sides[name], self.sides[OTHER[name]]
            ack = (segment.ack - side.iss) & MASK
            side.may_send = max(side.may_send, ack + self._window(peer, side, segment))

    def _sent(self, side: Side, peer: Side, segment: Segment) -> None:
        if segment.flags & SYN:
            side.iss, side.shift, side.end = segment.seq, segment.wscale, max(side.end, 1)
        start = (segment.seq - side.iss + (segment.flags & SYN != 0)) & MASK
        self._check_data(side, start, segment)
        if segment.flags & ACK:
            self._check_ack(side, peer, segment)
        if segment.ts_val is not None:
            ts_val = (segment.ts_val - side.ts_val) & MASK if side.ts_val else 0
            assert ts_val < 1 << 31, "the clock runs backwards"
            side.ts_val = segment.ts_val

    def _check_data(self, side: Side, start: int, segment: Segment) -> None:
        payload = bytes(segment.payload)
        end = start + len(payload)
        if payload:
            assert start <= side.end, "a hole in what is sent"
            assert end <= side.may_send, "beyond the window"
            known = side.stream[start - 1 : end - 1]
            assert payload.startswith(known), "an octet has changed"
            side.stream += payload[len(known) :]
        if segment.flags & FIN:
            assert side.fin in (None, end), "the FIN has moved"
            side.fin = end
            end += 1
        assert side.fin is None or end <= side.fin + 1, "data behind the FIN"
        side.end = max(side.end, end)

    def _check_ack(self, side: Side, peer: Side, segment: Segment) -> None:
        ack = (segment.ack - peer.iss) & MASK
        assert side.ack <= ack <= peer.end, "an ACK of what was never sent, or taken back"
        side.ack = ack
        edge = ack + self._window(side, peer, segment)
        unit = 1 << (side.shift or 0)
        assert edge > side.promised - unit, "the window shrinks"
        side.promised = max(side.promised, edge)

    @staticmethod
    def _window(side: Side, peer: Side, segment: Segment) -> int:
        """What `side` offers in `segment`, in octets (RFC 7323 section 2)."""
        if segment.flags & SYN or side.shift is None or peer.shift is None:
            return segment.wnd
        return segment.wnd << side.shift
