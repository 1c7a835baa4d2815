"""The rules for an arriving segment, once, for every state (RFC 9293 section 3.10.7).

They stand in the RFC's order: sequence number, RST, SYN, ACK, URG, text, FIN. LISTEN's rules are
here as far as they concern one connection; which connection a segment belongs to, and what becomes
of one that belongs to none, is the demultiplexer's and :func:`reset_for`'s.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tunstack.tcp.connection.state import (
    CAN_RECEIVE,
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tunstack.tcp.connection.syn_options import agree_on_options
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.receiver.receive_buffer import copy_if_wasteful
from tunstack.tcp.segment import ACK, ECE, FIN, RST, SYN, URG, Segment
from tunstack.tcp.sequence import MASK, diff, gt, le, lt

if TYPE_CHECKING:
    from tunstack.tcp.connection.connection import Connection

_PAWS_INVALID_AFTER: Final = 24 * 86400.0
"""Seconds after which TS.Recent is invalid (RFC 7323 section 5.5)."""

_ACCEPTED: Final = Verdict.ACCEPTED
_CLOSE_STATES: Final = frozenset({FIN_WAIT_1, CLOSING, LAST_ACK})


def reset_for(segment: Segment) -> Segment | None:
    """The RST that answers a segment for which there is no connection (section 3.10.7.1)."""
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        return Segment(segment.ack, 0, RST)
    return Segment(0, (segment.seq + segment.length) & MASK, RST | ACK)


def segment_arrives(connection: Connection, segment: Segment, now: float) -> Verdict:
    """Process a segment (SEGMENT ARRIVES) and return the verdict; `transmit` sends the reply."""
    state = connection.state
    if state is LISTEN:
        return _listen(connection, segment, now)
    if state is SYN_SENT:
        return _syn_sent(connection, segment, now)
    if state is CLOSED:
        return Verdict.IGNORED
    return _otherwise(connection, segment, now)


def _listen(connection: Connection, segment: Segment, now: float) -> Verdict:
    """LISTEN (section 3.10.7.2); the stack passes only SYNs without RST, ACK and FIN."""
    if segment.flags & (SYN | RST | ACK | FIN) != SYN:
        return Verdict.IGNORED
    connection.receiver.synchronize(segment.seq)
    agree_on_options(connection, segment, now)
    connection.sender.set_window(segment.seq, connection.sender.iss, segment.wnd)
    connection.enter(SYN_RECEIVED)
    connection.begin_passive_handshake()
    # Data in a SYN is dropped and retransmitted, unless the SYN has a valid Fast Open cookie.
    if connection.accepts_early:
        if len(segment.payload):
            _text(connection, segment, (segment.seq + 1) & MASK, now)
        connection.opened_early()
    return _ACCEPTED


def _syn_sent(connection: Connection, segment: Segment, now: float) -> Verdict:
    """SYN-SENT (section 3.10.7.3)."""
    sender = connection.sender
    flags = segment.flags
    acknowledges = flags & ACK != 0
    # SND.UNA < SEG.ACK =< SND.NXT is one number, or more with data in our SYN.
    if acknowledges and segment.ack != sender.nxt and not connection.covers_syn(segment.ack):
        if not flags & RST:
            connection.send_reset(segment.ack)
            connection.send_syn_at_once()
        return Verdict.UNACCEPTABLE_ACK
    if flags & RST:
        if not acknowledges:
            return Verdict.RESET_IGNORED
        connection.end(OSError(errno.ECONNREFUSED, "Connection refused"))
        return Verdict.RESET
    if not flags & SYN:
        return Verdict.IGNORED
    if acknowledges and segment.ack != sender.nxt:
        connection.sent_in_syn(segment.ack)
    connection.receiver.synchronize(segment.seq)
    agree_on_options(connection, segment, now)
    # The window of a SYN is never scaled (RFC 7323 section 2.2).
    sender.set_window(segment.seq, segment.ack, segment.wnd)
    if not acknowledges:
        connection.enter(SYN_RECEIVED)
        return _ACCEPTED
    if connection.fast_open is not None:
        connection.fast_open.on_syn_ack(segment, now, retransmitted=sender.retransmissions > 0)
    sender.handle_ack(segment.ack, now, echoed_at=connection.echoed_at(segment, now))
    connection.receiver.ack_now = True
    connection.enter(ESTABLISHED)
    if segment.flags & URG:
        _sixth_check_urg(connection, segment)
    # Text or FIN in a SYN,ACK: section 3.10.7.3 continues with the sixth step.
    return _text_and_fin(connection, segment, (segment.seq + 1) & MASK, now)


def _otherwise(connection: Connection, segment: Segment, now: float) -> Verdict:
    """All other states (section 3.10.7.4)."""
    flags = segment.flags
    refusal = _first_check_sequence(connection, segment, now)
    if refusal is None and flags & RST:
        refusal = _second_check_rst(connection, segment, now)
    if refusal is None and flags & SYN:
        refusal = _fourth_check_syn(connection, segment, now)
    if refusal is None:
        refusal = _fifth_check_ack(connection, segment, now)
    if refusal is not None:
        return refusal
    # After the ACK was accepted, as on Linux: a forged TSval would have PAWS drop all others.
    # RFC 7323 section 4.3: from a segment that spans Last.ACK.sent.
    if (
        connection.timestamps_ok
        and segment.ts_val is not None
        and (segment.seq == connection.last_ack_sent or le(segment.seq, connection.last_ack_sent))
    ):
        connection.ts_recent = segment.ts_val
        connection.ts_recent_at = now
    if flags & URG:
        _sixth_check_urg(connection, segment)
    return _text_and_fin(connection, segment, (segment.seq + (flags & SYN != 0)) & MASK, now)


def _first_check_sequence(connection: Connection, segment: Segment, now: float) -> Verdict | None:
    receiver = connection.receiver
    flags = segment.flags
    # A segment without a timestamp passes, as on Linux, where RFC 7323 section 3.2 would have it
    # dropped: keep-alives of some systems have none, and some middleboxes strip the option.
    if (
        connection.timestamps_ok
        and segment.ts_val is not None
        and not flags & RST
        and _is_old_duplicate(connection, segment.ts_val, now)
    ):
        connection.answer_unacceptable(segment, now)
        _report_duplicate(connection, segment)
        return Verdict.OLD_TIMESTAMP
    if flags & SYN and _is_new_incarnation(connection, segment):
        return Verdict.NEW_INCARNATION
    # What begins at RCV.NXT is acceptable by any of the table's rows.
    if segment.seq != receiver.nxt and not _is_acceptable(segment, receiver.nxt, receiver.wnd):
        if flags & RST:
            return Verdict.RESET_IGNORED
        if _crossed_syn(connection, segment):
            return None
        if connection.state is SYN_RECEIVED and _is_their_syn(connection, segment):
            return _their_syn_again(connection, segment, now)
        if connection.state is TIME_WAIT and _is_their_fin(connection, segment):
            connection.restart_time_wait(now)
        connection.answer_unacceptable(segment, now)
        _report_duplicate(connection, segment)
        # Its ACK and window are ignored: newer ones were received.
        behind = lt(segment.seq, receiver.nxt)
        return Verdict.DUPLICATE if behind else Verdict.OUT_OF_WINDOW
    return None


def _is_their_syn(connection: Connection, segment: Segment) -> bool:
    """Whether `segment` is a retransmission of the SYN that caused SYN-RECEIVED."""
    return segment.flags & (SYN | ACK) == SYN and segment.seq == connection.receiver.irs


def _is_their_fin(connection: Connection, segment: Segment) -> bool:
    """Whether `segment` is a retransmission of the peer's FIN, with an acceptable ACK."""
    sender = connection.sender
    return (
        segment.flags & (FIN | ACK) == FIN | ACK
        and (segment.seq + segment.length) & MASK == connection.receiver.nxt
        and 0 <= diff(sender.nxt, segment.ack) <= sender.max_wnd
    )


