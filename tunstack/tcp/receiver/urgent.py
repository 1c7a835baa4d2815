"""Urgent data: the urgent pointer and out-of-band reading (RFC 9293 section 3.8.5, RFC 6093).

The urgent pointer names the octet that follows the urgent data (MUST-62), which is part of the
stream. So it is read in line by default here (SO_OOBINLINE): no peer can take an octet out of the
stream of a program that knows nothing of urgent data. BSD's sockets, and Linux's, take the last
octet of the urgent data out of the stream by default, to be read with MSG_OOB. For programs that
expect that, SO_OOBINLINE can be switched off; unlike on Linux the octet then stays readable when
the program reads past it first. New programs should not use urgent data (SHLD-13).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from tunstack.tcp.segment import URG
from tunstack.tcp.sequence import MASK, diff, gt, lt

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.receiver.receive_buffer import ReceiveBuffer
    from tunstack.tcp.segment import Segment

_MAX_POINTER: Final = 0xFFFF
"""Octets: the largest value of the urgent pointer field."""


def mark_urgent(segment: Segment, up: int) -> None:
    """Set URG and SEG.UP of `segment` if SND.UP, `up`, is beyond its SEG.SEQ.

    A pointer too far for the field is cut down; later segments carry it further (MUST-31).
    """
    if lt(segment.seq, up):
        segment.flags |= URG
        segment.up = min((up - segment.seq) & MASK, _MAX_POINTER)


class UrgentMark:
    """The urgent mark: RCV.UP, and how far the application has read in relation to it.

    Attributes:
        up: RCV.UP: the sequence number that follows the urgent data.
        octet: The last urgent octet, read past but not taken by MSG_OOB yet; else ``b""``.
        taken: Whether it was taken by MSG_OOB.
        passed: Whether the application has read past the mark.
    """

    __slots__ = ("octet", "passed", "taken", "up")

    def __init__(self, up: int) -> None:
        self.up = up
        self.octet = b""
        self.taken = False
        self.passed = False

    def ahead(self, read: int) -> int:
        """Return the octets from sequence number `read` to the last urgent one."""
        return diff(self.up, read) - 1

    def is_within(self, read: int, unread: int) -> bool:
        """Whether the last urgent octet is among the `unread` octets from `read` on."""
        return not self.passed and 0 <= self.ahead(read) < unread


class UrgentReader:
    """Reads the receive buffer around the urgent mark, in line or out of band.

    The base of :class:`~tunstack.tcp.receiver.receiver.Receiver`.

    Attributes:
        urgent: The mark, while it is not passed, or its octet is still to be taken.
        urgent_inline: Whether the urgent octet is read in line (SO_OOBINLINE).
        urgent_signals: How often the mark was set or advanced: each is a SIGURG on Linux.
    """

    __slots__ = ("urgent", "urgent_inline", "urgent_signals")

    buffer: ReceiveBuffer
    finished: bool
    nxt: int

    def __init__(self, config: Config) -> None:
        self.urgent: UrgentMark | None = None
        self.urgent_inline = config.urgent_inline
        self.urgent_signals = 0

    @property
    def read_nxt(self) -> int:
        """Sequence number of the next octet to read (Linux's copied_seq)."""
        return (self.nxt - self.finished - self.buffer.size) & MASK

    def urgent_pointer(self, up: int) -> None:
        """Process SEG.SEQ + SEG.UP, `up`, of a segment with URG (RFC 9293 3.10.7.4, sixth).

        The application is notified when the pointer advances beyond what it has read (MUST-32).
        """
        mark = self.urgent
        if not gt(up, self.read_nxt) or (mark is not None and not gt(up, mark.up)):
            return
        if mark is not None and mark.taken and mark.is_within(self.read_nxt, 1):
            self.buffer.take(1)  # Taken by MSG_OOB: without the old mark it would be read again.
        self.urgent = UrgentMark(up)
        self.urgent_signals += 1

    @property
    def available(self) -> int:
        """Octets that :meth:`take` can return."""
        size = self.buffer.size
        return size if self.urgent is None else size - self._skipped

    @property
    def unread(self) -> int:
        """Octets that the application has read neither in line nor by MSG_OOB."""
        mark = self.urgent
        return self.buffer.size - (mark is not None and mark.taken and self._skipped)

    @property
    def _skipped(self) -> bool:
        """Whether the buffer holds the urgent octet, and reading in line skips it."""
        mark = self.urgent
        return (
            mark is not None
            and not self.urgent_inline
            and mark.is_within(self.read_nxt, self.buffer.size)
        )

    @property
    def at_mark(self) -> bool:
        """Whether the next octet to read is the last urgent one (SIOCATMARK)."""
        mark = self.urgent
        return mark is not None and not mark.passed and mark.ahead(self.read_nxt) == 0

    @property
    def urgent_remaining(self) -> int:
        """Octets to read up to the end of the urgent data, received or not (MUST-33)."""
        mark = self.urgent
        return 0 if mark is None or mark.passed else max(0, mark.ahead(self.read_nxt) + 1)

    def take(self, limit: int) -> bytes:
        """Remove and return at most `limit` octets; a read stops at the mark."""
        mark = self.urgent
        if mark is None or mark.passed or not limit:
            return self.buffer.take(limit)
        ahead = mark.ahead(self.read_nxt)
        if ahead > 0:
            return self.buffer.take(min(limit, ahead))
        mark.passed = self.buffer.size > 0
        if not self.urgent_inline:
            if self.buffer.size < 2 and not self.finished:
                mark.passed = False
                return b""  # Only the urgent octet: leave it for MSG_OOB.
            octet = self.buffer.take(1)
            mark.octet = b"" if mark.taken else octet
        if mark.passed and not mark.octet:
            self.urgent = None
        return self.buffer.take(limit)

    def peek(self, limit: int) -> bytes:
        """Return what :meth:`take` would, or less of it, without removing it."""
        mark = self.urgent
        if mark is None or mark.passed:
            return self.buffer.peek(0, limit)
        ahead = mark.ahead(self.read_nxt)
        if ahead > 0:
            return self.buffer.peek(0, min(limit, ahead))
        return self.buffer.peek(0 if self.urgent_inline else 1, limit)

    @property
    def urgent_pending(self) -> bool:
        """Whether the urgent octet is announced but not received yet."""
        mark = self.urgent
        if mark is None or mark.taken or mark.passed or self.urgent_inline:
            return False
        return not mark.is_within(self.read_nxt, self.buffer.size) and not self.finished

    def take_urgent(self, *, peek: bool = False) -> bytes:
        """Return the urgent octet (MSG_OOB), ``b""`` if it was not received yet; `peek` keeps it.

        Raises:
            OSError: EINVAL: none was announced, it was taken before, or it is in line.
        """
        mark = self.urgent
        if mark is None or mark.taken or self.urgent_inline:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if mark.passed:
            if not peek:
                self.urgent = None
            return mark.octet
        if not mark.is_within(self.read_nxt, self.buffer.size):
            return b""
        mark.taken = not peek
        return self.buffer.peek(mark.ahead(self.read_nxt), 1)
