"""Any trio program on a host: a socket factory, and a resolver that knows addresses as they are."""

from __future__ import annotations

import socket as stdlib_socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.host import Host


@final
class SocketFactory(trio.abc.SocketFactory):
    """Makes sockets on a host; those of other families and types are the kernel's."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def socket(
        self,
        family: int = trio.socket.AF_INET,
        type: int = trio.socket.SOCK_STREAM,
        proto: int = 0,
    ) -> trio.socket.SocketType:
        """Make one; trio calls this for each of its own."""
        if family == trio.socket.AF_INET and type == trio.socket.SOCK_STREAM:
            return self._host.socket(family, type, proto)
        return trio.socket.from_stdlib_socket(stdlib_socket.socket(family, type, proto))


@contextmanager
def installed(host: Host) -> Iterator[None]:
    """Have the trio run make its sockets on `host`; put back what was there before."""
    before = trio.socket.set_custom_socket_factory(SocketFactory(host))
    try:
        yield
    finally:
        trio.socket.set_custom_socket_factory(before)
