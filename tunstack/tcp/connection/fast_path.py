"""The fast path (header prediction): the next segment in order, in a connection without losses.

Nearly all segments of a transfer are such. For them most of the rules of
:mod:`~tunstack.tcp.connection.arrival` have no effect, and what is left is here, once more and
short; what an ACK and a window update change is the sender's, and the same for both. The result
must be identical: the simulator's runs are octet by octet the same with and without it, and tests
compare the two.

:func:`is_eligible` says whether a connection is in such a state; it is asked when something has
happened to it that is not of this kind, not for each segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.tcp.clock import timestamp
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
    """Whether nothing is going on in `connection` but an exchange of data in order.

    Established, with timestamps and SACK, nothing lost, out of order, urgent, closed or probed.
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


def arrives(
    connection: Connection,
    seq: int,
    ack: int,
    wnd: int,
    ts_val: int,
    ts_ecr: int,
    data: Buffer,
    now: float,
) -> bool:
    """Take the expected segment, with ACK and maybe PSH, of a connection on the fast path.

    Args:
        connection: One that is eligible.
        seq: SEG.SEQ.
        ack: SEG.ACK.
        wnd: SEG.WND, not scaled yet.
        ts_val: TSval.
        ts_ecr: TSecr.
        data: The text, if there is any.
        now: Seconds.

    Returns:
        Whether that is what it was, and done; else nothing has changed, and all rules apply.
    """
    receiver, sender = connection.receiver, connection.sender
    una = sender.una
    advance, outstanding = (ack - una) & MASK, (sender.nxt - una) & MASK
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
        sender.set_window(seq, ack, wnd << sender.shift)
    connection.idle_timers.received_at = now
    if size:
        receiver.nxt = (seq + size) & MASK
        receiver.buffer.append(data)
        receiver.delay_ack(size, now)
        tuning = receiver.tuning
        if tuning is not None and now >= tuning.at:
            tuning.adjust(receiver, sender.rtt, connection.ts_offset, ts_ecr, now)
    return True


def answer(connection: Connection, data: Buffer, now: float, write: Write) -> bool:
    """Queue and write `data`, if it goes out at once, whole, as the only thing on its way.

    As :meth:`Connection.send` and :func:`transmit` do: most small requests and answers are such.

    Returns:
        Whether that was so, and is done; else nothing has changed.
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
        return False
    chunk = buffer.put(data)
    sender.last_sent = sender.stalled_since = now
    sender.nxt = end = (seq + size) & MASK
    if size < mss:
        sender.small_end = end
    sender.deferred_until = None
    recovery.board.on_sent(size, now)
    recovery.flight = size
    sender.start_flight(now)
    _write(connection, seq, ACK | PSH, chunk, size, now, write)
    return True


def leaves_late(connection: Connection, now: float) -> None:
    """What :func:`answer` wrote last leaves only now: its RTT and timers begin now."""
    sender = connection.sender
    if sender.nxt != sender.una:
        sender.last_sent = sender.stalled_since = now
        sender.recovery.board.delay_last(now)
        sender.start_flight(now)


def transmit(connection: Connection, now: float, write: Write) -> None:
    """Write what a connection on the fast path has to send: new data, else an ACK if one is due.

    What :meth:`Connection.transmit` does, where there is nothing but that.
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
            flags |= PSH  # As `Connection.transmit` has it.
        _write(connection, seq, flags, data, room, now, write)
        size = more
    if sender.nxt == una:
        sender.watch_window(now)
        connection.on_fast_path = False


def _write(
    connection: Connection, seq: int, flags: int, data: Buffer, room: int, now: float, write: Write
) -> None:
    receiver = connection.receiver
    connection.last_ack_sent = nxt = receiver.nxt
    gso_size = room if len(data) > room else 0
    ts_val = timestamp(now, connection.ts_offset)
    wnd = receiver.select_window()
    write(seq, nxt, flags, wnd, ts_val, connection.ts_recent, data, gso_size, now)
    receiver.on_ack_sent()


__all__ = ["answer", "arrives", "is_eligible", "leaves_late", "transmit"]
