"""Socket options at ``IPPROTO_TCP``; :mod:`tunstack.socket.options` says what each does."""

from __future__ import annotations

import errno
import sys
from math import ceil
from socket import (
    IPPROTO_TCP,
    TCP_CONGESTION,
    TCP_CORK,
    TCP_DEFER_ACCEPT,
    TCP_INFO,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_LINGER2,
    TCP_MAXSEG,
    TCP_NODELAY,
    TCP_NOTSENT_LOWAT,
    TCP_QUICKACK,
    TCP_SYNCNT,
    TCP_USER_TIMEOUT,
)
from typing import TYPE_CHECKING, Final

from tunstack.ip.errors import os_error
from tunstack.socket.options.option import (
    INT,
    Option,
    Value,
    check_range,
    count,
    note,
    number,
    read_only,
)
from tunstack.socket.options.tcp_info import packed_tcp_info
from tunstack.socket.state import NO_LOWAT
from tunstack.tcp.congestion import congestion_control, name_of
from tunstack.tcp.connection.state import State
from tunstack.tcp.listen.listener import MAX_BACKLOG

if TYPE_CHECKING:
    from tunstack.socket.state import SocketState

# Linux's numbers, where Python has no names, or another system others.
MSG_FASTOPEN: Final = 0x20000000
TCP_FASTOPEN: Final = 23
TCP_FASTOPEN_CONNECT: Final = 30

_LONGEST_NAME: Final = 16
"""Octets of TCP_CONGESTION."""
_MOST_SYN_ACKS: Final = 255
"""Linux's field for them is an octet."""
LONGEST_LINGER2: Final = 120
"""Seconds, Linux's."""


def _max_segment(sock: SocketState) -> int:
    """TCP_MAXSEG: the present MSS when connected; before, the MSS to announce."""
    flow = sock.flow
    if flow is not None and flow.state not in (State.SYN_SENT, State.CLOSED):
        return flow.sender.mss
    return sock.config.mss


def _set_max_segment(sock: SocketState, number: int) -> None:
    default = sock.default_config.mss
    if number:
        check_range(number, 88, 32767)  # Linux's bounds.
    sock.change(mss=min(number or default, default))


