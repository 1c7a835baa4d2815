"""Connections that are accepted at once, without a task that waits in `accept`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

from tunstack.socket.stream import TcpStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.socket.stream import TcpListener


def next_stream(listener: TcpListener) -> TcpStream | None:
    """Accept the next connection; returns None if there is none, or `listener` is closed."""
    sock = listener.socket._accept_now()
    return None if sock is None else TcpStream(sock)


async def watch(listener: TcpListener, ready: Callable[[], None]) -> NoReturn:
    """Call `ready` whenever a connection may be accepted, at once and within a batch of packets.

    Raises:
        trio.BusyResourceError: another task waits in `accept`.
        trio.ClosedResourceError: the socket was closed, or its host's device is gone.
    """
    state = listener.socket._state
    if state.listener is None:
        raise trio.ClosedResourceError("this socket was closed")
    state.receiving.check_free()
    state.listener.changed = ready
    try:
        ready()
        await state.receiving.wait()
    finally:
        if state.listener is not None:
            state.listener.changed = state.receiving.wake
    raise trio.ClosedResourceError("this socket was closed, or its host's device is gone")


__all__ = ["next_stream", "watch"]
