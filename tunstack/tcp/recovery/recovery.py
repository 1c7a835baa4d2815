"""Loss recovery: what is lost, what to send again, and how large the window is meanwhile.

With SACK, losses are found by time (RACK, RFC 8985), the window follows PRR (RFC 6937), and pipe is
RFC 6675's. Without it, duplicate ACKs are all there is, and the rules are NewReno's (RFC 6582).
What turns out not to have been lost is undone. When to send, and what new data may go beside it, is
:mod:`~tunstack.tcp.sender.sender`'s business.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.tcp.recovery.frto import ForwardRto
from tunstack.tcp.recovery.prr import ProportionalRateReduction
from tunstack.tcp.recovery.rack import DUPLICATE_THRESHOLD, Rack
from tunstack.tcp.recovery.scoreboard import Scoreboard
from tunstack.tcp.recovery.undo import Undo
from tunstack.tcp.sender.rtt import CLOCK_GRANULARITY

if TYPE_CHECKING:
    from tunstack.tcp.congestion import CongestionControl
    from tunstack.tcp.recovery.scoreboard import Sent
    from tunstack.tcp.sender.path_mtu import PathMtu
    from tunstack.tcp.sender.rtt import RttEstimator

_ORDER: Final = attrgetter("time", "end")


class Phase(Enum):
    """Where the recovery stands."""

    OPEN = "open"
    """Nothing is lost, as far as is known."""
    RECOVERY = "recovery"
    """Fast recovery: a loss was found, and is repaired while the ACKs go on."""
    LOSS = "loss"
    """After a timeout: slow start from one segment."""


_OPEN: Final = Phase.OPEN
_RECOVERY: Final = Phase.RECOVERY
_LOSS: Final = Phase.LOSS


class Heard(NamedTuple):
    """What an ACK says about what we sent; positions are the scoreboard's.

    Attributes:
        una: All before it is acknowledged.
        sacks: What the peer holds beyond that, as pairs of edges.
        dsack: What came twice, if it says so (RFC 2883).
        duplicate: Whether it is a duplicate ACK by RFC 5681 section 2.
        echoed_at: When what its timestamp echoes was sent, in seconds; None without timestamps.
    """

    una: int
    sacks: tuple[tuple[int, int], ...]
    dsack: tuple[int, int] | None
    duplicate: bool
    echoed_at: float | None


class Recovery:
    """The recovery of one connection.

    Attributes:
        board: The scoreboard.
        phase: Where it stands.
        recover: RFC 6582's *recover*, as a position: SND.NXT when the last loss was found.
        sack: Whether the peer sends SACK blocks.
        fin: Whether our FIN is out: the last number on the board, which takes no room.
        flight: Octets that were outstanding when new data was last sent.
        resend_now: Whether the first lost range is to be sent again whatever the window says.
        reorder_timer: When to look for overdue ranges again, in seconds; None if never.
        undone: How many recoveries turned out to be spurious.
        why: What calls for the retransmissions: "fast", "timeout" or "too large".
        cwr_due: Whether the window came down, and the peer is to be told (RFC 3168).
    """

    __slots__ = (
        "_congestion",
        "_duplicates",
        "_frto",
        "_held",
        "_marked_at",
        "_partial_acks",
        "_path",
        "_prr",
        "_rtt",
        "_timed_out_at",
        "_timed_out_una",
        "_undo",
        "board",
        "cwr_due",
        "fin",
        "flight",
        "phase",
        "rack",
        "recover",
        "reorder_timer",
        "resend_now",
        "sack",
        "undone",
        "why",
    )

    def __init__(self, congestion: CongestionControl, rtt: RttEstimator, path: PathMtu) -> None:
        self._congestion = congestion
        self._rtt = rtt
        self._path = path
        self._prr: ProportionalRateReduction | None = None
        self._undo: Undo | None = None
        self._frto: ForwardRto | None = None  # While it is judged whether a timeout was spurious.
        self._held = (
            0  # Octets outstanding that are not on their way, though nobody has SACKed them.
        )
        self._duplicates = 0
        self._partial_acks = 0
        self._timed_out_una: int | None = None
        self._timed_out_at = 0.0
        self.board = Scoreboard()
        self.rack = Rack()
        self.phase = _OPEN
        self.recover = -1
        self.sack = False
        self.fin = False
        self.flight = 0
        self.resend_now = False
        self.reorder_timer: float | None = None
        self.undone = 0
        self.why = ""
        self._marked_at = -1  # SND.NXT, as a position, when the window last came down for a mark.
        self.cwr_due = False

    def send_early(self) -> None:
        """Data may follow our SYN at once, and that takes no room, as on Linux."""
        self._held = 1

    def syn_arrived(self) -> None:
        """It is not outstanding any more."""
        self._held = 0

    def change_congestion(self, congestion: CongestionControl) -> None:
        """From now on, tell `congestion` of losses."""
        self._congestion = congestion

    @property
    def pipe(self) -> int:
        """Octets on their way."""
        return self.board.pipe - self._held

    @property
    def undisturbed(self) -> bool:
        """Whether nothing is known to be missing, nor was sent again, nor is looked at by timer."""
        board = self.board
        return (
            self.phase is _OPEN
            and not (board.sacked or board.lost or board.resent)
            and self.reorder_timer is None
        )

    @property
    def recovering(self) -> bool:
        """Whether a loss is being repaired."""
        return self.phase is not _OPEN

    @property
    def prefers_new(self) -> bool:
        """Whether new data is to go before what is lost, to see what its ACK tells (F-RTO)."""
        return self._frto is not None and self._frto.wants_new_data

    @property
    def impatient(self) -> bool:
        """Whether ACKs that advance leave the retransmission timer alone.

        Without SACK, from the second partial ACK on: a round trip for each hole may take longer
        than a timeout (RFC 6582 section 4).
        """
        return self._partial_acks > 1

    # Transmission

    def sent(self, size: int, now: float) -> None:
        """`size` new octets went out."""
        board = self.board
        board.sent(size, now)
        self.flight = board.nxt - board.una
        if self._frto is not None:
            self._frto.sent_new()
        if self._prr is not None:
            self._prr.sent(size)

    def sent_again(self, start: int, end: int, now: float) -> None:
        """[start, end) went out again."""
        self.resend_now = False
        trial = self._path.trial
        if trial is not None and start < trial.end and end > trial.start:
            trial.sent_again = True
        self.board.sent_again(start, end, now)
        if self._prr is not None:
            self._prr.sent(end - start)
        if self._undo is not None and self.recovering:  # Otherwise it is a tail loss probe.
            self._undo.resent(start, end, now)

    # What is heard

    def heard(self, ack: Heard, now: float, mss: int) -> float | None:
        """Take an ACK; returns the round-trip time that it measures, in seconds, or None."""
        board = self.board
        before = board.una
        advance = ack.una - before
        delivered, octets = self._take(ack, advance, now, mss)
        if self.sack:
            self._duplicates = 0 if advance else self._duplicates + bool(delivered)
        else:
            octets = self._count_without_sack(advance, octets, duplicate=ack.duplicate, mss=mss)
        if ack.dsack is not None:
            self.rack.duplicate_sack(ack.una, board.nxt)
        if self._undo is not None and self._is_spurious(self._undo, ack, before, delivered):
            self._undo_all(self._undo)
        if advance and self.recovering:
            self._move_on(ack, octets, now, mss)
        more_lost = self._find_losses(octets, now, mss)
        self._set_window(octets, mss if advance and not more_lost else 0, more_lost=more_lost)
        return self._round_trip(delivered, advance, ack.echoed_at, now)

    def _take(self, ack: Heard, advance: int, now: float, mss: int) -> tuple[list[Sent], int]:
        """Note on the scoreboard, and for RACK, what has arrived; returns that, and its size."""
        board = self.board
        highest = board.highest
        delivered = board.acknowledge(ack.una) if advance else []
        for start, end in ack.sacks:
            delivered += board.sack(start, end, mss)
        if len(delivered) > 1:
            delivered.sort(key=_ORDER)  # RACK goes by what was sent last.
        octets = 0
        for sent in delivered:
            octets += sent.end - sent.start
            # An echo is of what SND.UNA passes: of what came beyond a gap it tells nothing.
            echoed_at = ack.echoed_at if sent.end <= ack.una else None
            self.rack.delivered(sent, highest, now, echoed_at, self._rtt)
        return delivered, octets

    def _round_trip(
        self, delivered: list[Sent], advance: int, echoed_at: float | None, now: float
    ) -> float | None:
        """By Karn's rule from what was sent once; from timestamps where that tells nothing.

        An ACK that covers what was sent again had to wait for it, and tells nothing of the rest.
        """
        if delivered and not any(sent.retransmitted for sent in delivered):
            return now - max(sent.time for sent in delivered)
        # A duplicate is answered with the echo of what came before (RFC 7323 section 5.3, R2 before
        # R3): if an ACK was lost, that would measure our own timeout.
        if (
            advance
            and echoed_at is not None
            and echoed_at >= self._timed_out_at - CLOCK_GRANULARITY
        ):
            return max(CLOCK_GRANULARITY, now - echoed_at)
        return None

    def _count_without_sack(self, advance: int, octets: int, *, duplicate: bool, mss: int) -> int:
        """Each duplicate ACK stands for a segment that the peer holds beyond a gap."""
        if advance:
            # All but the segment that filled the gap had drawn a duplicate ACK before.
            held = max(0, self._held - max(0, advance - mss))
            octets -= self._held - held
            self._held = held if self.phase is _RECOVERY else 0
            self._duplicates = 0
            return max(octets, 0)
        if not duplicate or self.phase is _LOSS:
            return 0  # After a timeout they may well be echoes of our own retransmissions.
        self._duplicates += 1
        if self._duplicates >= DUPLICATE_THRESHOLD and not (self.recovering or self._passed):
            return 0  # Limited transmit ends with the second (RFC 3042).
        more = min(mss, max(0, self.board.pipe - self._held - mss))
        self._held += more
        return more

    def _is_spurious(self, undo: Undo, ack: Heard, before: int, delivered: list[Sent]) -> bool:
        """Whether nothing was lost, by D-SACK, F-RTO or Eifel; SND.UNA was at `before`."""
        if ack.dsack is not None and undo.duplicate_sack(*ack.dsack):
            return True
        if not self.recovering or not (delivered or ack.duplicate):
            return False
        advanced = ack.una > before
        frto = self._frto
        if frto is not None and frto.heard(ack.una, self.board.nxt, delivered, advanced=advanced):
            return True
        first = next((sent for sent in delivered if sent.start == before), None)
        return advanced and first is not None and undo.echo_is_older(ack.echoed_at, first)

    def _undo_all(self, undo: Undo) -> None:
        """Nothing was lost: back to where we were."""
        self.board.find_again()
        self._congestion.undo(undo.cwnd, undo.ssthresh)
        if not undo.timed_out:
            self.rack.reordering_seen = True  # It came after what was sent later, then.
        self._end()
        self._undo = None
        self.undone += 1

    def _find_losses(self, octets: int, now: float, mss: int) -> bool:
        """See what is lost, now that `octets` have arrived, and begin to recover from it.

        Returns whether it is more than before.
        """
        board = self.board
        if not self.sack:
            enough = self._duplicates >= DUPLICATE_THRESHOLD
            if enough and self.phase is _OPEN and self._passed:
                self._lose_first(mss)
                self._begin(octets, now)
                return True
            return False
        before = board.lost
        self.reorder_timer = None
        if board.sacked or board.resent:
            enough = (
                self._duplicates >= DUPLICATE_THRESHOLD
                or board.sacked > (DUPLICATE_THRESHOLD - 1) * mss
            )
            self.reorder_timer = self.rack.detect(
                board, now, self._rtt, certain=self.recovering or enough
            )
        if board.lost and self.phase is _OPEN:
            self._begin(octets, now)
        return board.lost > before

    def _set_window(self, octets: int, more: int, *, more_lost: bool) -> None:
        """In fast recovery, set the window for what has arrived, or is known to be lost."""
        if self._prr is not None and (octets or more_lost):
            self._congestion.cwnd = self._prr.delivered(
                octets, self.pipe, self._congestion.ssthresh, more
            )
            if not octets:  # Nothing allows for more; but the ACK of one segment brings the rest.
                self.resend_now = True

    @property
    def _passed(self) -> bool:
        """Whether duplicate ACKs may tell of another loss (RFC 6582 section 3.2, step 2).

        Those of what was sent before the last one was found may echo our own retransmissions.
        """
        return self.board.una > self.recover

    def _lose_first(self, mss: int) -> None:
        """Take the first segment's worth of what is outstanding for lost."""
        board = self.board
        for sent in board.head(mss + (self.fin and board.una + mss + 1 == board.nxt)):
            if not sent.sacked:
                board.lose(sent)

    def _begin(self, octets: int, now: float) -> None:
        """Fast recovery (RFC 6675 section 5, RFC 6582 section 3.2).

        What was on its way counts as it was when we last sent: in a batch of ACKs, those before the
        one that tells of the loss have acknowledged much of it, and nothing was sent since. It is
        what the network carried (RFC 7661 section 4.4 has pipeACK for that).
        """
        if self._lost_only_the_probe():
            return
        congestion, board = self._congestion, self.board
        flight = min(self.flight, congestion.cwnd)  # Without what limited transmit has sent.
        self.phase = _RECOVERY
        self.recover = board.nxt
        self._undo = Undo(congestion.cwnd, congestion.ssthresh)
        if board.una > self._marked_at:  # Once for a window (RFC 3168 section 6.1.2).
            congestion.loss(flight, now)
        self.cwr_due = True
        self.why = "fast"
        # What had arrived before this ACK is not the recovery's (RFC 9937 section 6).
        self._prr = ProportionalRateReduction(self.pipe + board.lost + octets)
        self.resend_now = True
        self._partial_acks = 0

    @property
    def _flight_size(self) -> int:
        """FlightSize, without what limited transmit has sent beyond cwnd (RFC 5681 section 3.2)."""
        flight = self.board.nxt - self.board.una
        return min(flight, self._congestion.cwnd) if self.phase is _OPEN else flight

    def _move_on(self, ack: Heard, octets: int, now: float, mss: int) -> None:
        """SND.UNA has advanced: the recovery is over, or goes on with the next hole."""
        if ack.una >= self.recover:
            self.rack.recovered()
            if self.phase is _RECOVERY:
                self._congestion.cwnd = self._window_after_recovery(mss)
            self._end()
            if self.sack and (self.board.lost or self.board.resent):
                # Something was lost that was sent since: that is another loss, and counts as one.
                self._begin(octets, now)
        elif not self.sack and self.phase is _RECOVERY:
            self._lose_first(mss)  # A partial ACK: the next hole begins here.
            self.resend_now = True
            self._partial_acks += 1

    def _window_after_recovery(self, mss: int) -> int:
        ssthresh = max(self._congestion.ssthresh, mss)
        if self.sack:
            return ssthresh  # With PRR, that is what is on its way, more or less.
        # Counting duplicate ACKs is not that exact: no burst (RFC 6582 section 3.2, step 3).
        return min(ssthresh, max(self.board.nxt - self.board.una, mss) + mss)

    def _end(self) -> None:
        self.phase = _OPEN
        self.resend_now = False
        self._frto = None
        self._prr = None
        self._held = 0
        self._duplicates = 0
        self._partial_acks = 0

    def tail_was_lost(self, flight: int, now: float) -> None:
        """The tail loss probe has repaired a loss: it counts as one (RFC 8985 section 7.4).

        `flight` is what was outstanding then; what is now says nothing about the loss.
        """
        congestion = self._congestion
        congestion.loss(min(flight, congestion.cwnd), now)
        congestion.cwnd = min(congestion.cwnd, congestion.ssthresh)
        self.cwr_due = True

    # Timers

    def reorder_timer_fired(self, now: float, mss: int) -> None:
        """What was late may be overdue now (RFC 8985 section 6.2, step 5)."""
        self._set_window(0, 0, more_lost=self._find_losses(0, now, mss))

    def timeout(self, now: float, mss: int) -> None:
        """The retransmission timer fired (RFC 5681 section 3.1, RFC 8985 section 6.3)."""
        board, congestion = self.board, self._congestion
        first = next(iter(board), None)
        if first is None:
            return
        if first.sacked:
            board.forget_sacks()  # The peer has reneged, or it would have acknowledged this.
        self._frto = None
        if self._undo is None or not self.recovering:
            self._undo = Undo(congestion.cwnd, congestion.ssthresh)
            if self.sack:
                self._frto = ForwardRto()
        self._undo.timed_out = True
        congestion.timeout(self._flight_size, now, repeated=self._timed_out_una == board.una)
        self._timed_out_una = board.una
        self._timed_out_at = now
        self.cwr_due = True
        self.why = "timeout"
        self.phase = _LOSS
        self.recover = board.nxt
        self._prr = None
        self._held = self._duplicates = self._partial_acks = 0
        self.resend_now = True
        self._lose_first(mss)
        if self.sack:
            missing = self.rack.timed_out(board, now, self._rtt)
        else:
            missing = board.departures.overdue(inf, 0, -inf, now)  # All that is on its way.
        for sent in missing:
            board.lose(sent)

    # Marks

    def heed_mark(self, advance: int, now: float) -> None:
        """The ACK just heard echoes a mark: reduce, once for a window (RFC 3168 section 6.1.2).

        Not before something sent after the last reduction is acknowledged: until then
        our CWR may not have arrived. `advance`: how many octets this ACK acknowledges.
        """
        board, congestion = self.board, self._congestion
        if board.una > max(self._marked_at, self.recover):
            # The flight as it was before this ACK, which may stand for many segments.
            congestion.marked(board.nxt - board.una + advance, now)
            congestion.cwnd = min(congestion.cwnd, congestion.ssthresh)
            self._marked_at = board.nxt
            self.cwr_due = True
        elif self._undo is not None:
            # Nothing may have been lost, but something was marked: the reduction stands.
            self._undo.cwnd = min(self._undo.cwnd, congestion.ssthresh)
            self._undo.ssthresh = min(self._undo.ssthresh, congestion.ssthresh)

    # Segments that were too large

    def resize(self, mss: int) -> None:
        """What went out in more than `mss` octets is too large for the path: send it again.

        Nobody was congested, and the window stays (RFC 1191 section 6.4). Until all of it has
        arrived, other losses are repaired without another thought.
        """
        self.lose_larger(mss)
        if self.board.lost:
            self._repair()

    def lose_larger(self, mss: int) -> None:
        """Take for lost what went out in more than `mss` octets, or may have."""
        board = self.board
        for sent in board:
            size = sent.end - sent.start - (self.fin and sent.end == board.nxt)
            if not sent.sacked and size > mss:
                board.lose(sent)

    def _repair(self) -> None:
        """Send again what is lost, with the window as it is."""
        self.phase = _LOSS
        self.recover = self.board.nxt
        self.why = "too large"
        self._undo = None
        self._frto = None
        self._prr = None
        self._held = self._duplicates = self._partial_acks = 0
        self.resend_now = True

    def _lost_only_the_probe(self) -> bool:
        """See whether just the size probe was lost: that was its size (RFC 4821 section 7.6.2)."""
        trial = self._path.trial
        if trial is None or not trial.probe or trial.lost or trial.sent_again:
            return False
        start, end = trial.start, trial.end
        if self.board.lost > self.board.lost_within(start, end):
            return False
        for sent in self.board.within(start, end):
            if not sent.sacked:
                self.board.lose(sent)
        trial.lost = True
        self._repair()
        return True
