"""Builds the segments that a connection sends: payload, ACK, window and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.compiled import mypyc_attr
from tunstack.tcp.connection.control_block import ControlBlock
from tunstack.tcp.connection.ecn import ECT_0
from tunstack.tcp.connection.state import CLOSED
from tunstack.tcp.connection.syn_options import our_syn
from tunstack.tcp.receiver.urgent import mark_urgent
from tunstack.tcp.segment import ACK, CWR, ECE, FIN, PSH, RST, Segment
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.tcp.segment import Buffer

_SACK_SIZE = 4 + 3 * 8


@mypyc_attr(allow_interpreted_subclasses=True)
class Transmitter(ControlBlock):
    """Builds segments from the state of both halves."""

    __slots__ = ()

    def transmit(self, now: float) -> list[Segment]:
        """Return all segments that are to be sent now, in order."""
        out = self._outbox
        self._outbox = []
        if out and self.timestamps_ok:
            self._stamp_resets(out, now)
        self.idle_timers.watch(self, now)
        sender, receiver = self.sender, self.receiver
        if self._syn_due:
            self._syn_due = False
            out.append(our_syn(self, now))
            sender.syn_sent(now)
            if not sender.early:
                return out
        fin_due = sender.fin_queued and not sender.recovery.fin
        if sender.nxt != sender.una or sender.buffer.size or fin_due:
            self._transmit_data(out, now)
        if sender.urgent_due:
            receiver.ack_now = True
        if receiver.ack_now:
            # Without SACK the peer can only count: an ACK for each segment out of order, no fewer.
            count = 1 if sender.recovery.sack else max(1, receiver.out_of_order)
            blocks = self._sack_blocks()
            for _ in range(count):
                out.append(self._segment(sender.nxt, ACK, now, b"", blocks))
        return out

    def _stamp_resets(self, out: list[Segment], now: float) -> None:
        """Add timestamps to RSTs (RFC 7323 section 3.2)."""
        for segment in out:
            if segment.flags & RST:
                segment.ts_val = self.timestamp(now)
                segment.ts_ecr = self.ts_recent

    def _transmit_data(self, out: list[Segment], now: float) -> None:
        sender = self.sender
        config = self.config
        if not (sender.synchronized or sender.may_send) or self.state is CLOSED:
            return
        before = sender.nxt
        while True:
            # Asked for each segment: a D-SACK is reported once (RFC 2883 section 4).
            blocks = self._sack_blocks()
            room = sender.mss
            if blocks and room >= 4 * _SACK_SIZE:
                room -= 4 + 8 * len(blocks)
            else:
                blocks = ()  # Beside less, data goes first: an ACK can follow.
            if sender.up is None:
                limit = config.max_payload - config.max_payload % room or room
            else:
                limit = room  # GSO would not adjust the urgent pointer.
            what = sender.next_transmission(limit, room, now)
            if what is None:
                break
            flags = ACK
            payload: Buffer = b""
            if what.size:
                payload = sender.buffer.slice(what.seq, what.size)
                if (what.seq + what.size) & MASK == sender.buffer.end:
                    flags |= PSH  # MUST-61: nothing more is queued.
            if what.fin:
                flags |= FIN
            segment = self._segment(what.seq, flags, now, payload, blocks)
            if what.why or what.probe:
                segment.note = what.note()
            if what.size > room and not what.probe:
                segment.gso_size = room
            if what.size and not what.why and self.ecn.capable:
                self._mark_capable(segment)
            out.append(segment)
            sender.sent(what, now)
            if what.fin and not sender.recovery.board.lost:
                break
        if (sender.nxt - before) & MASK > sender.mss:
            # The last of a burst has PSH: the peer need not wait for more.
            out[-1].flags |= PSH
        sender.watch_window(now)

    def _mark_capable(self, segment: Segment) -> None:
        """Set ECT on new data, and CWR after a reduction of cwnd (RFC 3168 section 6.1.2)."""
        segment.ecn = ECT_0
        if self.sender.recovery.cwr_due:
            self.sender.recovery.cwr_due = False
            segment.flags |= CWR

    def _segment(
        self,
        seq: int,
        flags: int,
        now: float,
        payload: Buffer = b"",
        sack: tuple[tuple[int, int], ...] = (),
    ) -> Segment:
        """Build a segment with the current ACK, window and options."""
        receiver = self.receiver
        if self.ecn.echo:
            flags |= ECE
        segment = Segment(seq, receiver.nxt, flags, receiver.acknowledge(), 0, payload, sack=sack)
        if self.timestamps_ok:
            segment.ts_val = self.timestamp(now)
            segment.ts_ecr = self.ts_recent
        if self.sender.up is not None:
            mark_urgent(segment, self.sender.up)
            self.sender.urgent_due = False
        self.last_ack_sent = receiver.nxt
        return segment

    def _sack_blocks(self) -> tuple[tuple[int, int], ...]:
        """Return the SACK blocks: three beside timestamps, else four (RFC 2018 section 3).

        Where packets are tiny, fewer: data has to find room beside them.
        """
        sender, receiver = self.sender, self.receiver
        if not sender.recovery.sack or not receiver.has_blocks():
            return ()
        most = 3 if self.timestamps_ok else 4
        return receiver.sack_blocks(min(most, (sender.mss - 5) >> 3))

    def _probe(self, now: float, note: str) -> Segment:
        """Build a probe as Linux does: an old sequence number, which draws an ACK.

        RFC 9293 section 3.8.6.1 lets a probe be new data or a retransmission; this one has none,
        as the peer has no room for any.
        """
        segment = self._segment((self.sender.una - 1) & MASK, ACK, now)
        segment.note = note
        return segment
