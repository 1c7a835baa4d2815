"""HTTPS: :mod:`tunstack.apps.pages` over TLS, as HTTP/1.1 or HTTP/2, whichever ALPN chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.apps.asgi import Server
from tunstack.apps.pages import application

if TYPE_CHECKING:
    import ssl

    from tunstack.apps import Handler


def make_handler(context: ssl.SSLContext) -> Handler:
    """Return the handler of a connection."""
    return Server(application).handler(context)
