"""Data, both ways: what a task waits for, and one task at a time in each direction."""

from __future__ import annotations

import errno
import operator
import socket as stdlib_socket
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from tunstack.socket.options import NO_LOWAT, os_error
from tunstack.socket.variants import Variants
from tunstack.socket.waiter import Waiter
from tunstack.tcp.budget import SMALLEST_BUFFER
from tunstack.tcp.connection.state import CAN_SEND

if TYPE_CHECKING:
    from tunstack.host.host import Host
    from tunstack.stack.flow import Flow

_PIECE: Final = 65536
"""With TCP_NOTSENT_LOWAT one call takes about so much more than what can go out at once."""

# As plain numbers: Python takes its time over operations of its flags.
_OUT_OF_BAND: Final = int(stdlib_socket.MSG_OOB)
_MORE: Final = int(stdlib_socket.MSG_MORE)
_PEEK: Final = int(stdlib_socket.MSG_PEEK)
_AS_EVER: Final = int(
    stdlib_socket.MSG_DONTWAIT | stdlib_socket.MSG_NOSIGNAL | stdlib_socket.MSG_CMSG_CLOEXEC
)
"""Flags that change nothing: sockets of trio never block, their calls wait all the same, and there
are neither signals nor descriptors to receive."""
_SEND_FLAGS: Final = _AS_EVER | _MORE | _OUT_OF_BAND


class TransferSocket(Variants):
    """A socket that sends and receives."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._receiving = Waiter()
        self._sending = Waiter()

    def recv(self, buflen: int, flags: int = 0, /) -> Any:
        """Receive at most `buflen` octets; ``b""`` at the peer's end of stream.

        A call that begins before the last octet of urgent data ends there as well. With the flag
        ``MSG_OOB`` it returns that octet, if SO_OOBINLINE is off. With ``MSG_PEEK`` what it returns
        stays where it is. ``MSG_DONTWAIT`` changes nothing, as for trio's own sockets.

        Raises:
            OSError: ECONNRESET, ETIMEDOUT..., ENOTCONN; with MSG_OOB EINVAL, there is none.
            trio.BusyResourceError: another task waits in `recv`.
        """
        return self._recv(buflen, flags)

    async def _recv(self, size: int, flags: int = 0) -> bytes:
        size = operator.index(size)
        if size < 0:
            raise ValueError("negative buffersize in recv")
        flow = self._flow
        if flow is None or flow.readable or flags or not size:
            # Nothing to wait for: but a cancellation comes first, and others get their turn.
            await checkpoint_if_cancelled()
            flow = self._flow or self._connected()
            if flags:
                flags &= ~_AS_EVER
                if flags & ~_PEEK == _OUT_OF_BAND:
                    return await self._recv_urgent(size, peek=flags & _PEEK != 0)
                if flags & ~_PEEK:
                    raise os_error(errno.EOPNOTSUPP)
            self._receiving.check_free()
            if flow.readable or not size:
                data = self._take(flow, size, flags)
                await cancel_shielded_checkpoint()
                return data
        while True:
            await self._receiving.wait()
            if self._fileno == -1:
                self._check_not_closed_meanwhile()
            if flow.readable:
                return self._take(flow, size, flags)

    @abstractmethod
    async def _recv_urgent(self, size: int, *, peek: bool) -> bytes: ...

    def _take(self, flow: Flow, size: int, flags: int) -> bytes:
        if size > SMALLEST_BUFFER and flow.receiver.budget.tight:
            size = SMALLEST_BUFFER  # What an application has, and cannot pass on, nobody counts.
        host = self._host
        try:
            if host.ended:  # What is unread is lost.
                if flow.error is not None and not self._error_told:
                    raise flow.error
                host.check_up()
            data = host.stack.read(flow, size, peek=flags != 0)
        except OSError as error:
            if self._error_told and not host.ended:
                return b""  # Told once, as on Linux; from now on it is the end.
            self._error_told = True
            raise OSError(error.errno, error.strerror) from None
        if flow.pending:
            host.flush()
        return data

    def is_readable(self) -> bool:
        """Whether `recv`, or `accept`, would return at once."""
        self._check_open()
        if self._listener is not None:
            return len(self._listener) > 0
        return self._flow is None or self._flow.readable

    async def wait_writable(self) -> None:
        """Wait until `send` would take something, or fail.

        Raises:
            trio.BusyResourceError: another task waits to send.
        """
        await checkpoint_if_cancelled()
        flow = self._connected()
        self._sending.check_free()
        waited = False
        while not self._writable(flow):
            await self._sending.wait()
            waited = True
            self._check_not_closed_meanwhile()
        if not waited:
            await cancel_shielded_checkpoint()

    def _writable(self, flow: Flow) -> bool:
        """Whether to let the application send: not for a few octets."""
        if (flow.state not in CAN_SEND and not flow.sends_early) or self._shut_down_write:
            return True
        return flow.wants_data(self.notsent_lowat)

    def send(self, bytes: Any, flags: int = 0, /) -> Any:
        """Send what there is room for of `bytes`; returns how many octets that was, at least one.

        With the flag ``MSG_MORE`` a segment that it does not fill waits for the next call. With
        ``MSG_OOB`` it is urgent, up to the last octet that was taken (RFC 6093: not for new
        programs).

        Raises:
            OSError: EPIPE after shutdown, ECONNRESET, ETIMEDOUT..., ENOTCONN.
            trio.BusyResourceError: another task waits to send.
        """
        if type(bytes) is memoryview and bytes.format == "B" and bytes.ndim == 1:
            return self._send_view(bytes, flags)  # As trio's streams give it.
        return self._send(bytes, flags)

    async def _send(self, data: Any, flags: int = 0) -> int:
        with memoryview(data).cast("B") as view:
            return await self._send_view(view, flags)

    async def _send_view(self, data: memoryview, flags: int) -> int:
        await checkpoint_if_cancelled()
        flow = self._flow or self._connected()
        if flags and flags & ~_SEND_FLAGS:
            raise os_error(errno.EOPNOTSUPP)
        if self._sending.task is not None:
            self._sending.check_free()
        waited = False
        # Nothing queued, nothing to wait for: it is quicker to ask than `_writable`.
        while flow.sender.buffer.size and len(data) and not self._writable(flow):
            await self._sending.wait()
            waited = True
            self._check_not_closed_meanwhile()
        if self.notsent_lowat != NO_LOWAT and len(data) > _PIECE:
            data = data[: max(_PIECE, flow.sender.usable)]
        sent = self._give(flow, data, flags)
        if not waited:
            await cancel_shielded_checkpoint()
        return sent

    def _give(self, flow: Flow, data: memoryview, flags: int) -> int:
        urgent = flags != 0 and flags & _OUT_OF_BAND != 0
        more = flags != 0 and flags & _MORE != 0
        try:
            return self._host.send(flow, data, urgent=urgent, more=more)
        except OSError as error:
            if self._error_told:
                raise os_error(errno.EPIPE) from None
            self._error_told = flow.error is not None
            raise OSError(error.errno, error.strerror) from None
