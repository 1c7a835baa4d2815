"""Receiving and sending: one task at a time in each direction."""

from __future__ import annotations

import errno
import operator
import socket as stdlib_socket
from typing import TYPE_CHECKING, Final

from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from tunstack.ip.errors import os_error
from tunstack.socket.notices import Notices
from tunstack.socket.reads import READ_SIZE
from tunstack.socket.state import NO_LOWAT
from tunstack.tcp.budget import SMALLEST_BUFFER

if TYPE_CHECKING:
    from tunstack.socket.state import SocketState
    from tunstack.stack.flow import Flow

_PIECE: Final = 65536
"""Octets, about, that one call queues beyond what can be sent at once, with TCP_NOTSENT_LOWAT."""

# As ints: operations on enum flags are slow.
_OUT_OF_BAND: Final = int(stdlib_socket.MSG_OOB)
_MORE: Final = int(stdlib_socket.MSG_MORE)
_PEEK: Final = int(stdlib_socket.MSG_PEEK)
_NO_EFFECT: Final = int(
    stdlib_socket.MSG_DONTWAIT | stdlib_socket.MSG_NOSIGNAL | stdlib_socket.MSG_CMSG_CLOEXEC
)
"""Flags without effect: trio's sockets never block, and there
are no signals or descriptors to receive."""
_SEND_FLAGS: Final = _NO_EFFECT | _MORE | _OUT_OF_BAND


async def receive(state: SocketState, size: int | None, flags: int = 0) -> bytes:
    """As :meth:`tunstack.Socket.recv`; None is what a stream receives that names no size."""
    if size is not None:
        if type(size) is not int:
            size = operator.index(size)
        if size < 0:
            raise ValueError("negative buffersize in recv")
    flow = state.flow
    if flow is None or flow.readable or flags or size == 0:
        # No need to wait, but the call must be a checkpoint.
        await checkpoint_if_cancelled()
        flow = state.flow or state.connected()
        if flags:
            assert size is not None  # A stream has no flags.
            flags &= ~_NO_EFFECT
            if flags & ~_PEEK == _OUT_OF_BAND:
                return await Notices.of(state).receive_urgent(size, peek=flags & _PEEK != 0)
            if flags & ~_PEEK:
                raise os_error(errno.EOPNOTSUPP)
        state.receiving.check_free()
        if flow.readable or size == 0:
            data = _take(state, flow, size, flags)
            await cancel_shielded_checkpoint()
            return data
    while True:
        if state.held:
            state.release()  # It does not close now.
        await state.receiving.wait()
        if state.closed:
            state.check_not_closed_meanwhile()
        if flow.readable:
            return _take(state, flow, size, flags)


def _take(state: SocketState, flow: Flow, size: int | None, flags: int) -> bytes:
    """Return what may be read at once, at most `size` octets.

    Raises:
        OSError: as `Socket.recv` does.
    """
    if size is None:
        unread, size = flow.receiver.buffer.size, READ_SIZE
        if unread > READ_SIZE or state.reads_large:
            size = state.read_size(unread)
    if size > SMALLEST_BUFFER and flow.receiver.budget.tight:
        size = SMALLEST_BUFFER  # Data that was read is not accounted.
    endpoint = state.endpoint
    try:
        if endpoint.ended:  # Unread data is lost.
            if flow.error is not None and not state.error_reported:
                raise flow.error
            endpoint.check_link()
        data = endpoint.stack.read(flow, size, peek=flags != 0)
    except OSError as error:
        if state.error_reported and not endpoint.ended:
            return b""  # The error is reported once, as on Linux; then end of stream.
        state.error_reported = True
        raise OSError(error.errno, error.strerror) from None
    if flow.pending:
        endpoint.flush()
    return data


async def wait_writable(state: SocketState) -> None:
    """As :meth:`tunstack.Socket.wait_writable`."""
    await checkpoint_if_cancelled()
    flow = state.connected()
    state.sending.check_free()
    waited = False
    while not state.writable(flow):
        await state.sending.wait()
        waited = True
        state.check_not_closed_meanwhile()
    if not waited:
        await cancel_shielded_checkpoint()


async def send(state: SocketState, data: memoryview, flags: int = 0) -> int:
    """As :meth:`tunstack.Socket.send`."""
    await checkpoint_if_cancelled()
    flow = state.flow or state.connected()
    if flags and flags & ~_SEND_FLAGS:
        raise os_error(errno.EOPNOTSUPP)
    if state.sending.task is not None:
        state.sending.check_free()
    waited = False
    # With nothing queued there is no need to wait; this is faster to check than `writable`.
    while flow.sender.buffer.size and len(data) and not state.writable(flow):
        await state.sending.wait()
        waited = True
        state.check_not_closed_meanwhile()
    if state.notsent_lowat != NO_LOWAT and len(data) > _PIECE:
        data = data[: max(_PIECE, flow.sender.usable)]
    sent = queue(state, flow, data, flags)
    if not waited:
        await cancel_shielded_checkpoint()
    return sent


def queue(state: SocketState, flow: Flow, data: bytes | memoryview, flags: int = 0) -> int:
    """Queue as much of `data` as fits, and send what may go out; returns how many octets.

    Raises:
        OSError: as `Socket.send` does.
    """
    habit = state.habit
    if habit is not None and habit.closes and not flags and flow.on_fast_path:
        sent = state.endpoint.answers.hold(flow, data, habit)
        if sent:
            state.held = True
            return sent
    urgent = flags != 0 and flags & _OUT_OF_BAND != 0
    more = flags != 0 and flags & _MORE != 0
    try:
        return state.endpoint.send(flow, data, urgent=urgent, more=more)
    except OSError as error:
        if state.error_reported:
            raise os_error(errno.EPIPE) from None
        state.error_reported = flow.error is not None
        raise OSError(error.errno, error.strerror) from None


__all__ = ["queue", "receive", "send", "wait_writable"]
