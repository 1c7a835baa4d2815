"""Linux's ``struct tcp_info``, for programs that ask for TCP_INFO."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import trio

from tunstack.tcp.connection.state import State
from tunstack.tcp.recovery.recovery_variables import Phase

if TYPE_CHECKING:
    from tunstack.socket.state import SocketState
    from tunstack.stack.flow import Flow

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
_OPEN, _DISORDER = 0, 1
_PHASES: Final = {Phase.OPEN: _OPEN, Phase.RECOVERY: 3, Phase.LOSS: 4}

# Bits of `tcpi_options`.
_TIMESTAMPS, _SACK, _WINDOW_SCALE, _ECN, _ECN_SEEN, _SYN_DATA = 1, 2, 4, 8, 16, 32

_NONE: Final = 0xFFFF_FFFF
"""Linux's ``tcpi_min_rtt`` before a measurement."""
_UNLIMITED_RATE: Final = 0xFFFF_FFFF_FFFF_FFFF
"""Its pacing rates where nothing is paced."""
_INFINITE_SSTHRESH: Final = 0x7FFF_FFFF
_LEAST_UNLIMITED: Final = 1 << 30
"""Octets; our congestion controls' threshold before a loss."""


def packed_tcp_info(sock: SocketState) -> bytes:
    """What TCP_INFO gives; nearly all 0 while there is no connection.

    As on Linux, a listener has its queue length and backlog there.
    """
    if sock.flow is not None:
        return _pack(sock.flow, trio.current_time())
    waiting, backlog = sock.backlog
    state = State.LISTEN if sock.listener is not None else State.CLOSED
    return _LAYOUT.pack(_STATES[state], *[0] * 11, waiting, backlog, *[0] * 26)


def _pack(flow: Flow, now: float) -> bytes:
    info, sender, mss = flow.info(), flow.sender, max(1, flow.sender.mss)
    recovery, quiet = sender.recovery, flow.idle_timers
    board = recovery.board

    def microseconds(seconds: float | None) -> int:
        return min(round((seconds or 0.0) * 1e6), _NONE)

    def since(moment: float) -> int:
        """In milliseconds."""
        return min(max(0, round((now - moment) * 1e3)), _NONE)

    def segments(octets: int) -> int:
        return min(-(-octets // mss), _NONE)

    # Without SACK Linux counts duplicate ACKs, each of which stands for a segment.
    sacked = board.sacked + (board.pipe - recovery.pipe if sender.synchronized else 0)
    phase = _PHASES[recovery.phase]
    # What was sent again for lost remains that until it arrives; a tail loss probe never was.
    lost = board.lost + (board.resent if recovery.recovering else 0)
    fin_beside_data = recovery.fin and info.unacked > 1
    advmss = flow.receiver.mss
    return _LAYOUT.pack(
        _STATES[flow.state],
        _DISORDER if phase == _OPEN and sacked else phase,
        min(sender.unanswered * (not sender.persisting), 255),
        min(sender.unanswered * sender.persisting + quiet.probes, 255),
        min(sender.unanswered, 255),
        _options(flow),
        info.snd_wscale | info.rcv_wscale << 4,
        0,
        microseconds(info.rto),
        microseconds(flow.config.delayed_ack),
        info.snd_mss,
        info.rcv_mss,
        segments(info.unacked - fin_beside_data),
        segments(sacked),
        segments(lost),
        segments(board.resent),
        0,  # fackets
        since(sender.last_sent),
        0,  # when the last ACK was sent: Linux does not remember it either
        since(quiet.received_at),  # of data: not later than that
        since(quiet.received_at),
        info.pmtu,
        info.rcv_wnd,
        microseconds(info.rtt),
        microseconds(info.rttvar),
        _INFINITE_SSTHRESH
        if info.snd_ssthresh >= _LEAST_UNLIMITED
        else segments(info.snd_ssthresh),
        min(max(1, info.snd_cwnd // mss), _NONE),
        advmss,
        3,  # reordering: RACK has no such number, RFC 5681's stands for it
        0,
        info.rcv_wnd + info.unread,
        info.retransmits,
        _UNLIMITED_RATE,
        _UNLIMITED_RATE,
        info.bytes_acked,  # the SYN and the FIN, which Linux counts on some sides, not among them
        info.bytes_received,
        0,
        0,
        info.notsent,
        _NONE if info.min_rtt is None else microseconds(info.min_rtt),
    )


def _options(flow: Flow) -> int:
    return (
        _TIMESTAMPS * flow.timestamps_ok
        | _SACK * flow.sack_ok
        | _WINDOW_SCALE * (flow.sender.shift > 0 or flow.receiver.shift > 0)
        | _ECN * flow.ecn.agreed
        | _ECN_SEEN * flow.ecn.seen
        | _SYN_DATA * (flow.fast_open is not None and flow.fast_open.syn_data)
    )
