"""The tasks of one connection: requests to the application, each with its inbox.

It stands in for `hypercorn.trio.task_group.TaskGroup`, which leaves a connection stuck when an
application answers without reading a long body, and a client waiting when one raises in the middle
of a response.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, final

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.config import Config
    from hypercorn.typing import AppWrapper, Scope

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

logger = logging.getLogger("tunstack")

MAX_TASKS: Final = 400
"""Requests of one connection that may be with the application: those reset by the peer, which the
application has not noticed yet, count."""

_DISCONNECTED: Final = {"type": "http.disconnect"}


@final
class Inbox:
    """The events of one request, for the application to receive.

    A writer waits while `room` events are unread, but not for a request that has ended, at either
    side.
    """

    def __init__(self, room: int) -> None:
        self._send, self._receive = trio.open_memory_channel[Any](room)
        self._last: Any = _DISCONNECTED

    async def put(self, event: Any) -> None:
        """Put an event; discards it if the request has ended."""
        if event["type"].endswith(".disconnect"):
            self._last = event
            self._send.close()
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._send.send(event)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()

    async def get(self) -> Any:
        """Return the next event; after the last, as often as it is called, the disconnection."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return self._last

    def close(self) -> None:
        """End the request: events are discarded from now on."""
        self._receive.close()
        self._send.close()


@final
class Tasks:
    """The tasks of one connection.

    Args:
        nursery: Where they run.
        abandon: Called, if the application raises in the middle of a response, with what sends it.

    Attributes:
        too_many: Whether a request was not run, because the application has `MAX_TASKS` in hand.
    """

    def __init__(self, nursery: trio.Nursery, abandon: Callable[[Send], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._abandon = abandon
        self._running = 0
        self.too_many = False
        self._none = trio.Event()

    async def wait_ended(self) -> None:
        """Wait until the application has no request of this connection in hand."""
        if self._running:
            self._none = trio.Event()
            await self._none.wait()

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run a function of the protocol's."""
        self._nursery.start_soon(function, *args)

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Scope, send: Send
    ) -> Callable[[Any], Awaitable[None]]:
        """Run the application for one request; returns what puts the request's events."""
        inbox = Inbox(config.max_app_queue_size)
        if self._running >= MAX_TASKS:
            self.too_many = True
            inbox.close()
            return inbox.put
        self._running += 1
        self._nursery.start_soon(self._run, app, scope, inbox, send)
        await trio.lowlevel.checkpoint()
        return inbox.put

    async def _run(self, app: AppWrapper, scope: Scope, inbox: Inbox, send: Send) -> None:
        begun = False

        async def note(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            try:
                await app(scope, inbox.get, note, trio.to_thread.run_sync, trio.from_thread.run)
            except Exception:
                logger.exception("the application raised, asked for %s", describe(scope))
                if begun:
                    await self._abandon(send)
            finally:
                inbox.close()
            await send(None)
        finally:
            self._running -= 1
            if not self._running:
                self._none.set()


def describe(scope: Any) -> str:
    """The request line, as ``GET /page``."""
    return f"{scope.get('method', scope['type'])} {scope.get('path', '')}"