def _notsent_lowat(sock: SocketState) -> int:
    if sock.notsent_lowat == NO_LOWAT:
        return (sock.noted or {}).get((IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0)
    return _signed(sock.notsent_lowat)


def _set_notsent_lowat(sock: SocketState, number: int) -> None:
    """Set TCP_NOTSENT_LOWAT, which is unsigned; 0 is off."""
    unsigned = number & NO_LOWAT
    sock.notsent_lowat = unsigned or NO_LOWAT
    if sock.notsent_lowat == NO_LOWAT:  # For one of two reasons.
        note(sock, IPPROTO_TCP, TCP_NOTSENT_LOWAT, _signed(unsigned))
    if sock.flow is not None and sock.flow.changed is not None:
        sock.flow.changed()  # A task that waits to send may do so now, as on Linux.


def _signed(number: int) -> int:
    """Return what C has as an int of 32 bits unsigned."""
    return int(INT.unpack(number.to_bytes(INT.size, sys.byteorder))[0])


def _set_nodelay(sock: SocketState, number: int) -> None:
    sock.change(nodelay=bool(number))
    if number:
        sock.push(small=True)


def _set_cork(sock: SocketState, number: int) -> None:
    sock.change(cork=bool(number))
    if not number:
        sock.push(small=False)


def _user_timeout(sock: SocketState) -> int:
    return round((sock.config.user_timeout or 0) * 1000)


def _set_user_timeout(sock: SocketState, number: int) -> None:
    if number < 0:
        raise os_error(errno.EINVAL)
    sock.change(user_timeout=number / 1000 or sock.default_config.user_timeout)


def _syn_count(sock: SocketState) -> int:
    config, count = sock.config, 0
    while _syn_timeout(sock, count) < config.syn_timeout:
        count += 1
    return count


def _set_syn_count(sock: SocketState, number: int) -> None:
    check_range(number, 1, 127)
    sock.change(syn_timeout=_syn_timeout(sock, number))


def _syn_timeout(sock: SocketState, count: int) -> float:
    """Return R2 for a SYN with `count` retransmissions, in seconds (TCP_SYNCNT)."""
    config = sock.config
    return sum(min(config.rto_initial * 2.0**n, config.rto_max) for n in range(count + 1))


def _deferring(sock: SocketState) -> int:
    """Return the time of the last SYN,ACK retransmission in seconds (TCP_DEFER_ACCEPT)."""
    count = sock.config.defer_accept
    return int(_syn_timeout(sock, count - 1)) if count else 0


def _set_deferring(sock: SocketState, number: int) -> None:
    count = 0
    while count < _MOST_SYN_ACKS and (_syn_timeout(sock, count - 1) if count else 0) < number:
        count += 1
    sock.change(defer_accept=count)


def _linger2(sock: SocketState) -> int:
    return max(-1, ceil(sock.config.fin_wait_2_timeout))


def _set_linger2(sock: SocketState, number: int) -> None:
    seconds = min(max(-1, number), LONGEST_LINGER2)
    sock.change(fin_wait_2_timeout=seconds or sock.default_config.fin_wait_2_timeout)


def _set_quick_ack(sock: SocketState, number: int) -> None:
    sock.change(delayed_ack=0.0 if number else sock.default_config.delayed_ack)


def _congestion(sock: SocketState) -> bytes:
    return name_of(sock.config.congestion).encode()[:_LONGEST_NAME].ljust(_LONGEST_NAME, b"\0")


def _set_congestion(sock: SocketState, value: Value) -> None:
    if isinstance(value, int) or not len(value):
        raise os_error(errno.EINVAL)
    name = bytes(value).partition(b"\0")[0].decode(errors="replace")
    try:
        sock.change(congestion=congestion_control(name))
    except ValueError:
        raise os_error(errno.ENOENT) from None


def _set_fast_open(sock: SocketState, number: int) -> None:
    """Set TCP_FASTOPEN: the limit of pending Fast Open requests (RFC 7413); 0 is off."""
    if number < 0 or sock.flow is not None:
        raise os_error(errno.EINVAL)
    sock.change(fast_open_queue=min(number, MAX_BACKLOG))


def _set_fast_open_connect(sock: SocketState, number: int) -> None:
    """Set TCP_FASTOPEN_CONNECT: `connect` defers the SYN until there is data for it."""
    if number not in (0, 1) or sock.flow is not None or sock.listener is not None:
        raise os_error(errno.EINVAL)
    sock.change(fast_open_connect=bool(number))


OPTIONS: Final[dict[tuple[int, int], Option]] = {
    (IPPROTO_TCP, TCP_CONGESTION): Option(_congestion, _set_congestion),
    (IPPROTO_TCP, TCP_CORK): number(lambda sock: int(sock.config.cork), _set_cork),
    (IPPROTO_TCP, TCP_DEFER_ACCEPT): number(_deferring, _set_deferring),
    (IPPROTO_TCP, TCP_FASTOPEN): number(lambda sock: sock.config.fast_open_queue, _set_fast_open),
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT): number(
        lambda sock: int(sock.config.fast_open_connect), _set_fast_open_connect
    ),
    (IPPROTO_TCP, TCP_INFO): read_only(packed_tcp_info),
    (IPPROTO_TCP, TCP_KEEPIDLE): count("keepalive_idle", 1, 32767),
    (IPPROTO_TCP, TCP_KEEPINTVL): count("keepalive_interval", 1, 32767),
    (IPPROTO_TCP, TCP_KEEPCNT): count("keepalive_count", 1, 127),
    (IPPROTO_TCP, TCP_LINGER2): number(_linger2, _set_linger2),
    (IPPROTO_TCP, TCP_MAXSEG): number(_max_segment, _set_max_segment),
    (IPPROTO_TCP, TCP_NODELAY): number(lambda sock: int(sock.config.nodelay), _set_nodelay),
    (IPPROTO_TCP, TCP_NOTSENT_LOWAT): number(_notsent_lowat, _set_notsent_lowat),
    (IPPROTO_TCP, TCP_QUICKACK): number(
        lambda sock: int(not sock.config.delayed_ack), _set_quick_ack
    ),
    (IPPROTO_TCP, TCP_SYNCNT): number(_syn_count, _set_syn_count),
    (IPPROTO_TCP, TCP_USER_TIMEOUT): number(_user_timeout, _set_user_timeout),
}
