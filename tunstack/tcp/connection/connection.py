"""One TCP connection: segments, timers and the application's calls.

Sans-IO: time comes in as ``now`` (seconds, from any monotonic clock), segments go in by
:meth:`Connection.segment_arrives` and come out of :meth:`Connection.transmit`, and
:meth:`Connection.deadline` returns when to call :meth:`Connection.handle_timer`. The order
of calls is: any number of inputs (segments, calls of the application), then `transmit` until the
batch is empty, then `deadline`. One `transmit` after many segments sends one ACK for all of them
(RFC 9293 MUST-58, MUST-59).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tunstack.compiled import mypyc_attr
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
from tunstack.tcp.receiver import freezing
from tunstack.tcp.segment import SYN
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Buffer, Segment


_ACCEPTED: Final = Verdict.ACCEPTED
_NOT_OPEN: Final = frozenset({CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED})


@mypyc_attr(allow_interpreted_subclasses=True)
class Connection(Ending):
    """One TCP connection.

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
        """After :meth:`open_active`: defer the SYN until there is data for it (RFC 7413)."""
        self._syn_due = False

    def open_passive(self) -> None:
        """Passive OPEN: CLOSED to LISTEN."""
        self.passive = True
        self.enter(LISTEN)

    def begin_passive_handshake(self) -> None:
        """Start the handshake in SYN-RECEIVED, entered from LISTEN."""
        self.run(handshake(self))

    def answered_by_cookie(self, now: float) -> None:
        """Restore the state after a SYN,ACK with a SYN cookie (:mod:`.cookies`)."""
        self._syn_due = False
        self.sender.restore_syn_sent(now)

    @property
    def awaits_data(self) -> bool:
        """Whether the SYN can carry data: there is a Fast Open cookie (RFC 7413)."""
        return self.fast_open is not None and self.fast_open.awaits_data

    @property
    def accepts_early(self) -> bool:
        """Whether it is accepted before the handshake completes (RFC 7413 section 4.2.2)."""
        return self.passive and self.fast_open is not None and self.fast_open.early

    def opened_early(self) -> None:
        """Put it in the accept queue in SYN-RECEIVED, with the data of the SYN (RFC 7413)."""
        assert self.fast_open is not None
        self.sender.send_early()
        self.fast_open.syn_data = self.receiver.buffer.total > 0
        if self.owner is not None:
            self.owner.opened_early(self)

    def covers_syn(self, ack: int) -> bool:
        """Whether `ack` may acknowledge data in our SYN."""
        return self.fast_open is not None and self.fast_open.covers(ack, self.sender)

    def sent_in_syn(self, ack: int) -> bool:
        """Advance SND.NXT over the data in our SYN that `ack` covers; returns whether it does."""
        return self.fast_open is not None and self.fast_open.take_syn_data_ack(ack, self.sender)

    # Called by the coroutines of handshake.py and teardown.py

    def send_syn(self) -> None:
        """Send a SYN; with an ACK, in SYN-RECEIVED."""
        self._syn_due = True

    def send_syn_at_once(self) -> None:
        """Retransmit the SYN after a RST to an old connection of the peer with this four-tuple.

        Linux does it two ticks later (TCP_TIMEOUT_MIN); as there, once, and not after a timeout.
        """
        sender = self.sender
        if sender.nxt != sender.iss and not (sender.retransmissions or sender.unanswered):
            self._syn_due = True

    def opened(self) -> None:
        """Report ESTABLISHED to the owner; send the FIN of a queued CLOSE."""
        if self._syn_due:  # The ACK arrived in the same batch as a SYN not answered yet.
            self._syn_due = False
            self.receiver.ack_now = True
        self.soft_error = None
        close_requested = self._close_requested
        if self.owner is not None:
            self.owner.opened(self)
        if close_requested and self.state in CAN_SEND:
            self.run(teardown(self))

    def failed_to_open(self) -> None:
        """Report to the owner that the handshake has failed."""
        if self.fast_open is not None:
            self.fast_open.on_failure(self.error)
        if self.owner is not None:
            self.owner.failed_to_open(self)

    def return_to_listen(self) -> None:
        """Return to LISTEN: the peer has reset a passive handshake (section 3.10.7.4)."""
        self._syn_due = False
        self.sender.return_to_listen()
        self.receiver.on_ack_sent()
        self.enter(LISTEN)

    # The application's calls (section 3.10)

    @property
    def readable(self) -> bool:
        """Whether :meth:`receive` would not block: data, end of stream, or an error."""
        receiver = self.receiver
        if receiver.buffer.size and (receiver.urgent is None or receiver.available):
            return True
        return receiver.finished or receiver.shut_down or self.state is CLOSED

    @property
    def sends_early(self) -> bool:
        """Whether the application may send before the handshake completes (RFC 7413)."""
        return (
            self.fast_open is not None
            and self.fast_open.early
            and (self.state is SYN_SENT or self.state is SYN_RECEIVED)
        )

    @property
    def writable_size(self) -> int:
        """Octets that :meth:`send` would queue now."""
        if (self.state not in CAN_SEND and not self.sends_early) or self._close_requested:
            return 0
        bound, budget = self.sender.bound, self.receiver.budget
        if budget.tight:
            bound = budget.share(bound)
        room = bound - self.sender.buffer.size
        return room if room > 0 else 0

    def wants_data(self, lowat: int) -> bool:
        """Whether to wake a writer (Linux's sk_stream_is_writeable).

        Args:
            lowat: TCP_NOTSENT_LOWAT, the octets not sent yet beyond which it waits.
        """
        sender = self.sender
        queued = sender.buffer.size
        if not queued:
            return True
        # SACKed data is outstanding, but does not count against cwnd.
        most = sender.congestion.cwnd + sender.unsent
        room = self.writable_size
        if not room or room * 2 < (queued if queued < most else most):
            return False
        # A partial segment that is deferred for more data must not block the writer.
        return sender.unsent < lowat or sender.deferring

    def send(self, data: Buffer, now: float, *, urgent: bool = False) -> int:
        """SEND (section 3.10.2): queue as much of `data` as fits; returns the number of octets.

        If it is `urgent`, SND.UP is set behind what was taken, and sent at once, even if the peer's
        window is closed.

        Raises:
            OSError: EPIPE after :meth:`shutdown`; what ended the connection, if it has ended.
        """
        if self.state not in CAN_SEND or self._close_requested:
            if self._close_requested or not self.sends_early:
                raise self.error or OSError(errno.EPIPE, "Broken pipe")
            if self.sender.nxt == self.sender.iss:
                self._syn_due = True  # Send the deferred SYN.
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
        """RECEIVE (section 3.10.3): at most `limit` octets; ``b""`` if none are queued.

        Raises:
            OSError: The connection's error, after all data is read, unless the FIN was received.
        """
        receiver = self.receiver
        data = receiver.buffer.take(limit) if receiver.urgent is None else receiver.take(limit)
        if data and self.state in CAN_RECEIVE and receiver.window_update_due():
            receiver.ack_now = True
        elif not data and self.error is not None and not receiver.finished:
            raise self.error
        return data

    def peek(self, limit: int) -> bytes:
        """Return what :meth:`receive` would, without removing it (MSG_PEEK)."""
        data = self.receiver.peek(limit)
        if not data and self.error is not None and not self.receiver.finished:
            raise self.error
        return data

    @property
    def urgent_is_on_its_way(self) -> bool:
        """Whether an out-of-band octet was announced, and may still arrive."""
        receiver = self.receiver
        over = receiver.shut_down or self.state is CLOSED
        return not over and receiver.urgent_pending

    def reconfigure(self, config: Config) -> None:
        """Apply changed socket options; negotiated options stay."""
        if config.congestion is not self.config.congestion:
            self.sender.change_congestion(config.congestion())
        self.config = config
        self.sender.reconfigure(config)
        self.receiver.reconfigure(config)
        self.idle_timers.reconfigure(config)

    def freeze(self, after: int, *, shrink: bool) -> None:
        """Close the window after `after` octets more, until :meth:`thaw`; see :mod:`.freezing`.

        After the peer's FIN it has no effect.

        Raises:
            OSError: ENOTCONN: it is not open yet, or has ended.
            ValueError: `after` is negative, or too large for the window field.
        """
        if self.state in _NOT_OPEN:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        freezing.freeze(self.receiver, after, shrink=shrink)
        if self.receiver.finished:
            freezing.thaw(self.receiver)

    def thaw(self) -> None:
        """Undo :meth:`freeze`, and send a window update."""
        freezing.thaw(self.receiver)

    # Arrival (section 3.10.7)

    def segment_arrives(self, segment: Segment, now: float) -> Verdict:
        """Process a segment by the rules of :mod:`tunstack.tcp.connection.arrival`."""
        verdict = arrival.segment_arrives(self, segment, now)
        if verdict is _ACCEPTED:
            idle = self.idle_timers
            idle.received_at = now
            idle.probes = 0
        return verdict

    def restart_time_wait(self, now: float) -> None:
        """Restart the 2 MSL timer: the peer has retransmitted its FIN (3.10.7.4, eighth)."""
        self.idle_timers.restart_time_wait(self, now)

    def echoed_at(self, segment: Segment, now: float) -> float | None:
        """When the segment that TSecr echoes was sent, in seconds; None without timestamps."""
        if not self.timestamps_ok or segment.ts_val is None:
            return None
        age = (self.timestamp(now) - segment.ts_ecr) & MASK
        return now - age / 1000 if age < 1 << 31 else None

    def may_answer(self, now: float) -> bool:
        """Whether the rate limit allows a challenge ACK (RFC 5961 section 7)."""
        if self.challenges is NEVER:
            self.challenges = ChallengeLimit()
        return self.challenges.allows(now)

    def challenge(self, now: float) -> None:
        """Send a challenge ACK, within the rate limit (RFC 5961)."""
        if self.may_answer(now):
            self.receiver.ack_now = True

    def answer_unacceptable(self, segment: Segment, now: float) -> None:
        """Send an ACK for an unacceptable segment (section 3.10.7.4, first).

        Data or a FIN may be a retransmission, whose sender needs the ACK. An empty segment or a SYN
        is rate-limited as a challenge ACK, or two ends that disagree would answer without end.
        """
        if segment.length and not segment.flags & SYN:
            self.receiver.ack_now = True
        else:
            self.challenge(now)

    # Timers

    def deadline(self) -> float | None:
        """When to call :meth:`handle_timer`, in seconds; None if no timer runs."""
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
        """Run expired timers; call :meth:`transmit` afterwards."""
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

    # State

    @property
    def finished(self) -> bool:
        """Whether it is in CLOSED or LISTEN with nothing to send: the stack may delete it."""
        state = self.state
        return (state is CLOSED or state is LISTEN) and not self._outbox

    @property
    def only_waits(self) -> bool:
        """Whether it is an orphan in TIME-WAIT with nothing to send or read."""
        receiver = self.receiver
        return (
            self.state is TIME_WAIT
            and self.sender.orphaned
            and self.idle_timers.at is not None
            and not (self._outbox or receiver.ack_now or receiver.buffer.size)
        )

    @property
    def only_data_pending(self) -> bool:
        """Whether it is open, and nothing but data and ACKs is to be sent."""
        return not (
            self.sender.orphaned
            or self._close_requested
            or self._outbox
            or self._syn_due
            or self.soft_error is not None
        )
