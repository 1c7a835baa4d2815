"""The sending half of a connection: transmission and ACK processing.

Its variables are in :mod:`.send_variables`, its timers in :mod:`.send_timers`.
"""

from __future__ import annotations

from typing import Final, final

from tunstack.tcp.congestion import Acknowledgement
from tunstack.tcp.recovery.recovery import Recovery
from tunstack.tcp.recovery.recovery_variables import AckInfo, Phase
from tunstack.tcp.recovery.sack_blocks import read_blocks
from tunstack.tcp.sender import sizing
from tunstack.tcp.sender.send_buffer import SendBuffer
from tunstack.tcp.sender.send_timers import SendTimers
from tunstack.tcp.sender.tail_probe import NO_PROBE, TailLossProbe
from tunstack.tcp.sequence import MASK, ge, gt, le, lt

DEFERRAL: Final = 0.001
"""Seconds that the rest of a large segment waits for more data, at most: the granularity of a
host's timers."""

_OPEN: Final = Phase.OPEN
_RECOVERY: Final = Phase.RECOVERY
_LOSS: Final = Phase.LOSS


@final
class Transmission:
    """A segment to send: `size` octets from `seq`, perhaps with a FIN.

    Attributes:
        seq: Sequence number of its first octet.
        size: Octets of data.
        fin: Whether a FIN follows them.
        why: The reason of a retransmission: "fast", "timeout", "too large" or "tail loss probe";
            empty for new data.
        probe: Whether it is a path MTU probe, larger than the MSS.
    """

    __slots__ = ("fin", "probe", "seq", "size", "why")

    def __init__(
        self, seq: int, size: int, fin: bool = False, why: str = "", probe: bool = False
    ) -> None:
        self.seq = seq
        self.size = size
        self.fin = fin
        self.why = why
        self.probe = probe

    def note(self) -> str:
        """A comment for captures and traces; empty for new data."""
        if self.probe:
            return "size probe"
        return self.why and f"retransmission: {self.why}"