def _their_syn_again(connection: Connection, segment: Segment, now: float) -> Verdict:
    """Retransmit the SYN,ACK for a retransmitted SYN, as Linux does: a bare ACK does not open."""
    connection.ecn.agree(segment)
    if connection.may_answer(now):
        connection.send_syn()
    return Verdict.DUPLICATE


def _report_duplicate(connection: Connection, segment: Segment) -> None:
    """Report the duplicate data of a dropped segment by D-SACK (RFC 2883).

    An original overtaken by its retransmission fails PAWS as well: without a D-SACK its sender
    could not detect that the retransmission was spurious.
    """
    size = min(len(segment.payload), diff(connection.receiver.nxt, segment.seq))
    if size > 0:
        connection.receiver.record_duplicate(segment.seq, size)


def _is_acceptable(segment: Segment, nxt: int, wnd: int) -> bool:
    """Whether `segment` is acceptable (table of section 3.10.7.4), with two exceptions.

    A segment without text may be at the right edge, as on Linux: a peer that has filled the
    window sends its ACKs from there. Text at RCV.NXT is acceptable even if the window is zero: it
    is trimmed later, but its ACK must be processed (MUST-66).
    """
    length = segment.length
    offset = (segment.seq - nxt) & MASK
    if length == 0 or offset == 0:
        return offset <= wnd
    return offset < wnd or ((offset + length - 1) & MASK) < offset


