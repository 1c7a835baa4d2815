"""The receiving half of a connection: RCV variables, window, reassembly, acknowledgements."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tunstack.tcp.budget import SMALLEST_BUFFER, UNLIMITED, Budget
from tunstack.tcp.receiver.buffer_tuning import ReceiveTuning
from tunstack.tcp.receiver.freezing import Frozen, thaw
from tunstack.tcp.receiver.reassembly import EMPTY, Reassembly
from tunstack.tcp.receiver.receive_buffer import ReceiveBuffer
from tunstack.tcp.receiver.urgent import UrgentReader
from tunstack.tcp.sequence import MASK, diff

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Buffer

MAX_WINDOW_SHIFT: Final = 14
"""Bits: a larger shift count is taken for this one (RFC 7323 section 2.3)."""

_LARGEST_WINDOW: Final = 4 << 20
"""Octets: the scale allows for this window even if SO_RCVBUF is smaller, since that may grow."""

QUICK_ACK_DELAY: Final = 0.005
"""Seconds: the longest delay of the first ACKs of a connection (Linux's quick ACK mode has 0).

A peer that writes a request in two parts, with Nagle's algorithm on, waits for the ACK of the
first: 41 ms with the usual delay, 5 ms with this one, measured with the kernel as that peer. Linux
sends about 16 ACKs at once for that, a packet more per request. With this delay, an application
that answers at once sends the ACK with its answer. A bulk sender sees no difference.
"""


@lru_cache(maxsize=64)
def window_shift(buffer: int) -> int:
    """Return the shift count of our SYN, for a receive buffer of `buffer` octets (RFC 7323 2.2)."""
    window = max(buffer, _LARGEST_WINDOW)
    return min(MAX_WINDOW_SHIFT, max(0, (window >> 16).bit_length()))


def syn_window(buffer: int) -> int:
    """Return the window field of a SYN: it is never scaled (RFC 7323 section 2.2)."""
    return min(buffer, 0xFFFF)


class Receiver(UrgentReader):
    """The RCV variables of RFC 9293 section 3.3.1, and the data received.

    Attributes:
        irs: Initial receive sequence number.
        nxt: RCV.NXT, the next sequence number expected.
        edge: The right edge of the advertised window, RCV.NXT + RCV.WND.
        shift: Rcv.Wind.Shift (RFC 7323 section 2.2).
        mss: Octets of data in the largest segment expected: the MSS we announced, less options.
        size: The size of the receive buffer, in octets; negative while the window is frozen.
        sizes: The initial and the largest size by configuration, in octets.
        tuning: Auto-tuning of `size`; None where the size is fixed.
        frozen: The window's right edge where it is frozen (:mod:`.freezing`), else None.
        budget: The memory shared with other connections.
        buffer: Data in order, not read yet.
        reassembly: Out-of-order data.
        fin: Sequence number of the peer's FIN, received in any order; None before.
        finished: Whether everything up to and including the FIN was received.
        ack_due: When the delayed ACK timer fires, in seconds; None when it is off.
        ack_now: Whether an ACK goes out with the present batch.
    """

    __slots__ = (
        "_delayed_ack",
        "_dsack",
        "_max_runs",
        "_max_window",
        "_quick_acks",
        "_unacknowledged",
        "ack_due",
        "ack_now",
        "budget",
        "buffer",
        "edge",
        "fin",
        "finished",
        "frozen",
        "irs",
        "mss",
        "nxt",
        "out_of_order",
        "reassembly",
        "shift",
        "shut_down",
        "size",
        "sizes",
        "tuning",
    )

    def __init__(self, config: Config, budget: Budget = UNLIMITED) -> None:
        super().__init__(config)
        self.irs = 0
        self.nxt = 0
        self.edge = 0
        self.shift = 0
        self.mss = config.mss
        self.frozen: Frozen | None = None
        self._set_size(config)
        self.budget = budget
        self.buffer = ReceiveBuffer()
        self.reassembly = EMPTY
        self._max_runs = config.max_out_of_order_runs
        self.fin: int | None = None
        self.finished = False
        self.shut_down = False
        """Whether the application has shut this half down (SHUT_RD)."""
        self._delayed_ack = config.delayed_ack
        self._max_window = 0
        self._quick_acks = config.quick_acks
        self._dsack: tuple[int, int] | None = None
        self._unacknowledged = 0
        self.out_of_order = 0
        """Segments received out of order since the last ACK."""
        self.ack_due: float | None = None
        self.ack_now = False

    def reconfigure(self, config: Config) -> None:
        """Apply changed socket options."""
        if config.receive_sizes != self.sizes:  # Else auto-tuning may have grown it.
            self._set_size(config)
            if self.frozen is not None:
                self.frozen.hold(self)
        self.urgent_inline = config.urgent_inline
        self._delayed_ack = config.delayed_ack
        if not self._delayed_ack and self.ack_due is not None:
            self.ack_now = True

    def _set_size(self, config: Config) -> None:
        self.sizes = config.receive_sizes
        self.size, most = self.sizes
        self.tuning = ReceiveTuning(most) if most > self.size else None

    @property
    def buffer_size(self) -> int:
        """The size of the receive buffer (SO_RCVBUF), in octets."""
        return self.size if self.frozen is None else self.frozen.size

    def synchronize(self, irs: int) -> None:
        """Set IRS and RCV.NXT from the peer's SYN, whose sequence number is `irs`."""
        self.irs = irs
        self.nxt = (irs + 1) & MASK
        self._max_window = window = self.syn_window
        self.edge = (self.nxt + window) & MASK

    def restore_after_fin(self, nxt: int, edge: int) -> None:
        """Restore RCV.NXT and the window's right edge; the peer's FIN is before `nxt`."""
        self.nxt = nxt
        self.edge = edge
        self.fin = (nxt - 1) & MASK
        self.finished = True

    @property
    def syn_window(self) -> int:
        """The window field of our SYN."""
        return 0xFFFF if self.size > 0xFFFF else self.size

    @property
    def is_clean(self) -> bool:
        """Whether nothing is out of order, no FIN came, and no urgent mark or D-SACK is pending."""
        return not (
            self.reassembly.size
            or self.fin is not None
            or self._dsack is not None
            or self.urgent is not None
        )

    @property
    def wnd(self) -> int:
        """RCV.WND: octets from RCV.NXT to the right edge of the advertised window."""
        return (self.edge - self.nxt) & MASK

    # Arrival

    def accept(
        self, seq: int, data: Buffer, now: float, segments: int = 1, *, dsack_pending: bool = False
    ) -> bool:
        """Process data within the window, in or out of order (RFC 9293 section 3.10.7.4, seventh).

        Args:
            seq: Sequence number of its first octet.
            data: The data.
            now: Seconds.
            segments: How many segments it was on the wire, before they were coalesced (GRO).
            dsack_pending: Whether a D-SACK already reports another part of its segment: only the
                first duplicate part is reported (RFC 2883 section 4.2.2).

        Returns:
            Whether any of it was new.
        """
        if seq == self.nxt and not self.reassembly.size:
            self._advance(data)
            self.delay_ack(len(data), now)
            return True
        # Out of order, or it fills a gap: send an immediate ACK (RFC 5681 section 4.2).
        self.ack_now = True
        if seq != self.nxt:
            self.out_of_order += segments
            if self.reassembly is EMPTY:
                self.reassembly = Reassembly(self._max_runs)
            kept = self.reassembly.insert(seq, data)
            self._report_overlap()
            return kept
        self._advance(data)
        chunks = self.reassembly.take(self.nxt)
        if not dsack_pending:
            self._report_overlap()
        for chunk in chunks:
            self._advance(chunk)
        return True

    def _report_overlap(self) -> None:
        """Report by D-SACK what the latest data duplicated of the queue (RFC 2883 section 4.2)."""
        duplicate = self.reassembly.duplicate
        if duplicate is not None:
            self.record_duplicate(duplicate[0], (duplicate[1] - duplicate[0]) & MASK)

    def lacks_memory(self, seq: int) -> bool:
        """Whether data at `seq` is dropped since the shared memory is exhausted.

        Data in order is still accepted while the application keeps up with it.
        """
        return self.budget.full and (seq != self.nxt or self.buffer.size >= SMALLEST_BUFFER)

    def renege(self) -> int:
        """Drop out-of-order data although it was SACKed; returns how many octets were dropped.

        Reneging is allowed (RFC 2018 section 8), as the peer retransmits until data is
        acknowledged; Linux's tcp_prune_ofo_queue.
        """
        size = self.reassembly.size
        self.reassembly.clear()
        return size

    def _advance(self, data: Buffer) -> None:
        self.nxt = (self.nxt + len(data)) & MASK
        self.buffer.append(data)

    def record_fin(self, seq: int) -> None:
        """Record the peer's FIN at `seq`, in or out of order; its ACK is not delayed."""
        self.ack_now = True
        self.fin = seq

    def process_fin(self) -> bool:
        """Advance RCV.NXT over the FIN if all data before it was received; returns if it did."""
        if self.finished or self.fin != self.nxt:
            return False
        self.nxt = (self.nxt + 1) & MASK
        if diff(self.edge, self.nxt) < 0:  # A FIN is accepted with a zero window.
            self.edge = self.nxt
        self.finished = True
        if self.frozen is not None:
            thaw(self)
        self.ack_now = True  # The data that filled the gap may have set a delayed ACK.
        if self.reassembly.size:
            self.reassembly.clear()
        return True

    # Acknowledgement

    def delay_ack(self, octets: int, now: float) -> None:
        """Send an ACK for every second full-sized segment, else delay it (SHLD-18, SHLD-19)."""
        self._unacknowledged = octets = self._unacknowledged + octets
        delay = self._delayed_ack
        if octets >= 2 * self.mss or not delay:
            self.ack_now = True
        elif self.ack_due is None:
            if self._quick_acks:
                self._quick_acks -= 1
                if delay > QUICK_ACK_DELAY:
                    delay = QUICK_ACK_DELAY
            self.ack_due = now + delay

    def record_duplicate(self, seq: int, size: int) -> None:
        """Report `size` duplicate octets from `seq` by D-SACK in the next ACK (RFC 2883)."""
        self.ack_now = True
        if self._dsack is not None and self._dsack[1] == seq:
            # Contiguous, in one batch: one block.
            seq, size = self._dsack[0], size + ((seq - self._dsack[0]) & MASK)
        self._dsack = (seq, (seq + size) & MASK)

    def has_blocks(self) -> bool:
        """Whether there is anything to report by SACK."""
        return self.reassembly.size > 0 or self._dsack is not None

    def sack_blocks(self, limit: int) -> tuple[tuple[int, int], ...]:
        """Return at most `limit` SACK blocks: the D-SACK, then the others, the latest first."""
        if self._dsack is not None:
            return (self._dsack, *self.reassembly.blocks(limit - 1))
        return self.reassembly.blocks(limit) if self.reassembly.size else ()

    def on_ack_sent(self) -> None:
        """Stop the delayed ACK timer: an ACK of RCV.NXT was sent, alone or with data."""
        self._dsack = None
        self._unacknowledged = 0
        self.out_of_order = 0
        self.ack_due = None
        self.ack_now = False

    # Window

    def acknowledge(self) -> int:
        """Record that an ACK of RCV.NXT is sent, and return its window field, scaled.

        The window is never shrunk (SHLD-14). It grows by steps of at least a segment or half the
        buffer, to avoid the silly window syndrome (RFC 9293 section 3.8.6.2.2, MUST-39).
        """
        self.on_ack_sent()
        shift = self.shift
        current = (self.edge - self.nxt) & MASK
        unread = self.buffer.size
        room = share = self.size - unread
        if self.budget.tight:
            share = self.budget.share(self.size) - unread
        growth = share - current
        if growth >= self.mss or growth >= self.size >> 1:
            # At least 1: less room than one unit of the scale would be a zero window forever.
            field = share >> shift or 1
        else:
            # Round up, so as not to shrink the window. But not beyond the buffer by more than one
            # unit, or a peer that sends an octet at a time would never fill the window.
            field = -(-current >> shift)
            if room < current and field << shift >= room + (1 << shift):
                if self.frozen is not None:
                    return self.frozen.select_window(self)
                return current >> shift
        if field > 0xFFFF:
            field = 0xFFFF
        offered = field << shift
        if offered > current:
            self.edge = (self.nxt + offered) & MASK
        if offered > self._max_window:
            self._max_window = offered
        return field

    def window_update_due(self) -> bool:
        """Whether to send a window update after a read (Linux's tcp_cleanup_rbuf).

        It is due if no more than half of the largest window advertised is left, and it can double,
        and grow by a segment or half the buffer: the peer may be limited by it. Otherwise the next
        segment carries the window.
        """
        current = (self.edge - self.nxt) & MASK
        if current * 2 > self._max_window:
            return False
        growth = self.budget.share(self.size) - self.buffer.size - current
        return growth >= min(self.size >> 1, self.mss) and growth >= current
