"""A protocol and its transport: what a connection calls, and what is called on it."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, final

from tunstack.tcp.budget import SMALLEST_BUFFER
from tunstack.tcp.connection.state import CLOSED, ESTABLISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.ip.datagram import Address, Buffer
    from tunstack.protocol.runner import Runner
    from tunstack.protocol.timers import TimerHandle
    from tunstack.stack.flow import Flow
    from tunstack.tcp.info import TcpInfo

logger = logging.getLogger("tunstack")

_READ_SIZE: Final = 1 << 18
"""Octets that `data_received` is given at a time."""
_HIGH: Final = 1 << 16
"""Octets in the write buffer from above which `pause_writing` is called; as of asyncio."""
_LOWAT: Final = 1 << 14
"""Octets that the stack may have unsent when it is given more (TCP_NOTSENT_LOWAT)."""
_JOINED: Final = 1 << 14
"""Octets of the writes of one callback that wait for its end, to be sent together."""


class Protocol:
    """What is done with one connection: the words and the order of calls of `asyncio.Protocol`.

    Derive from it, and define what you need. The order is `connection_made`, any number of
    `data_received`, `eof_received` at most once, `connection_lost`; `pause_writing` and
    `resume_writing` alternate in between.

    A callback must not block, and is no coroutine. One that raises ends its connection with a RST.
    """

    def connection_made(self, transport: Transport) -> None:
        """The connection is open, and `transport` is its other side."""

    def data_received(self, data: bytes) -> None:
        """Data has arrived: what the batch of packets has brought, at most `Transport.max_size`."""

    def eof_received(self) -> bool | None:
        """The peer has ended its half; no data will arrive.

        Return true to go on sending, and close the transport later; else it is closed.
        """
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended; this is the last call.

        Args:
            exc: None after `Transport.close` and `Transport.abort`; what a callback has raised; an
                OSError (ECONNRESET, ETIMEDOUT, ENETDOWN...) for what the peer or the network did,
                ECONNABORTED at the end of the host.
        """

    def pause_writing(self) -> None:
        """The write buffer has more than the high-water mark: write no more for now."""

    def resume_writing(self) -> None:
        """The write buffer has come down to the low-water mark."""


