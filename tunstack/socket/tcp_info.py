"""Linux's ``struct tcp_info``, for programs that ask for TCP_INFO."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from tunstack.tcp.recovery import Phase
from tunstack.tcp.state import State

if TYPE_CHECKING:
    from tunstack.flow import Flow
    from tunstack.socket.base import BaseSocket

_LAYOUT: Final = struct.Struct("=8B24I4Q4I")
"""Its fields up to ``tcpi_min_rtt``; what follows there is not filled in."""

_STATES: Final = {
    State.ESTABLISHED: 1,
    State.SYN_SENT: 2,
    State.SYN_RECEIVED: 3,
    State.FIN_WAIT_1: 4,
    State.FIN_WAIT_2: 5,
    State.TIME_WAIT: 6,
    State.CLOSED: 7,
    State.CLOSE_WAIT: 8,
    State.LAST_ACK: 9,
    State.LISTEN: 10,
    State.CLOSING: 11,
}
_PHASES: Final = {Phase.OPEN: 0, Phase.RECOVERY: 3, Phase.LOSS: 4}

_TIMESTAMPS, _SACK, _WINDOW_SCALE = 1, 2, 4
"""Bits of ``tcpi_options``."""


def packed_tcp_info(sock: BaseSocket) -> bytes:
    """What TCP_INFO gives; all 0 but the state while there is no connection."""
    if sock.flow is None:
        state = State.LISTEN if sock.listening else State.CLOSED
        return _LAYOUT.pack(_STATES[state], *[0] * 39)
    return _pack(sock.flow)


def _pack(flow: Flow) -> bytes:
    info, sender, mss = flow.info(), flow.sender, max(1, flow.sender.mss)
    board = sender.recovery.board
    unsigned = 0xFFFF_FFFF

    def microseconds(seconds: float | None) -> int:
        return min(round((seconds or 0.0) * 1e6), unsigned)

    def segments(octets: int) -> int:
        return min(-(-octets // mss), unsigned)

    options = (
        _TIMESTAMPS * info.timestamps
        | _SACK * info.sack
        | _WINDOW_SCALE * (info.snd_wscale > 0 or info.rcv_wscale > 0)
    )
    return _LAYOUT.pack(
        _STATES[flow.state],
        _PHASES[sender.recovery.phase],
        min(sender.unanswered * (not sender.persisting), 255),
        min(sender.unanswered * sender.persisting, 255),
        min(sender.unanswered, 255),
        options,
        info.snd_wscale | info.rcv_wscale << 4,
        0,
        microseconds(info.rto),
        microseconds(flow.config.delayed_ack),
        info.snd_mss,
        info.rcv_mss,
        segments(info.unacked),
        segments(board.sacked),
        segments(board.lost),
        segments(board.resent),
        *[0] * 5,  # fackets, and when what was last sent and heard: not remembered
        flow.config.mss + 40,
        info.rcv_wnd,
        microseconds(info.rtt),
        microseconds(info.rttvar),
        segments(info.snd_ssthresh),
        segments(info.snd_cwnd),
        flow.config.mss,
        3,  # reordering: RACK has no such number, RFC 5681's stands for it
        0,
        info.rcv_wnd + info.unread,
        info.retransmits,
        0,
        0,
        info.bytes_acked,
        info.bytes_received,
        0,
        0,
        info.notsent,
        microseconds(info.min_rtt),
    )