def _is_old_duplicate(connection: Connection, ts_val: int, now: float) -> bool:
    """Whether PAWS rejects the segment (RFC 7323 section 5.3 R1)."""
    return lt(ts_val, connection.ts_recent) and now - connection.ts_recent_at < _PAWS_INVALID_AFTER


def _is_new_incarnation(connection: Connection, segment: Segment) -> bool:
    """Whether a SYN in TIME-WAIT opens a new incarnation of the connection."""
    ts_recent = connection.ts_recent if connection.timestamps_ok else None
    return connection.state is TIME_WAIT and opens_anew(segment, ts_recent, connection.receiver.nxt)


def opens_anew(segment: Segment, ts_recent: int | None, rcv_nxt: int) -> bool:
    """Whether a SYN may reopen a connection from TIME-WAIT (section 3.6.1 MAY-2, RFC 6191).

    Args:
        segment: The segment that arrived in TIME-WAIT.
        ts_recent: TS.Recent; None if the old connection had no timestamps.
        rcv_nxt: The old connection's RCV.NXT.
    """
    if segment.flags & (SYN | ACK | RST | FIN) != SYN:
        return False
    if ts_recent is not None and segment.ts_val is not None and segment.ts_val != ts_recent:
        return gt(segment.ts_val, ts_recent)
    return gt(segment.seq, rcv_nxt)


def _crossed_syn(connection: Connection, segment: Segment) -> bool:
    """Whether `segment` is the peer's SYN,ACK in a simultaneous open.

    Its SYN precedes the window, so that it is unacceptable by the table, but its ACK is
    the one that SYN-RECEIVED waits for (RFC 9293 figure 7, line 6).
    """
    return (
        connection.state is SYN_RECEIVED
        and not connection.passive
        and segment.flags & (SYN | ACK) == SYN | ACK
        and segment.seq == connection.receiver.irs
    )


def _second_check_rst(connection: Connection, segment: Segment, now: float) -> Verdict:
    """Check RST (second): only one at RCV.NXT resets; others are challenged (RFC 5961 3.2)."""
    if segment.seq != connection.receiver.nxt:
        connection.challenge(now)
        return Verdict.CHALLENGED_RESET
    state = connection.state
    if state is TIME_WAIT and connection.config.rfc1337:
        return Verdict.RESET_IGNORED
    if state is SYN_RECEIVED and connection.passive and not connection.accepts_early:
        connection.return_to_listen()
    elif state is SYN_RECEIVED and not connection.passive:
        connection.end(OSError(errno.ECONNREFUSED, "Connection refused"))
    elif state is TIME_WAIT or (state in (CLOSING, LAST_ACK) and not connection.sender.buffer.size):
        connection.end(None)  # All of our data has arrived.
    else:
        connection.end(OSError(errno.ECONNRESET, "Connection reset by peer"))
    return Verdict.RESET


def _fourth_check_syn(connection: Connection, segment: Segment, now: float) -> Verdict | None:
    """Check SYN (fourth): a SYN draws a challenge ACK (RFC 5961 section 4.2)."""
    if _crossed_syn(connection, segment):
        return None
    if connection.state is SYN_RECEIVED and _is_their_syn(connection, segment):
        # Only its data is in the window: it was not accepted with the SYN (RFC 7413).
        return _their_syn_again(connection, segment, now)
    if (
        connection.state is SYN_RECEIVED
        and connection.passive
        and not connection.accepts_early  # A connection accepted early is challenged as others.
    ):
        # Section 3.10.7.4, fourth: back to LISTEN.
        connection.return_to_listen()
        return Verdict.RESET
    connection.challenge(now)
    return Verdict.CHALLENGED_SYN


