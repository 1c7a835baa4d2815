"""trio's streams and listeners over the sockets of a host.

:class:`TcpStream` does what `trio.SocketStream` does, and raises the same, by the socket's own
parts: without a context manager for the conflict, another for the errors, a view of the data and
the socket's method between, which together cost more than the connection's work on a small request.
"""

from __future__ import annotations

import errno
from operator import index
from socket import SHUT_WR
from typing import TYPE_CHECKING, Any, Final, Literal, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from tunstack.socket import transfer
from tunstack.socket.socket import Socket

if TYPE_CHECKING:
    from typing import Unpack

    from tunstack.socket.verbs import SegmentFields


_SMALL: Final = 65536
"""Octets that one call of the socket takes, if its buffer is empty."""


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
        self.socket = socket
        self._state = socket._state
        self._sending = False
        self._state.begin_stream()

    def __repr__(self) -> str:
        return f"<tunstack.TcpStream over {self.socket!r}>"

    # As trio's

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; see `trio.abc.SendStream.send_all`.

        Raises:
            trio.ClosedResourceError: it is closed, or was after :meth:`send_eof`.
            trio.BrokenResourceError: the connection has ended; its `__cause__` says why.
            trio.BusyResourceError: another task sends.
        """
        state = self._state
        if state.shut_down_write:
            raise trio.ClosedResourceError("can't send data after sending EOF")
        if self._sending:
            raise _busy()
        self._sending = True
        try:
            flow = state.flow
            if (
                flow is None
                or type(data) is not bytes
                or not 0 < len(data) <= _SMALL
                or flow.sender.buffer.size
            ):
                await self._send_all(data)
                return
            await checkpoint_if_cancelled()
            if state.sending.task is not None:
                state.sending.check_free()
            sent = transfer.queue(state, flow, data)
            if sent == len(data):
                await cancel_shielded_checkpoint()
            else:
                await self._send_all(memoryview(data)[sent:])
        except OSError as error:
            raise _stream_error(error) from _cause(error)
        finally:
            self._sending = False

    async def _send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send by as many calls of the socket as it takes."""
        state = self._state
        with memoryview(data).cast("B") as view:
            if not view:
                if state.closed:
                    raise trio.ClosedResourceError("socket was already closed")
                await checkpoint()
                return
            sent = 0
            while sent < len(view):
                with view[sent:] as rest:
                    sent += await transfer.send(state, rest)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until `send_all` might not block; see `trio.abc.SendStream`."""
        if self._sending:
            raise _busy()
        if self._state.closed:
            raise trio.ClosedResourceError("this socket was already closed")
        self._sending = True
        try:
            await transfer.wait_writable(self._state)
        except OSError as error:
            raise _stream_error(error) from _cause(error)
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Send FIN after all data; idempotent. See `trio.abc.HalfCloseableStream.send_eof`."""
        if self._sending:
            raise _busy()
        self._sending = True
        try:
            await checkpoint_if_cancelled()
            if not self._state.shut_down_write:
                self.socket.shutdown(SHUT_WR)
            await cancel_shielded_checkpoint()
        except OSError as error:
            raise _stream_error(error) from _cause(error)
        finally:
            self._sending = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what there is, at most `max_bytes`; see `trio.abc.ReceiveStream.receive_some`.

        Without a number it returns at most 256 KiB; at most 64 KiB while so many other streams of
        the host read more that they take a sixteenth of its memory.

        Raises:
            trio.ClosedResourceError: it is closed.
            trio.BrokenResourceError: the connection has ended; its `__cause__` says why.
            trio.BusyResourceError: another task receives.
        """
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        try:
            return await transfer.receive(self._state, max_bytes)
        except OSError as error:
            raise _stream_error(error) from _cause(error)

    async def aclose(self) -> None:
        """Close the socket; see :meth:`tunstack.Socket.close`. A checkpoint."""
        self.socket.close()
        await checkpoint()

    # For tests

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


def _busy() -> trio.BusyResourceError:
    return trio.BusyResourceError("another task is currently sending data on this TcpStream")


def _stream_error(error: OSError) -> Exception:
    """Return what a stream raises for the error of a socket."""
    if error.errno == errno.EBADF:
        return trio.ClosedResourceError("this socket was already closed")
    return trio.BrokenResourceError(f"socket connection broken: {error}")


def _cause(error: OSError) -> OSError | None:
    return None if error.errno == errno.EBADF else error


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
