"""The receiving half of a connection: RCV variables, window, reassembly, acknowledgements."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tunstack.tcp.budget import SMALLEST_BUFFER, UNLIMITED, Budget
from tunstack.tcp.receiver.buffer_tuning import ReceiveTuning
from tunstack.tcp.receiver.reassembly import NOTHING, Reassembly
from tunstack.tcp.receiver.receive_buffer import ReceiveBuffer
from tunstack.tcp.receiver.urgent import UrgentReader
from tunstack.tcp.sequence import MASK, diff

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Buffer

MAX_WINDOW_SHIFT: Final = 14
"""RFC 7323 section 2.3: a larger shift count is taken for this one."""

_LARGEST_WINDOW: Final = 4 << 20
"""The window that the scale is chosen for, however small SO_RCVBUF is now: it may grow later."""


QUICK_ACK: Final = 0.005
"""Seconds that the first ACKs of a connection may wait, where later ones may wait longer.

A peer that writes a request in two parts, and leaves Nagle's algorithm on, waits for the ACK of the
first: 5 ms for 41, measured with the kernel as that peer. Linux sends about 16 ACKs at once for
that, which takes a packet more for each request. In this time an application that answers at once
has answered, and its answer has the ACK in it. To a peer that sends much it makes no difference.
"""


@lru_cache(maxsize=64)
def window_shift(buffer: int) -> int:
    """The window scale that a SYN offers, for a receive buffer of `buffer` octets."""
    window = max(buffer, _LARGEST_WINDOW)
    return min(MAX_WINDOW_SHIFT, max(0, (window >> 16).bit_length()))


def first_window(buffer: int) -> int:
    """The window that a SYN offers: never scaled (RFC 7323 section 2.2)."""
    return min(buffer, 0xFFFF)


class Receiver(UrgentReader):
    """RFC 9293 section 3.3.1's RCV variables, and what has come.

    Attributes:
        irs: Initial receive sequence number.
        nxt: RCV.NXT, the next sequence number expected.
        edge: The right edge of the window that was offered: RCV.NXT + RCV.WND as the peer knows it.
        shift: Rcv.Wind.Shift, how far the window field is scaled (RFC 7323 section 2.2).
        mss: Octets of data in the largest segment expected: what we announced, options deducted.
        size: The bound of what is received and not read (SO_RCVBUF).
        sizes: What the configuration says of that: at first, and at most.
        tuning: Makes `size` larger where that is of use; None where it is fixed.
        budget: The memory that it shares with other connections.
        buffer: What has arrived in order.
        reassembly: What has arrived beyond a gap.
        fin: Sequence number of the peer's FIN, once it arrived in any order; else None.
        finished: Whether all up to the FIN has arrived: nothing more can come.
        ack_due: When a delayed ACK is due, in seconds; None when none is.
        ack_now: Whether an ACK must go out with the present batch.
    """

    __slots__ = (
        "_delayed_ack",
        "_max_runs",
        "_most_offered",
        "_quick_acks",
        "_twice",
        "_unacknowledged",
        "ack_due",
        "ack_now",
        "budget",
        "buffer",
        "edge",
        "fin",
        "finished",
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
        self._set_size(config)
        self.budget = budget
        self.buffer = ReceiveBuffer()
        self.reassembly = NOTHING
        self._max_runs = config.max_out_of_order_runs
        self.fin: int | None = None
        self.finished = False
        self.shut_down = False
        """Whether the application shut this half down: it waits for nothing any more."""
        self._delayed_ack = config.delayed_ack
        self._most_offered = 0
        self._quick_acks = config.quick_acks
        self._twice: tuple[int, int] | None = None
        self._unacknowledged = 0
        self.out_of_order = 0
        """Segments that came out of order since the last ACK."""
        self.ack_due: float | None = None
        self.ack_now = False

    def reconfigure(self, config: Config) -> None:
        """Take other parameters, as far as they are not history."""
        if config.receive_sizes != self.sizes:  # Else it stays as large as it has become.
            self._set_size(config)
        self.urgent_inline = config.urgent_inline
        self._delayed_ack = config.delayed_ack
        if not self._delayed_ack and self.ack_due is not None:
            self.ack_now = True

    def _set_size(self, config: Config) -> None:
        self.sizes = config.receive_sizes
        self.size, most = self.sizes
        self.tuning = ReceiveTuning(most) if most > self.size else None

    def synchronize(self, irs: int) -> None:
        """Begin after the peer's SYN, whose sequence number is `irs`."""
        self.irs = irs
        self.nxt = (irs + 1) & MASK
        self.edge = (self.nxt + self.first_window) & MASK
        self._most_offered = self.first_window

    def restore_after_fin(self, nxt: int, edge: int) -> None:
        """A FIN was the last number before `nxt`; `edge` is of the window that was offered."""
        self.nxt = nxt
        self.edge = edge
        self.fin = (nxt - 1) & MASK
        self.finished = True

    @property
    def first_window(self) -> int:
        """The window that our SYN offers."""
        return first_window(self.size)

    @property
    def undisturbed(self) -> bool:
        """Whether all that came is in order, and nothing of it was urgent, its end, or a copy."""
        return not (
            self.reassembly.size
            or self.fin is not None
            or self._twice is not None
            or self.urgent is not None
        )

    @property
    def wnd(self) -> int:
        """RCV.WND: octets from RCV.NXT to the right edge that was offered."""
        return (self.edge - self.nxt) & MASK

    # Arrival

    def accept(
        self, seq: int, data: Buffer, now: float, segments: int = 1, *, told: bool = False
    ) -> bool:
        """Take data that lies within the window, in or out of order.

        Args:
            seq: Of its first octet.
            data: What it is.
            now: Seconds.
            segments: How many segments it was on its way, or would have been on a wire.
            told: Whether another part of its segment was reported to have come before: only the
                first such part is (RFC 2883 section 4.2.2).

        Returns:
            Whether it brought anything new.
        """
        if seq == self.nxt and not self.reassembly.size:
            self._advance(data)
            self.delay_ack(len(data), now)
            return True
        # Out of order, or it fills a gap: acknowledge at once (RFC 5681 section 4.2).
        self.ack_now = True
        if seq != self.nxt:
            self.out_of_order += segments
            if self.reassembly is NOTHING:
                self.reassembly = Reassembly(self._max_runs)
            kept = self.reassembly.insert(seq, data)
            self._report_overlap()
            return kept
        self._advance(data)
        chunks = self.reassembly.take(self.nxt)
        if not told:
            self._report_overlap()
        for chunk in chunks:
            self._advance(chunk)
        return True

    def _report_overlap(self) -> None:
        """The latest data had something in common with what is held (RFC 2883 section 4.2)."""
        twice = self.reassembly.twice
        if twice is not None:
            self.came_again(twice[0], (twice[1] - twice[0]) & MASK)

    def refuses(self, seq: int) -> bool:
        """Whether data at `seq` is to be dropped, since it would wait and memory has run out.

        What the application reads as fast as it comes, in order, is still taken.
        """
        return self.budget.full and (seq != self.nxt or self.buffer.size >= SMALLEST_BUFFER)

    def renege(self) -> int:
        """Drop what came out of order, though it was SACKed; returns how many octets that were.

        Only an ACK promises to keep anything (RFC 2018 section 8): it will be sent again.
        """
        size = self.reassembly.size
        self.reassembly.clear()
        return size

    def _advance(self, data: Buffer) -> None:
        self.nxt = (self.nxt + len(data)) & MASK
        self.buffer.append(data)

    def accept_fin(self, seq: int) -> None:
        """Note the FIN at `seq`; the ACK of a FIN is never delayed."""
        self.ack_now = True
        self.fin = seq

    def finish(self) -> bool:
        """Pass the FIN if everything before it has come; returns whether that happened now."""
        if self.finished or self.fin != self.nxt:
            return False
        self.nxt = (self.nxt + 1) & MASK
        if diff(self.edge, self.nxt) < 0:  # A FIN may come to a window of zero.
            self.edge = self.nxt
        self.finished = True
        self.ack_now = True  # Even if what filled the gap before an early FIN might have waited.
        self.reassembly.clear()
        return True

    # Acknowledgement

    def delay_ack(self, octets: int, now: float) -> None:
        """An ACK for every second full-sized segment; otherwise it may wait (SHLD-18, SHLD-19)."""
        self._unacknowledged = octets = self._unacknowledged + octets
        delay = self._delayed_ack
        if octets >= 2 * self.mss or not delay:
            self.ack_now = True
        elif self.ack_due is None:
            if self._quick_acks:
                self._quick_acks -= 1
                if delay > QUICK_ACK:
                    delay = QUICK_ACK
            self.ack_due = now + delay

    def came_again(self, seq: int, size: int) -> None:
        """`size` octets from `seq` were there already: tell the peer (D-SACK, RFC 2883)."""
        self.ack_now = True
        if self._twice is not None and self._twice[1] == seq:
            seq, size = self._twice[0], size + ((seq - self._twice[0]) & MASK)  # In one batch.
        self._twice = (seq, (seq + size) & MASK)

    def sack_blocks(self, limit: int) -> tuple[tuple[int, int], ...]:
        """At most `limit` SACK blocks: what came twice, then what is held, the latest first."""
        if self._twice is not None:
            return (self._twice, *self.reassembly.blocks(limit - 1))
        return self.reassembly.blocks(limit) if self.reassembly.size else ()

    def acknowledged(self) -> None:
        """An ACK of all that came has gone out, alone or with data."""
        self._twice = None
        self._unacknowledged = 0
        self.out_of_order = 0
        self.ack_due = None
        self.ack_now = False

    # Window

    def offer(self) -> int:
        """Move the right edge as far as it should go, and return the window field, scaled.

        The window is never shrunk (SHLD-14), and grows by steps that are worth a segment, which
        is the receiver's part against the silly window syndrome (RFC 9293 section 3.8.6.2.2,
        MUST-39).
        """
        shift = self.shift
        current = (self.edge - self.nxt) & MASK
        waiting = self.buffer.size
        room = share = self.size - waiting
        if self.budget.tight:
            share = self.budget.share(self.size) - waiting
        growth = share - current
        if growth >= self.mss or growth >= self.size >> 1:
            # What is less than the scale can say counts as one: never to offer it would end it all.
            field = share >> shift or 1
        else:
            # An edge once offered stands: round up what the field cannot say exactly. Not without
            # end, though, or a peer that sends an octet at a time would never fill the buffer.
            field = -(-current >> shift)
            if field << shift >= room + (1 << shift):
                return current >> shift
        if field > 0xFFFF:
            field = 0xFFFF
        offered = field << shift
        if offered > current:
            self.edge = (self.nxt + offered) & MASK
        if offered > self._most_offered:
            self._most_offered = offered
        return field

    def update_is_worthwhile(self) -> bool:
        """Whether to tell the peer, unasked, of the room that reading made.

        It is when what is left of the window is no more than half of the most that was offered, and
        can double, and grow by a segment or half the buffer: a sender that may be held up hears of
        it, and one that is not is left in peace.
        """
        current = (self.edge - self.nxt) & MASK
        if current * 2 > self._most_offered:
            return False
        growth = self.budget.share(self.size) - self.buffer.size - current
        return growth >= min(self.size >> 1, self.mss) and growth >= current
