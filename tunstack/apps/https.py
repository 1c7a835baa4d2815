"""HTTPS: :mod:`tunstack.apps.pages` over TLS, as HTTP/1.1 or HTTP/2, whichever ALPN chooses.

hypercorn is imported with the first connection, or by :func:`load`: ``tunstack run`` serves this by
default, and most of its commands use it not at all.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tunstack.apps.tls import over_tls

if TYPE_CHECKING:
    import ssl

    from tunstack.apps import Handler
    from tunstack.apps.asgi import Server
    from tunstack.apps.tls import TlsStream

if find_spec("hypercorn") is None:
    import_module("tunstack.apps.asgi")  # It says what to install.


def make_handler(context: ssl.SSLContext) -> Handler:
    """Return the handler of a connection."""
    return over_tls(context, _serve)


async def _serve(stream: TlsStream) -> None:
    await _server().serve_encrypted(stream)


def load() -> None:
    """Import what serves connections."""
    _server()


@cache
def _server() -> Server:
    """What serves all connections."""
    from tunstack.apps.asgi import Server
    from tunstack.apps.pages import application

    return Server(application)
