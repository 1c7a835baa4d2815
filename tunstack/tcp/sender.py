"""The sending half of a connection: SND variables, windows, timers, and what to send next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .recovery import Recovery
from .rtt import CLOCK_GRANULARITY, RttEstimator
from .send_buffer import SendBuffer
from .sequence import MASK, diff, ge, gt

if TYPE_CHECKING:
    from .config import Config
    from .congestion import CongestionControl


class Transmission(NamedTuple):
    """What to send: `size` octets from `seq`, and a FIN behind them or not.

    `why` says what calls for it if it was sent before: "fast" or "timeout"; else it is empty.
    """

    seq: int
    size: int
    fin: bool = False
    why: str = ""


class Sender:
    """RFC 9293 section 3.3.1's SND variables, and what is queued behind them.

    Attributes:
        iss: Initial send sequence number.
        una: SND.UNA, the oldest number not acknowledged.
        nxt: SND.NXT, the next new number to send; a retransmission does not move it.
        wnd: SND.WND in octets, scaled.
        wl1: SEG.SEQ of the last window update.
        wl2: SEG.ACK of the last window update.
        max_wnd: The largest window that the peer has offered.
        shift: Snd.Wind.Shift (RFC 7323 section 2.2).
        mss: Octets of data that fit into one segment, options deducted (MUST-16).
        buffer: What the application has sent, from the first octet not acknowledged.
        fin_queued: Whether a FIN follows the last octet of the buffer.
        size: The bound of what is sent or queued and not acknowledged (SO_SNDBUF).
        nodelay: Whether the Nagle algorithm is off.
        timer: When the retransmission or the persist timer fires, in seconds, if one runs.
        retransmissions: Segments sent again, over the life of the connection.
    """

    __slots__ = (
        "_config",
        "_flight",
        "_force",
        "_last_sent",
        "_resent",
        "_timed_at",
        "_timed_out_at",
        "_timed_seq",
        "buffer",
        "congestion",
        "fin_queued",
        "iss",
        "max_wnd",
        "mss",
        "nodelay",
        "nxt",
        "persisting",
        "recovery",
        "retransmissions",
        "rtt",
        "shift",
        "size",
        "stalled_since",
        "timer",
        "una",
        "user_timeout",
        "wl1",
        "wl2",
        "wnd",
    )

    def __init__(self, config: Config, iss: int, congestion: CongestionControl) -> None:
        self._config = config
        self.iss = self.una = self.nxt = iss
        self.wnd = 0
        self.wl1 = 0
        self.wl2 = 0
        self.max_wnd = 0
        self.shift = 0
        self.mss = config.default_send_mss
        self.buffer = SendBuffer((iss + 1) & MASK)
        self.fin_queued = False
        self.size = config.send_buffer
        self.nodelay = config.nodelay
        self.congestion = congestion
        self.recovery = Recovery(congestion, iss)
        self.rtt = RttEstimator(config.rto_initial, config.rto_min, config.rto_max)
        self.timer: float | None = None
        self.persisting = False
        """Whether `timer` is the persist timer (RFC 9293 section 3.8.6.1)."""
        self.stalled_since = 0.0
        """When the peer last acknowledged something new, or what is outstanding began to be."""
        self.user_timeout = config.user_timeout
        self.retransmissions = 0
        self._timed_seq: int | None = None
        self._timed_at = 0.0
        self._timed_out_at = 0.0
        self._resent = False
        self._force = False
        self._flight = 0  # What was outstanding when new data was last sent.
        self._last_sent = 0.0

    # What there is

    @property
    def outstanding(self) -> int:
        """Sequence numbers sent and not acknowledged."""
        return (self.nxt - self.una) & MASK

    @property
    def unsent(self) -> int:
        """Octets in the buffer that were never sent."""
        return max(0, diff(self.buffer.end, self.nxt)) if self.synchronized else len(self.buffer)

    @property
    def synchronized(self) -> bool:
        """Whether our SYN is acknowledged."""
        return self.una != self.iss

    @property
    def end(self) -> int:
        """The number behind all that is queued, a FIN included."""
        return (self.buffer.end + self.fin_queued) & MASK

    @property
    def fin_acknowledged(self) -> bool:
        """Whether all was acknowledged, the FIN as well."""
        return self.fin_queued and self.una == self.end

    # Transmission

    def syn_sent(self, now: float) -> None:
        """A SYN went out, for the first time or again."""
        if self.nxt == self.iss:
            self.nxt = (self.iss + 1) & MASK
            self._timed_seq, self._timed_at = self.nxt, now
            self.stalled_since = now
        else:
            self._count_retransmission()
        self.timer = self._timer_at(now, self._config.syn_timeout)

    def forget_syn(self) -> None:
        """No SYN is under way any more: the connection is back in LISTEN."""
        self.nxt = self.iss
        self.timer = self._timed_seq = None
        self._resent = False
        self.rtt.end_back_off()

    def next_transmission(self, limit: int, room: int) -> Transmission | None:
        """What to send now, or None; call :meth:`sent` when it went out, and ask again.

        Args:
            limit: Octets that one segment may carry; more than `mss` where the link segments.
            room: Octets that one MSS can carry beside the options at hand.
        """
        if not self.synchronized:
            return None
        return self._lost_transmission(room) or self._new_transmission(limit, room)

    def _lost_transmission(self, room: int) -> Transmission | None:
        recovery = self.recovery
        if recovery.resend_one:
            return self._again(self.una, room, "fast")
        seq = recovery.resend_from
        if seq is None or ge(seq, recovery.recover):
            return None
        if seq != self.una and (seq - self.una) & MASK >= self.congestion.cwnd:
            return None
        return self._again(seq, room, "timeout")

    def _again(self, seq: int, room: int, why: str) -> Transmission:
        """A retransmission from `seq`: a segment's worth of what was sent before."""
        data_end = self.buffer.end
        sent_end = data_end if gt(self.nxt, data_end) else self.nxt
        size = min((sent_end - seq) & MASK, room)
        # Even beyond a window that shrank: SHLD-16, MAY-7.
        fin = self.nxt != sent_end and (seq + size) & MASK == data_end
        return Transmission(seq, size, fin, why)

    def _new_transmission(self, limit: int, room: int) -> Transmission | None:
        available = (self.buffer.end - self.nxt) & MASK
        if available > 1 << 31:  # Our FIN is behind us.
            return None
        outstanding = (self.nxt - self.una) & MASK
        usable = self.wnd - outstanding  # Negative when the window shrank (MUST-34).
        if not available:
            # Not strict about cwnd, as Linux is not: the FIN brings no load.
            if self.fin_queued and usable > 0:
                return Transmission(self.nxt, 0, fin=True)
            return None
        usable = min(usable, self._congestion_window() - outstanding)
        size = min(available, usable, limit)
        if size <= 0:
            return None
        if size > room and size < available:
            size -= size % room
        if size < room and not self._may_be_small(size, available, outstanding):
            return None
        fin = self.fin_queued and size == available and usable > size
        return Transmission(self.nxt, size, fin)

    def _congestion_window(self) -> int:
        return self.congestion.cwnd + self.recovery.inflation

    def _may_be_small(self, size: int, available: int, outstanding: int) -> bool:
        """Nagle (RFC 9293 section 3.7.4), and no silly windows from our side (3.8.6.2.1)."""
        if self._force:
            return True
        if size == available:
            return self.nodelay or not outstanding or self.fin_queued
        return not outstanding and size >= self.max_wnd >> 1

    def sent(self, what: Transmission, now: float) -> None:
        """`what` went out."""
        self._force = False
        self._last_sent = now
        after = (what.seq + what.size + what.fin) & MASK
        if what.why:
            self._count_retransmission()
            self.recovery.resend_one = False
            if self.recovery.resend_from is not None:
                self.recovery.resend_from = after
        else:
            if self.nxt == self.una:
                self.stalled_since = now
            self.nxt = after
            self._flight = (after - self.una) & MASK
            if self._timed_seq is None:
                self._timed_seq, self._timed_at = after, now
        if self.timer is None or self.persisting:
            self.start_timer(now)

    def _count_retransmission(self) -> None:
        self.retransmissions += 1
        self._timed_seq = None  # Karn's rule: an ACK would not tell which one it answers.
        self._resent = True

    # Acknowledgement

    def acknowledge(self, ack: int, now: float, echoed_at: float | None) -> None:
        """Take an ACK that advances SND.UNA to `ack`.

        Args:
            ack: SEG.ACK, with SND.UNA < SEG.ACK =< SND.NXT.
            now: Seconds.
            echoed_at: When what the peer's timestamp echoes was sent, if there is one (RFC 7323
                section 4.1): it measures even what was retransmitted.
        """
        octets = (ack - self.una) & MASK
        self._measure(ack, now, echoed_at)
        was_syn = self.una == self.iss
        self.una = ack
        data_end = self.buffer.end
        self.buffer.drop_until(data_end if gt(ack, data_end) else ack)
        self.stalled_since = now
        recovering = self.recovery.active
        restart = self.recovery.acknowledged(ack, self.nxt, octets, self.mss)
        if was_syn:
            if self._resent:  # RFC 6298 section 5.7
                self.rtt.restart_after_syn_loss(self._config.rto_after_syn_loss)
            if self.retransmissions > 1:
                # RFC 6928 section 2, and Linux. One SYN sent again may just mean a long path.
                self.congestion.set_mss(self.mss, 1)
        elif not self.recovery.fast and not (recovering and self.recovery.resend_from is None):
            self._grow(octets, now)
        if ack == self.nxt:
            self.timer = None
            self._resent = False
        elif restart or self.persisting:
            self.start_timer(now)

    def _grow(self, octets: int, now: float) -> None:
        """Open cwnd if it was what limited us; a window never filled proves nothing (RFC 7661).

        What counts is how far it was filled when we sent: ACKs may come many in a batch.
        """
        congestion = self.congestion
        in_slow_start = congestion.cwnd < congestion.ssthresh
        used = 2 * self._flight if in_slow_start else self._flight + self.mss
        if self.recovery.resend_from is not None:
            # RFC 3465 section 2.1: most of it had arrived before the timeout, and left no room.
            congestion.acknowledged(min(octets, self.mss), now)
        elif used > congestion.cwnd:
            congestion.acknowledged(octets, now)

    def _measure(self, ack: int, now: float, echoed_at: float | None) -> None:
        if self._timed_seq is not None and ge(ack, self._timed_seq):
            self.rtt.sample(max(0.0, now - self._timed_at))
            self._timed_seq = None
        elif (
            self._resent
            and echoed_at is not None
            # A duplicate is answered with the echo of what came before (RFC 7323 section 5.3, R2
            # before R3): if an ACK was lost, that would measure our own timeout.
            and echoed_at >= self._timed_out_at - CLOCK_GRANULARITY
        ):
            self.rtt.sample(max(0.0, now - echoed_at))

    def duplicate_ack(self, now: float) -> None:
        """Take an ACK that acknowledges nothing new, while data is outstanding."""
        self.recovery.duplicate_ack(self.una, self.nxt, self.mss, now)

    def update_window(self, seq: int, ack: int, wnd: int) -> None:
        """Take SEG.WND, scaled, unless it is older than what we have (RFC 9293 3.10.7.4, fifth).

        A later ACK is a later segment, whatever its sequence number, as on Linux: by the RFC's
        order, the window in one that comes with a retransmission is passed over, but SND.UNA
        advances, and the old window then reaches beyond what the peer has ever offered.
        """
        if gt(ack, self.wl2) or ge(seq, self.wl1):
            self.set_window(seq, ack, wnd)

    def set_window(self, seq: int, ack: int, wnd: int) -> None:
        """Take SEG.WND, scaled, as it is."""
        self.wnd = wnd
        self.wl1 = seq
        self.wl2 = ack
        if wnd > self.max_wnd:
            self.max_wnd = wnd

    # Timers

    def start_timer(self, now: float) -> None:
        """Start the retransmission timer, anew if it runs."""
        if self.persisting:
            self.persisting = False
            self.rtt.end_back_off()  # It was the probes'.
        self.timer = self._timer_at(now, self.user_timeout)

    def _timer_at(self, now: float, timeout: float) -> float:
        """After an RTO; earlier when it is then time to give up (R2, RFC 9293 section 3.8.3)."""
        return min(now + self.rtt.rto, max(now, self.stalled_since + timeout))

    def watch_window(self, now: float) -> None:
        """Start the persist timer if the windows ask for it: call it after each round of sending.

        It runs when there is something to send, nothing outstanding whose ACK could open the
        window, and the window keeps it back (RFC 9293 section 3.8.6.1, MUST-36); until something
        is sent (:meth:`start_timer`).
        """
        held_back = self.synchronized and self.nxt == self.una and self.nxt != self.end
        if held_back and not self.persisting:
            self.persisting = True
            self.stalled_since = now
            self.timer = self._timer_at(now, self.user_timeout)  # SHLD-29

    def answered(self, now: float) -> None:
        """The peer acknowledged something, if only a probe: it is alive (MUST-37).

        If it took back its window, it is what we send again that probes it (MUST-35, SHLD-17).
        """
        if self.persisting or not self.wnd:
            self.stalled_since = now

    def timer_fired(self, now: float) -> str:
        """The timer fired; returns what to do: "give up", "syn", "probe", or "" to retransmit."""
        timeout = self.user_timeout if self.synchronized else self._config.syn_timeout
        if now >= self.stalled_since + timeout:  # As `_timer_at` adds it up: no other rounding.
            self.timer = None
            return "give up"
        self.rtt.back_off()
        self._timed_out_at = now
        if self.persisting:
            self.timer = self._timer_at(now, self.user_timeout)  # SHLD-30
            if self.wnd > 0:
                self._force = True  # Small, but it has waited long enough.
                return ""
            return "probe"
        if not self.synchronized:
            return "syn"
        self.recovery.timeout(self.una, self.nxt, now)
        self._timed_seq = None
        self.start_timer(now)
        return ""

    def restart_if_idle(self, now: float) -> None:
        """Fall back to the initial window after a pause (RFC 5681 section 4.1)."""
        if self.nxt == self.una and now - self._last_sent > self.rtt.rto:
            self.congestion.idle()
