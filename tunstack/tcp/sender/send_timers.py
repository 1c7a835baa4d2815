"""The timers of a sender.

`timer` is the retransmission timer (RFC 6298), or the persist timer when nothing is outstanding and
the window is closed (RFC 9293 section 3.8.6.1). `early_timer` fires before it: the tail loss probe,
or RACK's reordering timer (RFC 8985).
"""

from __future__ import annotations

from typing import Final

from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.sender import sizing
from tunstack.tcp.sender.send_variables import SendVariables
from tunstack.tcp.sender.tail_probe import (
    MAX_ACK_DELAY,
    NO_PROBE,
    PROMPT_ACK,
    probe_timeout,
)
from tunstack.tcp.sequence import MASK

_OPEN: Final = Phase.OPEN


class SendTimers(SendVariables):
    """The retransmission, persist, reordering and probe timers."""

    __slots__ = ()

    def start_timer(self, now: float) -> None:
        """Start or restart the retransmission timer."""
        if self.persisting:
            self.persisting = False
            self.rtt.end_back_off()  # It was that of window probes.
        self.timer = self._timer_at(now, self.user_timeout)

    def too_large(self, mss: int, seq: int, now: float) -> None:
        """A router reports that a segment is too large (:func:`.sizing.too_large`)."""
        if sizing.too_large(self, mss, seq):
            self.start_timer(now)

    def stop_timers(self) -> None:
        """Stop all timers."""
        self.timer = self.early_timer = self.deferred_until = None
        self.persisting = False

    def end_deferral(self, now: float) -> None:
        """End the deferral of a partial segment, if its time is over."""
        if self.deferred_until is not None and now >= self.deferred_until:
            self.deferred_until = 0.0

    def _set_timers(self, advance: int, now: float) -> None:
        """Restart or stop the timers after an ACK (RFC 6298 5.2, 5.3; RFC 8985 6.2, 7.2)."""
        if self.una == self.nxt:
            self.early_timer = None
            if not self.persisting:  # Else a late D-SACK; the window is still closed.
                self.timer = None
            return
        if (advance and not self.recovery.impatient) or self.persisting:
            self.start_timer(now)
        recovery = self.recovery
        if advance or recovery.recovering or recovery.board.sacked:
            self.early_timer = recovery.reorder_timer
        if advance:
            self.schedule_probe(now)

    def start_flight(self, now: float) -> None:
        """Do :meth:`start_timer` and :meth:`schedule_probe` for the only outstanding segment."""
        rtt = self.rtt
        timer, give_up = now + rtt.rto, now + self.user_timeout
        if timer > give_up:
            timer = give_up
        self.timer = timer
        if self._config.tail_loss_probe:
            srtt = rtt.srtt
            # As `probe_timeout`: the ACK may be delayed.
            early = now + (1.0 if srtt is None else 2 * srtt + MAX_ACK_DELAY)
            if early > timer:
                early = timer
            self.early_timer = early if early < give_up else None

    def schedule_probe(self, now: float) -> None:
        """Set the probe timer, if this flight may have a probe (RFC 8985 section 7.2)."""
        recovery = self.recovery
        if not recovery.sack or recovery.phase is not _OPEN or recovery.board.sacked:
            return
        if not (self.synchronized and self._config.tail_loss_probe):
            return  # Our SYN may be lost, which only the retransmission timer repairs.
        if self._tail.end is None and self.timer is not None:
            # Less than two full segments: the ACK may be delayed.
            single = (self.nxt - self.una) & MASK < 2 * self.mss
            at = now + probe_timeout(self.rtt, MAX_ACK_DELAY if single else PROMPT_ACK)
            # It replaces the timeout if that would be earlier, but not R2.
            if at > self.timer:
                at = self.timer
            self.early_timer = at if at < self.stalled_since + self.user_timeout else None

    def _timer_at(self, now: float, timeout: float) -> float:
        """Return now + RTO, or R2 if that is earlier (RFC 9293 section 3.8.3)."""
        at = now + self.rtt.rto
        give_up = self.stalled_since + timeout
        return at if at <= give_up else max(now, give_up)

    @property
    def _probing_time(self) -> float:
        """R2 of a closed window, in seconds; an orphan's probes are also counted, as in Linux."""
        return self._config.data_r2 if self.orphaned else self.user_timeout

    def _is_over(self, now: float) -> bool:
        """Whether R2 is reached, as the timer fires.

        An orphan's R2 is earlier, as in Linux: when RTO has reached its
        maximum, and when `orphan_retries` probes of a closed window were not answered.
        """
        config, since = self._config, self.stalled_since
        if not self.synchronized:
            return now >= since + config.syn_r2
        timeout = self._probing_time if self.persisting else self.user_timeout
        if now >= since + timeout:  # The same sum as in `_timer_at`, for equal rounding.
            return True
        if not self.orphaned or not (self.persisting or config.user_timeout is None):
            return False
        if self.persisting and self.unanswered >= config.orphan_retries:
            return True
        # Not if `timeout` has cut the last wait short.
        return self.rtt.rto >= config.rto_max and now >= since + config.rto_max / 2

    def watch_window(self, now: float) -> None:
        """Start the persist timer if needed; called after each transmission.

        It runs when there is data to send, nothing outstanding whose ACK could open the
        window, and the window does not permit it (RFC 9293 section 3.8.6.1, MUST-36), until a
        segment is sent (:meth:`start_timer`).
        """
        held_back = self.synchronized and self.nxt == self.una and self.nxt != self.end
        if held_back and not self.persisting:
            self.persisting = True
            self.stalled_since = now
            self.timer = self._timer_at(now, self._probing_time)  # SHLD-29

    def peer_responded(self, now: float) -> None:
        """Reset R2 for an ACK while the window is or was closed (MUST-37).

        If the peer has shrunk its window, retransmissions probe it (MUST-35, SHLD-17). ACKs
        keep the connection open, unless it has a user timeout or is an orphan
        (RFC 6429): a peer that never opens its window must not hold memory without limit.
        """
        self.unanswered = 0
        if not self.orphaned and self._config.user_timeout is None:
            self.stalled_since = now

    @property
    def next_timer(self) -> float | None:
        """When the next timer fires, in seconds; None if none runs."""
        early, timer = self.early_timer, self.timer
        return timer if early is None or (timer is not None and timer < early) else early

    def timer_fired(self, now: float) -> str:
        """Process an expired timer; returns "give up", "syn", "probe", or "" to transmit."""
        early, timer = self.early_timer, self.timer
        if early is None or now < early or (timer is not None and timer < early):
            return self._timeout(now)
        self.early_timer = None
        recovery = self.recovery
        reorder_timer = recovery.reorder_timer
        if reorder_timer is not None:
            recovery.reorder_timer_fired(now, self.mss)
            self.early_timer = recovery.reorder_timer
        elif self.outstanding:
            self._probe_due = True
            self.start_timer(now)
        return ""

    def _timeout(self, now: float) -> str:
        if self._is_over(now):
            self.timer = self.early_timer = None
            return "give up"
        self.unanswered += 1
        self.rtt.back_off()
        if self.persisting:
            self.timer = self._timer_at(now, self._probing_time)  # SHLD-30
            if self.wnd > 0:
                self._force = True  # Send a small segment (override timeout, RFC 9293 3.8.6.2.1).
                self._force_until = self.nxt
                return ""
            return "probe"
        if not self.synchronized:
            return "syn"
        sizing.timed_out(self, now, self._config.mtu_probing)
        self.early_timer = None
        self._tail = NO_PROBE
        self.start_timer(now)
        return ""
