"""One TCP connection: the TCB, its entry points, and the segments that it sends.

Sans-IO: time comes in as ``now`` (seconds, from any monotonic clock), segments go in by
:meth:`Connection.segment_arrives` and come out of :meth:`Connection.transmit`, and
:meth:`Connection.deadline` says when :meth:`Connection.handle_timer` wants to be called. The order
of calls is: any number of calls that go in (segments, the application's), then `transmit` until the
batch is empty, then `deadline`. One `transmit` after many segments sends one ACK for all of them
(RFC 9293 MUST-58, MUST-59).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

from . import arrival
from .budget import UNLIMITED, Budget
from .challenge import ChallengeLimit
from .ecn import ECT_0, Ecn
from .handshake import handshake
from .isn import timestamp
from .narration import Narrator
from .quiet import Due, QuietTimer
from .receiver import MAX_WINDOW_SHIFT, Receiver, window_shift
from .segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, Segment
from .sender import Sender
from .sequence import MASK
from .state import CAN_RECEIVE, CAN_SEND, FIN_SENT, State
from .teardown import teardown
from .urgent import mark_urgent
from .verdict import Verdict

if TYPE_CHECKING:
    from .config import Config
    from .fast_open import FastOpen
    from .segment import Buffer

_TIMESTAMP_SIZE = 12
_SACK_SIZE = 4 + 3 * 8
_SMALLEST_MSS = 48
"""Linux's: room for a few octets beside the most options that we send. A peer may ask for less."""


class Owner(Protocol):
    """Who is told of a connection's fate: a listener at first, or the socket that opened it."""

    def may_open(self) -> bool:
        """Whether a passive handshake may end now: there may be no room for its connection."""
        ...

    def opened(self, connection: Connection) -> None:
        """It has entered ESTABLISHED."""
        ...

    def failed_to_open(self, connection: Connection) -> None:
        """It has ended before; ``connection.error`` says why."""
        ...


