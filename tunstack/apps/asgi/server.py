"""An ASGI application as handlers of connections."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, final

import trio

from tunstack.apps._ending import linger
from tunstack.apps.asgi.connection import Connection
from tunstack.apps.asgi.shared import Shared
from tunstack.apps.tls import over_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from tunstack.apps import Handler
    from tunstack.apps.asgi.lifespan import Application


@final
class Server:
    """An application, served on any stream.

    Args:
        app: The ASGI application.
        state: What its start-up has left for its requests.
    """

    def __init__(self, app: Application, state: dict[str, Any] | None = None) -> None:
        self._shared = Shared(app, {} if state is None else state)

    @property
    def refused(self) -> Mapping[str, int]:
        """How many connections were ended for what the peer did.

        ``flood``: frames without use, or requests, above a limit; ``fault``: what the protocol
        does not handle.
        """
        return self._shared.refused

    def handler(self, context: ssl.SSLContext | None = None) -> Handler:
        """Return the handler of its connections.

        Args:
            context: For TLS, where ALPN chooses HTTP/1.1 or HTTP/2. Without it they are HTTP/1.1,
                or HTTP/2 if the client knows or upgrades (RFC 9113 section 3.3).
        """
        return self._plain if context is None else over_tls(context, self.serve_encrypted)

    async def _plain(self, stream: trio.abc.Stream) -> None:
        await Connection(self._shared, stream, tls=False).run()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await linger(stream)

    async def serve_encrypted(self, stream: trio.SSLStream[trio.abc.Stream]) -> None:
        """Serve one connection whose handshake is done; the caller ends it."""
        alpn = stream.selected_alpn_protocol()
        await Connection(self._shared, stream, tls=True, alpn=alpn).run()
