"""What a host serves, for programs that know no trio."""

from __future__ import annotations

import inspect
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast, final

import trio

from tunstack.apps import App
from tunstack.apps.serving import open_handlers
from tunstack.blocking.portal import Block, within
from tunstack.blocking.stream import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    import tunstack
    from tunstack.behaviours import Behaviour
    from tunstack.deploy.authority import Identity
    from tunstack.host.verdicts import Decide, SynVerdict
    from tunstack.path.rules import Packet

    AsyncHandler: TypeAlias = Callable[[tunstack.TcpStream], Awaitable[object]]
    Handler: TypeAlias = AsyncHandler | Callable[[Stream], object]

_THREADS: Final = 1000
"""Connections that functions in threads serve at a time; others wait."""
_MOST_REMEMBERED: Final = 1000
"""Connections of a service that are remembered."""
_SCHEMES: Final = {"http": 80, "https": 443}


@final
class Service:
    """What a host serves, until it is closed or the host's block ends: a context manager.

    Attributes:
        ports: The ports on which it listens.
        port: The first of them.
        address: An address of the host, and the port, as `socket.create_connection` takes them.
        url: Of HTTP, as ``"http://198.51.100.2/"``; of others as ``"tcp://198.51.100.2:7"``.
    """

    def __init__(self, block: Block[list[int]], accepted: Accepted, at: str, scheme: str) -> None:
        self._block = block
        self._accepted = accepted
        self.ports = tuple(block.value)
        self.port = self.ports[0]
        self.address = (at, self.port)
        known = _SCHEMES.get(scheme)
        authority = f"[{at}]" if ":" in at else at
        if known != self.port:
            authority = f"{authority}:{self.port}"
        self.url = f"{scheme}://{authority}{'' if known is None else '/'}"

    def __repr__(self) -> str:
        return f"<tunstack.blocking.Service {self.url}>"

    @property
    def connections(self) -> list[Stream]:
        """Those that are being served, in the order in which they were accepted."""
        return self._block.call_sync(self._accepted.served)

    def wait_accepted(self, n: int = 1, *, timeout: float | None = None) -> Stream:
        """Wait until `n` connections were accepted since the start; returns the n-th.

        Raises:
            TimeoutError: they were not, in so many seconds.
            ValueError: `n` is below 1, or so many came since that it is forgotten.
            trio.ClosedResourceError: the service, or its host, has ended.
        """
        return self._block.call(within(timeout, self._accepted.wait), n)

    def close(self) -> None:
        """Listen no more, and abort the connections that are being served."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block.__exit__(exc_type, exc, traceback)


class Accepted:
    """The connections that a service has accepted."""

    def __init__(self) -> None:
        self._remembered: deque[Stream] = deque(maxlen=_MOST_REMEMBERED)
        self._count = 0
        self._served: dict[Stream, None] = {}
        self._another = trio.Event()

    def add(self, stream: Stream) -> None:
        """A connection was accepted."""
        self._count += 1
        self._remembered.append(stream)
        self._served[stream] = None
        self._another.set()
        self._another = trio.Event()

    def remove(self, stream: Stream) -> None:
        """Its handler has returned."""
        del self._served[stream]

    def served(self) -> list[Stream]:
        """Those whose handlers run."""
        return list(self._served)

    async def wait(self, n: int) -> Stream:
        """Wait for the n-th."""
        forgotten = self._count - len(self._remembered)
        if n <= forgotten:
            raise ValueError(f"connection {n} is not known (any more)")
        while self._count < n:
            await self._another.wait()
        return self._remembered[n - 1 - (self._count - len(self._remembered))]


@dataclass(frozen=True)
class Served:
    """What is served on a port.

    Attributes:
        what: An app or a handler.
        port: The port.
        behaviours: Of a handler; an app has its own.
    """

    what: App | Handler
    port: int
    behaviours: tuple[Behaviour, ...] = ()

    @property
    def scheme(self) -> str:
        """The scheme of its URLs."""
        app = self.what
        if not isinstance(app, App):
            return "tcp"
        if app.name.startswith("https") or (app.asgi and app.certificate is not None):
            return "https"
        return "http" if app.name == "http" or app.asgi else "tcp"


@asynccontextmanager
async def serving(
    host: tunstack.Host,
    served: Sequence[Served],
    identities: Mapping[str, Identity],
    handed: Callable[[Handler | AsyncHandler], AsyncHandler],
    at: str | None,
    **options: Any,
) -> AsyncIterator[list[int]]:
    """Serve apps and handlers on ports of a host; yields the ports.

    Args:
        host: The host.
        served: What, and on which ports.
        identities: The certificates of apps over TLS.
        handed: Makes what the host runs for each connection, of what is served.
        at: The address, or None for all.
        options: For :meth:`tunstack.Host.serve_tcp`.
    """
    apps = [(each.what, each.port) for each in served if isinstance(each.what, App)]
    ports: list[int] = []
    async with open_handlers(apps, identities) as of_apps, trio.open_nursery() as nursery:
        handlers = iter(of_apps)
        for each in served:
            app = each.what
            if isinstance(app, App):
                handler, behaviours = handed(next(handlers)), app.behaviours
            else:
                handler, behaviours = handed(app), each.behaviours
            serve = partial(host.serve_tcp, handler, each.port, behaviour=behaviours)
            listeners = await nursery.start(partial(serve, host=at, **options))
            ports.append(listeners[0].socket.getsockname()[1])
            if isinstance(app, App) and (of_datagrams := app.datagram_handler) is not None:
                start = partial(host.serve_udp, of_datagrams, ports[-1], host=at)
                await nursery.start(partial(start, behaviour=app.datagram_behaviours))
        yield ports
        nursery.cancel_scope.cancel()


def remembering(
    accepted: Accepted, block: Block[Any]
) -> Callable[[Handler | AsyncHandler], AsyncHandler]:
    """Return what makes handlers of trio's that are in `accepted` while they run.

    A function that is not async runs in a thread.
    """
    limiter = trio.CapacityLimiter(_THREADS)

    def handed(handler: Handler | AsyncHandler) -> AsyncHandler:
        in_loop = is_async(handler)

        async def handle(stream: tunstack.TcpStream) -> None:
            ours = Stream(block, stream)
            accepted.add(ours)
            try:
                if in_loop:
                    await cast("AsyncHandler", handler)(stream)
                else:
                    await trio.to_thread.run_sync(
                        cast("Callable[[Stream], object]", handler),
                        ours,
                        abandon_on_cancel=True,
                        limiter=limiter,
                    )
            finally:
                accepted.remove(ours)

        return handle

    return handed


def is_async(handler: Callable[..., object]) -> bool:
    """Whether a function is async, or an object whose call is."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - of an object, its method
    )


def deciding(function: Decide | Callable[[Packet], SynVerdict]) -> Decide:
    """Return an async function about SYNs; one that is not async runs in a thread."""
    if is_async(function):
        return cast("Decide", function)

    async def decide(syn: Packet) -> SynVerdict:
        return await trio.to_thread.run_sync(
            cast("Callable[[Packet], SynVerdict]", function), syn, abandon_on_cancel=True
        )

    return decide
