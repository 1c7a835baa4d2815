"""Loss recovery: loss detection, retransmission, cwnd in recovery (Linux's tcp_input.c).

With SACK, losses are detected by RACK (RFC 8985), cwnd follows PRR (RFC 6937), and pipe is RFC
6675's. Without SACK, the rules are NewReno's (RFC 6582), by duplicate ACKs. A spurious recovery is
undone. When to send, and when new data goes out, is up to :mod:`~tunstack.tcp.sender.sender`.
"""

from __future__ import annotations

from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from tunstack.tcp.recovery.frto import ForwardRto
from tunstack.tcp.recovery.prr import ProportionalRateReduction
from tunstack.tcp.recovery.rack import DUPLICATE_THRESHOLD
from tunstack.tcp.recovery.recovery_variables import AckInfo, Phase, RecoveryVariables
from tunstack.tcp.recovery.undo import Undo
from tunstack.tcp.sender.rtt import CLOCK_GRANULARITY

if TYPE_CHECKING:
    from tunstack.tcp.recovery.sent import Sent

_BY_TIME_AND_END: Final[attrgetter[Any]] = attrgetter("time", "end")

_OPEN: Final[Phase] = Phase.OPEN
_RECOVERY: Final[Phase] = Phase.RECOVERY
_LOSS: Final[Phase] = Phase.LOSS


