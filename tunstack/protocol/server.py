"""Opens connections for protocols: those that listeners accept, and active ones."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, final

from tunstack.protocol.transport import Transport
from tunstack.stack.flow import Flow
from tunstack.tcp.connection.state import CLOSED, SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.protocol.runner import Runner
    from tunstack.protocol.transport import Protocol
    from tunstack.tcp.listen.listener import Listener

logger = logging.getLogger("tunstack")

_OPENING: Final = frozenset({SYN_SENT, SYN_RECEIVED})


@final
class Server:
    """Accepts connections, and makes the protocol of each.

    Args:
        runner: The protocols of the stack.
        factory: Makes the protocol of a connection.
    """

    def __init__(self, runner: Runner, factory: Callable[[], Protocol]) -> None:
        self._runner = runner
        self._factory = factory
        self._open: dict[Transport, None] = {}  # In order: they send when they are closed.

    def __len__(self) -> int:
        return len(self._open)

    def accept_from(self, listener: Listener) -> Callable[[], None]:
        """Accept the connections of `listener`, when what is returned is called."""
        return partial(self._runner.wake, _Accepting(listener, self))

    def accept(self, flow: Flow, now: float) -> None:
        """Make the protocol of a connection, and call it."""
        try:
            protocol = self._factory()
        except Exception as error:
            self._runner.stack.abort(flow)
            port = flow.four_tuple.local_port
            logger.error("no protocol for a connection on port %d", port, exc_info=error)
            return
        transport = Transport(self._runner, flow, protocol, self._forget)
        self._open[transport] = None
        transport.start(now)

    def _forget(self, transport: Transport) -> None:
        self._open.pop(transport, None)

    def close(self) -> None:
        """Close all connections; those whose write buffer is not empty are reset."""
        runner = self._runner
        running, runner.running = runner.running, True  # All are sent together.
        try:
            for transport in [*self._open]:
                if transport.get_write_buffer_size():
                    transport.abort()
                else:
                    transport.close()
        finally:
            runner.running = running
        runner.flush()


@final
class _Accepting:
    """A listener whose connections are accepted."""

    description = "the acceptance of connections"

    def __init__(self, listener: Listener, server: Server) -> None:
        self._listener = listener
        self._server = server

    def act(self, now: float) -> None:
        while (flow := self._listener.accept()) is not None:
            assert isinstance(flow, Flow)
            self._server.accept(flow, now)

    def failed(self, error: Exception) -> None:
        raise error  # It is the stack's.


@final
class Connecting:
    """An active OPEN, and the protocol of the connection.

    Args:
        runner: The protocols of the stack.
        flow: The connection, as :meth:`Stack.connect` returns it.
        factory: Makes the protocol, when the connection is open.

    Attributes:
        transport: The transport; None as long as it is not open.
        error: Why it was not opened.
    """

    def __init__(self, runner: Runner, flow: Flow, factory: Callable[[], Protocol]) -> None:
        self._runner = runner
        self._flow = flow
        self._factory = factory
        self.transport: Transport | None = None
        self.error: OSError | None = None
        self._woken = False
        runner.stack.attach(flow, self._changed)

    @property
    def description(self) -> str:
        """What to call it in the log."""
        return "the opening of a connection"

    def _changed(self) -> None:
        if self._flow.state not in _OPENING and not self._woken:
            self._woken = True
            self._runner.wake(self)

    def act(self, now: float) -> None:
        """Call the protocol: the connection is open, or has failed to."""
        flow, stack = self._flow, self._runner.stack
        if flow.state is CLOSED:
            self.error = flow.error
            stack.forget(flow)
            return
        protocol = self._factory()
        stack.detach(flow)
        self.transport = Transport(self._runner, flow, protocol)
        self.transport.start(now)

    def failed(self, error: Exception) -> None:
        """Abort the connection: the factory has raised."""
        self._runner.stack.detach(self._flow)
        self._runner.stack.abort(self._flow)
        logger.error("no protocol for a connection", exc_info=error)


__all__ = ["Connecting", "Server"]
