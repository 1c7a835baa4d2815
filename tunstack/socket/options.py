"""Socket options, by Linux's names: what each does here, and what it takes.

Options that exist to tune a kernel, and those that this stack does not have yet, are not accepted
in silence: they raise ENOPROTOOPT, as an unknown option does on Linux. The exceptions are in
`NOTED`: programs set them as a matter of course, and nothing depends on them.
"""

from __future__ import annotations

import errno
import os
import struct
from socket import (
    IPPROTO_TCP,
    SO_ACCEPTCONN,
    SO_DOMAIN,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_TYPE,
    SOL_SOCKET,
    TCP_MAXSEG,
    TCP_NODELAY,
    TCP_NOTSENT_LOWAT,
    TCP_USER_TIMEOUT,
)
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.tcp.listener import MAX_BACKLOG
from tunstack.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.socket.base import BaseSocket

Buffer: TypeAlias = bytes | bytearray | memoryview

# Linux's numbers, where Python has no names, or another system others.
MSG_FASTOPEN: Final = 0x20000000
TCP_FASTOPEN: Final = 23
TCP_FASTOPEN_CONNECT: Final = 30

_LINGER: Final = struct.Struct("ii")
_INT: Final = struct.Struct("i")

SMALLEST_BUFFER: Final = 2304
"""Linux's least SO_RCVBUF; smaller values are raised to it."""
LARGEST_BUFFER: Final = 64 << 20
"""Larger values are cut to it."""
NO_LOWAT: Final = 0xFFFF_FFFF
"""TCP_NOTSENT_LOWAT when it is off."""

NOTED: Final = frozenset({(SOL_SOCKET, SO_KEEPALIVE), (SOL_SOCKET, SO_REUSEPORT)})
"""Remembered and given back, without effect: there is no keep-alive yet, nor load sharing."""


def get_option(sock: BaseSocket, level: int, name: int, size: int) -> int | bytes:
    """Return an option's value: an int, or `size` bytes of it if `size` is not 0.

    Raises:
        OSError: ENOPROTOOPT.
    """
    if (level, name) == (SOL_SOCKET, SO_LINGER):
        linger = sock.linger
        whole = _LINGER.pack(linger is not None, linger or 0)
        return whole[:size] if size else _as_int(whole)
    getter = _GETTERS.get((level, name))
    if getter is not None:
        value = getter(sock)
    elif (level, name) in NOTED:
        value = sock.noted.get((level, name), 0)
    else:
        raise _no_such_option()
    return _INT.pack(value)[:size] if size else value


def set_option(sock: BaseSocket, level: int, name: int, value: int | Buffer) -> None:
    """Set an option.

    Raises:
        OSError: ENOPROTOOPT, EINVAL.
    """
    if (level, name) == (SOL_SOCKET, SO_LINGER):
        if isinstance(value, int) or len(value) < _LINGER.size:
            raise _invalid()
        on, seconds = _LINGER.unpack_from(value)
        sock.linger = max(0, seconds) if on else None
        return
    number = value if isinstance(value, int) else _as_int(value)
    setter = _SETTERS.get((level, name))
    if setter is not None:
        setter(sock, number)
    elif (level, name) in NOTED:
        sock.noted[level, name] = number
    else:
        raise _no_such_option()


def _as_int(value: Buffer) -> int:
    if len(value) < _INT.size:
        raise _invalid()
    return int(_INT.unpack_from(value)[0])


def _buffer_size(value: int) -> int:
    return min(max(value, SMALLEST_BUFFER), LARGEST_BUFFER)


def _set_receive_buffer(sock: BaseSocket, value: int) -> None:
    sock.change(receive_buffer=_buffer_size(value))


def _set_send_buffer(sock: BaseSocket, value: int) -> None:
    sock.change(send_buffer=_buffer_size(value))


def _set_nodelay(sock: BaseSocket, value: int) -> None:
    sock.change(nodelay=bool(value))


