"""Socket options, by Linux's names: their effects and values.

At ``SOL_SOCKET``:

===================  ==============================================================================
SO_ACCEPTCONN        read only: whether it listens
SO_DOMAIN, SO_TYPE,  read only: AF_INET or AF_INET6, SOCK_STREAM, IPPROTO_TCP
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

At ``IPPROTO_IPV6``, of AF_INET6 sockets; those above are for their IPv4 connections:

===================  ==============================================================================
IPV6_TCLASS          the traffic class of what is sent, as IP_TOS; -1 for 0
IPV6_UNICAST_HOPS    the hop limit of what is sent, from 0 to 255; -1 for the host's default
IPV6_V6ONLY          whether the socket is for IPv6 alone; off, as on Linux. It may be set before
                     the socket is bound
===================  ==============================================================================

Accepted connections inherit the options of their listener. Options that exist to tune a
kernel, and those that this stack does not have, are not ignored: they raise
ENOPROTOOPT, as an unknown option does on Linux. The exceptions are in `NOTED`: many programs set
them, and they have no effect here.
"""

from __future__ import annotations

import errno
import struct
from socket import (
    AF_INET6,
    IPPROTO_IP,
    IPPROTO_IPV6,
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
)
from typing import TYPE_CHECKING, Final

from tunstack.ip.errors import os_error
from tunstack.socket import ip_options, tcp_options
from tunstack.socket.option import (
    INT,
    Buffer,
    Option,
    Value,
    as_int,
    note,
    number,
    read_only,
    switch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.socket.state import SocketState

_WITH_INTEGERS: Final = frozenset({SOL_SOCKET, IPPROTO_TCP, IPPROTO_IPV6})
"""Levels at which fewer than four octets are refused."""
_LINGER: Final = struct.Struct("ii")

SMALLEST_BUFFER: Final = 2304
"""Linux's least SO_RCVBUF; smaller values are raised to it."""
LARGEST_BUFFER: Final = 64 << 20
"""Larger values are cut to it."""

NOTED: Final = frozenset({(SOL_SOCKET, SO_REUSEPORT)})
"""Stored and returned, without effect: there is no load sharing."""


def get_option(sock: SocketState, level: int, name: int, size: int) -> int | bytes:
    """Return an option's value: an int, or at most `size` octets if `size` is not 0.

    Linux cuts what is longer; of a number at ``IPPROTO_IP`` it gives all four octets, or one.

    Raises:
        OSError: ENOPROTOOPT; `size` is out of range.
    """
    if not 0 <= size <= 1024:
        raise OSError("getsockopt buflen out of range")
    _check_level(sock, level, errno.EOPNOTSUPP)
    if (level, name) in NOTED:
        value: int | bytes = (sock.noted or {}).get((level, name), 0)
    elif (option := OPTIONS.get((level, name))) is not None:
        value = option.get(sock)
    else:
        raise os_error(errno.ENOPROTOOPT)
    if size == 0:
        return value if isinstance(value, int) else as_int(value)
    if not isinstance(value, int):
        return value[:size]
    if level == IPPROTO_IP and size < INT.size:
        size = 1
    return INT.pack(value)[:size]


def set_option(sock: SocketState, level: int, name: int, value: Value) -> None:
    """Set an option.

    Octets are a number of four; what is longer is cut, and what is shorter refused. But
    ``IPPROTO_IP`` takes one octet as well, and none for 0.

    Raises:
        OSError: ENOPROTOOPT, EINVAL.
    """
    _check_level(sock, level, errno.ENOPROTOOPT)
    if not isinstance(value, int):
        value = _checked(level, name, value)
    option = OPTIONS.get((level, name))
    if option is not None and option.set is not None:
        option.set(sock, value)
    elif (level, name) in NOTED:
        note(sock, level, name, int(as_int(value) != 0))
    else:
        raise os_error(errno.ENOPROTOOPT)


def _check_level(sock: SocketState, level: int, number: int) -> None:
    """Refuse IPv6's options of an AF_INET socket, with Linux's error number."""
    if level == IPPROTO_IPV6 and sock.family != AF_INET6:
        raise os_error(number)


def _checked(level: int, name: int, value: Buffer) -> Value:
    """Decode the octets of an option by their length; each level has its own rule."""
    if level == IPPROTO_IP and len(value) < INT.size:
        return bytes(value[:1])[0] if len(value) else 0
    if level in _WITH_INTEGERS and len(value) < INT.size and name != TCP_CONGESTION:
        raise os_error(errno.EINVAL)
    return value


def _receive_buffer(sock: SocketState) -> int:
    """The present size of the receive buffer."""
    return sock.config.receive_sizes[0] if sock.flow is None else sock.flow.receiver.buffer_size


def _send_buffer(sock: SocketState) -> int:
    return sock.config.send_sizes[0] if sock.flow is None else sock.flow.sender.bound


def _buffer(parameter: str, get: Callable[[SocketState], int]) -> Option:
    """An option that fixes the size of a buffer in `Config`."""
    return number(
        get,
        lambda sock, number: sock.change(
            **{parameter: min(max(number, SMALLEST_BUFFER), LARGEST_BUFFER)}
        ),
    )


def _linger(sock: SocketState) -> bytes:
    return _LINGER.pack(sock.linger is not None, sock.linger or 0)


def _set_linger(sock: SocketState, value: Value) -> None:
    if isinstance(value, int) or len(value) < _LINGER.size:
        raise os_error(errno.EINVAL)
    on, seconds = _LINGER.unpack_from(value)
    sock.linger = max(0, seconds) if on else None


def _set_reuse_address(sock: SocketState, number: int) -> None:
    sock.reuse_address = bool(number)


OPTIONS: Final[dict[tuple[int, int], Option]] = {
    (SOL_SOCKET, SO_ACCEPTCONN): read_only(lambda sock: int(sock.listener is not None)),
    (SOL_SOCKET, SO_DOMAIN): read_only(lambda sock: int(sock.family)),
    (SOL_SOCKET, SO_TYPE): read_only(lambda sock: int(SOCK_STREAM)),
    (SOL_SOCKET, SO_PROTOCOL): read_only(lambda sock: IPPROTO_TCP),
    (SOL_SOCKET, SO_ERROR): read_only(lambda sock: sock.take_error()),
    (SOL_SOCKET, SO_KEEPALIVE): switch("keepalive"),
    (SOL_SOCKET, SO_LINGER): Option(_linger, _set_linger),
    (SOL_SOCKET, SO_OOBINLINE): switch("urgent_inline"),
    (SOL_SOCKET, SO_RCVBUF): _buffer("receive_buffer", _receive_buffer),
    (SOL_SOCKET, SO_SNDBUF): _buffer("send_buffer", _send_buffer),
    (SOL_SOCKET, SO_REUSEADDR): number(lambda sock: int(sock.reuse_address), _set_reuse_address),
    **tcp_options.OPTIONS,
    **ip_options.OPTIONS,
}
