"""The connections of sockets, for what uses them without sockets: the host's protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.socket.socket import Socket
    from tunstack.stack.flow import Flow
    from tunstack.tcp.listen.listener import Listener


async def hand_over_accepted(
    sock: Socket, acceptor: Callable[[Listener], Callable[[], None]]
) -> None:
    """Have another accept the connections of a listening socket, until it is closed.

    Args:
        sock: The socket.
        acceptor: Given the socket's listener, it returns what is called when there are connections
            to accept.

    Raises:
        trio.ClosedResourceError: the socket was closed, or its host's device is gone.
        trio.BusyResourceError: a task waits in `accept`.
    """
    state = sock._state
    state.receiving.check_free()
    listener = state.listener
    if listener is not None:
        before, listener.changed = listener.changed, acceptor(listener)
        if len(listener):
            listener.changed()
            state.endpoint.flush()
        try:
            while state.listener is not None:
                await state.receiving.wait()
        finally:
            listener.changed = before
    raise trio.ClosedResourceError("this socket was closed, or its host's device is gone")


def take_flow(sock: Socket) -> Flow:
    """Close a connected socket, but not its connection, and return that.

    Raises:
        OSError: ENOTCONN.
    """
    flow = sock._state.connected()
    sock._stack.detach(flow)
    sock._state.flow = None
    sock.close()
    return flow


__all__ = ["hand_over_accepted", "take_flow"]