def _max_segment(sock: BaseSocket) -> int:
    """What one segment carries when connected; before, what we will announce."""
    flow = sock.flow
    if flow is not None and flow.state not in (State.SYN_SENT, State.CLOSED):
        return flow.sender.mss
    return sock.config.mss


def _set_max_segment(sock: BaseSocket, value: int) -> None:
    if not 88 <= value <= 32767:  # Linux's bounds.
        raise _invalid()
    sock.change(mss=min(value, sock.default_config.mss))


def _set_notsent_lowat(sock: BaseSocket, value: int) -> None:
    sock.notsent_lowat = value & 0xFFFF_FFFF


def _user_timeout(sock: BaseSocket) -> int:
    """Milliseconds; 0 for the host's own default."""
    seconds = sock.config.user_timeout
    return 0 if seconds == sock.default_config.user_timeout else round(seconds * 1000)


def _set_user_timeout(sock: BaseSocket, value: int) -> None:
    if value < 0:
        raise _invalid()
    sock.change(user_timeout=value / 1000 or sock.default_config.user_timeout)


def _set_reuse_address(sock: BaseSocket, value: int) -> None:
    sock.reuse_address = bool(value)


def _set_fast_open(sock: BaseSocket, value: int) -> None:
    """How many connections may be open before their handshake has ended (RFC 7413); 0 for none."""
    if value < 0 or sock.flow is not None:
        raise _invalid()
    sock.change(fast_open_queue=min(value, MAX_BACKLOG))


def _set_fast_open_connect(sock: BaseSocket, value: int) -> None:
    """Whether `connect` waits for what is sent first, to take it along in the SYN."""
    if value not in (0, 1) or sock.flow is not None or sock.listening:
        raise _invalid()
    sock.change(fast_open_connect=bool(value))


_GETTERS: Final[dict[tuple[int, int], Callable[[BaseSocket], int]]] = {
    (SOL_SOCKET, SO_ACCEPTCONN): lambda sock: int(sock.listening),
    (SOL_SOCKET, SO_DOMAIN): lambda sock: int(sock.family),
    (SOL_SOCKET, SO_TYPE): lambda sock: int(sock.type),
    (SOL_SOCKET, SO_PROTOCOL): lambda _: IPPROTO_TCP,
    (SOL_SOCKET, SO_ERROR): lambda sock: sock.take_error(),
    (SOL_SOCKET, SO_RCVBUF): lambda sock: sock.config.receive_buffer,
    (SOL_SOCKET, SO_SNDBUF): lambda sock: sock.config.send_buffer,
    (SOL_SOCKET, SO_REUSEADDR): lambda sock: int(sock.reuse_address),
    (IPPROTO_TCP, TCP_NODELAY): lambda sock: int(sock.config.nodelay),
    (IPPROTO_TCP, TCP_MAXSEG): _max_segment,
    (IPPROTO_TCP, TCP_NOTSENT_LOWAT): lambda sock: sock.notsent_lowat,
    (IPPROTO_TCP, TCP_USER_TIMEOUT): _user_timeout,
    (IPPROTO_TCP, TCP_FASTOPEN): lambda sock: sock.config.fast_open_queue,
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT): lambda sock: int(sock.config.fast_open_connect),
}

_SETTERS: Final[dict[tuple[int, int], Callable[[BaseSocket, int], None]]] = {
    (SOL_SOCKET, SO_RCVBUF): _set_receive_buffer,
    (SOL_SOCKET, SO_SNDBUF): _set_send_buffer,
    (SOL_SOCKET, SO_REUSEADDR): _set_reuse_address,
    (IPPROTO_TCP, TCP_NODELAY): _set_nodelay,
    (IPPROTO_TCP, TCP_MAXSEG): _set_max_segment,
    (IPPROTO_TCP, TCP_NOTSENT_LOWAT): _set_notsent_lowat,
    (IPPROTO_TCP, TCP_USER_TIMEOUT): _set_user_timeout,
    (IPPROTO_TCP, TCP_FASTOPEN): _set_fast_open,
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT): _set_fast_open_connect,
}


def _no_such_option() -> OSError:
    return OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


def _invalid() -> OSError:
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL))
