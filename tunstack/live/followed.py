"""A connection that is followed: its windows and sequence numbers over time, and its ladder.

Its packets are observed while it is followed. The tap only keeps them; they are decoded when the
view is sampled, the latest of them if there were many. Everything is bounded.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tunstack.ladder.conversation import Beginning
from tunstack.ladder.fold import Row
from tunstack.ladder.layout import UNICODE
from tunstack.ladder.rows import Rows
from tunstack.ladder.step import step_from_observation
from tunstack.live.sample import LEAST_UNLIMITED
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.host.host import Host
    from tunstack.ladder.conversation import Conversation
    from tunstack.ladder.conversation import Flow as Pings
    from tunstack.ladder.layout import Symbols
    from tunstack.ladder.packets import Endpoint, Pair
    from tunstack.ladder.rows import Item
    from tunstack.live.sample import ConnectionRow
    from tunstack.stack.flow import Flow
    from tunstack.stack.observation import Observation

POINTS: Final = 2000
"""Points that are kept: the last 40 seconds at least."""
RESOLUTION: Final = 0.02
"""Seconds between two points, at least."""
ROWS: Final = 200
"""Rows of the ladder that are kept."""
DECODED: Final = 64
"""Packets that are decoded for a sample, at most; of more, the latest..."""
DECODED_OCTETS: Final = 1 << 18
"""...and at most so many octets of them: large segments take longer."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """A connection at a moment.

    Attributes:
        time: The moment, in seconds since the UNIX epoch.
        cwnd: The congestion window, in octets.
        ssthresh: The slow start threshold, in octets; None before the first loss.
        in_flight: Octets that loss recovery counts as on their way (RFC 6675's pipe).
        srtt: The smoothed round-trip time, in seconds; None before the first measurement.
        acked: Octets of data that the peer has acknowledged: SND.UNA, as a count.
        sent: Octets of data sent: SND.NXT, as a count.
        queued: Octets of data that the application has sent.
        edge: `acked`, and the window that the peer offers: as far as we may send.
        received: Octets of data received in order: RCV.NXT, as a count.
        rcv_wnd: The window that we offer, in octets.
    """

    time: float
    cwnd: int
    ssthresh: int | None
    in_flight: int
    srtt: float | None
    acked: int
    sent: int
    queued: int
    edge: int
    received: int
    rcv_wnd: int

    def to_dict(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


class Tail(Generic[T]):
    """The last items of a sequence, of which each has an index from 0.

    Args:
        most: Items that are kept.

    Attributes:
        count: Items ever appended: the index of the next.
    """

    def __init__(self, most: int) -> None:
        self._items: deque[T] = deque(maxlen=most)
        self.count = 0

    def append(self, item: T) -> None:
        """Append an item."""
        self._items.append(item)
        self.count += 1

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def since(self, index: int) -> list[T]:
        """The items from an index on, as far as they are kept."""
        fresh = self.count - max(0, index)
        return [*self._items][-fresh:] if fresh > 0 else []


class Followed:
    """A connection that is followed, until :meth:`close`, or until it is gone.

    Attributes:
        id: As in :class:`~tunstack.live.sample.ConnectionRow`.
        row: What it was in the last sample that had it; None before the next.
        ended: Whether it is gone; what is kept remains.
        conversation: The heading of its ladder; None before its first packet.
        began: The time of its first observed packet, in seconds since the UNIX epoch, from which
            the times of rows count; None before it.
        points: Its history.
        rows: Its ladder.
        packets: Packets observed.
    """

    def __init__(self, host: Host, flow: Flow, symbols: Symbols = UNICODE) -> None:
        """Begin to follow `flow`; `symbols` are for the words of the ladder."""
        self.id = flow.number
        self.row: ConnectionRow | None = None
        self.ended = False
        self.conversation: Conversation | Pings | None = None
        self.began: float | None = None
        self.points: Tail[Point] = Tail(POINTS)
        self.rows: Tail[Row] = Tail(ROWS)
        self.packets = 0
        self._decoded = 0
        self._first: float | None = None
        self._flow = flow
        self._symbols = symbols
        self._waiting: deque[Observation] = deque(maxlen=DECODED)
        self._pointed = float("-inf")
        self._tap = ExitStack()
        info = flow.info()
        local, remote = ((str(address), port) for address, port in (info.local, info.remote))
        self._ladder = Rows(symbols, known=_known(flow, local, remote))
        self._tap.enter_context(host.tapped(self._observe, connection=(local, remote)))

    @property
    def flow(self) -> Flow:
        """The connection itself."""
        return self._flow

    def close(self) -> None:
        """Stop observing its packets; what is kept remains. It may be called again."""
        self._tap.close()

    def end(self) -> None:
        """Record that it is gone."""
        self.ended = True
        self.close()

    def update(self, time: float) -> None:
        """Add what has happened since the last call, at a moment since the UNIX epoch."""
        seen = latest(self._waiting)
        self._waiting.clear()
        skipped = self.packets - self._decoded - len(seen)
        self._decoded = self.packets
        if skipped:
            self._skip(skipped, seen[0].time)
        for each in seen:
            if self._first is None:
                self._first = each.time
            self._add(self._ladder.add(step_from_observation(each)))
        self._add(self._ladder.flush())
        if self._flow.state is not State.CLOSED and not self.ended:
            self._point(time)

    def to_dict(self, *, rows: int = 0, points: int = 0) -> dict[str, Any]:
        """What is new from the rows and points of these indices on.

        ``next_row`` and ``next_point`` are the indices for the next call.
        """
        return {
            "id": self.id,
            "row": self.row and self.row.to_dict(),
            "ended": self.ended,
            "began": self.began,
            "packets": self.packets,
            "rows": [row_to_dict(row) for row in self.rows.since(rows)],
            "next_row": self.rows.count,
            "points": [point.to_dict() for point in self.points.since(points)],
            "next_point": self.points.count,
        }

    def _observe(self, seen: Observation) -> None:
        self.packets += 1
        self._waiting.append(seen)
        if self.began is None:
            self.began = seen.time
        if seen.time - self._pointed >= RESOLUTION:
            self._point(seen.time)

    def _point(self, time: float) -> None:
        self._pointed = time
        sender, receiver = self._flow.sender, self._flow.receiver
        acked, ssthresh = sender.buffer.acknowledged, sender.congestion.ssthresh
        sent = min(sender.outstanding, sender.buffer.size)  # Without the SYN and the FIN.
        self.points.append(
            Point(
                time,
                sender.congestion.cwnd,
                ssthresh if ssthresh < LEAST_UNLIMITED else None,
                sender.recovery.pipe,
                sender.rtt.srtt,
                acked,
                acked + sent,
                acked + sender.buffer.size,
                acked + sender.wnd,
                receiver.buffer.total,
                receiver.wnd,
            )
        )

    def _skip(self, packets: int, time: float) -> None:
        """Add a row for packets that are not decoded."""
        words = (f"{self._symbols.ellipsis} {packets} packets",)
        self.rows.append(Row(-1, time - (self.began or time), 1, None, words))

    def _add(self, items: list[Item]) -> None:
        # The ladder counts from the first packet that it was given.
        later = (self._first or 0.0) - (self.began or 0.0)
        for item in items:
            if isinstance(item, Row):
                self.rows.append(replace(item, time=item.time + later) if later else item)
            else:
                self.conversation = item


def latest(seen: deque[Observation]) -> list[Observation]:
    """The packets that are decoded: the last, whatever its size, and some before."""
    left, octets = len(seen), 0
    for each in reversed(seen):
        octets += len(each.packet)
        if octets > DECODED_OCTETS and left < len(seen):
            break
        left -= 1
    return [*islice(seen, left, None)]


def _known(flow: Flow, local: Endpoint, remote: Endpoint) -> dict[Pair, dict[Endpoint, Beginning]]:
    """What both SYNs of a connection said, once both ends have sent theirs."""
    sender, receiver = flow.sender, flow.receiver
    if flow.state is State.SYN_SENT:
        return {}
    beginnings = {
        local: Beginning(sender.iss, receiver.shift),
        remote: Beginning(receiver.irs, sender.shift),
    }
    return {("TCP", frozenset(beginnings)): beginnings}


def row_to_dict(row: Row) -> dict[str, Any]:
    """A row of the ladder, for JSON.

    ``time`` is in seconds since the first observed packet. ``toward`` is ``"right"`` for what came
    in, ``"left"`` for what went out, and None for a row that stands for several packets.
    """
    return {
        "time": row.time,
        "toward": row.toward,
        "words": list(row.words),
        "details": list(row.details),
        "messages": [list(words) for words in row.messages],
        "state": row.state,
        "changed": row.changed,
        "note": row.note,
    }