@final
class Transport:
    """The other side of a `Protocol`: the words of asyncio's transports.

    It is made by the host. Its methods may be called in callbacks of any connection of the host,
    and by trio tasks; after the connection has ended they do nothing.

    Attributes:
        max_size: Octets, at most, that `data_received` is given in one call; 256 KiB. More has its
            next call, after those of others.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_busy",
        "_closing",
        "_ended",
        "_eof",
        "_eof_written",
        "_error",
        "_fin_queued",
        "_flow",
        "_forget",
        "_four_tuple",
        "_high",
        "_joined",
        "_lost",
        "_low",
        "_paused",
        "_protocol",
        "_reading",
        "_reads",
        "_runner",
        "_size",
        "_timers",
        "_woken",
        "max_size",
    )

    def __init__(
        self,
        runner: Runner,
        flow: Flow,
        protocol: Protocol,
        forget: Callable[[Transport], None] | None = None,
    ) -> None:
        self.max_size = _READ_SIZE
        self._runner = runner
        self._flow: Flow | None = flow
        self._four_tuple = flow.four_tuple
        self._protocol = protocol
        self._forget = forget
        self._buffer: list[Buffer] = []
        self._size = 0  # Octets in it.
        self._high, self._low = _HIGH, _HIGH >> 2
        self._joined = _JOINED  # Or the high-water mark, if that is less.
        self._reading = True  # Not paused.
        self._reads = True  # Neither paused, nor closing, nor at the end.
        self._eof = False
        self._eof_written = False
        self._fin_queued = False  # In the stack.
        self._ended = False  # Whether our half is closed, or will be when the buffer is empty.
        self._closing = False
        self._lost = False
        self._paused = False
        self._busy = False  # In a callback of its own: what it asks for is done afterwards.
        self._woken = False
        self._error: Exception | None = None
        self._timers: set[TimerHandle] | None = None
        runner.stack.attach(flow, self._changed)

    def __repr__(self) -> str:
        name = self._four_tuple
        state = "closed" if self._flow is None else self._flow.state.value
        local = f"{ip_address(name.local)} port {name.local_port}"
        return f"<tunstack.Transport {local} to {ip_address(name.remote)}, {state}>"

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, after all that was written before; it never blocks.

        What the stack does not take yet is kept in the write buffer, see :meth:`pause_writing` of
        the protocol. What is written after :meth:`close`, or when the connection has ended, is
        dropped, as asyncio does it: `connection_lost` is how a protocol learns that.

        Raises:
            RuntimeError: :meth:`write_eof` was called.
            TypeError: `data` is no bytes-like object.
        """
        if type(data) is not bytes:
            data = _frozen(data)
        if self._ended:
            if self._eof_written:
                raise RuntimeError("Cannot call write() after write_eof()")
            return
        if not data:
            return
        self._buffer.append(data)
        self._size = size = self._size + len(data)
        if not self._busy:
            self._act_soon()
        elif size <= self._joined:
            return
        elif self._flow is not None:
            self._push(self._flow, self._runner.now)
        if self._size > self._high and not self._paused:
            self._paused = True
            self._guarded(self._protocol.pause_writing)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send all of them, one after another; small ones together."""
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        """End our half, with a FIN after all that was written; the peer's half stays open."""
        if not self._ended:
            self._ended = self._eof_written = True
            self._act_soon()

    def can_write_eof(self) -> bool:
        """Whether there is :meth:`write_eof`: yes."""
        return True

    def get_write_buffer_size(self) -> int:
        """Octets in the write buffer: what was written, and the stack has not taken yet."""
        return self._size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low-water and the high-water mark, in octets."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the high-water and the low-water mark, in octets.

        Args:
            high: 64 KiB by default, or four times `low`. With 0 each write pauses that is not taken
                at once.
            low: A quarter of `high` by default.

        Raises:
            ValueError: one is negative, or `low` above `high`.
        """
        if high is None:
            high = _HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._joined = min(_JOINED, high)
        if self._size > high and not self._paused and not self._lost:
            self._paused = True
            self._guarded(self._protocol.pause_writing)

    # Reading

    def is_reading(self) -> bool:
        """Whether data is received: it is not paused, closed or at the end."""
        return self._reads

    def pause_reading(self) -> None:
        """Receive no more until :meth:`resume_reading`; the receive window closes then."""
        self._reading = self._reads = False

    def resume_reading(self) -> None:
        """Undo :meth:`pause_reading`."""
        self._reading = True
        if not (self._reads or self._eof or self._closing):
            self._reads = True
            self._act_soon()

    # Closing

    def is_closing(self) -> bool:
        """Whether it is closed, or is being closed."""
        return self._closing

    def close(self) -> None:
        """Close the connection when all that was written has gone to the stack, which delivers it.

        No more data is received. The connection is reset if there is received data that
        `data_received` has not been given, and if data arrives later, as when a socket is closed.
        `connection_lost` is called with None.
        """
        if not self._closing:
            self._closing = self._ended = True
            self._reads = False
            self._act_soon()

    def abort(self) -> None:
        """Close with a RST; what is in the write buffer is dropped."""
        self._drop()
        self._act_soon()

    # What is known of it

    def get_protocol(self) -> Protocol:
        """The protocol that is called."""
        return self._protocol

    def set_protocol(self, protocol: Protocol) -> None:
        """Call another protocol from now on; its `connection_made` is not called."""
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection; `default` for other names.

        Args:
            name: ``"peername"`` and ``"sockname"``: address and port as of a socket, also after the
                end; ``"tcp_info"``: a :class:`tunstack.TcpInfo`, as long as there is a connection.
            default: Returned if there is nothing of that name.
        """
        ends = self._four_tuple
        if name == "peername":
            return _name(ends.remote, ends.remote_port)
        if name == "sockname":
            return _name(ends.local, ends.local_port)
        if name == "tcp_info" and self._flow is not None:
            return self._flow.info()
        return default

    def tcp_info(self) -> TcpInfo | None:
        """A snapshot of the connection (Linux's TCP_INFO); None after its end."""
        return None if self._flow is None else self._flow.info()

    # Timers

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call ``callback(*args)`` after `delay` seconds, unless the connection ends before.

        It is called as the protocol is: if it raises, the connection is aborted.
        """

        def run(timer: TimerHandle) -> None:
            if self._timers is not None:
                self._timers.discard(timer)
            self._guarded(callback, *args)
            self._act_soon()

        timer = self._runner.timers.start(self._runner.time() + delay, run)
        if self._lost:
            timer.cancel()
            return timer
        if self._timers is None:
            self._timers = set()
        self._timers.add(timer)
        return timer

    # Called by the stack and the runner

    def _changed(self) -> None:
        """Called by the stack after an event of the connection."""
        flow = self._flow
        if not self._woken and (
            self._size or flow is None or flow.receiver.buffer.size or flow.state is not ESTABLISHED
        ):
            self._woken = True
            self._runner.wake(self)

    def start(self, now: float) -> None:
        """Call the protocol for the first time, and then for what has arrived."""
        self._runner.now = now
        self._guarded(self._protocol.connection_made, self)
        if self._ended:
            self._act_soon()
        else:
            self._changed()

    def act(self, now: float) -> None:
        """Receive, send and end, as far as the connection allows now."""
        self._woken = False
        flow = self._flow
        if flow is not None:
            if self._reads and (flow.receiver.buffer.size or flow.readable):
                self._receive(flow)
            if (
                self._size or self._ended or self._paused or flow.beside
            ) and self._flow is not None:
                self._send(flow, now)
            if flow.state is not ESTABLISHED and self._flow is not None:
                self._check_end(flow)
        if self._flow is None and not self._lost:
            self._lose()

    def _receive(self, flow: Flow) -> None:
        size = self.max_size
        if size > SMALLEST_BUFFER and flow.receiver.budget.tight:
            size = SMALLEST_BUFFER  # Data that was read is not accounted.
        try:
            data = self._runner.stack.read(flow, size)
        except OSError as error:
            self._end(flow, error)
            return
        self._busy = True
        if data:
            self._protocol.data_received(data)
        else:
            self._eof, self._reads = True, False
            if not self._protocol.eof_received():
                self.close()
        self._busy = False
        if self._reads and (flow.receiver.buffer.size or flow.state is not ESTABLISHED):
            self._act_soon()  # After the others that are woken.

    def _send(self, flow: Flow, now: float) -> None:
        """Give the stack what it takes of the write buffer, and close our half after it."""
        self._push(flow, now)
        while self._paused and self._size <= self._low and self._flow is not None:
            self._paused = False
            self._guarded(self._protocol.resume_writing)
            if self._flow is not None:
                self._push(flow, now)
        if self._flow is None:
            return
        if self._size != flow.beside:
            self._runner.stack.count_beside(flow, self._size)
        if self._size:
            return
        if self._closing:
            self._flow = None
            self._runner.stack.close(flow)
        elif self._eof_written and not self._fin_queued:
            self._fin_queued = True
            self._runner.stack.shutdown(flow)

    def _push(self, flow: Flow, now: float) -> None:
        """Give the stack what it takes of the write buffer."""
        buffer, stack = self._buffer, self._runner.stack
        if len(buffer) > 1 and self._size <= _HIGH:
            buffer[:] = [b"".join(buffer)]
        taken = 0
        try:
            for data in buffer:
                if flow.sender.buffer.size and not flow.wants_data(_LOWAT):
                    break
                if self._ended and taken + 1 == len(buffer):
                    # Queued, so that the FIN is sent with it.
                    sent = flow.send(data, now)
                    stack.mark_pending(flow)
                else:
                    sent = stack.send(flow, data, now)
                self._size -= sent
                if sent < len(data):
                    buffer[taken] = memoryview(data)[sent:]
                    break
                taken += 1
        except OSError as error:
            self._end(flow, error)
            return
        if self._size:
            del buffer[:taken]
        else:
            buffer.clear()

    def _check_end(self, flow: Flow) -> None:
        """Give the connection up if it has ended, unless there is data left to receive."""
        over = flow.state is CLOSED and not self._reads
        if over and (self._eof or self._closing or flow.error is not None):
            self._end(flow, flow.error)

    def _end(self, flow: Flow, error: Exception | None) -> None:
        """The connection has ended."""
        self._error = error
        self._flow = None
        self._buffer.clear()
        self._size = 0
        self._reads = False
        self._closing = self._ended = True
        if flow.beside:
            self._runner.stack.count_beside(flow, 0)
        self._runner.stack.close(flow)

    def _drop(self) -> None:
        """Reset the connection, if it has not ended."""
        flow, self._flow = self._flow, None
        self._buffer.clear()
        self._size = 0
        self._reads = False
        self._closing = self._ended = True
        if flow is not None:
            stack = self._runner.stack
            if flow.beside:
                stack.count_beside(flow, 0)
            stack.detach(flow)
            stack.abort(flow)

    def _lose(self) -> None:
        self._lost = True
        timers, self._timers = self._timers, None
        for timer in timers or ():
            timer.cancel()
        if self._forget is not None:
            self._forget(self)
        self._guarded(self._protocol.connection_lost, self._error)

    def _act_soon(self) -> None:
        """Act when the present callback has returned, or now if there is none."""
        if self._busy or self._woken or self._lost:
            return
        self._woken = True
        self._runner.wake(self)
        self._runner.flush()

    # Callbacks

    def _guarded(self, callback: Callable[..., object], *args: Any) -> None:
        """Call a callback in which something else is not to be interrupted."""
        nested, self._busy = self._busy, True
        try:
            callback(*args)
        except Exception as error:
            self.failed(error)
        self._busy = nested

    def failed(self, error: Exception) -> None:
        """Abort the connection: a callback has raised."""
        self._busy = False
        port = self._four_tuple.local_port
        logger.error("the protocol of a connection on port %d failed", port, exc_info=error)
        if self._error is None:
            self._error = error
        self._drop()
        if not self._lost:
            self._act_soon()

    @property
    def description(self) -> str:
        """What to call it in the log."""
        return type(self._protocol).__qualname__


def _frozen(data: bytes | bytearray | memoryview) -> Buffer:
    """Return `data` as it is if it cannot change, else a copy."""
    view = memoryview(data)
    if type(view.obj) is bytes and view.contiguous:
        return view.cast("B")
    return bytes(view)


def _name(address: Address, port: int) -> tuple[Any, ...]:
    text = str(ip_address(address))
    return (text, port) if len(address) == 4 else (text, port, 0, 0)


__all__ = ["Protocol", "Transport"]
