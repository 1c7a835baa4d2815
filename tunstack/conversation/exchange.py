"""The state of a conversation: numbers of both sides, what came and was sent."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from tunstack.conversation.failure import WIDTH, Seen, draw
from tunstack.conversation.numbers import Numbers
from tunstack.conversation.segment import decode, described
from tunstack.path.rules.packet import Packet
from tunstack.tcp.segment import FIN, RST, SYN
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.conversation.segment import TcpSegment
    from tunstack.tcp.segment import Segment

End: TypeAlias = tuple[str, int]
"""An address, as text, and a port."""

_HISTORY: Final = 1000
"""Packets, at most, of a conversation that are kept for its ladder: the latest."""
_UNREAD: Final = 1000
"""Segments, at most, that wait to be expected; later ones are dropped, and reported."""


class Exchange:
    """The segments between an end of ours and one of a peer's.

    Args:
        start: The sequence number of our SYN.
        transmit: Puts a packet on the wire.
        skip_retransmissions: Whether segments are skipped of which everything was read before.

    Attributes:
        ours: Our numbers.
        theirs: The peer's; `next` counts what was read.
        local: Our address and port; None before the peer's SYN.
        remote: The peer's.
        latest: The last segment that was read, or None.
        overflow: How many segments were dropped because too many were unread.
        superseded: Whether the peer has begun another conversation between the same ends.
        ended: Whether the block of the conversation has ended.
    """

    def __init__(
        self,
        start: int,
        transmit: Callable[[Packet], None],
        *,
        skip_retransmissions: bool = False,
    ) -> None:
        self.ours = Numbers(start)
        self.theirs = Numbers()
        self.local: End | None = None
        self.remote: End | None = None
        self.latest: TcpSegment | None = None
        self.overflow = 0
        self.superseded = False
        self.ended = False
        self._transmit = transmit
        self._skip_retransmissions = skip_retransmissions
        self._unread: deque[TcpSegment] = deque()
        self._arrival = trio.lowlevel.ParkingLot()
        self._history: deque[Seen] = deque(maxlen=_HISTORY)
        self._earlier = 0
        self._their_syn: int | None = None
        self._has_timestamps = [False, False]
        self._recent = 0
        self._acknowledged = 0
        self._our_fin: int | None = None
        self._their_fin: int | None = None
        self._our_ack = 0
        self._our_resets: set[int] = set()
        self._their_resets: set[int] = set()

    # In

    def begin(self, local: End, remote: End) -> None:
        """Say which ends it is between."""
        self.local, self.remote = local, remote

    def is_begun_by(self, segment: Segment) -> bool:
        """Whether a SYN is the one that this conversation began with, or says nothing else."""
        return self._their_syn is None or segment.seq == self._their_syn

    def handle(self, packet: Packet, segment: Segment, options: bytes) -> None:
        """Take a segment that has come."""
        now = trio.current_time()
        self._remember(Seen(now, "in", packet.data))
        if len(self._unread) >= _UNREAD:
            self.overflow += 1
            return
        self.theirs.learn(segment)
        came = described(
            packet, segment, options, own=self.theirs, other=self.ours, time=now, direction="in"
        )
        if segment.flags & SYN:
            self._their_syn = segment.seq
            self._has_timestamps[0] = came.timestamps is not None
        if segment.flags & FIN:
            self._their_fin = came.seq + came.length
        if segment.flags & RST:
            self._their_resets.add(came.seq)
        elif came.ack is not None:
            self._acknowledged = max(self._acknowledged, came.ack)
        self._unread.append(came)
        self._arrival.unpark_all()

    async def read(self, within: float) -> TcpSegment | None:
        """The next segment, in the order of arrival; None if none came within the time.

        Raises:
            trio.ClosedResourceError: The conversation has ended.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within):
            while not self._is_readable() and not self.ended:
                await self._arrival.park()
        self.check_open()
        return self._take() if self._is_readable() else None

    def _is_readable(self) -> bool:
        """Whether there is a segment to read, behind retransmissions that are to be skipped."""
        while self._skip_retransmissions and self._unread and self._is_old(self._unread[0]):
            self._unread.popleft()
        return bool(self._unread)

    def _is_old(self, segment: TcpSegment) -> bool:
        end = segment.seq + segment.length
        return segment.length > 0 and end <= self.theirs.next and "RST" not in segment.flags

    def _take(self) -> TcpSegment:
        segment = self._unread.popleft()
        self.latest = segment
        if "RST" not in segment.flags:
            self.theirs.use(segment.seq, segment.length)
        if segment.timestamps is not None:
            self._recent = segment.timestamps[0]
        return segment

    # Out

    def timestamps(
        self, wanted: bool | tuple[int, int] | None, flags: int
    ) -> tuple[int, int] | None:
        """The timestamps of a segment that is sent.

        Args:
            wanted: They; True to fill them in, False for none, None for what both SYNs agreed on.
            flags: Its flags.
        """
        if isinstance(wanted, tuple):
            return wanted
        if wanted is None:
            wanted = all(self._has_timestamps) and not flags & (SYN | RST)
        if not wanted:
            return None
        return int(trio.current_time() * 1000) & MASK, self._recent

    def send(self, packet: Packet) -> TcpSegment:
        """Put a segment on the wire, and count what it takes of our numbers."""
        now = trio.current_time()
        segment, options = decode(packet.data, trusted=True)
        sent = described(
            packet, segment, options, own=self.ours, other=self.theirs, time=now, direction="out"
        )
        if segment.flags & RST:
            self._our_resets.add(sent.seq)
        else:
            self.ours.use(sent.seq, sent.length)
        if segment.flags & SYN:
            self._has_timestamps[1] = sent.timestamps is not None
        if segment.flags & FIN:
            self._our_fin = sent.seq + sent.length
        if sent.ack is not None:
            self._our_ack = max(self._our_ack, sent.ack)
        self.send_other(packet)
        return sent

    def send_other(self, packet: Packet) -> None:
        """Put a packet that is no segment of ours on the wire."""
        self._remember(Seen(trio.current_time(), "out", packet.data))
        self._transmit(packet)

    # The end

    def end(self, *, reset: bool) -> None:
        """End it; with `reset` the peer's side is reset if it is still open."""
        if self.ended:
            return
        while self._unread:
            self._take()
        if reset and self.local is not None and self.remote is not None and not self._is_over:
            for seq in self._reset_numbers():
                with suppress(OSError):  # The device is gone: so is the peer.
                    self.send(self._reset(self.local, self.remote, seq))
        self.ended = True
        self._arrival.unpark_all()

    @property
    def _is_over(self) -> bool:
        """Whether the peer's side has ended: by its RST, or with both FINs acknowledged."""
        if self.superseded:
            return True
        if self.theirs.next in self._their_resets:  # With another number it answers a wrong ACK.
            return True
        if self._our_fin is None or self._their_fin is None:
            return False
        return self._acknowledged >= self._our_fin and self._our_ack >= self._their_fin

    def _reset_numbers(self) -> list[int]:
        """Where the peer may expect us to continue: a RST must have the exact number (RFC 5961)."""
        numbers = dict.fromkeys((self.ours.next, self._acknowledged))
        return [] if self.ours.next in self._our_resets else [*numbers]

    def _reset(self, local: End, remote: End, seq: int) -> Packet:
        """A RST; with an acknowledgment, for a peer that waits for our SYN,ACK.

        If we have sent nothing its number is 0, as that of a closed port (RFC 9293 3.10.7.1).
        """
        return Packet.tcp(
            source=local[0],
            source_port=local[1],
            destination=remote[0],
            destination_port=remote[1],
            flags="RST,ACK",
            seq=self.ours.absolute(seq) if self.ours.next else 0,
            ack=self.theirs.absolute(self.theirs.next),
            window=0,
        )

    # For failures

    def check_open(self) -> None:
        """Raise `trio.ClosedResourceError` if the block has ended."""
        if self.ended:
            raise trio.ClosedResourceError("the conversation has ended")

    def _remember(self, seen: Seen) -> None:
        self._earlier += len(self._history) == _HISTORY
        self._history.append(seen)

    def ladder(self, *, width: int = WIDTH, note: str = "", at: bytes | None = None) -> str:
        """The packets so far as a ladder; see :func:`draw`."""
        drawn = draw(self._history, note=note, at=at, width=width)
        return f"({self._earlier} earlier packets)\n{drawn}" if self._earlier else drawn
