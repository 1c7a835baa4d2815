"""The timers of a sender.

One is the retransmission timer (RFC 6298), or the persist timer when nothing is outstanding and the
window is shut (RFC 9293 section 3.8.6.1). The early one comes before it: to probe for a lost tail,
or to look for overdue segments (RFC 8985).
"""

from __future__ import annotations

from tunstack.tcp.sender import sizing
from tunstack.tcp.sender.send_variables import SendVariables
from tunstack.tcp.sender.tail_probe import (
    MAX_ACK_DELAY,
    PROMPT_ACK,
    TailLossProbe,
    probe_timeout,
)


class SendTimers(SendVariables):
    """The retransmission, persist, reordering and probe timers."""

    __slots__ = ()

    def start_timer(self, now: float) -> None:
        """Start the retransmission timer, anew if it runs."""
        if self.persisting:
            self.persisting = False
            self.rtt.end_back_off()  # It was the probes'.
        self.timer = self._timer_at(now, self.user_timeout)

    def too_large(self, mss: int, seq: int, now: float) -> None:
        """A router reports that a segment is too large (:func:`.sizing.too_large`)."""
        if sizing.too_large(self, mss, seq):
            self.start_timer(now)

    def stop_timers(self) -> None:
        """Stop them all."""
        self.timer = self.early_timer = self.deferred_until = None
        self.persisting = False

    def end_deferral(self, now: float) -> None:
        """End the deferral of a partial segment, if its time is over."""
        if self.deferred_until is not None and now >= self.deferred_until:
            self.deferred_until = 0.0

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

    def start_flight(self, now: float) -> None:
        """As :meth:`start_timer` and :meth:`schedule_probe`, for a lone segment."""
        rtt = self.rtt
        timer, give_up = now + rtt.rto, now + self.user_timeout
        if timer > give_up:
            timer = give_up
        self.timer = timer
        if self._config.tail_loss_probe:
            early = now + probe_timeout(rtt, MAX_ACK_DELAY)
            if early > timer:
                early = timer
            self.early_timer = early if early < give_up else None

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
            at = now + probe_timeout(self.rtt, MAX_ACK_DELAY if single else PROMPT_ACK)
            # Instead of the timeout if that would come first; but not instead of giving up.
            if at > self.timer:
                at = self.timer
            self.early_timer = at if at < self.stalled_since + self.user_timeout else None

    def _timer_at(self, now: float, timeout: float) -> float:
        """After an RTO; earlier when it is then time to give up (R2, RFC 9293 section 3.8.3)."""
        at = now + self.rtt.rto
        give_up = self.stalled_since + timeout
        return at if at <= give_up else max(now, give_up)

    @property
    def _probing_time(self) -> float:
        """How long a window may stay shut; an orphan's probes are counted besides, as on Linux."""
        return self._config.data_r2 if self.orphaned else self.user_timeout

    def _is_over(self, now: float) -> bool:
        """Whether it is time to give up (R2), as the timer fires.

        An orphan is given up earlier, as on Linux: when the time between attempts has reached its
        maximum, and when `orphan_retries` probes of a shut window were not answered.
        """
        config, since = self._config, self.stalled_since
        if not self.synchronized:
            return now >= since + config.syn_r2
        timeout = self._probing_time if self.persisting else self.user_timeout
        if now >= since + timeout:  # As `_timer_at` adds it up: no other rounding.
            return True
        if not self.orphaned or not (self.persisting or config.user_timeout is None):
            return False
        if self.persisting and self.unanswered >= config.orphan_retries:
            return True
        # Not if it was `timeout` that ended the wait so early.
        return self.rtt.rto >= config.rto_max and now >= since + config.rto_max / 2

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
            self.timer = self._timer_at(now, self._probing_time)  # SHLD-29

    def peer_responded(self, now: float) -> None:
        """An ACK came while the window is shut, or was: the peer is alive (MUST-37).

        If it took back its window, it is what we send again that probes it (MUST-35, SHLD-17). That
        keeps the connection, unless its owner wants otherwise, or there is none whom it could serve
        (RFC 6429): a peer that never opens its window must not hold our memory for ever.
        """
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
                self._force = True  # Small, but it has waited long enough.
                self._force_until = self.nxt
                return ""
            return "probe"
        if not self.synchronized:
            return "syn"
        sizing.timed_out(self, now, self._config.mtu_probing)
        self.early_timer = None
        self._tail = TailLossProbe()
        self.start_timer(now)
        return ""