class Sender(SendTimers):
    """The sending half: `next_transmission` out, `sent` and `handle_ack` in."""

    __slots__ = ()

    # Transmission

    def syn_sent(self, now: float) -> None:
        """Record that a SYN was sent or retransmitted, and start its timer."""
        self.last_sent = now
        if self.nxt == self.iss:
            self.nxt = (self.iss + 1) & MASK
            self.recovery.on_sent(1, now)
            self.stalled_since = now
        else:
            self.retransmissions += 1
            self.recovery.on_retransmit(0, 1, now)
        self.timer = self._timer_at(now, self._config.syn_r2)

    def sent_in_syn(self, octets: int, at: float) -> None:
        """Advance SND.NXT over `octets` of data in our SYN, sent at `at` (RFC 7413)."""
        self.nxt = (self.nxt + octets) & MASK
        self.recovery.on_sent(octets, at)

    def send_early(self) -> None:
        """Allow data before our SYN is acknowledged (RFC 7413 section 4.2)."""
        self.early = True
        self.recovery.exclude_syn()
        self.wnd += 1  # SND.UNA is the SYN, which does not count against the offered window.

    def restore_syn_sent(self, now: float) -> None:
        """Restore the state after a SYN,ACK that was sent with a SYN cookie, at an unknown time."""
        self.syn_sent(now)
        self.recovery.on_retransmit(0, 1, now)  # Karn's rule: no RTT sample.

    def restore_after_fin(self) -> None:
        """Restore a sender whose FIN, the last number before `iss`, is acknowledged."""
        self.synchronized = self.fin_queued = self.orphaned = True
        self.recovery.fin = True
        self.buffer = SendBuffer((self.iss - 1) & MASK)

    def return_to_listen(self) -> None:
        """Reset the state on return to LISTEN: no SYN is outstanding."""
        self.nxt = self.iss
        self.timer = None
        self.recovery = Recovery(self.congestion, self.rtt, self.path)
        self.rtt.end_back_off()

    def next_transmission(self, limit: int, room: int, now: float) -> Transmission | None:
        """Return the next segment to send, or None; call :meth:`sent`, then call again.

        Args:
            limit: Octets of a segment, at most; more than `mss` with segmentation offload.
            room: Octets of data that fit into the MSS beside the options of this segment.
            now: Seconds.
        """
        if not (self.synchronized or self.may_send):  # The first is faster to check.
            return None
        if self._probe_due:
            return self._tail_probe(room)
        if self.recovery.prefers_new_data:
            new = self._new_transmission(limit, room, now)
            if new is not None:
                return new
        if self.recovery.board.lost:
            # Lost data is retransmitted before new data is sent (RFC 6675 NextSeg, rule 1).
            return self._lost_transmission(room)
        if self.path.search is not None and (size := sizing.probe_size(self, room)):
            # Wait until the window has room for the probe, rather than fill it with other data.
            fits = size <= self.congestion.cwnd - self.recovery.pipe
            return Transmission(self.nxt, size, probe=True) if fits else None
        return self._new_transmission(limit, room, now)

    def _lost_transmission(self, room: int) -> Transmission | None:
        recovery = self.recovery
        board, fin = recovery.board, recovery.fin
        lost = board.next_lost(room + fin)
        assert lost is not None
        start, end = lost
        if end < board.nxt:
            end = min(end, start + room)
        quota = self.congestion.cwnd - recovery.pipe + fin
        if end - start > quota and not recovery.resend_now:
            return None
        return self._again(start, end, recovery.reason)

    def _again(self, start: int, end: int, why: str) -> Transmission:
        """Retransmit [start, end): even beyond a window that shrank (SHLD-16, MAY-7)."""
        seq = self._seq(start)
        data = (self.buffer.end - seq) & MASK
        size = min(end - start, data)
        return Transmission(seq, size, end - start > data, why)

    def _tail_probe(self, room: int) -> Transmission | None:
        """Return a tail loss probe: new data if SND.WND has room, else the last segment."""
        self._probe_due = False
        board = self.recovery.board
        size = min(self.unsent, room, self.wnd - self.outstanding)
        if size > 0:
            self._tail = TailLossProbe(board.nxt + size, self.outstanding, retransmission=False)
            return Transmission(self.nxt, size)
        last = board.last_unsacked()
        if last is None:
            return None
        self._tail = TailLossProbe(board.nxt, self.outstanding, retransmission=True)
        if last.end == board.nxt:
            room += self.recovery.fin
        return self._again(max(last.start, last.end - room), last.end, "tail loss probe")

    def _new_transmission(self, limit: int, room: int, now: float) -> Transmission | None:
        available = (self.buffer.end - self.nxt) & MASK
        if available > 1 << 31:  # Our FIN was sent.
            return None
        outstanding = (self.nxt - self.una) & MASK
        usable = self.wnd - outstanding  # Negative when the window shrank (MUST-34).
        if not available:
            # A FIN alone may exceed cwnd, as it carries no data.
            if self.fin_queued and usable > 0:
                return Transmission(self.nxt, 0, fin=True)
            return None
        size = self.new_data_size(limit, room, available, outstanding, now)
        if not size:
            return None
        fin = self.fin_queued and size == available and usable > size
        return Transmission(self.nxt, size, fin)

    def new_data_size(
        self, limit: int, room: int, available: int, outstanding: int, now: float
    ) -> int:
        """Return how many of `available` new octets to send now as one segment; 0 if none."""
        size = available
        if size > limit:
            size = limit
        usable = self.wnd - outstanding
        if size > usable:
            size = usable
        usable = self.congestion.cwnd - self.recovery.pipe
        if size > usable:
            size = usable
        if size <= 0:
            return 0
        if size > room and (size < available or self.corked or self.more):
            size -= size % room
        if size < room and not self._may_be_small(
            size, available, outstanding - (not self.synchronized)
        ):
            return 0
        if size < limit and size == available and outstanding >= 2 * limit > 2 * room:
            return 0 if self._defers(now) else size
        return size

    def _defers(self, now: float) -> bool:
        """Whether to defer a partial large segment until more data fills it (TSO deferral).

        A segment of 64 KiB costs as much as one of an octet, so fewer segments cost less. The
        application's next call ends the deferral, or the next ACK, or `DEFERRAL`; or,
        if SRTT is less than twice that, the tail loss probe. The application may write
        meanwhile (:attr:`deferring`): the two waits do not wait for each other.
        """
        if self.fin_queued or self._force or self.recovery.recovering:
            return False
        if self.deferred_until is None:
            # With a short RTT an ACK arrives before a timer could fire.
            soon = (self.rtt.srtt or 0.0) < 2 * DEFERRAL
            self.deferred_until = now + (self.rtt.rto if soon else DEFERRAL)
        return now < self.deferred_until

    @property
    def deferring(self) -> bool:
        """Whether a partial large segment is deferred."""
        return self.deferred_until is not None and self.deferred_until > 0.0

    def _may_be_small(self, size: int, available: int, outstanding: int) -> bool:
        """Whether Nagle and SWS avoidance allow a small segment (RFC 9293 3.7.4, 3.8.6.2.1).

        With Minshall's modification, as in Linux and FreeBSD: it waits for the ACK of a small
        segment, not for that of full ones, so that the end of a large write does not wait for a
        delayed ACK.
        """
        if self._force:
            return True
        if size == available:
            if self.fin_queued or self.up is not None:
                return True
            # Corked data waits for the persist timer, which sets `_force`, as in Linux.
            if self.corked or self.more:
                return False
            return self.nodelay or not 0 < (self.small_end - self.una) & MASK <= outstanding
        return not outstanding and size >= self.max_wnd >> 1

    def sent(self, what: Transmission, now: float) -> None:
        """Record that `what` was sent."""
        size = what.size + what.fin
        end = (what.seq + size) & MASK
        if self._force and ge(end, self._force_until):
            self._force = False
        if not what.why:
            if what.fin:
                self.recovery.fin = True
            self.sent_new(what.size, end, now, probe=what.probe)
            return
        self.last_sent = now
        self.retransmissions += 1
        start = self.position(what.seq)
        self.recovery.on_retransmit(start, start + size, now)
        if self.recovery.sack and what.seq == self.una:
            # RFC 6675 section 6: restart the timer for a retransmission of SND.UNA.
            self.start_timer(now)
        if self.timer is None or self.persisting:
            self.start_timer(now)

    def sent_new(self, size: int, end: int, now: float, *, probe: bool = False) -> None:
        """Record `size` new octets sent, perhaps with a FIN: SND.NXT becomes `end`.

        Both :meth:`sent` and the fast path call it. `probe`: see `Transmission`.
        """
        nxt = self.nxt
        self.last_sent = now
        self.deferred_until = None
        if nxt == self.una:
            self.stalled_since = now
        self.nxt = end
        if size % self.mss:
            self.small_end = end
        self.recovery.on_sent((end - nxt) & MASK, now)
        if probe or size > self.path.proven < self.mss:
            sizing.try_size(self, size, probe=probe)
        if self.timer is None or self.persisting:
            self.start_timer(now)
        self.schedule_probe(now)

    def restart_if_idle(self, now: float) -> None:
        """Reduce cwnd to the initial window after an idle period (RFC 5681 section 4.1)."""
        if self.nxt == self.una and now - self.last_sent > self.rtt.rto:
            self.congestion.idle()

    # Acknowledgement

    def handle_ack(
        self,
        ack: int,
        now: float,
        *,
        sack: tuple[tuple[int, int], ...] = (),
        echoed_at: float | None = None,
        duplicate: bool = False,
        marked: bool = False,
    ) -> None:
        """Process an acceptable ACK (RFC 9293 section 3.10.7.4, fifth; Linux's tcp_ack).

        Args:
            ack: SEG.ACK, with SND.UNA =< SEG.ACK =< SND.NXT; or older, with SACK blocks.
            now: Seconds.
            sack: The SACK blocks.
            echoed_at: When the segment that TSecr echoes was sent (RFC 7323 section 4.1), in
                seconds; None without timestamps.
            duplicate: Whether it is a duplicate ACK by RFC 5681 section 2.
            marked: Whether it has ECE, and ECN was negotiated (RFC 3168).
        """
        outstanding = (self.nxt - self.una) & MASK
        recovery = self.recovery
        sacks, dsack = read_blocks(sack, ack, self) if sack and recovery.sack else ((), None)
        overtaken = lt(ack, self.una)
        if overtaken:
            ack = self.una
        una = self.position(ack)
        if una == recovery.board.una and not sacks and dsack is None and not duplicate:
            return
        probe_duplicated = dsack is not None and self._tail.is_duplicated(dsack)
        # A D-SACK for a tail loss probe does not show a spurious recovery.
        info = AckInfo(una, sacks, None if probe_duplicated else dsack, duplicate, echoed_at)
        advance = una - recovery.board.una
        was_syn = not self.synchronized
        was, undone = recovery.phase, recovery.undone
        if advance:
            self._advance(ack, now)
        sample = recovery.on_ack(info, now, self.mss)
        if sample is not None and not overtaken:  # A reordered ACK gives no sample.
            self.rtt.sample(sample, outstanding, 2 * self.mss)
        if marked:
            recovery.on_ece(advance, now)
        if self.path.trial is not None:
            sizing.check_trial(self, una, now)
        if was_syn and self.retransmissions:
            self._restart_after_syn_loss()
        if recovery.recovering:
            self._tail = NO_PROBE  # Recovery has reduced cwnd already.
        elif self._tail.acknowledged(
            una, duplicate=duplicate and not sack, is_duplicated=probe_duplicated
        ):
            recovery.on_tail_loss(self._tail.flight, now)
        if advance and not marked and not was_syn:
            self._open_window(advance, sample, now, was, undone=recovery.undone > undone)
        self._set_timers(advance, now)

    def _restart_after_syn_loss(self) -> None:
        """Set RTO and the initial window after a retransmitted SYN (RFC 6298 5.7, RFC 6928 2)."""
        self.rtt.restart_after_syn_loss(self._config.rto_after_syn_loss)
        if self.retransmissions > 1:  # After one, the path may just have a long RTT.
            self.congestion.set_mss(self.mss, 1)

    @property
    def all_in_order(self) -> bool:
        """Whether :meth:`handle_ack_in_order` applies: nothing is retransmitted, lost or SACKed."""
        recovery = self.recovery
        return recovery.sack and recovery.is_clean and self._tail.end is None

    def handle_ack_in_order(self, ack: int, advance: int, outstanding: int, now: float) -> None:
        """Process an ACK without SACK and ECE that advances SND.UNA, while `all_in_order`.

        Both the arrival rules and the fast path call it.

        Args:
            ack: SEG.ACK, with SND.UNA < SEG.ACK =< SND.NXT.
            advance: Octets from SND.UNA to it.
            outstanding: Octets from SND.UNA to SND.NXT, before it.
            now: Seconds.
        """
        synchronized = self.synchronized
        self._advance(ack, now)
        recovery = self.recovery
        board = recovery.board
        last = board.acknowledge_in_order(board.una + advance)
        rtt = now - last.time
        recovery.rack.on_delivered_in_order(last, rtt)
        self.rtt.sample(rtt, outstanding, 2 * self.mss)  # One ACK per two segments.
        if self.path.trial is not None:
            sizing.check_trial(self, board.una, now)
        if synchronized:
            self.grow(advance, rtt, now)
        self.early_timer = None
        if advance != outstanding:
            self.start_timer(now)
            self.schedule_probe(now)
        elif not self.persisting:
            self.timer = None

    def _advance(self, ack: int, now: float) -> None:
        """Advance SND.UNA to `ack`."""
        self.una = ack
        self.deferred_until = 0.0
        self.stalled_since = now
        self.unanswered = 0
        if not self.synchronized:
            self.synchronized = True
            self.recovery.on_syn_acked()
        buffer = self.buffer
        if buffer.size:
            if self.fin_queued:
                end = buffer.end
                if gt(ack, end):
                    ack = end
            buffer.drop_until(ack)
        if self.up is not None and le(self.up, ack):
            self.up = None

    def _open_window(
        self, advance: int, rtt: float | None, now: float, was: Phase, *, undone: bool
    ) -> None:
        """Increase cwnd for an ACK that advances SND.UNA; `was` is the phase before it.

        In slow start after a timeout, by at most one segment per ACK (RFC 3465 section 2.1): most
        of what it covers arrived before the timeout. The ACK that ends recovery counts as
        one segment (RFC 5681 section 3.1): if a single segment was lost, no other ACK
        follows. So does the ACK by which a recovery is undone. The ACK that ends fast recovery
        leaves cwnd as set by PRR or RFC 6582 section 3.2.
        """
        phase = self.recovery.phase
        if was is phase is _OPEN:
            self.grow(advance, rtt, now)
        elif undone:
            self.grow(min(advance, self.mss), rtt, now)
        elif was is _LOSS and phase is not _RECOVERY:
            self._open_cwnd(self.mss if phase is _OPEN else min(advance, self.mss), rtt, now)

    def grow(self, octets: int, rtt: float | None, now: float) -> None:
        """Increase cwnd if it limited the sender (congestion window validation, RFC 7661).

        FlightSize is that of the last transmission, as many ACKs may arrive in a batch.
        """
        congestion = self.congestion
        cwnd, flight = congestion.cwnd, self.recovery.flight
        if (flight if cwnd < congestion.ssthresh else self.mss) + flight > cwnd:
            self._open_cwnd(octets, rtt, now)

    def _open_cwnd(self, octets: int, rtt: float | None, now: float) -> None:
        board = self.recovery.board
        self.congestion.acknowledged(Acknowledgement(octets, now, rtt, board.una, board.nxt))

    def update_window(self, seq: int, ack: int, wnd: int) -> None:
        """Set SND.WND to the scaled SEG.WND, unless it is old (RFC 9293 3.10.7.4, fifth).

        A segment with a later ACK is newer, whatever its sequence number, as in Linux. By the RFC's
        rule, the window of a retransmission with a new ACK is ignored, but SND.UNA
        advances, and the old window would then extend beyond what the peer has offered.
        """
        if gt(ack, self.wl2) or ge(seq, self.wl1):
            self.set_window(seq, ack, wnd)

    def set_window(self, seq: int, ack: int, wnd: int) -> None:
        """Set SND.WND, SND.WL1 and SND.WL2."""
        self.wnd = wnd
        self.wl1 = seq
        self.wl2 = ack
        if wnd > self.max_wnd:
            self.max_wnd = wnd