def _fifth_check_ack(connection: Connection, segment: Segment, now: float) -> Verdict | None:
    if not segment.flags & ACK:
        return Verdict.NO_ACK
    sender = connection.sender
    ack, una = segment.ack, sender.una
    advance, outstanding = (ack - una) & MASK, (sender.nxt - una) & MASK
    if connection.state is SYN_RECEIVED:
        if not 0 < advance <= outstanding:
            if not connection.sent_in_syn(ack):
                connection.send_reset(ack)
                return Verdict.UNACCEPTABLE_ACK
            outstanding = sender.outstanding
        if connection.passive and not connection.accepts_early:
            if connection.owner is not None and not connection.owner.may_open():
                return Verdict.BACKLOG_FULL
            if sender.unanswered < connection.config.defer_accept and not (
                segment.payload or segment.flags & FIN
            ):
                return Verdict.DEFERRED
        sender.set_window(segment.seq, ack, _scaled_window(connection, segment))
        if sender.all_in_order:
            sender.handle_ack_in_order(ack, advance, outstanding, now)
        else:
            sender.handle_ack(ack, now, echoed_at=connection.echoed_at(segment, now))
        connection.enter(ESTABLISHED)
        return None
    if advance > outstanding:
        if gt(ack, sender.nxt):
            connection.challenge(now)
            return Verdict.UNACCEPTABLE_ACK
        if diff(sender.una, ack) > sender.max_wnd:
            # RFC 5961 section 5 (MAY-12): too old for the peer, so probably an attack.
            connection.challenge(now)
            return Verdict.OLD_ACK
    if sender.persisting or not sender.wnd:
        sender.peer_responded(now)
    if advance <= outstanding:
        if advance:
            connection.soft_error = None  # The path works again.
        _handle_ack(connection, segment, advance, outstanding, now)
        sender.update_window(segment.seq, ack, segment.wnd << sender.shift)
    elif segment.sack:
        # An old ACK, but a D-SACK is reported once (RFC 2883 section 4), and may undo a recovery.
        # The other blocks rarely add anything: in the simulator no transfer is faster with them.
        # Linux processes both.
        sender.handle_ack(ack, now, sack=segment.sack)
    if connection.state in _CLOSE_STATES and sender.fin_acknowledged:
        _our_fin_is_acknowledged(connection)
    elif connection.state is TIME_WAIT and segment.seq != connection.receiver.nxt:
        # Only the peer's FIN is expected; anything else draws an ACK, as on Linux.
        connection.answer_unacceptable(segment, now)
    return None


def _handle_ack(
    connection: Connection, segment: Segment, advance: int, outstanding: int, now: float
) -> None:
    """Pass an ACK with SND.UNA =< SEG.ACK =< SND.NXT, which advances it, to the sender."""
    sender = connection.sender
    if not segment.sack and not segment.flags & ECE:
        if not advance:
            if not outstanding:
                return
        elif sender.all_in_order:
            sender.handle_ack_in_order(segment.ack, advance, outstanding, now)
            return
    sender.handle_ack(
        segment.ack,
        now,
        sack=segment.sack,
        echoed_at=connection.echoed_at(segment, now),
        duplicate=not advance and _is_duplicate_ack(connection, segment),
        marked=segment.flags & ECE != 0 and connection.ecn.capable,
    )


def _sixth_check_urg(connection: Connection, segment: Segment) -> None:
    """Check URG (sixth): also of text beyond the window (MUST-66)."""
    if connection.state in CAN_RECEIVE:
        connection.receiver.urgent_pointer((segment.seq + segment.up) & MASK)


def _scaled_window(connection: Connection, segment: Segment) -> int:
    """SND.WND from SEG.WND; that of a segment with a SYN is not scaled (RFC 7323 section 2.2)."""
    return segment.wnd if segment.flags & SYN else segment.wnd << connection.sender.shift


def _is_duplicate_ack(connection: Connection, segment: Segment) -> bool:
    """Whether an ACK of SND.UNA is a duplicate ACK (RFC 5681 section 2)."""
    sender = connection.sender
    return (
        sender.nxt != sender.una
        and not len(segment.payload)
        and not segment.flags & (SYN | FIN)
        and segment.wnd << sender.shift == sender.wnd
    )


