"""The lifespan protocol of ASGI: start-up before the first request, shutdown after the last."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack import SetupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Application = Callable[[Any, Any, Any], Awaitable[None]]

logger = logging.getLogger("tunstack")

_STARTUP_SECONDS: Final = 60.0
_SHUTDOWN_SECONDS: Final = 5.0


@asynccontextmanager
async def lifespan(app: Application, name: str) -> AsyncIterator[dict[str, Any]]:
    """Start the application up, and shut it down after the block; the block gets its state.

    An application that raises instead of starting up has no such protocol, and is served all the
    same, as the specification has it.

    Raises:
        SetupError: the application says that it failed to start, or takes longer than a minute.
    """
    life = _Life(app)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run)
        with trio.move_on_after(_STARTUP_SECONDS):
            await life.started.wait()
        if not life.started.is_set():
            life.scope.cancel()
            life.failure = f"it does not start within {_STARTUP_SECONDS:.0f} s"
        if life.failure is None:
            try:
                yield life.state
            finally:
                with trio.move_on_after(_SHUTDOWN_SECONDS, shield=True):
                    await life.shut_down()
        life.scope.cancel()
    if life.failure is not None:
        raise SetupError(f"the application {name} failed to start: {life.failure}")


@final
class _Life:
    """One run of the protocol, which goes on when what is around it is cancelled."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._send, self._receive = trio.open_memory_channel[dict[str, str]](2)
        self._send.send_nowait({"type": "lifespan.startup"})
        self.state: dict[str, Any] = {}
        self.started, self._ended = trio.Event(), trio.Event()
        self.failure: str | None = None
        self.scope = trio.CancelScope(shield=True)

    async def run(self) -> None:
        """Run the application with the scope ``lifespan``."""
        scope = {
            "type": "lifespan",
            "asgi": {"spec_version": "2.0", "version": "3.0"},
            "state": self.state,
        }
        try:
            with self.scope:
                await self._app(scope, self._receive.receive, self._hear)
        except Exception as error:
            if self.started.is_set() and self.failure is None:
                logger.exception("the application raised at its end")
            else:
                logger.debug("the application has no lifespan protocol: %r", error)
        finally:
            self.started.set()
            self._ended.set()

    async def shut_down(self) -> None:
        """Tell the application to shut down, and wait until it has."""
        if not self._ended.is_set():
            await self._send.send({"type": "lifespan.shutdown"})
            await self._ended.wait()

    async def _hear(self, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        match message["type"]:
            case "lifespan.startup.complete":
                self.started.set()
            case "lifespan.startup.failed":
                self.failure = message.get("message") or "it does not say why"
                self.started.set()
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed":
                self._ended.set()
