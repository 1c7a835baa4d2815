"""trio's streams and listeners over the sockets of a host."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Literal, final

import trio

from tunstack.socket.socket import Socket

if TYPE_CHECKING:
    from typing import Unpack

    from tunstack.socket.verbs import SegmentFields


class _Derivable:
    """A base before one of trio's final classes, whose refusal of subclasses is not reached.

    They must be trio's by `isinstance`, as libraries ask for that.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        pass


@final
class TcpStream(_Derivable, trio.SocketStream):  # type: ignore[misc] # It is final.
    """A `trio.SocketStream` over a :class:`~tunstack.Socket`.

    :meth:`tunstack.Host.open_tcp_stream` returns one, and handlers of
    :meth:`tunstack.Host.serve_tcp` are given one.

    Args:
        socket: A connected socket of a host.

    Attributes:
        socket: The socket.

    Raises:
        TypeError: `socket` is none of a host's TCP sockets.
    """

    socket: Socket

    def __init__(self, socket: Socket) -> None:
        if not isinstance(socket, Socket):
            raise TypeError(f"a TcpStream is over a tunstack.Socket, not over {socket!r}")
        super().__init__(socket)

    def __repr__(self) -> str:
        return f"<tunstack.TcpStream over {self.socket!r}>"

    def abort(self) -> None:
        """Close with a RST; see :meth:`tunstack.Socket.abort`."""
        self.socket.abort()

    def vanish(self, direction: Literal["both", "in", "out"] = "both") -> None:
        """Drop all packets of the connection, for ever; see :meth:`tunstack.Socket.vanish`."""
        self.socket.vanish(direction)

    def stop_acknowledging(self) -> None:
        """Acknowledge nothing more; see :meth:`tunstack.Socket.stop_acknowledging`."""
        self.socket.stop_acknowledging()

    def resume_acknowledging(self) -> None:
        """Acknowledge again; see :meth:`tunstack.Socket.resume_acknowledging`."""
        self.socket.resume_acknowledging()

    def freeze(self, after: int = 0, *, shrink: bool = False) -> None:
        """Close the receive window after so many octets; see :meth:`tunstack.Socket.freeze`."""
        self.socket.freeze(after, shrink=shrink)

    def thaw(self) -> None:
        """Open the receive window again; see :meth:`tunstack.Socket.thaw`."""
        self.socket.thaw()

    def send_segment(self, **fields: Unpack[SegmentFields]) -> None:
        """Send a segment as it is described; see :meth:`tunstack.Socket.send_segment`."""
        self.socket.send_segment(**fields)


@final
class TcpListener(_Derivable, trio.SocketListener):  # type: ignore[misc] # It is final.
    """A `trio.SocketListener` that accepts connections as :class:`TcpStream`.

    Args:
        socket: A listening socket of a host.

    Attributes:
        socket: The socket.
    """

    socket: Socket

    async def accept(self) -> TcpStream:
        """Accept a connection.

        Raises:
            trio.ClosedResourceError: the socket was closed, or its host's device is gone.
            trio.BusyResourceError: another task waits in `accept`.
        """
        try:
            sock, _ = await self.socket.accept()
        except OSError as error:
            if error.errno == errno.EBADF:
                raise trio.ClosedResourceError("this socket was closed") from None
            raise
        return TcpStream(sock)


__all__ = ["TcpListener", "TcpStream"]
