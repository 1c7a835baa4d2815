"""Make the handlers of apps: contexts for TLS, ASGI applications started up and shut down."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tunstack.apps import App, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    import trio

    import tunstack
    from tunstack.apps import Handler
    from tunstack.apps.asgi import Server
    from tunstack.deploy.authority import Authority, Fault, Identity

    Apps = Iterable[tuple[App, int]]


_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"[0-9a-f]*:[0-9a-f:.]+|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_MOST_NAMES: Final = 1000
"""OpenSSL takes a chain of 100 KB."""


def identities_for(
    apps: Apps, authority: Authority | None, names: Iterable[str]
) -> dict[str, Identity]:
    """Issue the certificates that apps show, by what is wrong with them; it can be pickled.

    Args:
        apps: The apps and their ports.
        authority: Who issues them; None for apps without TLS.
        names: The names and addresses that they are for; those that no host may have, as
            ``_http._tcp.peer.test``, are left out, and so are those above a thousand.
    """
    faults: set[Fault] = {app.certificate for app, _ in apps if app.certificate is not None}
    if authority is None:
        return {}
    names = [name for name in names if _HOST.fullmatch(name)][:_MOST_NAMES]
    return {fault: authority.identity(names, fault) for fault in sorted(faults)}


def need_tls(apps: Apps) -> bool:
    """Whether one of the apps is over TLS."""
    return any(app.certificate is not None for app, _ in apps)


@asynccontextmanager
async def open_handlers(
    apps: Apps, identities: Mapping[str, Identity]
) -> AsyncIterator[list[Handler]]:
    """Make the handlers of apps, in their order; ASGI applications run until the block ends.

    Raises:
        SetupError: an ASGI application failed to start, a package is not installed.
        ValueError: an application cannot be imported.
    """
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        handlers = []
        for app, _ in apps:
            context: Any = None
            if app.certificate is not None:
                context = identities[app.certificate].context()
            if app.asgi:
                if app.target not in servers:
                    servers[app.target] = await _start(app.target, stack)
                handlers.append(servers[app.target].handler(context))
            else:
                handlers.append(app.handler if context is None else app.make_handler(context))
        yield handlers


async def start_app(
    nursery: trio.Nursery,
    host: tunstack.Host,
    app: App,
    port: int,
    handler: Callable[[trio.SocketStream], Awaitable[object]],
) -> None:
    """Serve an app on a port of a host, with its behaviours, over UDP too if it can that."""
    await nursery.start(partial(host.serve_tcp, handler, port, behaviour=app.behaviours))
    if app.datagram_handler is not None:
        serve = partial(host.serve_udp, app.datagram_handler, port)
        await nursery.start(partial(serve, behaviour=app.datagram_behaviours))


async def _start(target: str, stack: AsyncExitStack) -> Server:
    from tunstack.apps.asgi import Server, lifespan

    application = load(target)
    state = await stack.enter_async_context(lifespan(application, target))
    return Server(application, state)
