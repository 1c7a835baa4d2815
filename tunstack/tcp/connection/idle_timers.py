"""Idle timers: keep-alive, SO_LINGER, FIN-WAIT-2 of an orphan, TIME-WAIT.

Their states exclude one another, so one timer serves them all.
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
"""States in which something of ours is not acknowledged, after a CLOSE."""


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
        received_at: When the peer last sent something acceptable, in seconds.
        probes: Keep-alives sent since.
    """

    __slots__ = ("_state", "at", "probes", "received_at")

    def __init__(self) -> None:
        self.at: float | None = None
        self._state: State | None = None
        self.received_at = 0.0
        self.probes = 0

    def segment_received(self, now: float) -> None:
        """The peer has sent something acceptable."""
        self.received_at = now
        self.probes = 0

    def reconfigure(self, config: Config) -> None:
        """A new TCP_KEEPIDLE counts from the last segment received, as on Linux."""
        if self._state is ESTABLISHED and not self.probes:
            self.at = self.received_at + config.keepalive_idle

    def stop(self) -> None:
        """Stop the timer."""
        self.at = self._state = None

    def restart_time_wait(self, connection: ControlBlock, now: float) -> None:
        """2 MSL from now (section 3.10.7.4, eighth)."""
        self._state = TIME_WAIT
        self.at = now + 2 * connection.config.msl

    def resume_time_wait(self, ends: float) -> None:
        """Wait on, until `ends`, in place of an earlier timer."""
        self._state = TIME_WAIT
        self.at = ends

    def watch(self, connection: ControlBlock, now: float) -> None:
        """Start or stop it, as the state asks: call it after each batch."""
        state = connection.state
        if state is TIME_WAIT:
            if self._state is not TIME_WAIT:
                self.restart_time_wait(connection, now)
        elif state is FIN_WAIT_2 and connection.orphaned:
            if self._state is not FIN_WAIT_2:
                # The RFC lets it wait for ever for a FIN that may never come; Linux does not.
                self._state = state
                self.at = now + connection.config.fin_wait_2_timeout
        elif connection.linger is not None and state in _LINGERING:
            if self._state is not LAST_ACK:  # Which stands for the three of them.
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
        """The timer has fired: returns what to do."""
        config = connection.config
        if self._state is not ESTABLISHED:
            given_up = self._state is LAST_ACK or (
                self._state is FIN_WAIT_2 and config.fin_wait_2_timeout < 0
            )
            self.stop()
            return Due.RESET if given_up else Due.END
        sender = connection.sender
        if sender.una != sender.end:
            # Only an idle connection is probed (MUST-26): here the other timers watch the peer.
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
        """Whether enough keep-alives were not answered: never one alone (MUST-29).

        A user timeout decides instead of the count, once a probe went unanswered.
        """
        if config.user_timeout is None:
            return self.probes >= config.keepalive_count
        return self.probes > 0 and now >= self.received_at + config.user_timeout
