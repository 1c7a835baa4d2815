"""Runs a handler for each connection of some listeners, in a task that starts with the batch."""

from __future__ import annotations

import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, NoReturn

import trio

from tunstack.socket.accepting import next_stream, watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tunstack.host.loop import Loop
    from tunstack.socket import TcpListener, TcpStream

logger = logging.getLogger("tunstack")


async def serve(
    loop: Loop,
    handler: Callable[[TcpStream], Awaitable[object]],
    listeners: list[TcpListener],
    *,
    handler_nursery: trio.Nursery | None,
    task_status: trio.TaskStatus[list[TcpListener]],
) -> NoReturn:
    """Serve until cancelled, as `trio.serve_listeners` does, and close the listeners.

    But no task waits in `accept`: that of the handler is started as soon as the connection is open,
    with the context variables of the caller. A handler that raises aborts its own connection with a
    RST, and is logged.

    Args:
        loop: The host.
        handler: Called with each connection's stream, which is closed when it returns.
        listeners: Of this host.
        handler_nursery: Where the handlers run; None for one of its own.
        task_status: Started with the listeners.

    Raises:
        ExceptionGroup: with what a listener raises, `trio.ClosedResourceError`, or the nursery of
            the caller, RuntimeError, as it is closed.
    """
    async with trio.open_nursery() as nursery:
        handlers = nursery if handler_nursery is None else handler_nursery
        for listener in listeners:
            nursery.start_soon(_Service(loop, handler, listener, handlers).run)
        task_status.started(listeners)
    raise AssertionError("no listener's task returns")


class _Service:
    """What starts the handlers of one listener's connections."""

    def __init__(
        self,
        loop: Loop,
        handler: Callable[[TcpStream], Awaitable[object]],
        listener: TcpListener,
        nursery: trio.Nursery,
    ) -> None:
        self._loop = loop
        self._handler = handler
        self._port = listener.socket.getsockname()[1]
        self._listener = listener
        self._nursery = nursery
        self._context = copy_context()
        # The task's, as trio would name that of the handler; found once.
        self._name = str(getattr(handler, "__qualname__", handler))
        self._error: Exception | None = None

    async def run(self) -> None:
        """Serve until the listener is closed.

        Raises:
            trio.ClosedResourceError: it was, or its host's device is gone.
            trio.BusyResourceError: another task waits in its `accept`.
            Exception: what the nursery of the handlers has raised.
        """
        async with self._listener:
            try:
                await watch(self._listener, self._ready)
            except trio.ClosedResourceError:
                if self._error is not None:
                    raise self._error from None
                raise

    def _ready(self) -> None:
        self._loop.accept_soon(self._accept)

    def _accept(self) -> None:
        """Start a handler for each connection that waits; an error ends the service."""
        stream: TcpStream | None = None
        try:
            while (stream := next_stream(self._listener)) is not None:
                self._context.run(self._start, stream)
        except Exception as error:  # The nursery of the caller is closed, perhaps.
            self._error = error
            if stream is not None:
                stream.abort()
            self._listener.socket.close()

    def _start(self, stream: TcpStream) -> None:
        self._nursery.start_soon(self._handle, stream, name=self._name)

    async def _handle(self, stream: TcpStream) -> None:
        try:
            await self._handler(stream)
        except Exception as error:
            stream.abort()
            if isinstance(error, trio.BrokenResourceError):
                logger.info("connection on port %d: %s", self._port, error)
            else:
                logger.exception("the handler of a connection on port %d failed", self._port)
        finally:
            stream.socket.close()


__all__ = ["serve"]
