"""The fast path (header prediction): the next segment in order, in a connection without losses.

Nearly all segments of a bulk transfer are in order and carry only ACK and PSH. Most rules of
:mod:`~tunstack.tcp.connection.arrival` have no effect on them, as in Linux's tcp_rcv_established.
The checks that remain are repeated here; ACK processing and window updates are the sender's, and
shared. The result is identical: the simulator's runs are the same octet by octet with and without
the fast path, and tests compare the two.

:func:`is_eligible` checks whether a connection may use it. It is called after an event that the
fast path does not handle, not for each segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.tcp.connection.state import ESTABLISHED
from tunstack.tcp.segment import ACK, PSH
from tunstack.tcp.sequence import MASK, ge

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.tcp.connection.connection import Connection
    from tunstack.tcp.segment import Buffer

Write: TypeAlias = "Callable[[int, int, int, int, int, int, Buffer, int, float], None]"
"""Sends a segment: its seq, ack, flags, wnd, TSval, TSecr, data, gso_size; and the time."""

_HALF: Final = 1 << 31


def is_eligible(connection: Connection) -> bool:
    """Whether `connection` may use the fast path.

    It must be in ESTABLISHED with timestamps and SACK, without losses, data out of order, urgent
    data, a FIN, ECN or keep-alive probes.
    """
    sender, receiver = connection.sender, connection.receiver
    return (
        connection.state is ESTABLISHED
        and connection.timestamps_ok
        and sender.recovery.sack
        and not connection.ecn.agreed
        and connection.only_data_pending
        and not connection.idle_timers.probes
        and sender.recovery.is_clean
        and sender.only_new_data
        and receiver.is_clean
    )


def segment_arrives(
    connection: Connection,
    seq: int,
    ack: int,
    wnd: int,
    ts_val: int,
    ts_ecr: int,
    data: Buffer,
    now: float,
) -> bool:
    """Process the next segment in order, with ACK and perhaps PSH (RFC 9293 section 3.10.7.4).

    Args:
        connection: A connection on the fast path.
        seq: SEG.SEQ.
        ack: SEG.ACK.
        wnd: SEG.WND before window scaling.
        ts_val: TSval.
        ts_ecr: TSecr.
        data: The segment text; may be empty.
        now: Seconds.

    Returns:
        True if the segment was processed. False if it needs the full rules; nothing has changed.
    """
    receiver, sender = connection.receiver, connection.sender
    una, nxt = sender.una, sender.nxt
    advance = (ack - una) & MASK
    outstanding = advance if ack == nxt else (nxt - una) & MASK
    size = len(data)
    if (
        seq != receiver.nxt
        or advance > outstanding
        or (ts_val - connection.ts_recent) & MASK >= _HALF
        or not sender.wnd
        or (size > (receiver.edge - seq) & MASK or receiver.budget.full if size else not advance)
    ):
        return False
    if seq == connection.last_ack_sent:
        connection.ts_recent = ts_val
        connection.ts_recent_at = now
    if advance:
        sender.handle_ack_in_order(ack, advance, outstanding, now)
    if ack != sender.wl2 or ge(seq, sender.wl1):  # An ACK may have come from beyond RCV.NXT.
        sender.wl1, sender.wl2 = seq, ack
        sender.wnd = wnd = wnd << sender.shift
        if wnd > sender.max_wnd:
            sender.max_wnd = wnd
    connection.idle_timers.received_at = now
    if size:
        receiver.nxt = (seq + size) & MASK
        receiver.buffer.append(data)
        receiver.delay_ack(size, now)
        tuning = receiver.tuning
        if tuning is not None and now >= tuning.at:
            tuning.adjust(receiver, sender.rtt, connection.ts_offset, ts_ecr, now)
    return True


def try_send(connection: Connection, data: Buffer, now: float, write: Write) -> int:
    """Send `data` as one segment, if nothing is outstanding and it may be sent at once.

    The common case of :meth:`Connection.send` and :func:`transmit`: a small request or response.

    Returns:
        The number of octets sent. 0 if it must be queued; nothing has changed.
    """
    sender = connection.sender
    buffer, recovery = sender.buffer, sender.recovery
    seq, size, mss = sender.nxt, len(data), sender.mss
    if (
        not size
        or sender.una != seq
        or buffer.size
        or size > mss
        or size > sender.size
        or size > sender.wnd
        or size > sender.congestion.cwnd
        or size > sender.path.proven
        or sender.corked
        or sender.more
        or now - sender.last_sent > sender.rtt.rto
        or connection.receiver.budget.tight
    ):
        return 0
    chunk = buffer.put(data)
    sender.last_sent = sender.stalled_since = now
    sender.nxt = end = (seq + size) & MASK
    if size < mss:
        sender.small_end = end
    sender.deferred_until = None
    recovery.board.on_sent(size, now)
    recovery.flight = size
    sender.start_flight(now)
    _write(connection, seq, ACK | PSH, chunk, 0, now, write)
    return size


def restamp_last(connection: Connection, now: float) -> None:
    """Set the send time of the last segment to `now`, and restart its timers.

    Its packet waited in the queue to the link, and the wait is no part of its RTT.
    """
    sender = connection.sender
    if sender.nxt != sender.una:
        sender.last_sent = sender.stalled_since = now
        sender.recovery.board.restamp_last(now)
        sender.start_flight(now)


def transmit(connection: Connection, now: float, write: Write) -> None:
    """Send new data within the windows, and an ACK if one is due.

    The part of :meth:`Connection.transmit` that a connection on the fast path needs.
    """
    sender, receiver = connection.sender, connection.receiver
    buffer = sender.buffer
    if buffer.size != (sender.nxt - sender.una) & MASK:
        _transmit_data(connection, now, write)
    if receiver.ack_now:
        _write(connection, sender.nxt, ACK, b"", 0, now, write)


def _transmit_data(connection: Connection, now: float, write: Write) -> None:
    sender = connection.sender
    buffer = sender.buffer
    room = sender.mss
    most = connection.config.max_payload
    limit = most - most % room if most > room else room
    una, first, last = sender.una, sender.nxt, buffer.end
    outstanding = (first - una) & MASK
    available = buffer.size - outstanding
    size = sender.new_data_size(limit, room, available, outstanding, now)
    while size:
        seq = sender.nxt
        end = (seq + size) & MASK
        data = buffer.slice(seq, size)
        sender.sent_new(size, end, now)
        outstanding += size
        available -= size
        more = sender.new_data_size(limit, room, available, outstanding, now) if available else 0
        flags = ACK
        if end == last or (not more and (end - first) & MASK > room):
            flags |= PSH  # As in `Connection.transmit`.
        _write(connection, seq, flags, data, room if size > room else 0, now, write)
        size = more
    if sender.nxt == una:
        sender.watch_window(now)
        connection.on_fast_path = False


def _write(
    connection: Connection,
    seq: int,
    flags: int,
    data: Buffer,
    gso_size: int,
    now: float,
    write: Write,
) -> None:
    receiver = connection.receiver
    connection.last_ack_sent = nxt = receiver.nxt
    ts_val = (int(now * 1000) + connection.ts_offset) & MASK  # As `clock.timestamp`.
    wnd = receiver.acknowledge()
    write(seq, nxt, flags, wnd, ts_val, connection.ts_recent, data, gso_size, now)


__all__ = ["is_eligible", "restamp_last", "segment_arrives", "transmit", "try_send"]
