"""The variables of loss recovery: congestion state, *recover*, pipe (RFC 6675, RFC 6582).

The rules that change them on ACKs and timeouts are in :mod:`.recovery`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.tcp.recovery.rack import Rack
from tunstack.tcp.recovery.scoreboard import Scoreboard

if TYPE_CHECKING:
    from tunstack.tcp.congestion import CongestionControl
    from tunstack.tcp.recovery.frto import ForwardRto
    from tunstack.tcp.recovery.prr import ProportionalRateReduction
    from tunstack.tcp.recovery.undo import Undo
    from tunstack.tcp.sender.path_mtu import PathMtu
    from tunstack.tcp.sender.rtt import RttEstimator


class Phase(Enum):
    """The congestion state, as Linux's icsk_ca_state."""

    OPEN = "open"
    """No loss is known."""
    RECOVERY = "recovery"
    """Fast recovery: a loss was detected by ACKs (RFC 6675, RFC 6582)."""
    LOSS = "loss"
    """Recovery after a timeout: slow start from one segment (RFC 5681 section 3.1)."""


_OPEN: Final[Phase] = Phase.OPEN


class AckInfo(NamedTuple):
    """An ACK, as loss recovery needs it; positions are the scoreboard's.

    Attributes:
        una: Position of SEG.ACK.
        sacks: SACK blocks beyond that, as pairs of edges (RFC 2018).
        dsack: The D-SACK block, or None (RFC 2883).
        duplicate: Whether it is a duplicate ACK by RFC 5681 section 2.
        echoed_at: When the segment that TSecr echoes was sent, in seconds; None without timestamps.
    """

    una: int
    sacks: tuple[tuple[int, int], ...]
    dsack: tuple[int, int] | None
    duplicate: bool
    echoed_at: float | None


class RecoveryVariables:
    """The variables of loss recovery, and the counting of what is sent.

    Attributes:
        board: The scoreboard.
        rack: RACK's state (RFC 8985).
        phase: The congestion state.
        recover: RFC 6582's *recover*, as a position: SND.NXT when the last loss was detected.
        sack: Whether SACK was negotiated.
        fin: Whether our FIN was sent: the last number on the board, which is no octet of data.
        flight: FlightSize when new data was last sent, in octets.
        resend_now: Whether the first lost range is retransmitted even beyond cwnd.
        reorder_timer: When the RACK reordering timer fires, in seconds; None when it is off.
        undone: Count of recoveries that were spurious and undone.
        reason: What caused the retransmissions: "fast", "timeout" or "too large".
        cwr_due: Whether cwnd was reduced, and CWR is to be sent (RFC 3168 section 6.1.2).
    """

    __slots__ = (
        "_congestion",
        "_duplicates",
        "_frto",
        "_marked_at",
        "_not_in_pipe",
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
        "reason",
        "recover",
        "reorder_timer",
        "resend_now",
        "sack",
        "undone",
    )

    def __init__(self, congestion: CongestionControl, rtt: RttEstimator, path: PathMtu) -> None:
        self._congestion = congestion
        self._rtt = rtt
        self._path = path
        self._prr: ProportionalRateReduction | None = None
        self._undo: Undo | None = None
        self._frto: ForwardRto | None = None  # While F-RTO runs.
        # Octets outstanding that do not count in pipe, though not SACKed: without SACK, a segment
        # for each duplicate ACK (Linux's tcp_add_reno_sack); with Fast Open, the SYN.
        self._not_in_pipe = 0
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
        self.reason = ""
        self._marked_at = -1  # Position of SND.NXT at the last reduction for ECE.
        self.cwr_due = False

    def exclude_syn(self) -> None:
        """Leave our SYN out of pipe, as Linux does: data may follow it at once (RFC 7413)."""
        self._not_in_pipe = 1

    def on_syn_acked(self) -> None:
        """Count all of pipe again, as our SYN is acknowledged."""
        self._not_in_pipe = 0

    def change_congestion(self, congestion: CongestionControl) -> None:
        """Notify `congestion` of losses from now on."""
        self._congestion = congestion

    @property
    def pipe(self) -> int:
        """Octets in flight (RFC 6675 section 4)."""
        board = self.board
        return board.nxt - board.una - board.sacked - board.lost - self._not_in_pipe

    @property
    def is_clean(self) -> bool:
        """Whether nothing is SACKed, lost or retransmitted, and no reordering timer runs."""
        board = self.board
        return (
            self.phase is _OPEN
            and not (board.sacked or board.lost or board.resent)
            and self.reorder_timer is None
        )

    @property
    def recovering(self) -> bool:
        """Whether recovery is in progress, fast or after a timeout."""
        return self.phase is not _OPEN

    @property
    def prefers_new_data(self) -> bool:
        """Whether new data goes out before lost data (F-RTO, RFC 5682 section 3.1, step 2 b)."""
        return self._frto is not None and self._frto.wants_new_data

    @property
    def impatient(self) -> bool:
        """Whether ACKs that advance do not restart the retransmission timer (RFC 6582 section 4).

        NewReno's impatient variant: from the second partial ACK on, as a round trip for each hole
        may take longer than a timeout.
        """
        return self._partial_acks > 1

    # Transmission

    def on_sent(self, size: int, now: float) -> None:
        """Record `size` new octets sent."""
        board = self.board
        board.on_sent(size, now)
        self.flight = board.nxt - board.una
        if self._frto is not None:
            self._frto.on_new_data_sent()
        if self._prr is not None:
            self._prr.on_sent(size)

    def on_retransmit(self, start: int, end: int, now: float) -> None:
        """Record that [start, end) was retransmitted."""
        self.resend_now = False
        trial = self._path.trial
        if trial is not None and start < trial.end and end > trial.start:
            trial.sent_again = True
        self.board.on_retransmit(start, end, now)
        if self._prr is not None:
            self._prr.on_sent(end - start)
        if self._undo is not None and self.recovering:  # Otherwise it is a tail loss probe.
            self._undo.on_retransmit(start, end, now)