class Recovery(RecoveryVariables):
    """The loss recovery of one connection: ACKs, timeouts and ECN."""

    __slots__ = ()

    # Acknowledgements

    def on_ack(self, ack: AckInfo, now: float, mss: int) -> float | None:
        """Process an ACK (Linux's tcp_ack); returns its RTT sample in seconds, or None."""
        board = self.board
        before = board.una
        advance = ack.una - before
        delivered, octets = self._update_scoreboard(ack, advance, now, mss)
        if self.sack:
            self._duplicates = 0 if advance else self._duplicates + bool(delivered)
        else:
            octets = self._count_duplicate_acks(advance, octets, duplicate=ack.duplicate, mss=mss)
        if ack.dsack is not None:
            self.rack.on_dsack(ack.una, board.nxt)
        undo = self._undo
        if undo is not None and self._is_spurious(undo, ack, before, delivered):
            self._undo_recovery(undo)
        if advance and self.recovering:
            self._advance_recovery(ack, octets, now, mss)
        more_lost = self._detect_losses(octets, now, mss)
        self._update_cwnd(octets, mss if advance and not more_lost else 0, more_lost=more_lost)
        return self._rtt_sample(delivered, advance, ack.echoed_at, now)

    def _update_scoreboard(
        self, ack: AckInfo, advance: int, now: float, mss: int
    ) -> tuple[list[Sent], int]:
        """Update scoreboard and RACK; returns the ranges newly delivered, and their octets."""
        board = self.board
        highest = board.highest
        delivered = board.acknowledge(ack.una) if advance else []
        for start, end in ack.sacks:
            delivered += board.mark_sacked(start, end, mss)
        if len(delivered) > 1:
            delivered.sort(key=_BY_TIME_AND_END)  # RACK takes the one that was sent last.
        octets = 0
        for sent in delivered:
            octets += sent.end - sent.start
            # TSecr is of the segment that advanced SND.UNA, not of SACKed ones (RFC 7323 4.3).
            echoed_at = ack.echoed_at if sent.end <= ack.una else None
            self.rack.on_delivered(sent, highest, now, echoed_at, self._rtt)
        return delivered, octets

    def _rtt_sample(
        self, delivered: list[Sent], advance: int, echoed_at: float | None, now: float
    ) -> float | None:
        """Return an RTT sample by Karn's rule, else from TSecr, else None (RFC 6298 section 3).

        An ACK that covers a retransmission waited for it, so the ranges beside it give no sample.
        """
        if delivered and not any(sent.retransmitted for sent in delivered):
            return now - max(sent.time for sent in delivered)
        # The peer answers a duplicate with the TSecr of earlier data (RFC 7323 section 5.3, R2
        # before R3): if an ACK was lost, that would measure our own timeout.
        if (
            advance
            and echoed_at is not None
            and echoed_at >= self._timed_out_at - CLOCK_GRANULARITY
        ):
            return max(CLOCK_GRANULARITY, now - echoed_at)
        return None

    def _count_duplicate_acks(self, advance: int, octets: int, *, duplicate: bool, mss: int) -> int:
        """Without SACK, return the octets that an ACK delivers: a segment for each duplicate ACK.

        As Linux's tcp_add_reno_sack and tcp_remove_reno_sacks.
        """
        if advance:
            # All segments but the one that filled the gap were counted by duplicate ACKs.
            not_in_pipe = max(0, self._not_in_pipe - max(0, advance - mss))
            octets -= self._not_in_pipe - not_in_pipe
            self._not_in_pipe = not_in_pipe if self.phase is _RECOVERY else 0
            self._duplicates = 0
            return max(octets, 0)
        if not duplicate or self.phase is _LOSS:
            return 0  # After a timeout, our own retransmissions may cause duplicate ACKs.
        self._duplicates += 1
        if self._duplicates >= DUPLICATE_THRESHOLD and not (self.recovering or self._past_recover):
            return 0  # Limited transmit ends with the second (RFC 3042).
        more = min(mss, max(0, self.board.pipe - self._not_in_pipe - mss))
        self._not_in_pipe += more
        return more

    def _is_spurious(self, undo: Undo, ack: AckInfo, before: int, delivered: list[Sent]) -> bool:
        """Whether the recovery was spurious, by D-SACK, F-RTO or Eifel; SND.UNA was `before`."""
        if ack.dsack is not None and undo.on_dsack(*ack.dsack):
            return True
        if not self.recovering or not (delivered or ack.duplicate):
            return False
        advanced = ack.una > before
        frto = self._frto
        if frto is not None and frto.on_ack(ack.una, self.board.nxt, delivered, advanced=advanced):
            return True
        first = next((sent for sent in delivered if sent.start == before), None)
        return advanced and first is not None and undo.is_spurious_by_echo(ack.echoed_at, first)

    def _undo_recovery(self, undo: Undo) -> None:
        """Undo a spurious recovery: restore cwnd and ssthresh (Linux's tcp_undo_cwnd_reduction)."""
        self.board.unmark_lost()
        self._congestion.undo(undo.cwnd, undo.ssthresh)
        if not undo.timed_out:
            self.rack.reordering_seen = True  # The data was late: overtaken by later data.
        self._leave_recovery()
        self._undo = None
        self.undone += 1

    def _detect_losses(self, octets: int, now: float, mss: int) -> bool:
        """Mark losses, now that `octets` are delivered, and enter fast recovery if there are any.

        Returns whether more is lost than before.
        """
        board = self.board
        if not self.sack:
            enough = self._duplicates >= DUPLICATE_THRESHOLD
            if enough and self.phase is _OPEN and self._past_recover:
                self._mark_first_lost(mss)
                self._enter_recovery(octets, now)
                return True
            return False
        before = board.lost
        self.reorder_timer = None
        if board.sacked or board.resent:
            enough = (
                self._duplicates >= DUPLICATE_THRESHOLD
                or board.sacked > (DUPLICATE_THRESHOLD - 1) * mss
            )
            self.reorder_timer = self.rack.detect_loss(
                board, now, self._rtt, without_reordering=self.recovering or enough
            )
        if board.lost and self.phase is _OPEN:
            self._enter_recovery(octets, now)
        return board.lost > before

    def _update_cwnd(self, octets: int, extra: int, *, more_lost: bool) -> None:
        """In fast recovery, set cwnd by PRR for octets delivered, or newly marked lost."""
        if self._prr is not None and (octets or more_lost):
            self._congestion.cwnd = self._prr.on_ack(
                octets, self.pipe, self._congestion.ssthresh, extra
            )
            if not octets:  # PRR allows nothing; but one retransmission restarts the ACK clock.
                self.resend_now = True

    @property
    def _past_recover(self) -> bool:
        """Whether SND.UNA is beyond *recover* (RFC 6582 section 3.2, step 2).

        Before that, duplicate ACKs may be caused by our own retransmissions.
        """
        return self.board.una > self.recover

    def _mark_first_lost(self, mss: int) -> None:
        """Mark the first outstanding segment lost."""
        board = self.board
        for sent in board.head(mss + (self.fin and board.una + mss + 1 == board.nxt)):
            if not sent.sacked:
                board.mark_lost(sent)

    def _enter_recovery(self, octets: int, now: float) -> None:
        """Enter fast recovery (RFC 6675 section 5, RFC 6582 section 3.2).

        FlightSize is that of when we last sent: in a batch of ACKs, those before the one that shows
        the loss have acknowledged much of it, and nothing was sent since. It is what the network
        carried (RFC 7661 section 4.4 has pipeACK for that).
        """
        if self._only_probe_lost():
            return
        congestion, board = self._congestion, self.board
        flight = min(self.flight, congestion.cwnd)  # Without limited transmit.
        self.phase = _RECOVERY
        self.recover = board.nxt
        self._undo = Undo(congestion.cwnd, congestion.ssthresh)
        if board.una > self._marked_at:  # Once per window (RFC 3168 section 6.1.2).
            congestion.loss(flight, now)
        self.cwr_due = True
        self.reason = "fast"
        # RecoverFS leaves out what was delivered before this ACK (RFC 9937 section 6).
        self._prr = ProportionalRateReduction(self.pipe + board.lost + octets)
        self.resend_now = True
        self._partial_acks = 0

    @property
    def _flight_size(self) -> int:
        """FlightSize, without segments that limited transmit sent beyond cwnd (RFC 5681 3.2)."""
        flight = self.board.nxt - self.board.una
        return min(flight, self._congestion.cwnd) if self.phase is _OPEN else flight

    def _advance_recovery(self, ack: AckInfo, octets: int, now: float, mss: int) -> None:
        """Process an ACK that advances SND.UNA in recovery, full or partial (RFC 6582 3.2)."""
        if ack.una >= self.recover:
            self.rack.on_recovery_end()
            if self.phase is _RECOVERY:
                self._congestion.cwnd = self._cwnd_after_recovery(mss)
            self._leave_recovery()
            if self.sack and (self.board.lost or self.board.resent):
                # Data sent after *recover* was lost as well: a second congestion event.
                self._enter_recovery(octets, now)
        elif not self.sack and self.phase is _RECOVERY:
            self._mark_first_lost(mss)  # A partial ACK: the next hole begins here.
            self.resend_now = True
            self._partial_acks += 1

    def _cwnd_after_recovery(self, mss: int) -> int:
        ssthresh = max(self._congestion.ssthresh, mss)
        if self.sack:
            return ssthresh  # With PRR, pipe is about as much: no burst.
        # Pipe by duplicate ACKs is inexact, so avoid a burst (RFC 6582 section 3.2, step 3).
        return min(ssthresh, max(self.board.nxt - self.board.una, mss) + mss)

    def _leave_recovery(self) -> None:
        self.phase = _OPEN
        self.resend_now = False
        self._frto = None
        self._prr = None
        self._not_in_pipe = 0
        self._duplicates = 0
        self._partial_acks = 0

    def on_tail_loss(self, flight: int, now: float) -> None:
        """Reduce cwnd for a loss that a tail loss probe repaired (RFC 8985 section 7.4.2).

        `flight` is FlightSize when the probe was sent, in octets: the loss happened then.
        """
        congestion = self._congestion
        congestion.loss(min(flight, congestion.cwnd), now)
        congestion.cwnd = min(congestion.cwnd, congestion.ssthresh)
        self.cwr_due = True

    # Timers

    def reorder_timer_fired(self, now: float, mss: int) -> None:
        """Detect losses again as the reordering timer fires (RFC 8985 section 6.3)."""
        self._update_cwnd(0, 0, more_lost=self._detect_losses(0, now, mss))

    def on_timeout(self, now: float, mss: int) -> None:
        """Enter the loss phase as the retransmission timer fires (RFC 5681 3.1, RFC 8985 6.3)."""
        board, congestion = self.board, self._congestion
        first = next(iter(board), None)
        if first is None:
            return
        if first.sacked:
            board.clear_sacked()  # The peer has reneged, or its ACK would cover this.
        self._frto = None
        undo = self._undo
        if undo is None or not self.recovering:
            undo = self._undo = Undo(congestion.cwnd, congestion.ssthresh)
            if self.sack:
                self._frto = ForwardRto()
        undo.timed_out = True
        congestion.timeout(self._flight_size, now, repeated=self._timed_out_una == board.una)
        self._timed_out_una = board.una
        self._timed_out_at = now
        self.cwr_due = True
        self.reason = "timeout"
        self.phase = _LOSS
        self.recover = board.nxt
        self._prr = None
        self._not_in_pipe = self._duplicates = self._partial_acks = 0
        self.resend_now = True
        self._mark_first_lost(mss)
        if self.sack:
            missing = self.rack.overdue_on_timeout(board, now, self._rtt)
        else:
            missing = board.by_time.overdue(inf, 0, -inf, now)  # All that is in flight.
        for sent in missing:
            board.mark_lost(sent)

    # ECN

    def on_ece(self, advance: int, now: float) -> None:
        """Reduce cwnd for an ACK with ECE, once per window (RFC 3168 section 6.1.2).

        ECE is ignored until data sent after the last reduction is acknowledged: our CWR may not
        have arrived before. `advance` is how many octets this ACK acknowledges.
        """
        board, congestion = self.board, self._congestion
        if board.una > max(self._marked_at, self.recover):
            # FlightSize before this ACK, which may cover many segments.
            congestion.marked(board.nxt - board.una + advance, now)
            congestion.cwnd = min(congestion.cwnd, congestion.ssthresh)
            self._marked_at = board.nxt
            self.cwr_due = True
        elif self._undo is not None:
            # An undo must not revert this reduction: the mark is real even if the loss is not.
            self._undo.cwnd = min(self._undo.cwnd, congestion.ssthresh)
            self._undo.ssthresh = min(self._undo.ssthresh, congestion.ssthresh)

    # Segments larger than the path MTU

    def on_mss_reduced(self, mss: int) -> None:
        """Retransmit what was sent in segments of more than `mss` octets (RFC 1191 section 6.4).

        It is not congestion, so cwnd stays. Until all of it is acknowledged, other losses are
        retransmitted too without a reduction.
        """
        self.mark_larger_lost(mss)
        if self.board.lost:
            self._retransmit_without_reduction()

    def mark_larger_lost(self, mss: int) -> None:
        """Mark lost what was sent, or may have been, in segments of more than `mss` octets."""
        board = self.board
        for sent in board:
            size = sent.end - sent.start - (self.fin and sent.end == board.nxt)
            if not sent.sacked and size > mss:
                board.mark_lost(sent)

    def _retransmit_without_reduction(self) -> None:
        """Enter the loss phase with cwnd as it is."""
        self.phase = _LOSS
        self.recover = self.board.nxt
        self.reason = "too large"
        self._undo = None
        self._frto = None
        self._prr = None
        self._not_in_pipe = self._duplicates = self._partial_acks = 0
        self.resend_now = True

    def _only_probe_lost(self) -> bool:
        """Handle the loss of the MTU probe alone: no congestion (RFC 4821 section 7.6.2).

        Returns whether that was the case.
        """
        trial = self._path.trial
        if trial is None or not trial.probe or trial.lost or trial.sent_again:
            return False
        start, end = trial.start, trial.end
        if self.board.lost > self.board.lost_within(start, end):
            return False
        for sent in self.board.within(start, end):
            if not sent.sacked:
                self.board.mark_lost(sent)
        trial.lost = True
        self._retransmit_without_reduction()
        return True
