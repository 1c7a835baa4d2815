"""The application at one end of a simulated connection: it sends what it is given and reads all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.tcp.connection.state import CAN_SEND, State

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer
    from tunstack.simulator.node import Node
    from tunstack.stack.flow import Flow

_WRITE_SIZE: Final = 65536
"""Octets that an application with a low-water mark writes at a time."""
_READ_SIZE: Final = 65536
"""Octets that it reads at a time."""


class Application:
    """What uses one end of a simulated connection: it sends what it is given, and reads all.

    Attributes:
        flow: The connection; None until it is there.
        sent: How many octets the connection has taken.
        received: What was read.
        reading: Whether it reads what is there.
        lowat: How many octets may be unsent when it writes more, 64 KiB at a time
            (TCP_NOTSENT_LOWAT; trio's streams have 16 KiB); None to write whatever is taken.
        ended: Whether the peer's end of stream was read.
        error: The error that reading or sending met, if any.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._queue = bytearray()
        self._shutdown = False
        self._closed = False
        self._retry_scheduled = False
        self.flow: Flow | None = None
        self.sent = 0
        self.received = bytearray()
        self.reading = True
        self.lowat: int | None = None
        self.ended = False
        self.error: OSError | None = None

    def attach(self, flow: Flow) -> None:
        """Use `flow` from now on."""
        self.flow = flow
        self._node.stack.attach(flow, self.act)
        self.act()

    def send(self, data: Buffer) -> None:
        """Send `data`, as fast as the send buffer takes it."""
        self._queue += data
        self.act()

    def shutdown(self) -> None:
        """Send FIN after everything that was sent."""
        self._shutdown = True
        self.act()

    def close(self) -> None:
        """Close the connection, which still delivers what it has taken by now."""
        self._closed = True
        if self.flow is not None:
            self._node.stack.close(self.flow)

    def abort(self) -> None:
        """Reset the connection."""
        self._closed = True
        if self.flow is not None:
            self._node.stack.abort(self.flow)

    def read(self, reading: bool) -> None:
        """Start or stop reading."""
        self.reading = reading
        self.act()

    @property
    def done(self) -> bool:
        """Whether both halves have ended: all of ours is acknowledged, all of theirs is read."""
        flow = self.flow
        over = flow is not None and (flow.state in (State.CLOSED, State.TIME_WAIT))
        return self.error is not None or (self.ended and over)

    def act(self) -> None:
        """Write, shut down and read, as far as the connection allows now."""
        flow = self.flow
        if self._closed or flow is None:
            return
        if flow.state in (State.SYN_SENT, State.SYN_RECEIVED) and not flow.sends_early:
            return
        stack = self._node.stack
        try:
            while self._queue and (size := self._write_size(flow)):
                sent = stack.send(flow, bytes(self._queue[:size]), self._node.now)
                del self._queue[:sent]
                self.sent += sent
                if self.lowat is not None:
                    self._act_again()
                    break
            if self._shutdown and not self._queue and flow.state in CAN_SEND:
                stack.shutdown(flow)
                self._shutdown = False
            while self.reading and flow.readable and not self.ended:
                data = stack.read(flow, _READ_SIZE)
                self.received += data
                self.ended = not data
        except OSError as error:
            self.error = error

    @property
    def left(self) -> int:
        """Octets that the connection has not taken yet."""
        return len(self._queue)

    def _write_size(self, flow: Flow) -> int:
        """How many octets to write now."""
        if self.lowat is None:
            return flow.writable_size
        return _WRITE_SIZE if flow.wants_data(self.lowat) else 0

    def _act_again(self) -> None:
        """Act again at this time, after what was written is sent, as a woken task would."""
        if self._queue and not self._retry_scheduled:
            self._retry_scheduled = True
            self._node.soon(self._retry)

    def _retry(self) -> None:
        self._retry_scheduled = False
        self.act()
