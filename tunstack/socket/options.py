"""Socket options, by Linux's names: their effects and values.

At ``SOL_SOCKET``:

===================  ==============================================================================
SO_ACCEPTCONN        read only: whether it listens
SO_DOMAIN, SO_TYPE,  read only: AF_INET, SOCK_STREAM, IPPROTO_TCP
SO_PROTOCOL
SO_ERROR             read only: the connection's error, else the latest soft error; reading
                     clears it
SO_KEEPALIVE         keep-alive probes (RFC 9293 section 3.8.4)
SO_LINGER            off: after `close` queued data is still delivered, without limit. On with 0
                     seconds: `close` resets. On with more: if data is not acknowledged by then,
                     the connection is reset. `close` never blocks, as in trio;
                     call `Socket.wait_acknowledged` before it to wait
SO_OOBINLINE         on, unlike Linux: urgent data is in line (RFC 6093). Off: its last octet is
                     out of band, for ``recv(1, MSG_OOB)``
SO_RCVBUF,           octets, not doubled as Linux's are
SO_SNDBUF
SO_REUSEADDR         a port may be bound while connections of an earlier listener use it
SO_REUSEPORT         stored, without effect
===================  ==============================================================================

At ``IPPROTO_TCP``:

===================  ==============================================================================
TCP_CONGESTION       the congestion control's name, in octets: ``b"cubic"``, ``b"reno"``; it may be
                     changed at any time
TCP_CORK             only full segments are sent, until it is off again or for 200 ms at the most;
                     ``MSG_MORE`` does it for one `send`
TCP_DEFER_ACCEPT     seconds for which a listener waits for data before a connection is accepted;
                     rounded up to the time of a SYN,ACK retransmission
TCP_INFO             read only: Linux's ``struct tcp_info``; `Socket.tcp_info` has more
TCP_KEEPIDLE         idle seconds before the first keep-alive probe
TCP_KEEPINTVL        seconds between probes
TCP_KEEPCNT          unanswered probes until the connection is aborted
TCP_LINGER2          seconds that a closed connection waits in FIN-WAIT-2, 120 at the most; 0 for
                     the host's own number, and a negative one to reset it there
TCP_MAXSEG           the largest segment to announce; once connected, the largest to send
TCP_NODELAY          small segments do not wait for an ACK (Nagle's algorithm is off). Setting it
                     sends all queued data, also what TCP_CORK or ``MSG_MORE`` holds back
TCP_NOTSENT_LOWAT    octets not sent yet, beyond which `send` waits; 0 for no such limit
TCP_QUICKACK         every batch is acknowledged at once. It stays set, where Linux's soon
                     turns itself off
TCP_SYNCNT           retransmissions of a SYN
TCP_USER_TIMEOUT     milliseconds that data may go unacknowledged, wait for a closed window, or
                     keep-alive probes unanswered; and a SYN, at the most. 0: the host's defaults
===================  ==============================================================================

At ``IPPROTO_IP``:

===================  ==============================================================================
IP_TOS               the Differentiated Services field of what is sent; its ECN bits are TCP's own,
                     unchanged. `Socket.tcp_info` has that of the last segment received
IP_TTL               the time to live of what is sent, from 1 to 255; -1 for the host's default
===================  ==============================================================================

Accepted connections inherit the options of their listener. Options that exist to tune a
kernel, and those that this stack does not have, are not ignored: they raise
ENOPROTOOPT, as an unknown option does on Linux. The exceptions are in `NOTED`: many programs set
them, and they have no effect here.
"""

from __future__ import annotations

