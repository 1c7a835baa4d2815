"""Idle timers: keep-alive, SO_LINGER, FIN-WAIT-2 of an orphan, TIME-WAIT.

They run in different states, so one timer serves all of them.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from tunstack.tcp.connection.state import (
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYNCHRONIZED,
    TIME_WAIT,
    State,
)

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.connection.control_block import ControlBlock


_LINGERING: Final = frozenset({FIN_WAIT_1, CLOSING, LAST_ACK})
"""States in which our FIN is not acknowledged yet."""


class Due(Enum):
    """What to do when the timer fires."""

    NOTHING = "nothing"
    END = "end"
    """The connection ends without an error."""
    PROBE = "probe"
    """Send a keep-alive (RFC 9293 section 3.8.4)."""
    RESET = "reset"
    """The peer does not answer: end, and send a RST."""


class IdleTimers:
    """The timer of an idle connection; which one it is depends on the state.

    Attributes:
        at: When it fires, in seconds; None if it does not run.
        received_at: When the last acceptable segment arrived, in seconds.
        probes: Keep-alives sent since.
    """

    __slots__ = ("_state", "at", "probes", "received_at")

    def __init__(self) -> None:
        self.at: float | None = None
        self._state: State | None = None
        self.received_at = 0.0
        self.probes = 0

    def reconfigure(self, config: Config) -> None:
        """Apply a new TCP_KEEPIDLE, counted from the last segment received, as on Linux."""
        if self._state is ESTABLISHED and not self.probes:
            self.at = self.received_at + config.keepalive_idle

    def stop(self) -> None:
        """Stop the timer."""
        self.at = self._state = None

    def restart_time_wait(self, connection: ControlBlock, now: float) -> None:
        """Restart the TIME-WAIT timer at 2 MSL (section 3.10.7.4, eighth)."""
        self._state = TIME_WAIT
        self.at = now + 2 * connection.config.msl

    def resume_time_wait(self, ends: float) -> None:
        """Restore the TIME-WAIT timer, which expires at `ends`."""
        self._state = TIME_WAIT
        self.at = ends

    def watch(self, connection: ControlBlock, now: float) -> None:
        """Start or stop the timer as the state requires; called after each batch."""
        state = connection.state
        if state is TIME_WAIT:
            if self._state is not TIME_WAIT:
                self.restart_time_wait(connection, now)
        elif state is FIN_WAIT_2 and connection.orphaned:
            if self._state is not FIN_WAIT_2:
                # The RFC has no limit; Linux has tcp_fin_timeout.
                self._state = state
                self.at = now + connection.config.fin_wait_2_timeout
        elif connection.linger is not None and state in _LINGERING:
            if self._state is not LAST_ACK:  # LAST_ACK stands for all three states.
                self._state = LAST_ACK
                self.at = now + connection.linger
        elif connection.config.keepalive and state in SYNCHRONIZED:
            if self.at is None:
                self._state = ESTABLISHED
                self.received_at = now
                self.at = now + connection.config.keepalive_idle
        elif self.at is not None:
            self.stop()

    def fired(self, connection: ControlBlock, now: float) -> Due:
        """Process the expired timer; returns what to do."""
        config = connection.config
        if self._state is not ESTABLISHED:
            given_up = self._state is LAST_ACK or (
                self._state is FIN_WAIT_2 and config.fin_wait_2_timeout < 0
            )
            self.stop()
            return Due.RESET if given_up else Due.END
        sender = connection.sender
        if sender.una != sender.end:
            # Only an idle connection is probed (MUST-26); else the retransmission timer runs.
            self.at = now + config.keepalive_idle
            return Due.NOTHING
        if not self.probes and now < self.received_at + config.keepalive_idle:
            self.at = self.received_at + config.keepalive_idle
            return Due.NOTHING
        if self._is_dead(config, now):
            self.stop()
            return Due.RESET
        self.probes += 1
        self.at = now + config.keepalive_interval
        return Due.PROBE

    def _is_dead(self, config: Config, now: float) -> bool:
        """Whether the peer is dead: enough keep-alives went unanswered, never just one (MUST-29).

        With a user timeout, that decides instead of the count, after one unanswered probe.
        """
        if config.user_timeout is None:
            return self.probes >= config.keepalive_count
        return self.probes > 0 and now >= self.received_at + config.user_timeout
