"""Urgent data: a mark in the stream, up to which the peer wants it read soon (RFC 9293 3.8.5).

RFC 6093 says what became of it. The urgent pointer names the octet that follows the urgent data
(MUST-62), and all of it is part of the stream. That is what SO_OOBINLINE asks for elsewhere, and
the default here: no peer can take an octet out of the stream of a program that knows nothing of
urgent data. Sockets since BSD do otherwise unless they are asked not to: they take the last octet
of the urgent data for all of it, and hand it out apart from the rest. Programs that expect that
switch SO_OOBINLINE off; then this does as Linux does, but that the octet is not lost when the
program reads past it before it asks for it. New programs should not use any of it (SHLD-13).
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

_FARTHEST: Final = 0xFFFF


def mark_urgent(segment: Segment, up: int) -> None:
    """Tell the peer where the urgent data ends, SND.UP, if that is ahead of `segment`.

    What the field cannot say, it says as far as it can; later segments will say more (MUST-31).
    """
    if lt(segment.seq, up):
        segment.flags |= URG
        segment.up = min((up - segment.seq) & MASK, _FARTHEST)


class UrgentMark:
    """The end of the peer's urgent data, RCV.UP, as seen from where the application reads.

    Attributes:
        up: RCV.UP: the number that follows the urgent data.
        octet: Its last octet, if that was read past, out of line, and nobody has asked for it yet.
        given: Whether somebody has.
        passed: Whether the application has read past the mark.
    """

    __slots__ = ("given", "octet", "passed", "up")

    def __init__(self, up: int) -> None:
        self.up = up
        self.octet = b""
        self.given = False
        self.passed = False

    def ahead(self, read: int) -> int:
        """Octets before the last urgent one, for a reader at sequence number `read`."""
        return diff(self.up, read) - 1

    def hides(self, read: int, held: int) -> bool:
        """Whether the last urgent octet is among the `held` octets from `read` on."""
        return not self.passed and 0 <= self.ahead(read) < held


class UrgentReader:
    """How an application reads a stream that may have a mark in it: in line, or around it.

    The base of :class:`~tunstack.tcp.receiver.receiver.Receiver`.

    Attributes:
        urgent: The mark, while there is one ahead, or its octet was not asked for.
        urgent_inline: Whether the urgent octet is data like any other (SO_OOBINLINE).
        urgent_signals: How often the mark was set, or moved on.
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
        """The sequence number of the octet that the application reads next."""
        return (self.nxt - self.finished - self.buffer.size) & MASK

    def urgent_pointer(self, up: int) -> None:
        """A segment says that the urgent data ends before the octet `up` (section 3.10.7.4, sixth).

        The application hears of it whenever the pointer advances, and is ahead of it (MUST-32).
        """
        mark = self.urgent
        if not gt(up, self.read_nxt) or (mark is not None and not gt(up, mark.up)):
            return
        if mark is not None and mark.given and mark.hides(self.read_nxt, 1):
            self.buffer.take(1)  # It is no mark any more, and would be read again as data.
        self.urgent = UrgentMark(up)
        self.urgent_signals += 1

    @property
    def available(self) -> int:
        """How many octets :meth:`take` has for the application."""
        held = self.buffer.size
        return held if self.urgent is None else held - self._hidden

    @property
    def unread(self) -> int:
        """How many octets the application has not got in either way."""
        mark = self.urgent
        return self.buffer.size - (mark is not None and mark.given and self._hidden)

    @property
    def _hidden(self) -> bool:
        mark = self.urgent
        return (
            mark is not None
            and not self.urgent_inline
            and mark.hides(self.read_nxt, self.buffer.size)
        )

    @property
    def at_mark(self) -> bool:
        """Whether the octet that is read next is the last urgent one (SIOCATMARK)."""
        mark = self.urgent
        return mark is not None and not mark.passed and mark.ahead(self.read_nxt) == 0

    @property
    def urgent_remaining(self) -> int:
        """How many octets there are up to the end of the urgent data, arrived or not (MUST-33)."""
        mark = self.urgent
        return 0 if mark is None or mark.passed else max(0, mark.ahead(self.read_nxt) + 1)

    def take(self, limit: int) -> bytes:
        """Remove and return at most `limit` octets; no call goes from before the mark past it."""
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
                return b""  # There is nothing but the octet: it may still be asked for.
            octet = self.buffer.take(1)
            mark.octet = b"" if mark.given else octet
        if mark.passed and not mark.octet:
            self.urgent = None
        return self.buffer.take(limit)

    def peek(self, limit: int) -> bytes:
        """What :meth:`take` would return, which stays; it may be less, never more."""
        mark = self.urgent
        if mark is None or mark.passed:
            return self.buffer.peek(0, limit)
        ahead = mark.ahead(self.read_nxt)
        if ahead > 0:
            return self.buffer.peek(0, min(limit, ahead))
        return self.buffer.peek(0 if self.urgent_inline else 1, limit)

    @property
    def urgent_is_on_its_way(self) -> bool:
        """Whether :meth:`take_urgent` has nothing yet, and may have later."""
        mark = self.urgent
        if mark is None or mark.given or mark.passed or self.urgent_inline:
            return False
        return not mark.hides(self.read_nxt, self.buffer.size) and not self.finished

    def take_urgent(self, *, peek: bool = False) -> bytes:
        """The last urgent octet, out of line; ``b""`` if it has not come. With `peek` it stays.

        Raises:
            OSError: EINVAL: none was announced, or it was taken, or it is in line.
        """
        mark = self.urgent
        if mark is None or mark.given or self.urgent_inline:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if mark.passed:
            if not peek:
                self.urgent = None
            return mark.octet
        if not mark.hides(self.read_nxt, self.buffer.size):
            return b""
        mark.given = not peek
        return self.buffer.peek(mark.ahead(self.read_nxt), 1)
