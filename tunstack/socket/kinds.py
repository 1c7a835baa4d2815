"""The sockets of a host: a class for each family, type and protocol."""

from __future__ import annotations

from functools import partial
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_STREAM,
)
from typing import TYPE_CHECKING, Final

from tunstack.socket.datagram import DatagramSocket
from tunstack.socket.ping import PingSocket
from tunstack.socket.socket import Socket

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

KINDS: Final[dict[tuple[int, int, int], Callable[..., trio.socket.SocketType]]] = {
    (AF_INET, SOCK_STREAM, 0): Socket,
    (AF_INET, SOCK_STREAM, IPPROTO_TCP): Socket,
    (AF_INET6, SOCK_STREAM, 0): partial(Socket, family=AF_INET6),
    (AF_INET6, SOCK_STREAM, IPPROTO_TCP): partial(Socket, family=AF_INET6),
    (AF_INET, SOCK_DGRAM, 0): DatagramSocket,
    (AF_INET, SOCK_DGRAM, IPPROTO_UDP): DatagramSocket,
    (AF_INET6, SOCK_DGRAM, 0): partial(DatagramSocket, family=AF_INET6),
    (AF_INET6, SOCK_DGRAM, IPPROTO_UDP): partial(DatagramSocket, family=AF_INET6),
    (AF_INET, SOCK_DGRAM, IPPROTO_ICMP): PingSocket,
    (AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6): partial(PingSocket, family=AF_INET6),
}
"""By family, type without flags, and protocol. Called with the endpoint, and keyword arguments."""