class Connection(Narrator):
    """The transmission control block of RFC 9293 section 3.3.1, with its two halves.

    Attributes:
        config: The parameters it began with.
        sender: The sending half.
        receiver: The receiving half.
        passive: Whether it came from a passive OPEN (MUST-11).
        owner: Who is told when it opens or fails to.
        error: Why it ended, if not as it should: an OSError whose errno is ECONNREFUSED,
            ECONNRESET, ETIMEDOUT, ECONNABORTED, EHOSTUNREACH or ENETUNREACH; else None.
        soft_error: The latest error that does not end the connection (MUST-47, MUST-56), until the
            peer acknowledges more.
        reports: How many such errors there were.
        latest_report: The latest of them.
        sack_ok: Both sides sent SACK-Permitted.
        timestamps_ok: Both sides sent a Timestamps option in their SYN.
        ts_offset: What is added to the clock for our timestamps.
        ts_recent: TS.Recent of RFC 7323 section 4.3.
        last_ack_sent: Last.ACK.sent of RFC 7323 section 4.3.
        fast_open: What RFC 7413 changes in its opening, if anything.
        orphaned: Whether the application has gone, so that nobody will read.
        ordinary: Whether :mod:`.prediction` may take the short way; whoever changes something in
            the connection that is not data in order makes it False.
        challenges: How often an attacker was answered; None if never.
        ecn: What is agreed on about explicit congestion notification.
        linger: How long what was sent may then take to be acknowledged, in seconds (SO_LINGER);
            None for as long as ever.
    """

    __slots__ = (
        "_close_requested",
        "_largest_buffer",
        "_outbox",
        "_syn_due",
        "challenges",
        "config",
        "ecn",
        "error",
        "fast_open",
        "last_ack_sent",
        "latest_report",
        "linger",
        "ordinary",
        "orphaned",
        "owner",
        "passive",
        "peer_mss",
        "quiet",
        "receiver",
        "reports",
        "sack_ok",
        "sender",
        "soft_error",
        "timestamps_ok",
        "ts_offset",
        "ts_recent",
        "ts_recent_at",
    )

    def __init__(
        self,
        config: Config,
        *,
        iss: int,
        ts_offset: int = 0,
        owner: Owner | None = None,
        budget: Budget = UNLIMITED,
    ) -> None:
        super().__init__()
        self.config = config
        self.owner = owner
        self.sender = Sender(config, iss, config.congestion())
        self.receiver = Receiver(config, budget)
        self.ecn = Ecn(config.ecn)
        self.passive = False
        self.error: OSError | None = None
        self.soft_error: OSError | None = None
        self.reports = 0
        self.latest_report: OSError | None = None
        self.sack_ok = False
        self.timestamps_ok = False
        self.peer_mss = config.default_send_mss
        self.ts_recent = 0
        self.ts_recent_at = 0.0
        self.last_ack_sent = 0
        self.orphaned = False
        self.ordinary = False
        self.linger: float | None = None
        self.fast_open: FastOpen | None = None
        self.ts_offset = ts_offset
        self.challenges: ChallengeLimit | None = None
        self._largest_buffer = config.receive_sizes[1]
        self._syn_due = False
        self._close_requested = False
        self.quiet = QuietTimer()
        self._outbox: list[Segment] = []

    # Opening (section 3.10.1)

    def open_active(self) -> None:
        """Active OPEN: CLOSED to SYN-SENT."""
        self.enter(State.SYN_SENT)
        self.tell(handshake(self))

    def withhold_syn(self) -> None:
        """After :meth:`open_active`: let the SYN wait for data to take along (RFC 7413)."""
        self._syn_due = False

    def open_passive(self) -> None:
        """Passive OPEN: CLOSED to LISTEN. The SYN that it waits for begins its story."""
        self.passive = True
        self.enter(State.LISTEN)

    def begin_passive_handshake(self) -> None:
        """A SYN has taken us from LISTEN to SYN-RECEIVED."""
        self.tell(handshake(self))

    def answered_by_cookie(self, now: float) -> None:
        """Our SYN,ACK went out before this connection was here (:mod:`.cookies`)."""
        self._syn_due = False
        self.sender.syn_was_sent(now)

    @property
    def awaits_data(self) -> bool:
        """Whether the SYN could take data along (RFC 7413), for there is a cookie."""
        return self.fast_open is not None and self.fast_open.awaits_data

    @property
    def accepts_early(self) -> bool:
        """Whether its application has it before the handshake has ended (RFC 7413 section 4.2)."""
        return self.passive and self.fast_open is not None and self.fast_open.early

    def opened_early(self) -> None:
        """The application may have it, in SYN-RECEIVED, and what came with the SYN."""
        assert self.fast_open is not None
        self.sender.send_early()
        self.fast_open.opened_early(self)

    def sent_in_syn(self, ack: int) -> bool:
        """Whether `ack` is of data in our SYN, which then counts as sent."""
        return self.fast_open is not None and self.fast_open.counts(ack, self.sender)

    @property
    def may_open(self) -> bool:
        """Whether the owner has room for one more that is ESTABLISHED."""
        return self.owner is None or self.owner.may_open()

    # What the stories say (handshake.py, teardown.py)

    def send_syn(self) -> None:
        """Send a SYN; with an ACK, in SYN-RECEIVED."""
        self._syn_due = True

    def opened(self) -> None:
        """Tell the owner that the connection is there; do what was asked for meanwhile."""
        if self._syn_due:  # The ACK came in one batch with a SYN that we were to answer.
            self._syn_due = False
            self.receiver.ack_now = True
        self.soft_error = None
        close_requested = self._close_requested
        if self.owner is not None:
            self.owner.opened(self)
        if close_requested and self.state in CAN_SEND:
            self.tell(teardown(self))

    def failed_to_open(self) -> None:
        """Tell the owner that it came to nothing."""
        if self.fast_open is not None:
            self.fast_open.failed(self.error)
        if self.owner is not None:
            self.owner.failed_to_open(self)

    def return_to_listen(self) -> None:
        """Whoever began a passive handshake broke it off (section 3.10.7.4): as if it never was."""
        self._syn_due = False
        self.sender.forget_syn()
        self.receiver.acknowledged()
        self.enter(State.LISTEN)

    def send_fin(self) -> None:
        """Queue a FIN behind all data (section 3.10.4)."""
        self.sender.fin_queued = True
        self.enter(State.LAST_ACK if self.state is State.CLOSE_WAIT else State.FIN_WAIT_1)

    def start_time_wait(self) -> None:
        """The wait of 2 MSL begins now, whenever the next call that knows the time comes."""
        self.sender.stop_timers()

    # The application's calls (section 3.10)

    @property
    def readable(self) -> bool:
        """Whether :meth:`receive` would return at once: data, the end, or an error."""
        receiver = self.receiver
        if receiver.buffer.size and (receiver.urgent is None or receiver.available):
            return True
        return receiver.finished or receiver.discarding or self.state is State.CLOSED

    @property
    def sends_early(self) -> bool:
        """Whether the application may send though the handshake is under way (RFC 7413)."""
        return (
            self.fast_open is not None
            and self.fast_open.early
            and (self.state is State.SYN_SENT or self.state is State.SYN_RECEIVED)
        )

    @property
    def writable_size(self) -> int:
        """How many octets :meth:`send` would take now."""
        if (self.state not in CAN_SEND and not self.sends_early) or self._close_requested:
            return 0
        bound, budget = self.sender.bound, self.receiver.budget
        if budget.tight:
            bound = budget.share(bound)
        room = bound - self.sender.buffer.size
        return room if room > 0 else 0

    def send(self, data: Buffer, now: float, *, urgent: bool = False) -> int:
        """SEND (section 3.10.2): queue `data`, as much as there is room for; returns how much.

        If it is `urgent`, the peer hears at once that there is something to be read soon, up to the
        end of what was taken, even if its window is closed.

        Raises:
            OSError: EPIPE after :meth:`shutdown`; what ended the connection, if it has ended.
        """
        if self.state not in CAN_SEND or self._close_requested:
            if self._close_requested or not self.sends_early:
                raise self.error or OSError(errno.EPIPE, "Broken pipe")
            if self.sender.nxt == self.sender.iss:
                self._syn_due = True  # If it was withheld, it goes now.
        size = len(data)
        room = self.writable_size
        if size > room:
            size = room
            data = memoryview(data)[:size]
        if size:
            self.sender.restart_if_idle(now)
            self.sender.buffer.append(data)
            if urgent:
                self.sender.up = self.sender.buffer.end
                self.sender.urgent_due = True
        return size

    def receive(self, limit: int) -> bytes:
        """RECEIVE (section 3.10.3): at most `limit` octets; ``b""`` at the end or if none wait.

        Raises:
            OSError: what ended the connection before its end arrived, once all data is read.
        """
        receiver = self.receiver
        data = receiver.take(limit)
        if data and self.state in CAN_RECEIVE and receiver.update_is_worthwhile():
            receiver.ack_now = True
        elif not data and self.error is not None and not receiver.finished:
            raise self.error
        return data

    @property
    def urgent_is_on_its_way(self) -> bool:
        """Whether an urgent octet was announced, out of line, and may still come."""
        receiver = self.receiver
        over = receiver.discarding or self.state is State.CLOSED
        return not over and receiver.urgent_is_on_its_way

    def reconfigure(self, config: Config) -> None:
        """Take other parameters; what was settled in the handshake is history."""
        if config.congestion is not self.config.congestion:
            self.sender.change_congestion(config.congestion())
        self.config = config
        self.sender.reconfigure(config)
        self.receiver.reconfigure(config)
        self.quiet.reconfigure(config)

    def shutdown(self) -> None:
        """CLOSE our half (section 3.10.4): a FIN follows what is queued. The other stays open."""
        if self.state in CAN_SEND and not self._close_requested:
            self._close_requested = True
            self.tell(teardown(self))
        elif self.state in (State.SYN_SENT, State.LISTEN) and not len(self.sender.buffer):
            self.end(None)
        else:
            # SYN-RECEIVED, or data of Fast Open's in SYN-SENT: the CLOSE is queued until
            # ESTABLISHED. Elsewhere it has happened.
            self._close_requested = True

    def shutdown_receive(self) -> None:
        """Read no more: what is there and what comes is acknowledged and dropped, as Linux does."""
        self.receiver.discarding = True
        self.receiver.buffer.clear()

    def close(self, linger: float | None = None) -> None:
        """The application lets go: close our half, and answer any further data with a RST.

        What is not acknowledged within `linger` seconds, if that is given, is not waited for: the
        connection is reset then.

        With received data unread the connection is aborted instead, so that the peer learns that
        data was lost (section 3.6.1, SHLD-3). In TIME-WAIT it can learn nothing any more, and the
        wait goes on for its own reason (MUST-13).
        """
        self.orphaned = self.sender.orphaned = True
        self.linger = linger
        if self.state is State.TIME_WAIT:
            self.receiver.buffer.clear()  # Nobody will read it.
        elif self.receiver.unread:
            self.abort()
            return
        self.shutdown()

    def abort(self) -> None:
        """ABORT (section 3.10.5): send a RST where the peer has a connection, and end."""
        self.orphaned = True
        if self.state not in (State.CLOSED, State.LISTEN, State.SYN_SENT, State.TIME_WAIT):
            self.send_reset(self.sender.nxt)
        self.end(OSError(errno.ECONNABORTED, "Connection aborted"))

    def end(self, error: OSError | None) -> None:
        """Delete the connection: to CLOSED, because of `error` if there is one. Idempotent."""
        if self.state is State.CLOSED:
            return
        self.error = error
        self.sender.stop_timers()
        self.receiver.ack_due = None
        self.receiver.ack_now = False
        self._syn_due = False
        self.quiet.stop()
        self.enter(State.CLOSED)
        self.end_stories()

    def icmp_error(self, error: OSError) -> None:
        """An ICMP error came about a segment of ours (section 3.9.2.2).

        In SYN-SENT it ends the attempt, as on Linux and by RFC 5461 section 4: whoever waits for
        a connection wants to know. Later it is only noted (MUST-56).
        """
        if self.state is State.SYN_SENT:
            self.end(error)
        else:
            self.report(error)

    def report(self, error: OSError) -> None:
        """Something went wrong, and may yet come right (ERROR_REPORT, section 3.9.1.8)."""
        self.soft_error = self.latest_report = error
        self.reports += 1

    def _report_silence(self) -> None:
        """R1 is reached (SHLD-9). What ICMP has told of the reason says more, and stays."""
        known = self.soft_error
        attempts = self.sender.unanswered
        self.report(OSError(errno.ETIMEDOUT, f"No answer to {attempts} attempts"))
        self.soft_error = known or self.soft_error

    def give_up(self) -> None:
        """The peer has been silent for too long: end, and say why as well as we know."""
        timed_out = OSError(errno.ETIMEDOUT, "Connection timed out")
        known = self.soft_error
        self.end(known if known is not None and known.errno != errno.ETIMEDOUT else timed_out)

    # Arrival (section 3.10.7)

    def segment_arrives(self, segment: Segment, now: float) -> Verdict:
        """Process a segment by the rules of :mod:`tunstack.tcp.arrival`."""
        verdict = arrival.segment_arrives(self, segment, now)
        if verdict is Verdict.ACCEPTED:
            self.quiet.heard(now)
        return verdict

    def restart_time_wait(self, now: float) -> None:
        """The peer's FIN came again: 2 MSL from now (section 3.10.7.4, eighth)."""
        self.quiet.restart_time_wait(self, now)

    def agree_on_options(self, syn: Segment, now: float) -> None:
        """Take what the peer's SYN offers, and use what we offer as well (RFC 7323, RFC 2018)."""
        sender, receiver, config = self.sender, self.receiver, self.config
        self.peer_mss = max(syn.mss or config.default_send_mss, _SMALLEST_MSS)
        self.timestamps_ok = config.timestamps and syn.ts_val is not None
        self.ecn.agree(syn)
        self.last_ack_sent = receiver.nxt  # Or as good as: our answer is due.
        if syn.ts_val is not None:
            self.ts_recent, self.ts_recent_at = syn.ts_val, now
        self.sack_ok = sender.recovery.sack = config.sack and syn.sack_permitted
        if config.window_scaling and syn.wscale is not None:
            sender.shift = min(syn.wscale, MAX_WINDOW_SHIFT)
            receiver.shift = self._window_shift
        # MUST-16: the smaller of what they take and what fits our link, options deducted.
        options = _TIMESTAMP_SIZE * self.timestamps_ok
        sender.path.agree(min(self.peer_mss, config.mss), options, config.mtu_probing)
        sender.mss = sender.path.mss
        receiver.mss = config.mss - options
        sender.congestion.set_mss(sender.mss, config.initial_window)

    @property
    def _window_shift(self) -> int:
        return window_shift(self._largest_buffer)

    def timestamp(self, now: float) -> int:
        """TSval now."""
        return timestamp(now, self.ts_offset)

    def echoed_at(self, segment: Segment, now: float) -> float | None:
        """When what `segment` echoes was sent, in seconds; None without timestamps."""
        if not self.timestamps_ok or segment.ts_val is None:
            return None
        age = (self.timestamp(now) - segment.ts_ecr) & MASK
        return now - age / 1000 if age < 1 << 31 else None

    def send_reset(self, seq: int) -> None:
        """Send a RST with sequence number `seq`, and go on."""
        self._outbox.append(Segment(seq, flags=RST))

    def may_answer(self, now: float) -> bool:
        """Whether to answer, once more, what an attacker could send (RFC 5961 section 7)."""
        if self.challenges is None:
            self.challenges = ChallengeLimit()
        return self.challenges.allows(now)

    def challenge(self, now: float) -> None:
        """Answer with an ACK that states where we are, but not without end (RFC 5961)."""
        if self.may_answer(now):
            self.receiver.ack_now = True

    def answer_unacceptable(self, segment: Segment, now: float) -> None:
        """Answer what the window, or PAWS, keeps out (section 3.10.7.4, first).

        Data or a FIN may be a retransmission, whose sender needs the ACK; what has neither, or a
        SYN, is answered as seldom as a challenge, or two ends that disagree would go on for ever.
        """
        if segment.length and not segment.flags & SYN:
            self.receiver.ack_now = True
        else:
            self.challenge(now)

    # Timers

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` wants to be called, in seconds; None if only events matter."""
        sender = self.sender
        deadline, early = sender.timer, sender.early_timer
        if early is not None and (deadline is None or early < deadline):
            deadline = early
        ack_due, quiet = self.receiver.ack_due, self.quiet.at
        if ack_due is not None and (deadline is None or ack_due < deadline):
            deadline = ack_due
        if quiet is not None and (deadline is None or quiet < deadline):
            deadline = quiet
        return deadline

    def handle_timer(self, now: float) -> None:
        """Do what is due; call :meth:`transmit` after it."""
        quiet = self.quiet.at
        if quiet is not None and now >= quiet:
            self._quiet_ended(now)
        receiver = self.receiver
        if receiver.ack_due is not None and now >= receiver.ack_due:
            receiver.ack_now = True
        sender = self.sender
        timer = sender.next_timer
        if timer is None or now < timer:
            return
        unanswered = sender.unanswered
        action = sender.timer_fired(now)
        if unanswered < self.config.r1 == sender.unanswered:
            self._report_silence()
        if action == "give up":
            self.give_up()
        elif action == "syn":
            self._syn_due = True
        elif action == "probe":
            self._outbox.append(self._probe(now, "window probe"))

    def _quiet_ended(self, now: float) -> None:
        match self.quiet.fired(self, now):
            case Due.END:
                self.end(None)
            case Due.PROBE:
                self._outbox.append(self._probe(now, "keep-alive"))
            case Due.RESET:
                self.send_reset(self.sender.nxt)
                self.give_up()
            case Due.NOTHING:
                pass

    # Transmission

    def transmit(self, now: float) -> list[Segment]:
        """Everything that is to be sent now, in order; empty when there is nothing."""
        out = self._outbox
        self._outbox = []
        self.quiet.watch(self, now)
        sender, receiver = self.sender, self.receiver
        if self._syn_due:
            self._syn_due = False
            out.append(self._syn(now))
            sender.syn_sent(now)
            if not sender.early:
                return out
        if sender.nxt != sender.una or sender.nxt != sender.end:
            self._transmit_data(out, now)
        if sender.urgent_due:
            receiver.ack_now = True
        if receiver.ack_now:
            # Without SACK the peer can only count: an ACK for each segment out of order, no fewer.
            count = 1 if self.sack_ok else max(1, receiver.out_of_order)
            blocks = self._sack_blocks()
            out += [self._segment(sender.nxt, ACK, now, b"", blocks) for _ in range(count)]
        return out

    def _transmit_data(self, out: list[Segment], now: float) -> None:
        sender = self.sender
        config = self.config
        if not (sender.synchronized or sender.may_send) or self.state is State.CLOSED:
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
                limit = max(room, config.max_payload - config.max_payload % room)
            else:
                limit = room  # Whoever cut a larger segment would have to mend its pointer.
            what = sender.next_transmission(limit, room)
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
            segment.note = what.note
            if what.size > room and not what.probe:
                segment.gso_size = room
            if what.size and not what.why and self.ecn.capable:
                self._mark_capable(segment)
            out.append(segment)
            sender.sent(what, now)
        if (sender.nxt - before) & MASK > sender.mss:
            # Nothing follows this burst until it is acknowledged: let the peer not wait for more.
            # As Linux does it, and takes it: that saves most of its delayed ACKs.
            out[-1].flags |= PSH
        sender.watch_window(now)

    def _mark_capable(self, segment: Segment) -> None:
        """RFC 3168 section 6.1.2: ECT on new data, and CWR on the first after a reduction."""
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
        """A segment of a synchronized connection; it acknowledges all that came."""
        receiver = self.receiver
        if self.ecn.echo:
            flags |= ECE
        segment = Segment(seq, receiver.nxt, flags, receiver.offer(), 0, payload)
        if self.timestamps_ok:
            segment.ts_val = self.timestamp(now)
            segment.ts_ecr = self.ts_recent
        segment.sack = sack
        if self.sender.up is not None:
            mark_urgent(segment, self.sender.up)
            self.sender.urgent_due = False
        self.last_ack_sent = receiver.nxt
        receiver.acknowledged()
        return segment

    def _sack_blocks(self) -> tuple[tuple[int, int], ...]:
        """As many as fit: three beside timestamps, else four (RFC 2018 section 3).

        Where packets are tiny, fewer: data has to find room beside them.
        """
        if not self.sack_ok:
            return ()
        most = 3 if self.timestamps_ok else 4
        return self.receiver.sack_blocks(min(most, (self.sender.mss - 5) >> 3))

    def _syn(self, now: float) -> Segment:
        """A SYN, or a SYN,ACK; its options look like Linux's. The window in it is never scaled."""
        config, receiver = self.config, self.receiver
        answer = self.state is State.SYN_RECEIVED
        segment = Segment(self.sender.iss, flags=SYN, mss=config.mss)
        again = self.sender.nxt != self.sender.iss
        segment.flags |= self.ecn.answer_flags() if answer else self.ecn.syn_flags(again=again)
        if again:
            segment.note = "retransmission: timeout" if self.passive or not answer else ""
        segment.wnd = receiver.first_window
        segment.sack_permitted = self.sack_ok if answer else config.sack
        if self.timestamps_ok if answer else config.timestamps:
            segment.ts_val = self.timestamp(now)
            segment.ts_ecr = self.ts_recent if answer else 0
        if receiver.shift if answer else config.window_scaling:
            segment.wscale = self._window_shift
        if answer:
            segment.flags |= ACK
            segment.ack = receiver.nxt
            receiver.acknowledged()
        if self.fast_open is not None:
            self.fast_open.dress(segment, self.sender, config, now)
        return segment

    def _probe(self, now: float, note: str) -> Segment:
        """A probe as Linux sends it: an old sequence number, which must be answered.

        RFC 9293 section 3.8.6.1 lets a probe be new data or a retransmission; this takes none of
        the data into the peer's accounts before there is room for it.
        """
        segment = self._segment((self.sender.una - 1) & MASK, ACK, now)
        segment.note = note
        return segment

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do or to say: the stack may forget it."""
        return self.state in (State.CLOSED, State.LISTEN) and not self._outbox

    @property
    def only_waits(self) -> bool:
        """Whether it is in TIME-WAIT, nobody owns it, and it has said all: little of it matters."""
        receiver = self.receiver
        return (
            self.state is State.TIME_WAIT
            and self.orphaned
            and self.quiet.at is not None
            and not (self._outbox or receiver.ack_now or receiver.buffer.size)
        )

    @property
    def undisturbed(self) -> bool:
        """Whether the application wants it open, and nothing waits to be sent but data."""
        return not (
            self.orphaned
            or self._close_requested
            or self._outbox
            or self._syn_due
            or self.soft_error is not None
        )

    @property
    def our_half_closed(self) -> bool:
        """Whether a FIN of ours is sent or queued."""
        return self._close_requested or self.state in FIN_SENT