import errno
import struct
import sys
from math import ceil
from socket import (
    AF_INET,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_TCP,
    SO_ACCEPTCONN,
    SO_DOMAIN,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_OOBINLINE,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_TYPE,
    SOCK_STREAM,
    SOL_SOCKET,
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
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tunstack.socket.state import NO_LOWAT, os_error
from tunstack.socket.tcp_info import packed_tcp_info
from tunstack.tcp.congestion import congestion_control, name_of
from tunstack.tcp.connection.state import State
from tunstack.tcp.listen.listener import MAX_BACKLOG

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.socket.state import SocketState

Buffer: TypeAlias = bytes | bytearray | memoryview
Value: TypeAlias = int | Buffer

# Linux's numbers, where Python has no names, or another system others.
MSG_FASTOPEN: Final = 0x20000000
TCP_FASTOPEN: Final = 23
TCP_FASTOPEN_CONNECT: Final = 30

_LINGER: Final = struct.Struct("ii")
_INT: Final = struct.Struct("i")
_LONGEST_NAME: Final = 16

SMALLEST_BUFFER: Final = 2304
"""Linux's least SO_RCVBUF; smaller values are raised to it."""
LARGEST_BUFFER: Final = 64 << 20
"""Larger values are cut to it."""
_MOST_SYN_ACKS: Final = 255
"""Linux's field for them is an octet."""
LONGEST_LINGER2: Final = 120
"""Seconds, Linux's."""

NOTED: Final = frozenset({(SOL_SOCKET, SO_REUSEPORT)})
"""Stored and returned, without effect: there is no load sharing."""


class Option(NamedTuple):
    """The getter and the setter of an option; None if it has none."""

    get: Callable[[SocketState], int | bytes]
    set: Callable[[SocketState, Value], None] | None = None


def get_option(sock: SocketState, level: int, name: int, size: int) -> int | bytes:
    """Return an option's value: an int, or at most `size` octets if `size` is not 0.

    Linux cuts what is longer; of a number at ``IPPROTO_IP`` it gives all four octets, or one.

    Raises:
        OSError: ENOPROTOOPT; `size` is out of range.
    """
    if (level, name) in NOTED:
        value: int | bytes = (sock.noted or {}).get((level, name), 0)
    elif (option := OPTIONS.get((level, name))) is not None:
        value = option.get(sock)
    else:
        raise os_error(errno.ENOPROTOOPT)
    if size == 0:
        return value if isinstance(value, int) else _as_int(value)
    if not 0 < size <= 1024:
        raise OSError("getsockopt buflen out of range")
    if not isinstance(value, int):
        return value[:size]
    if level == IPPROTO_IP and size < _INT.size:
        size = 1
    return _INT.pack(value)[:size]


def set_option(sock: SocketState, level: int, name: int, value: Value) -> None:
    """Set an option.

    Octets are a number of four; what is longer is cut, and what is shorter refused. But
    ``IPPROTO_IP`` takes one octet as well, and none for 0.

    Raises:
        OSError: ENOPROTOOPT, EINVAL.
    """
    if not isinstance(value, int):
        value = _checked(level, name, value)
    option = OPTIONS.get((level, name))
    if option is not None and option.set is not None:
        option.set(sock, value)
    elif (level, name) in NOTED:
        _note(sock, level, name, int(_as_int(value) != 0))
    else:
        raise os_error(errno.ENOPROTOOPT)


def _note(sock: SocketState, level: int, name: int, value: int) -> None:
    if sock.noted is None:
        sock.noted = {}
    sock.noted[level, name] = value


def _checked(level: int, name: int, value: Buffer) -> Value:
    """Decode the octets of an option by their length; each level has its own rule."""
    if level == IPPROTO_IP and len(value) < _INT.size:
        return bytes(value[:1])[0] if len(value) else 0
    if level in (SOL_SOCKET, IPPROTO_TCP) and len(value) < _INT.size and name != TCP_CONGESTION:
        raise os_error(errno.EINVAL)
    return value


def _as_int(value: Value) -> int:
    if isinstance(value, int):
        return value
    if len(value) < _INT.size:
        raise os_error(errno.EINVAL)
    return int(_INT.unpack_from(value)[0])


def _check_range(number: int, lowest: int, highest: int) -> None:
    if not lowest <= number <= highest:
        raise os_error(errno.EINVAL)


def _receive_buffer(sock: SocketState) -> int:
    """The present size of the receive buffer."""
    return sock.config.receive_sizes[0] if sock.flow is None else sock.flow.receiver.size


def _send_buffer(sock: SocketState) -> int:
    return sock.config.send_sizes[0] if sock.flow is None else sock.flow.sender.bound


# Kinds of options


def _read_only(get: Callable[[SocketState], int | bytes]) -> Option:
    return Option(get)


def _number(get: Callable[[SocketState], int], set: Callable[[SocketState, int], None]) -> Option:
    return Option(get, lambda sock, value: set(sock, _as_int(value)))


def _switch(parameter: str) -> Option:
    """An option that is a bool of `Config`."""
    return _number(
        lambda sock: int(getattr(sock.config, parameter)),
        lambda sock, number: sock.change(**{parameter: bool(number)}),
    )


def _count(parameter: str, lowest: int, highest: int) -> Option:
    """An option that is a number of `Config`, in whole numbers or seconds."""

    def set(sock: SocketState, number: int) -> None:
        _check_range(number, lowest, highest)
        sock.change(**{parameter: number})

    return _number(lambda sock: ceil(getattr(sock.config, parameter)), set)


def _buffer(parameter: str, get: Callable[[SocketState], int]) -> Option:
    """An option that fixes the size of a buffer in `Config`."""
    return _number(
        get,
        lambda sock, number: sock.change(
            **{parameter: min(max(number, SMALLEST_BUFFER), LARGEST_BUFFER)}
        ),
    )


# Others


def _linger(sock: SocketState) -> bytes:
    return _LINGER.pack(sock.linger is not None, sock.linger or 0)


def _set_linger(sock: SocketState, value: Value) -> None:
    if isinstance(value, int) or len(value) < _LINGER.size:
        raise os_error(errno.EINVAL)
    on, seconds = _LINGER.unpack_from(value)
    sock.linger = max(0, seconds) if on else None


def _set_reuse_address(sock: SocketState, number: int) -> None:
    sock.reuse_address = bool(number)


def _max_segment(sock: SocketState) -> int:
    """TCP_MAXSEG: the present MSS when connected; before, the MSS to announce."""
    flow = sock.flow
    if flow is not None and flow.state not in (State.SYN_SENT, State.CLOSED):
        return flow.sender.mss
    return sock.config.mss


def _set_max_segment(sock: SocketState, number: int) -> None:
    default = sock.default_config.mss
    if number:
        _check_range(number, 88, 32767)  # Linux's bounds.
    sock.change(mss=min(number or default, default))


def _notsent_lowat(sock: SocketState) -> int:
    return (sock.noted or {}).get((IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0)


def _set_notsent_lowat(sock: SocketState, number: int) -> None:
    """Set TCP_NOTSENT_LOWAT, which is unsigned; 0 is off."""
    (signed,) = _INT.unpack((number & NO_LOWAT).to_bytes(_INT.size, sys.byteorder))
    _note(sock, IPPROTO_TCP, TCP_NOTSENT_LOWAT, signed)
    sock.notsent_lowat = number & NO_LOWAT or NO_LOWAT
    if sock.flow is not None and sock.flow.changed is not None:
        sock.flow.changed()  # A task that waits to send may do so now, as on Linux.


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
    _check_range(number, 1, 127)
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


def _set_ttl(sock: SocketState, number: int) -> None:
    if number == -1:
        number = sock.default_config.ttl
    _check_range(number, 1, 255)
    sock.change(ttl=number)


def _set_tos(sock: SocketState, number: int) -> None:
    sock.change(tos=number & 0xFC)


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
    (SOL_SOCKET, SO_ACCEPTCONN): _read_only(lambda sock: int(sock.listener is not None)),
    (SOL_SOCKET, SO_DOMAIN): _read_only(lambda sock: int(AF_INET)),
    (SOL_SOCKET, SO_TYPE): _read_only(lambda sock: int(SOCK_STREAM)),
    (SOL_SOCKET, SO_PROTOCOL): _read_only(lambda sock: IPPROTO_TCP),
    (SOL_SOCKET, SO_ERROR): _read_only(lambda sock: sock.take_error()),
    (SOL_SOCKET, SO_KEEPALIVE): _switch("keepalive"),
    (SOL_SOCKET, SO_LINGER): Option(_linger, _set_linger),
    (SOL_SOCKET, SO_OOBINLINE): _switch("urgent_inline"),
    (SOL_SOCKET, SO_RCVBUF): _buffer("receive_buffer", _receive_buffer),
    (SOL_SOCKET, SO_SNDBUF): _buffer("send_buffer", _send_buffer),
    (SOL_SOCKET, SO_REUSEADDR): _number(lambda sock: int(sock.reuse_address), _set_reuse_address),
    (IPPROTO_TCP, TCP_CONGESTION): Option(_congestion, _set_congestion),
    (IPPROTO_TCP, TCP_CORK): _number(lambda sock: int(sock.config.cork), _set_cork),
    (IPPROTO_TCP, TCP_DEFER_ACCEPT): _number(_deferring, _set_deferring),
    (IPPROTO_TCP, TCP_FASTOPEN): _number(lambda sock: sock.config.fast_open_queue, _set_fast_open),
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT): _number(
        lambda sock: int(sock.config.fast_open_connect), _set_fast_open_connect
    ),
    (IPPROTO_TCP, TCP_INFO): _read_only(packed_tcp_info),
    (IPPROTO_TCP, TCP_KEEPIDLE): _count("keepalive_idle", 1, 32767),
    (IPPROTO_TCP, TCP_KEEPINTVL): _count("keepalive_interval", 1, 32767),
    (IPPROTO_TCP, TCP_KEEPCNT): _count("keepalive_count", 1, 127),
    (IPPROTO_TCP, TCP_LINGER2): _number(_linger2, _set_linger2),
    (IPPROTO_TCP, TCP_MAXSEG): _number(_max_segment, _set_max_segment),
    (IPPROTO_TCP, TCP_NODELAY): _number(lambda sock: int(sock.config.nodelay), _set_nodelay),
    (IPPROTO_TCP, TCP_NOTSENT_LOWAT): _number(_notsent_lowat, _set_notsent_lowat),
    (IPPROTO_TCP, TCP_QUICKACK): _number(
        lambda sock: int(not sock.config.delayed_ack), _set_quick_ack
    ),
    (IPPROTO_TCP, TCP_SYNCNT): _number(_syn_count, _set_syn_count),
    (IPPROTO_TCP, TCP_USER_TIMEOUT): _number(_user_timeout, _set_user_timeout),
    (IPPROTO_IP, IP_TOS): _number(lambda sock: sock.config.tos, _set_tos),
    (IPPROTO_IP, IP_TTL): _number(lambda sock: sock.config.ttl, _set_ttl),
}
