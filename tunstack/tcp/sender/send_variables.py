"""The SND variables of RFC 9293 section 3.3.1, and the other state of a sender."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.recovery.recovery import Recovery
from tunstack.tcp.sender.path_mtu import PathMtu
from tunstack.tcp.sender.rtt import RttEstimator
from tunstack.tcp.sender.send_buffer import SendBuffer
from tunstack.tcp.sender.tail_probe import NO_PROBE
from tunstack.tcp.sequence import MASK, diff

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionControl


class SendVariables:
    """The SND variables, the send buffer and its limits.

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
        path: The path MTU, and segment sizes known to arrive.
        buffer: The send buffer, from the first octet not acknowledged.
        fin_queued: Whether a FIN follows the last octet of the buffer.
        size: The size of the send buffer, in octets (SO_SNDBUF)...
        size_max: ...which grows to twice cwnd, up to this (Linux's tcp_wmem).
        up: SND.UP: the number after our urgent data; None when all of it is acknowledged.
        urgent_due: Whether to send SND.UP now.
        nodelay: Whether the Nagle algorithm is off.
        corked: Whether only full segments are sent (TCP_CORK).
        more: Whether the last call had MSG_MORE.
        orphaned: Whether the application has closed the connection.
        synchronized: Whether our SYN is acknowledged.
        early: Whether data may be sent before our SYN is acknowledged (RFC 7413 section 4.2).
        timer: When the retransmission or persist timer fires, in seconds; None if none runs.
        early_timer: When the tail loss probe or RACK's reordering timer fires; None if none runs.
        last_sent: When the last segment was sent, in seconds.
        deferred_until: When the deferral of a partial segment ends, in seconds; 0 if it has ended,
            None if the next one may be deferred.
        small_end: The number after the last small segment (Linux's snd_sml).
        unanswered: Consecutive timeouts without an ACK.
        retransmissions: Segments retransmitted, in total.
    """

    __slots__ = (
        "_config",
        "_force",
        "_force_until",
        "_probe_due",
        "_tail",
        "buffer",
        "congestion",
        "corked",
        "deferred_until",
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
        "small_end",
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
        self.recovery = Recovery(congestion, self.rtt, self.path)
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
        self._tail = NO_PROBE
        self._probe_due = False
        self._force = False
        """Whether what is small goes out all the same, up to the number `_force_until`."""
        self._force_until = 0
        self.last_sent = 0.0
        self.deferred_until: float | None = None
        self.small_end = iss

    def reconfigure(self, config: Config) -> None:
        """Apply changed socket options; negotiated options stay."""
        self._config = config
        self.size, self.size_max = config.send_sizes
        self.nodelay = config.nodelay
        self.corked = config.cork
        self.user_timeout = config.data_r2

    def push(self) -> None:
        """Send all queued data, in spite of Nagle's algorithm and TCP_CORK."""
        self.more = False
        if self.unsent:
            self._force = True
            self._force_until = self.buffer.end

    def orphan(self) -> None:
        """Record that the application has closed the connection: R2 is shorter, as in Linux."""
        self.orphaned = True
        self.user_timeout = self._config.orphan_r2

    def change_congestion(self, congestion: CongestionControl) -> None:
        """Replace the congestion control; cwnd and ssthresh stay."""
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
        """Octets in the buffer that have not been sent."""
        if self.nxt == self.iss and not self.synchronized:
            return self.buffer.size
        return max(0, diff(self.buffer.end, self.nxt))

    @property
    def usable(self) -> int:
        """Octets that SND.WND and cwnd permit to be sent now."""
        return min(self.wnd, self.congestion.cwnd) - ((self.nxt - self.una) & MASK)

    @property
    def only_new_data(self) -> bool:
        """Whether there is no FIN, no urgent data, and no tail, window or MTU probe."""
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
        """The present size of the send buffer, in octets.

        A window of what is on its way, and one of what may follow when that is acknowledged. While
        a loss is repaired, what is outstanding is more than a window, as the peer holds much of it
        beyond the gap: it takes no room from what may follow.
        """
        cwnd = self.congestion.cwnd
        outstanding = (self.nxt - self.una) & MASK
        size = cwnd + (cwnd if cwnd > outstanding else outstanding)
        if size > self.size_max:
            size = self.size_max
        return size if size > self.size else self.size

    @property
    def may_send(self) -> bool:
        """Whether data may be sent: our SYN is acknowledged, or Fast Open is in use."""
        return self.synchronized or (self.early and self.nxt != self.iss)

    @property
    def end(self) -> int:
        """The number after all queued data and FIN."""
        return (self.buffer.end + self.fin_queued) & MASK

    @property
    def fin_acknowledged(self) -> bool:
        """Whether all data and our FIN are acknowledged."""
        return self.recovery.fin and self.una == self.nxt

    def forget_data(self) -> None:
        """Free the buffer and the scoreboard; SND.UNA and SND.NXT stay."""
        self.buffer.forget()
        self.recovery.board.forget()

    def position(self, seq: int) -> int:
        """Return the scoreboard's position of `seq`, not before SND.UNA."""
        return self.recovery.board.una + ((seq - self.una) & MASK)

    def _seq(self, position: int) -> int:
        return (self.iss + position) & MASK
