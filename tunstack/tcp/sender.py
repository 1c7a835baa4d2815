"""The sending half of a connection: SND variables, windows, timers, and what to send next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import sizing
from .congestion import Acknowledgement
from .path_mtu import PathMtu
from .recovery import Heard, Phase, Recovery
from .rtt import RttEstimator
from .send_buffer import SendBuffer
from .sequence import MASK, diff, ge, gt, le, lt
from .tail_probe import TailLossProbe

if TYPE_CHECKING:
    from .config import Config
    from .congestion import CongestionControl


class Transmission(NamedTuple):
    """What to send: `size` octets from `seq`, and a FIN behind them or not.

    `why` says what calls for it if it was sent before: "fast", "timeout", "too large" or "tail loss
    probe"; else it is empty. `probe`: it is larger than our segments are, to see if it arrives.
    """

    seq: int
    size: int
    fin: bool = False
    why: str = ""
    probe: bool = False

    @property
    def note(self) -> str:
        """What it is, if it is anything special."""
        if self.probe:
            return "size probe"
        return self.why and f"retransmission: {self.why}"


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
        path: What is known of how large a segment arrives.
        buffer: What the application has sent, from the first octet not acknowledged.
        fin_queued: Whether a FIN follows the last octet of the buffer.
        size: The bound of what is sent or queued and not acknowledged (SO_SNDBUF)...
        size_max: ...which is twice the congestion window where that is more, up to this.
        up: SND.UP: the number that follows our urgent data; None when all of it is acknowledged.
        urgent_due: Whether the peer is to hear of it now.
        nodelay: Whether the Nagle algorithm is off.
        corked: Whether only full segments may go.
        more: Whether the application has said that more is about to come (MSG_MORE).
        orphaned: Whether nobody owns the connection any more.
        synchronized: Whether our SYN is acknowledged.
        early: Whether data may go out before our SYN is acknowledged (RFC 7413 section 4.2).
        timer: When the retransmission or the persist timer fires, in seconds, if one runs.
        early_timer: When to probe for a lost tail, or to look for overdue segments, if at all.
        last_sent: When something was last sent, in seconds.
        unanswered: How often in a row the timer sent the same again, or a probe, for nothing.
        retransmissions: Segments sent again, over the life of the connection.
    """

    __slots__ = (
        "_config",
        "_force",
        "_probe_due",
        "_tail",
        "buffer",
        "congestion",
        "corked",
        "early",
        "early_timer",
        "fin_queued",
        "iss",
        "last_sent",
        "max_wnd",
        "more",
        "mss",
        "nodelay",
        "nxt",
        "orphaned",
        "path",
        "persisting",
        "recovery",
        "retransmissions",
        "rtt",
        "shift",
        "size",
        "size_max",
        "stalled_since",
        "synchronized",
        "timer",
        "una",
        "unanswered",
        "up",
        "urgent_due",
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
        self.path = PathMtu(config.mss)
        self.buffer = SendBuffer((iss + 1) & MASK)
        self.fin_queued = False
        self.size, self.size_max = config.send_sizes
        self.nodelay = config.nodelay
        self.corked = config.cork
        self.more = False
        self.up: int | None = None
        self.urgent_due = False
        self.synchronized = False
        self.early = False
        self.congestion = congestion
        self.rtt = RttEstimator(config.rto_initial, config.rto_min, config.rto_max)
        self.recovery = Recovery(congestion, self.rtt)
        self.timer: float | None = None
        self.early_timer: float | None = None
        self.persisting = False
        """Whether `timer` is the persist timer (RFC 9293 section 3.8.6.1)."""
        self.stalled_since = 0.0
        """When the peer last acknowledged something new, or what is outstanding began to be."""
        self.user_timeout = config.data_r2
        self.orphaned = False
        self.unanswered = 0
        self.retransmissions = 0
        self._tail = TailLossProbe()
        self._probe_due = False
        self._force = False
        self.last_sent = 0.0

    def reconfigure(self, config: Config) -> None:
        """Take other parameters, as far as they are not history."""
        self._config = config
        self.size, self.size_max = config.send_sizes
        self.nodelay = config.nodelay
        self.corked = config.cork
        self.user_timeout = config.data_r2

    def change_congestion(self, congestion: CongestionControl) -> None:
        """Go on with another congestion control, from where the present one is."""
        before = self.congestion
        if self.synchronized:
            congestion.set_mss(self.mss, self._config.initial_window)
            congestion.cwnd, congestion.ssthresh = before.cwnd, before.ssthresh
        self.congestion = congestion
        self.recovery.change_congestion(congestion)

    # What there is

    @property
    def outstanding(self) -> int:
        """Sequence numbers sent and not acknowledged."""
        return (self.nxt - self.una) & MASK

    @property
    def unsent(self) -> int:
        """Octets in the buffer that were never sent."""
        if self.nxt == self.iss and not self.synchronized:
            return self.buffer.size
        return max(0, diff(self.buffer.end, self.nxt))

    @property
    def usable(self) -> int:
        """How many octets the windows let go out now."""
        return min(self.wnd, self.congestion.cwnd) - ((self.nxt - self.una) & MASK)

    @property
    def undisturbed(self) -> bool:
        """Whether no probe is out or due, of a tail, a window or a path; nothing urgent, no FIN."""
        return not (
            self.fin_queued
            or self.unanswered
            or self.urgent_due
            or self.up is not None
            or self.path.search is not None
            or self.persisting
            or self._probe_due
            or self._force
            or self._tail.end is not None
        )

    @property
    def bound(self) -> int:
        """The bound of what is sent or queued and not acknowledged, as it is now.

        A window of what is on its way, and one of what may follow when that is acknowledged.
        """
        size = 2 * self.congestion.cwnd
        if size > self.size_max:
            size = self.size_max
        return size if size > self.size else self.size

    @property
    def may_send(self) -> bool:
        """Whether data may go out: our SYN is acknowledged, or that is not to be waited for."""
        return self.synchronized or (self.early and self.nxt != self.iss)

    @property
    def end(self) -> int:
        """The number behind all that is queued, a FIN included."""
        return (self.buffer.end + self.fin_queued) & MASK

    @property
    def fin_acknowledged(self) -> bool:
        """Whether all was acknowledged, the FIN as well."""
        return self.fin_queued and self.una == self.end

    def _position(self, seq: int) -> int:
        """Where `seq`, not before SND.UNA, stands on the scoreboard."""
        return self.recovery.board.una + ((seq - self.una) & MASK)

    def _seq(self, position: int) -> int:
        return (self.iss + position) & MASK

    # Transmission

    def syn_sent(self, now: float) -> None:
        """A SYN went out, for the first time or again."""
        if self.nxt == self.iss:
            self.nxt = (self.iss + 1) & MASK
            self.recovery.sent(1, now)
            self.stalled_since = now
        else:
            self.retransmissions += 1
            self.recovery.sent_again(0, 1, now)
        self.timer = self._timer_at(now, self._config.syn_r2)

    def sent_in_syn(self, octets: int, at: float) -> None:
        """As the peer says, the first SYN brought it `octets` of data, at that time."""
        self.nxt = (self.nxt + octets) & MASK
        self.recovery.sent(octets, at)

    def send_early(self) -> None:
        """From now on data may follow our SYN without waiting for its ACK."""
        self.early = True
        self.wnd += 1  # SND.UNA is the SYN's, which takes no part of the window that was offered.

    def syn_was_sent(self, now: float) -> None:
        """A SYN,ACK of ours is out, and nobody knows since when; a timestamp's echo may tell."""
        self.syn_sent(now)
        self.recovery.sent_again(0, 1, now)  # Karn: the time that its ACK took measures nothing.

    def all_was_said(self) -> None:
        """A FIN was the last number before `iss`, and is acknowledged: nothing will follow."""
        self.synchronized = self.fin_queued = self.orphaned = True
        self.buffer = SendBuffer((self.iss - 1) & MASK)

    def forget_syn(self) -> None:
        """No SYN is under way any more: the connection is back in LISTEN."""
        self.nxt = self.iss
        self.timer = None
        self.recovery = Recovery(self.congestion, self.rtt)
        self.rtt.end_back_off()

    def next_transmission(self, limit: int, room: int) -> Transmission | None:
        """What to send now, or None; call :meth:`sent` when it went out, and ask again.

        Args:
            limit: Octets that one segment may carry; more than `mss` where the link segments.
            room: Octets that one MSS can carry beside the options at hand.
        """
        if not (self.synchronized or self.may_send):  # The first is quicker to ask.
            return None
        if self._probe_due:
            return self._tail_probe(room)
        if self.recovery.prefers_new:
            new = self._new_transmission(limit, room)
            if new is not None:
                return new
        if self.recovery.board.lost:
            # Nothing new before all that is lost is on its way again (RFC 6675 NextSeg, rule 1).
            return self._lost_transmission(room)
        if self.path.search is not None and (size := sizing.probe_size(self, room)):
            # Wait until there is room for it in the window, rather than fill that with others.
            fits = size <= self.congestion.cwnd - self.recovery.pipe
            return Transmission(self.nxt, size, probe=True) if fits else None
        return self._new_transmission(limit, room)

    def _lost_transmission(self, room: int) -> Transmission | None:
        recovery = self.recovery
        lost = recovery.board.first_lost(room)
        assert lost is not None
        start, end = lost
        quota = self.congestion.cwnd - recovery.pipe
        if end - start > quota and not recovery.resend_now:
            return None
        return self._again(start, end, recovery.why)

    def _again(self, start: int, end: int, why: str) -> Transmission:
        """Retransmit [start, end): even beyond a window that shrank (SHLD-16, MAY-7)."""
        seq = self._seq(start)
        data = (self.buffer.end - seq) & MASK
        size = min(end - start, data)
        return Transmission(seq, size, end - start > data, why)

    def _tail_probe(self, room: int) -> Transmission | None:
        """Something new if the windows have room for it, else the last segment again."""
        self._probe_due = False
        board = self.recovery.board
        size = min(self.unsent, room, self.wnd - self.outstanding)
        if size > 0:
            self._tail.sent(board.nxt + size, self.outstanding, retransmission=False)
            return Transmission(self.nxt, size)
        last = board.last()
        if last is None:
            return None
        self._tail.sent(board.nxt, self.outstanding, retransmission=True)
        return self._again(max(last.start, last.end - room), last.end, "tail loss probe")

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
        size = self.new_data_size(limit, room, available, outstanding)
        if not size:
            return None
        fin = self.fin_queued and size == available and usable > size
        return Transmission(self.nxt, size, fin)

    def new_data_size(self, limit: int, room: int, available: int, outstanding: int) -> int:
        """How many of `available` new octets are to go out now as one segment; 0 if none."""
        if room < limit and available < limit and outstanding >= 2 * limit and self._can_wait:
            return 0
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
        return size

    @property
    def _can_wait(self) -> bool:
        """Whether what would be a small part of a large segment may wait for more, or for an ACK.

        So much is on its way that an ACK is as well, and its place in the queue is lost to nobody:
        where a segment of 64 KiB costs no more than one of an octet, that halves the work. Linux
        defers for the same reason (tcp_tso_should_defer).
        """
        return not (self.fin_queued or self._force or self.recovery.recovering)

    def _may_be_small(self, size: int, available: int, outstanding: int) -> bool:
        """Nagle (RFC 9293 section 3.7.4), and no silly windows from our side (3.8.6.2.1)."""
        if self._force:
            return True
        if size == available:
            if self.fin_queued or self.up is not None:
                return True
            # What is corked waits for the persist timer, which comes to `_force`: so does Linux's.
            return not (self.corked or self.more) and (self.nodelay or not outstanding)
        return not outstanding and size >= self.max_wnd >> 1

    def sent(self, what: Transmission, now: float) -> None:
        """`what` went out."""
        self._force = False
        self.last_sent = now
        size = what.size + what.fin
        if what.why:
            self.retransmissions += 1
            start = self._position(what.seq)
            self.recovery.sent_again(start, start + size, now)
            if self.recovery.sack and what.seq == self.una:
                # RFC 6675 section 6: or the timer might not wait for what was just sent again.
                self.start_timer(now)
        else:
            self.sent_new((what.seq + size) & MASK, now)
            self.recovery.sent(size, now)
            if what.probe or self.mss > self.path.proven:
                sizing.try_size(self, what)
        if self.timer is None or self.persisting:
            self.start_timer(now)
        if not what.why:
            self.schedule_probe(now)

    def sent_new(self, end: int, now: float) -> None:
        """What goes up to `end` went out for the first time."""
        self.last_sent = now
        if self.nxt == self.una:
            self.stalled_since = now
        self.nxt = end

    # Acknowledgement

    def heard(
        self,
        ack: int,
        now: float,
        *,
        sack: tuple[tuple[int, int], ...] = (),
        echoed_at: float | None = None,
        duplicate: bool = False,
        marked: bool = False,
    ) -> None:
        """Take an acceptable ACK.

        Args:
            ack: SEG.ACK, with SND.UNA =< SEG.ACK =< SND.NXT.
            now: Seconds.
            sack: The SACK blocks beside it.
            echoed_at: When what the peer's timestamp echoes was sent, if there is one (RFC 7323
                section 4.1): it measures even what was retransmitted.
            duplicate: Whether it is a duplicate ACK by RFC 5681 section 2.
            marked: Whether it echoes a mark of congestion (RFC 3168).
        """
        outstanding = (self.nxt - self.una) & MASK
        recovery = self.recovery
        sacks, dsack = self._sacks(sack, ack)
        una = self._position(ack)
        if una == recovery.board.una and not sacks and dsack is None and not duplicate:
            return
        probe_twice = dsack is not None and self._tail.came_twice(dsack)
        # A probe in vain is no retransmission in vain: that was the price to know.
        heard = Heard(una, sacks, None if probe_twice else dsack, duplicate, echoed_at)
        advance = una - recovery.board.una
        was_syn = not self.synchronized
        was_phase = recovery.phase
        if advance:
            self._advance(ack, now)
        sample = recovery.heard(heard, now, self.mss)
        self._measure(sample, outstanding)
        if marked:
            recovery.heed_mark(advance, now)
        if self.path.trial is not None:
            sizing.look_at_trial(self, una, now)
        if was_syn:
            if self.retransmissions:  # RFC 6298 section 5.7
                self.rtt.restart_after_syn_loss(self._config.rto_after_syn_loss)
            if self.retransmissions > 1:
                # RFC 6928 section 2, and Linux. One SYN sent again may just mean a long path.
                self.congestion.set_mss(self.mss, 1)
        elif advance and not marked and was_phase is recovery.phase is not Phase.RECOVERY:
            self._grow(advance, sample, now)
        if recovery.recovering:
            self._tail.forget()  # What was lost is known, and has had its consequences.
        elif self._tail.acknowledged(una, duplicate=duplicate and not sack, came_twice=probe_twice):
            recovery.tail_was_lost(self._tail.flight, now)
        self._set_timers(advance, now)

    def _advance(self, ack: int, now: float) -> None:
        self.una = ack
        self.synchronized = True
        data_end = self.buffer.end
        self.buffer.drop_until(data_end if gt(ack, data_end) else ack)
        self.stalled_since = now
        self.unanswered = 0
        if self.up is not None and le(self.up, ack):
            self.up = None

    def _sacks(
        self, blocks: tuple[tuple[int, int], ...], ack: int
    ) -> tuple[tuple[tuple[int, int], ...], tuple[int, int] | None]:
        """The positions of SACK blocks, and of a D-SACK; what is nonsense is left out."""
        if not blocks or not self.recovery.sack:
            return (), None
        dsack = None
        sacks = []
        for number, (left, right) in enumerate(blocks):
            if not (lt(left, right) and le(right, self.nxt)):
                continue
            if number == 0 and self._is_dsack(left, right, ack, blocks):
                offset = diff(left, self.una)
                start = self.recovery.board.una + offset
                dsack = (start, start + ((right - left) & MASK))
            elif gt(left, ack):
                sacks.append((self._position(left), self._position(right)))
        return tuple(sacks), dsack

    def _is_dsack(
        self, left: int, right: int, ack: int, blocks: tuple[tuple[int, int], ...]
    ) -> bool:
        """RFC 2883 section 4: a first block that is acknowledged already, or part of the second."""
        if le(right, ack):
            return True
        if len(blocks) == 1:
            return False
        begin, end = blocks[1]
        return le(end, self.nxt) and ge(left, begin) and le(right, end)

    def _grow(self, octets: int, rtt: float | None, now: float) -> None:
        """Open cwnd if it was what limited us; a window never filled proves nothing (RFC 7661).

        What counts is how far it was filled when we sent: ACKs may come many in a batch.
        """
        congestion = self.congestion
        in_slow_start = congestion.cwnd < congestion.ssthresh
        flight = self.recovery.flight
        used = 2 * flight if in_slow_start else flight + self.mss
        if self.recovery.phase is Phase.LOSS:
            # RFC 3465 section 2.1: most of it had arrived before the timeout, and left no room.
            octets = min(octets, self.mss)
        elif used <= congestion.cwnd:
            return
        board = self.recovery.board
        congestion.acknowledged(Acknowledgement(octets, now, rtt, board.una, board.nxt))

    def _measure(self, rtt: float | None, outstanding: int) -> None:
        """Take a sample, weighed by how many a window brings (RFC 7323 appendix G)."""
        if rtt is not None:
            samples = max(1, -(-outstanding // (2 * self.mss)))
            self.rtt.sample(rtt, 1 / samples)

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

    def stop_timers(self) -> None:
        """Stop them all: there is nobody to send to any more."""
        self.timer = self.early_timer = None
        self.persisting = False

    def _set_timers(self, advance: int, now: float) -> None:
        """After an ACK: RFC 6298 section 5.2 and 5.3, RFC 8985 sections 6.2 and 7.2."""
        if self.una == self.nxt:
            self.early_timer = None
            if not self.persisting:  # What comes late may have a D-SACK: the window is still shut.
                self.timer = None
            return
        if (advance and not self.recovery.impatient) or self.persisting:
            self.start_timer(now)
        recovery = self.recovery
        if advance or recovery.recovering or recovery.board.sacked:
            self.early_timer = recovery.reorder_timer
        if advance:
            self.schedule_probe(now)

    def restart_timers(self, now: float) -> None:
        """SND.UNA has advanced, and more is outstanding."""
        self.start_timer(now)
        self.schedule_probe(now)

    def schedule_probe(self, now: float) -> None:
        """Set the probe timer, if this flight may have a probe (RFC 8985 section 7.2)."""
        recovery = self.recovery
        if not recovery.sack or recovery.recovering or recovery.board.sacked:
            return
        if not (self.synchronized and self._config.tail_loss_probe):
            return  # What is missing may well be our SYN, and that has its timer.
        if self._tail.end is None and self.timer is not None:
            # Less than two full segments: the ACK may be delayed.
            single = self.outstanding < 2 * self.mss
            at = now + self._tail.timeout(self.rtt, single=single)
            # Instead of the timeout if that would come first; but not instead of giving up.
            if at > self.timer:
                at = self.timer
            self.early_timer = at if at < self.stalled_since + self.user_timeout else None

    def _timer_at(self, now: float, timeout: float) -> float:
        """After an RTO; earlier when it is then time to give up (R2, RFC 9293 section 3.8.3)."""
        at = now + self.rtt.rto
        give_up = self.stalled_since + timeout
        return at if at <= give_up else max(now, give_up)

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

        If it took back its window, it is what we send again that probes it (MUST-35, SHLD-17). That
        keeps the connection, unless its owner wants otherwise, or there is none whom it could serve
        (RFC 6429): a peer that never opens its window must not hold our memory for ever.
        """
        if self.persisting or not self.wnd:
            self.unanswered = 0
            if not self.orphaned and self._config.user_timeout is None:
                self.stalled_since = now

    @property
    def next_timer(self) -> float | None:
        """When the first of the timers fires, in seconds; None when none runs."""
        early, timer = self.early_timer, self.timer
        return timer if early is None or (timer is not None and timer < early) else early

    def timer_fired(self, now: float) -> str:
        """A timer fired; returns what to do: "give up", "syn", "probe", or "" to transmit."""
        early, timer = self.early_timer, self.timer
        if early is None or now < early or (timer is not None and timer < early):
            return self._timeout(now)
        self.early_timer = None
        recovery = self.recovery
        if recovery.reorder_timer is not None:
            recovery.reorder_timer_fired(now, self.mss)
            self.early_timer = recovery.reorder_timer
        elif self.outstanding:
            self._probe_due = True
            self.start_timer(now)
        return ""

    def _timeout(self, now: float) -> str:
        timeout = self.user_timeout if self.synchronized else self._config.syn_r2
        if now >= self.stalled_since + timeout:  # As `_timer_at` adds it up: no other rounding.
            self.timer = self.early_timer = None
            return "give up"
        self.unanswered += 1
        self.rtt.back_off()
        if self.persisting:
            self.timer = self._timer_at(now, self.user_timeout)  # SHLD-30
            if self.wnd > 0:
                self._force = True  # Small, but it has waited long enough.
                return ""
            return "probe"
        if not self.synchronized:
            return "syn"
        sizing.timed_out(self, now, self._config.mtu_probing)
        self.early_timer = None
        self._tail = TailLossProbe()
        self.start_timer(now)
        return ""

    def restart_if_idle(self, now: float) -> None:
        """Fall back to the initial window after a pause (RFC 5681 section 4.1)."""
        if self.nxt == self.una and now - self.last_sent > self.rtt.rto:
            self.congestion.idle()
