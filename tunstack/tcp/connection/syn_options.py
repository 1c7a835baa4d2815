"""Negotiation of TCP options by the SYNs (RFC 9293 section 3.2, RFC 7323, RFC 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.connection.state import SYN_RECEIVED
from tunstack.tcp.receiver.receiver import MAX_WINDOW_SHIFT, window_shift
from tunstack.tcp.segment import ACK, SYN, Segment

if TYPE_CHECKING:
    from tunstack.tcp.connection.control_block import ControlBlock

_TIMESTAMP_SIZE = 12
SMALLEST_MSS = 48
"""Linux's: room for a few octets beside the most options that we send. A peer may ask for less."""


def our_syn(connection: ControlBlock, now: float) -> Segment:
    """Build a SYN or SYN,ACK with Linux's options; its window is not scaled."""
    config, sender, receiver = connection.config, connection.sender, connection.receiver
    answer = connection.state is SYN_RECEIVED
    again = sender.nxt != sender.iss
    flags = connection.ecn.answer_flags() if answer else connection.ecn.syn_flags(again=again)
    segment = Segment(sender.iss, 0, SYN | flags, receiver.syn_window, mss=config.mss)
    if again and (connection.passive or not answer):
        timed_out = connection.passive or sender.unanswered
        segment.note = f"retransmission: {'timeout' if timed_out else 'challenged'}"
    segment.sack_permitted = sender.recovery.sack if answer else config.sack
    if connection.timestamps_ok if answer else config.timestamps:
        segment.ts_val = connection.timestamp(now)
        segment.ts_ecr = connection.ts_recent if answer else 0
    if receiver.shift if answer else config.window_scaling:
        segment.wscale = window_shift(connection.largest_buffer)
    if answer:
        segment.flags |= ACK
        segment.ack = receiver.nxt
        receiver.on_ack_sent()
    if connection.fast_open is not None:
        connection.fast_open.add_option(segment, sender, config, now)
    return segment


def agree_on_options(connection: ControlBlock, syn: Segment, now: float) -> None:
    """Enable the options that both SYNs have (RFC 7323, RFC 2018)."""
    sender, receiver, config = connection.sender, connection.receiver, connection.config
    mss = syn.mss or config.default_send_mss
    connection.peer_mss = mss = mss if mss > SMALLEST_MSS else SMALLEST_MSS
    connection.timestamps_ok = config.timestamps and syn.ts_val is not None
    connection.ecn.agree(syn)
    connection.last_ack_sent = receiver.nxt  # Or as good as: our answer is due.
    if syn.ts_val is not None:
        connection.ts_recent, connection.ts_recent_at = syn.ts_val, now
    sender.recovery.sack = config.sack and syn.sack_permitted
    if config.window_scaling and syn.wscale is not None:
        sender.shift = syn.wscale if syn.wscale < MAX_WINDOW_SHIFT else MAX_WINDOW_SHIFT
        receiver.shift = window_shift(connection.largest_buffer)
    # MUST-16: the smaller of what they take and what fits our link, options deducted.
    options = _TIMESTAMP_SIZE * connection.timestamps_ok
    sender.path.agree(mss if mss < config.mss else config.mss, options, config.mtu_probing)
    sender.mss = sender.path.mss
    receiver.mss = config.mss - options
    sender.congestion.set_mss(sender.mss, config.initial_window)
