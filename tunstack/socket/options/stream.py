"""Options of TCP sockets, and the table of those at ``SOL_SOCKET``."""

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
from tunstack.socket.options import ip, tcp
from tunstack.socket.options.option import (
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
    **tcp.OPTIONS,
    **ip.OPTIONS,
}
