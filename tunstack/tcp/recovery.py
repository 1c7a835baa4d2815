"""Loss recovery: what is lost, what to send again, and how large the window is meanwhile.

With SACK, losses are found by time (RACK, RFC 8985), the window follows PRR (RFC 6937), and pipe is
RFC 6675's. Without it, duplicate ACKs are all there is, and the rules are NewReno's (RFC 6582).
What turns out not to have been lost is undone. When to send, and what new data may go beside it, is
:mod:`~tunstack.tcp.sender`'s business.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from .prr import ProportionalRateReduction
from .rack import DUPLICATE_THRESHOLD, Rack
from .scoreboard import Scoreboard
from .undo import Undo

if TYPE_CHECKING:
    from .congestion import CongestionControl
    from .rtt import RttEstimator
    from .scoreboard import Sent


class Phase(Enum):
    """Where the recovery stands."""

    OPEN = "open"
    """Nothing is lost, as far as is known."""
    RECOVERY = "recovery"
    """Fast recovery: a loss was found, and is repaired while the ACKs go on."""
    LOSS = "loss"
    """After a timeout: slow start from one segment."""


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
        resend_now: Whether the first lost range is to be sent again whatever the window says.
        reorder_timer: When to look for overdue ranges again, in seconds; None if never.
        undone: How many recoveries turned out to be spurious.
    """

    __slots__ = (
        "_congestion",
        "_held",
        "_prr",
        "_rtt",
        "_timed_out_una",
        "_undo",
        "board",
        "phase",
        "rack",
        "recover",
        "reorder_timer",
        "resend_now",
        "sack",
        "undone",
    )

    def __init__(self, congestion: CongestionControl, rtt: RttEstimator) -> None:
        self._congestion = congestion
        self._rtt = rtt
        self._prr: ProportionalRateReduction | None = None
        self._undo: Undo | None = None
        self._held = 0
        self._timed_out_una: int | None = None
        self.board = Scoreboard()
        self.rack = Rack()
        self.phase = Phase.OPEN
        self.recover = -1
        self.sack = False
        self.resend_now = False
        self.reorder_timer: float | None = None
        self.undone = 0

    @property
    def pipe(self) -> int:
        """Octets on their way."""
        return self.board.pipe - self._held

    @property
    def recovering(self) -> bool:
        """Whether a loss is being repaired."""
        return self.phase is not Phase.OPEN

    # Transmission

    def sent(self, size: int, now: float) -> None:
        """`size` new octets went out."""
        self.board.sent(size, now)
        if self._prr is not None:
            self._prr.sent(size)

    def sent_again(self, start: int, end: int, now: float) -> None:
        """[start, end) went out again."""
        self.resend_now = False
        self.board.sent_again(start, end, now)
        if self._prr is not None:
            self._prr.sent(end - start)
        if self._undo is not None:
            self._undo.resent(end - start, now)

    # What is heard

    def heard(self, ack: Heard, now: float, mss: int) -> float | None:
        """Take an ACK; returns the round-trip time that it measures, in seconds, or None."""
        board = self.board
        highest = board.highest
        advance = ack.una - board.una
        delivered = board.acknowledge(ack.una) if advance else []
        for start, end in ack.sacks:
            delivered += board.sack(start, end)
        for sent in delivered:
            # With what lies beyond a gap comes the echo of something older (RFC 7323 section 4.3).
            echoed_at = ack.echoed_at if sent.end <= ack.una else None
            self.rack.delivered(sent, highest, now, echoed_at, self._rtt)
        octets = sum(sent.end - sent.start for sent in delivered)
        if not self.sack:
            octets = self._count_without_sack(advance, octets, duplicate=ack.duplicate, mss=mss)
        if self._is_spurious(ack, advance, delivered):
            self._undo_all()
        self._find_losses(now, mss)
        self._move_on(ack, advance, now, mss)
        if self._prr is not None:
            self._congestion.cwnd = self._prr.delivered(
                octets, self.pipe, self._congestion.ssthresh, mss
            )
        return self._round_trip(delivered, advance, ack.echoed_at, now)

    @staticmethod
    def _round_trip(
        delivered: list[Sent], advance: int, echoed_at: float | None, now: float
    ) -> float | None:
        """By Karn's rule from what was sent once; from timestamps where that tells nothing."""
        times = [sent.time for sent in delivered if not sent.retransmitted]
        if times:
            return now - max(times)
        if advance and echoed_at is not None:
            return max(0.0, now - echoed_at)
        return None

    def _count_without_sack(self, advance: int, octets: int, *, duplicate: bool, mss: int) -> int:
        """Each duplicate ACK stands for a segment that the peer holds beyond a gap."""
        if advance:
            # All but the segment that filled the gap had drawn a duplicate ACK before.
            held = max(0, self._held - max(0, advance - mss))
            octets -= self._held - held
            self._held = held if self.recovering else 0
            return max(octets, 0)
        if duplicate:
            more = min(mss, max(0, self.board.pipe - self._held - mss))
            self._held += more
            return more
        return octets

    def _is_spurious(self, ack: Heard, advance: int, delivered: list[Sent]) -> bool:
        undo = self._undo
        if undo is None:
            return False
        if ack.dsack is not None:
            self.rack.duplicate_sack(ack.una, self.board.nxt)
            if undo.duplicate_sack(*ack.dsack):
                return True
        if not self.recovering or not delivered:
            return False
        if advance and undo.echo_is_older(ack.echoed_at):
            return True
        # F-RTO with SACK (RFC 5682 section 3): what arrives was sent once, before the timeout.
        return (
            self.phase is Phase.LOSS
            and self.sack
            and any(not sent.retransmitted and sent.end <= self.recover for sent in delivered)
        )

    def _undo_all(self) -> None:
        """Nothing was lost: back to where we were."""
        assert self._undo is not None
        self.board.find_again()
        self._congestion.undo(self._undo.cwnd, self._undo.ssthresh)
        self._end()
        self._undo = None
        self.resend_now = False
        self.undone += 1

    def _find_losses(self, now: float, mss: int) -> None:
        board = self.board
        if self.sack:
            self.reorder_timer = None
            if board.sacked or board.resent:
                self.reorder_timer = self.rack.detect(
                    board, now, self._rtt, recovering=self.recovering, mss=mss
                )
            if board.lost and self.phase is Phase.OPEN:
                self._begin(now)
        elif (
            self._held >= DUPLICATE_THRESHOLD * mss
            and self.phase is Phase.OPEN
            # Those that echo our own retransmissions mean nothing (RFC 6582 section 3.2, step 2).
            and board.una > self.recover
        ):
            self._lose_first(mss)
            self._begin(now)

    def _lose_first(self, mss: int) -> None:
        """Take the first segment's worth of what is outstanding for lost."""
        board = self.board
        for sent in board.head(mss):
            board.lose(sent)

    def _begin(self, now: float) -> None:
        """Fast recovery (RFC 6675 section 5, RFC 6582 section 3.2)."""
        congestion, board = self._congestion, self.board
        flight = board.nxt - board.una
        self.phase = Phase.RECOVERY
        self.recover = board.nxt
        self._undo = Undo(congestion.cwnd, congestion.ssthresh, board.una)
        congestion.loss(flight, now)
        self._prr = ProportionalRateReduction(flight)
        self.resend_now = True

    def _move_on(self, ack: Heard, advance: int, now: float, mss: int) -> None:
        """See whether the recovery is over, or goes on with the next hole."""
        if not self.recovering or not advance:
            return
        # Without SACK, one more: or duplicate ACKs of what was sent in vain would begin another.
        if ack.una > self.recover or (self.sack and ack.una == self.recover):
            if self.phase is Phase.RECOVERY:
                self._congestion.cwnd = max(self._congestion.ssthresh, mss)
                self.rack.recovered()
            self._end()
        elif not self.sack and self.phase is Phase.RECOVERY:
            self._lose_first(mss)  # A partial ACK: the next hole begins here.
            self.resend_now = True

    def _end(self) -> None:
        self.phase = Phase.OPEN
        self.resend_now = False
        self._prr = None
        self._held = 0

    def tail_was_lost(self, now: float) -> None:
        """The tail loss probe has repaired a loss: it counts as one (RFC 8985 section 7.4)."""
        if self.phase is Phase.OPEN:
            board = self.board
            self._congestion.loss(board.nxt - board.una, now)
            self._congestion.cwnd = self._congestion.ssthresh

    # Timers

    def reorder_timer_fired(self, now: float, mss: int) -> None:
        """What was late may be overdue now (RFC 8985 section 6.2, step 5)."""
        self._find_losses(now, mss)

    def timeout(self, now: float, mss: int) -> None:
        """The retransmission timer fired (RFC 5681 section 3.1, RFC 8985 section 6.3)."""
        board, congestion = self.board, self._congestion
        first = next(iter(board), None)
        if first is None:
            return
        if first.sacked:
            board.forget_sacks()  # The peer has reneged, or it would have acknowledged this.
        if not self.recovering or board.una > self.recover:
            self._undo = Undo(congestion.cwnd, congestion.ssthresh, board.una)
        congestion.timeout(self.pipe + board.lost, now, repeated=self._timed_out_una == board.una)
        self._timed_out_una = board.una
        self.phase = Phase.LOSS
        self.recover = board.nxt
        self._prr = None
        self._held = 0
        self.resend_now = True
        for sent in board:
            if not sent.sacked and (
                sent is first or not self.sack or self.rack.overdue(sent, now, self._rtt)
            ):
                board.lose(sent)
