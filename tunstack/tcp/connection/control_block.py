"""The transmission control block of RFC 9293 section 3.3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunstack.compiled import mypyc_attr
from tunstack.tcp.budget import UNLIMITED, Budget
from tunstack.tcp.connection.challenge import NEVER
from tunstack.tcp.connection.coroutines import CoroutineRunner
from tunstack.tcp.connection.ecn import Ecn
from tunstack.tcp.connection.idle_timers import IdleTimers
from tunstack.tcp.receiver.receiver import Receiver
from tunstack.tcp.sender.sender import Sender
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.connection.fast_open import FastOpen
    from tunstack.tcp.connection.owner import Owner
    from tunstack.tcp.segment import Segment


@mypyc_attr(allow_interpreted_subclasses=True)
class ControlBlock(CoroutineRunner):
    """The variables of one connection, with its two halves.

    Attributes:
        config: The parameters it began with.
        sender: The sending half.
        receiver: The receiving half.
        passive: Whether it came from a passive OPEN (MUST-11).
        owner: Called when it opens or fails to.
        error: Why it ended, if not as it should: an OSError whose errno is ECONNREFUSED,
            ECONNRESET, ETIMEDOUT, ECONNABORTED, EHOSTUNREACH or ENETUNREACH; else None.
        soft_error: The latest error that does not end the connection (MUST-47, MUST-56), until the
            peer acknowledges more.
        reports: How many such errors there were.
        latest_report: The latest of them.
        peer_mss: What the peer's SYN says that it takes in one segment, in octets.
        largest_buffer: How large the receive buffer could have become at first, in octets: the
            window scale is chosen for it.
        timestamps_ok: Both sides sent a Timestamps option in their SYN.
        ts_offset: What is added to the clock for our timestamps.
        ts_recent: TS.Recent of RFC 7323 section 4.3.
        last_ack_sent: Last.ACK.sent of RFC 7323 section 4.3.
        fast_open: What RFC 7413 changes in its opening, if anything.
        on_fast_path: Whether :mod:`.fast_path` may handle it; whoever changes something in the
            connection that is not data in order makes it False.
        challenges: How often an attacker was answered; None if never.
        ecn: What is agreed on about explicit congestion notification.
        idle_timers: Keep-alive, linger, FIN-WAIT-2 and TIME-WAIT.
        linger: How long what was sent may then take to be acknowledged, in seconds (SO_LINGER);
            None for as long as ever.
    """

    __slots__ = (
        "_close_requested",
        "_outbox",
        "_syn_due",
        "challenges",
        "config",
        "ecn",
        "error",
        "fast_open",
        "idle_timers",
        "largest_buffer",
        "last_ack_sent",
        "latest_report",
        "linger",
        "on_fast_path",
        "owner",
        "passive",
        "peer_mss",
        "receiver",
        "reports",
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
        owner: Owner[Any] | None = None,
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
        self.timestamps_ok = False
        self.peer_mss = config.default_send_mss
        self.ts_recent = 0
        self.ts_recent_at = 0.0
        self.last_ack_sent = 0
        self.on_fast_path = False
        self.linger: float | None = None
        self.fast_open: FastOpen | None = None
        self.ts_offset = ts_offset
        self.challenges = NEVER
        self.largest_buffer = self.receiver.sizes[1]
        self._syn_due = False
        self._close_requested = False
        self.idle_timers = IdleTimers()
        self._outbox: list[Segment] = []

    @property
    def sack_ok(self) -> bool:
        """Whether both sides sent SACK-Permitted (RFC 2018)."""
        return self.sender.recovery.sack

    @property
    def orphaned(self) -> bool:
        """Whether the application has closed it: nothing will be read."""
        return self.sender.orphaned

    def timestamp(self, now: float) -> int:
        """TSval now; as :func:`~tunstack.tcp.clock.timestamp`."""
        return (int(now * 1000) + self.ts_offset) & MASK
