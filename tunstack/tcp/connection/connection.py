"""One TCP connection: its entry points.

Sans-IO: time comes in as ``now`` (seconds, from any monotonic clock), segments go in by
:meth:`Connection.segment_arrives` and come out of :meth:`Connection.transmit`, and
:meth:`Connection.deadline` says when :meth:`Connection.handle_timer` wants to be called. The order
of calls is: any number of calls that go in (segments, the application's), then `transmit` until the
batch is empty, then `deadline`. One `transmit` after many segments sends one ACK for all of them
(RFC 9293 MUST-58, MUST-59).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tunstack.tcp.connection import arrival
from tunstack.tcp.connection.challenge import NEVER, ChallengeLimit
from tunstack.tcp.connection.ending import Ending
from tunstack.tcp.connection.handshake import handshake
from tunstack.tcp.connection.idle_timers import Due
from tunstack.tcp.connection.state import (
    CAN_RECEIVE,
    CAN_SEND,
    CLOSED,
    LISTEN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tunstack.tcp.connection.teardown import teardown
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import SYN
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Buffer, Segment


_ACCEPTED: Final = Verdict.ACCEPTED


class Connection(Ending):
    """One connection: its entry points.

    `handle_*`, `segment_arrives` and the application's calls go in, `transmit` and `deadline` out.
    Segments are built in :mod:`.transmitter`; close and abort are in :mod:`.ending`.
    """

    __slots__ = ()

    # Opening (section 3.10.1)

    def open_active(self) -> None:
        """Active OPEN: CLOSED to SYN-SENT."""
        self.enter(SYN_SENT)
        self.run(handshake(self))

    def withhold_syn(self) -> None:
        """After :meth:`open_active`: let the SYN wait for data to take along (RFC 7413)."""
        self._syn_due = False

    def open_passive(self) -> None:
        """Passive OPEN: CLOSED to LISTEN."""
        self.passive = True
        self.enter(LISTEN)

    def begin_passive_handshake(self) -> None:
        """A SYN has taken us from LISTEN to SYN-RECEIVED."""
        self.run(handshake(self))

    def answered_by_cookie(self, now: float) -> None:
        """Our SYN,ACK went out before this connection was here (:mod:`.cookies`)."""
        self._syn_due = False
        self.sender.restore_syn_sent(now)

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
        self.fast_open.syn_data = self.receiver.buffer.total > 0
        if self.owner is not None:
            self.owner.opened_early(self)

    def covers_syn(self, ack: int) -> bool:
        """Whether `ack` may be of data in our SYN."""
        return self.fast_open is not None and self.fast_open.covers(ack, self.sender)

    def sent_in_syn(self, ack: int) -> bool:
        """Whether `ack` is of data in our SYN, which then counts as sent."""
        return self.fast_open is not None and self.fast_open.take_syn_data_ack(ack, self.sender)

    @property
    def may_open(self) -> bool:
        """Whether the owner has room for one more that is ESTABLISHED."""
        return self.owner is None or self.owner.may_open()

    # Called by the coroutines of handshake.py and teardown.py

    def send_syn(self) -> None:
        """Send a SYN; with an ACK, in SYN-RECEIVED."""
        self._syn_due = True

    def send_syn_at_once(self) -> None:
        """The peer had an old connection of this four-tuple, which our RST ends: the SYN follows.

        Linux repeats it two ticks of its clock later; as there, once, and not after a timeout.
        """
        sender = self.sender
        if sender.nxt != sender.iss and not (sender.retransmissions or sender.unanswered):
            self._syn_due = True

    def opened(self) -> None:
        """Tell the owner that it is ESTABLISHED; send the FIN of an earlier CLOSE."""
        if self._syn_due:  # The ACK came in one batch with a SYN that we were to answer.
            self._syn_due = False
            self.receiver.ack_now = True
        self.soft_error = None
        close_requested = self._close_requested
        if self.owner is not None:
            self.owner.opened(self)
        if close_requested and self.state in CAN_SEND:
            self.run(teardown(self))

    def failed_to_open(self) -> None:
        """Tell the owner that the handshake has failed."""
        if self.fast_open is not None:
            self.fast_open.on_failure(self.error)
        if self.owner is not None:
            self.owner.failed_to_open(self)

    def return_to_listen(self) -> None:
        """The peer has reset a passive handshake: back to LISTEN (section 3.10.7.4)."""
        self._syn_due = False
        self.sender.return_to_listen()
        self.receiver.on_ack_sent()
        self.enter(LISTEN)

    # The application's calls (section 3.10)

    @property
    def readable(self) -> bool:
        """Whether :meth:`receive` would return at once: data, the end, or an error."""
        receiver = self.receiver
        if receiver.buffer.size and (receiver.urgent is None or receiver.available):
            return True
        return receiver.finished or receiver.shut_down or self.state is CLOSED

    @property
    def sends_early(self) -> bool:
        """Whether the application may send though the handshake is under way (RFC 7413)."""
        return (
            self.fast_open is not None
            and self.fast_open.early
            and (self.state is SYN_SENT or self.state is SYN_RECEIVED)
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

    def wants_data(self, lowat: int) -> bool:
        """Whether to wake a writer (Linux's sk_stream_is_writeable): not for a few octets.

        Args:
            lowat: TCP_NOTSENT_LOWAT, the octets not sent yet beyond which it waits.
        """
        sender = self.sender
        queued = sender.buffer.size
        if not queued:
            return True
        # What the peer holds beyond a gap is outstanding, but does not fill cwnd.
        most = sender.congestion.cwnd + sender.unsent
        room = self.writable_size
        if not room or room * 2 < (queued if queued < most else most):
            return False
        # A rest that waits for the writer must not have the writer wait for it.
        return sender.unsent < lowat or sender.deferring

    def send(self, data: Buffer, now: float, *, urgent: bool = False) -> int:
        """SEND (section 3.10.2): queue `data`, as much as there is room for; returns how much.

        If it is `urgent`, SND.UP is set behind what was taken, and sent at once, even if the peer's
        window is closed.

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
        data = receiver.buffer.take(limit) if receiver.urgent is None else receiver.take(limit)
        if data and self.state in CAN_RECEIVE and receiver.window_update_due():
            receiver.ack_now = True
        elif not data and self.error is not None and not receiver.finished:
            raise self.error
        return data

    def peek(self, limit: int) -> bytes:
        """As :meth:`receive`, but that what it returns is there to be received again (MSG_PEEK)."""
        data = self.receiver.peek(limit)
        if not data and self.error is not None and not self.receiver.finished:
            raise self.error
        return data

    @property
    def urgent_is_on_its_way(self) -> bool:
        """Whether an urgent octet was announced, out of line, and may still come."""
        receiver = self.receiver
        over = receiver.shut_down or self.state is CLOSED
        return not over and receiver.urgent_pending

    def reconfigure(self, config: Config) -> None:
        """Take other parameters; what the handshake has settled stays."""
        if config.congestion is not self.config.congestion:
            self.sender.change_congestion(config.congestion())
        self.config = config
        self.sender.reconfigure(config)
        self.receiver.reconfigure(config)
        self.idle_timers.reconfigure(config)

    # Arrival (section 3.10.7)

    def segment_arrives(self, segment: Segment, now: float) -> Verdict:
        """Process a segment by the rules of :mod:`tunstack.tcp.connection.arrival`."""
        verdict = arrival.segment_arrives(self, segment, now)
        if verdict is _ACCEPTED:
            self.idle_timers.segment_received(now)
        return verdict

    def restart_time_wait(self, now: float) -> None:
        """The peer's FIN came again: 2 MSL from now (section 3.10.7.4, eighth)."""
        self.idle_timers.restart_time_wait(self, now)

    def echoed_at(self, segment: Segment, now: float) -> float | None:
        """When what `segment` echoes was sent, in seconds; None without timestamps."""
        if not self.timestamps_ok or segment.ts_val is None:
            return None
        age = (self.timestamp(now) - segment.ts_ecr) & MASK
        return now - age / 1000 if age < 1 << 31 else None

    def may_answer(self, now: float) -> bool:
        """Whether the limit of challenge ACKs allows another one (RFC 5961 section 7)."""
        if self.challenges is NEVER:
            self.challenges = ChallengeLimit()
        return self.challenges.allows(now)

    def challenge(self, now: float) -> None:
        """Send a challenge ACK, if the limit allows it (RFC 5961)."""
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
        ack_due, idle = self.receiver.ack_due, self.idle_timers.at
        if ack_due is not None and (deadline is None or ack_due < deadline):
            deadline = ack_due
        deferred = sender.deferred_until
        if deferred and (deadline is None or deferred < deadline):
            deadline = deferred
        if idle is not None and (deadline is None or idle < deadline):
            deadline = idle
        return deadline

    def handle_timer(self, now: float) -> None:
        """Do what is due; call :meth:`transmit` after it."""
        idle = self.idle_timers.at
        if idle is not None and now >= idle:
            self._idle_timeout(now)
        receiver = self.receiver
        if receiver.ack_due is not None and now >= receiver.ack_due:
            receiver.ack_now = True
        sender = self.sender
        if sender.deferring:
            sender.end_deferral(now)
        timer = sender.next_timer
        if timer is None or now < timer:
            return
        unanswered = sender.unanswered
        action = sender.timer_fired(now)
        if unanswered < self.config.r1 == sender.unanswered:
            self._report_r1()
        if action == "give up":
            self.give_up()
        elif action == "syn":
            self._syn_due = True
        elif action == "probe":
            self._outbox.append(self._probe(now, "window probe"))

    def _idle_timeout(self, now: float) -> None:
        match self.idle_timers.fired(self, now):
            case Due.END:
                self.end(None)
            case Due.PROBE:
                self._outbox.append(self._probe(now, "keep-alive"))
            case Due.RESET:
                self.send_reset(self._reset_seq())
                self.give_up()
            case Due.NOTHING:
                pass

    # How it stands

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do or to say: the stack may forget it."""
        state = self.state
        return (state is CLOSED or state is LISTEN) and not self._outbox

    @property
    def only_waits(self) -> bool:
        """Whether it is in TIME-WAIT, orphaned, with nothing to send or read."""
        receiver = self.receiver
        return (
            self.state is TIME_WAIT
            and self.sender.orphaned
            and self.idle_timers.at is not None
            and not (self._outbox or receiver.ack_now or receiver.buffer.size)
        )

    @property
    def only_data_pending(self) -> bool:
        """Whether the application has not closed it, and it has only data and ACKs to send."""
        return not (
            self.sender.orphaned
            or self._close_requested
            or self._outbox
            or self._syn_due
            or self.soft_error is not None
        )
