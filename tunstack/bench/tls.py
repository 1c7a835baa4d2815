"""The measured services over TLS: bulk to and from us, and HTTPS.

Both backends have the same context, and `trio.SSLStream` for bulk. HTTPS is our app ``https`` over
tunstack, and hypercorn's own server over kernel sockets, with the same application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from tunstack.apps.asgi import Server
from tunstack.apps.tls import over_tls
from tunstack.bench.ports import HTTPS, TLS_SINK, TLS_SOURCE
from tunstack.deploy.authority import Authority

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    Handler = Callable[[trio.SocketStream], Awaitable[None]]

_BODY: Final = b"Hello, world!\n"
_WRITE_SIZE: Final = 1 << 18


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request alike."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})


async def _sink(stream: trio.SSLStream[trio.abc.Stream]) -> None:
    async for _ in stream:
        pass


async def _source(stream: trio.SSLStream[trio.abc.Stream]) -> None:
    piece = bytes(_WRITE_SIZE)
    while True:
        await stream.send_all(piece)


def services(backend: str) -> dict[int, Handler]:
    """Return the handler of each port."""
    context = Authority().issue(["benchmark"])
    https = Server(application).handler(context) if backend == "tunstack" else _hypercorn(context)
    return {
        TLS_SINK: over_tls(context, _sink),
        TLS_SOURCE: over_tls(context, _source),
        HTTPS: https,
    }


def _hypercorn(tls: ssl.SSLContext) -> Handler:
    config, context = Config(), WorkerContext(None)
    config.errorlog = None
    config.keep_alive_max_requests = 1 << 60
    app = wrap_app(application, 0, "asgi")

    async def handler(stream: trio.SocketStream) -> None:
        encrypted = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        await TCPServer(app, config, context, ConnectionState({}), encrypted).run()

    return handler