def _our_fin_is_acknowledged(connection: Connection) -> None:
    state = connection.state
    if state is FIN_WAIT_1:
        connection.enter(FIN_WAIT_2)
    elif state is CLOSING:
        connection.enter(TIME_WAIT)
    else:
        connection.end(None)  # LAST-ACK


def _text_and_fin(connection: Connection, segment: Segment, seq: int, now: float) -> Verdict:
    """Process text (seventh), whose first octet is `seq`, and FIN (eighth)."""
    verdict = _ACCEPTED
    fin = segment.flags & FIN != 0
    size = len(segment.payload)
    if not size and not fin:
        return verdict
    if connection.state not in CAN_RECEIVE:
        # After the peer's FIN no new text can arrive: it is a retransmission, or invalid.
        if connection.state is TIME_WAIT and fin:
            connection.restart_time_wait(now)
        connection.receiver.ack_now = True
        return Verdict.DUPLICATE
    receiver = connection.receiver
    if size:
        if connection.orphaned and gt((seq + size) & MASK, receiver.nxt):
            # SHLD-3, as on Linux: the peer must learn that this data is lost. It may not have
            # received our FIN, and would only challenge a RST with the number after it.
            connection.send_reset(connection.sender.una)
            connection.end(OSError(errno.ECONNABORTED, "Data arrived after close"))
            return Verdict.AFTER_CLOSE
        verdict = _text(connection, segment, seq, now)
    if fin:
        end = (seq + size) & MASK
        # A FIN beyond the window was trimmed with the text before it.
        if le(end, receiver.edge):
            receiver.record_fin(end)
    if receiver.process_fin():
        _fin_is_received(connection)
    return verdict


def _text(connection: Connection, segment: Segment, seq: int, now: float) -> Verdict:
    """Process text (seventh): trim it to the window, and queue what is new."""
    receiver = connection.receiver
    payload = segment.payload
    behind = diff(receiver.nxt, seq)
    if behind >= len(payload):
        receiver.record_duplicate(seq, len(payload))
        return Verdict.DUPLICATE
    if behind > 0:
        receiver.record_duplicate(seq, behind)
        payload = memoryview(payload)[behind:]
        seq = receiver.nxt
        receiver.ack_now = True  # Part of it is a duplicate.
    beyond = diff((seq + len(payload)) & MASK, receiver.edge)
    if beyond > 0:
        payload = memoryview(payload)[:-beyond]
        receiver.ack_now = True
    if not len(payload):
        return Verdict.OUT_OF_WINDOW
    if receiver.lacks_memory(seq):
        return (
            Verdict.NO_MEMORY
        )  # Not acknowledged, so that the peer takes it for lost, and slows down.
    if (behind > 0 or beyond > 0) and type(payload) is memoryview:
        payload = copy_if_wasteful(payload)
    if connection.ecn.data_arrived(segment):
        receiver.ack_now = True
    segments = -(-len(payload) // segment.gso_size) if segment.gso_size else 1
    if not receiver.accept(seq, payload, now, segments, dsack_pending=behind > 0):
        # All of it was received before, or the queue has its maximum number of ranges.
        return Verdict.DUPLICATE if receiver.reassembly.duplicate else Verdict.NO_MEMORY
    if receiver.tuning is not None and now >= receiver.tuning.at:
        echoes = connection.timestamps_ok and segment.ts_val is not None
        ts_ecr = segment.ts_ecr if echoes else None
        receiver.tuning.adjust(receiver, connection.sender.rtt, connection.ts_offset, ts_ecr, now)
    return _ACCEPTED


def _fin_is_received(connection: Connection) -> None:
    """Change state for the peer's FIN (eighth), all data before it received."""
    state = connection.state
    if state is ESTABLISHED:
        connection.enter(CLOSE_WAIT)
    elif state is FIN_WAIT_1:  # An ACK of our FIN in it was processed before (fifth).
        connection.enter(CLOSING)
    elif state is FIN_WAIT_2:
        connection.enter(TIME_WAIT)
    else:
        raise AssertionError(f"FIN in {state}")


__all__ = ["opens_anew", "reset_for", "segment_arrives"]
