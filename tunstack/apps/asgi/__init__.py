"""ASGI applications on any trio stream: HTTP/1.1, HTTP/2 and WebSocket, by hypercorn.

::

    server = Server(application)
    await host.serve_tcp(server.handler(), 80)
    await host.serve_tcp(server.handler(authority.issue(["peer.test"])), 443)

:mod:`~tunstack.apps.asgi.shared` is what the connections share,
:mod:`~tunstack.apps.asgi.connection` one of them, :mod:`~tunstack.apps.asgi.tasks` its requests,
:mod:`~tunstack.apps.asgi.frames` what its HTTP/2 frames may cost,
:mod:`~tunstack.apps.asgi.buffers` what its streams have left to send, and
:mod:`~tunstack.apps.asgi.http2` how a response ends in HTTP/2;
:mod:`~tunstack.apps.asgi.lifespan` starts an application up and shuts it down. hypercorn's classes
for the protocols are used, and not its worker, which makes sockets of the kernel's.

An application that raises is reported to the logger ``"tunstack"`` with its traceback. The request
gets a 500, or if its response has begun, no end: a stream of HTTP/2 is reset, a connection of
HTTP/1.1 is closed.
"""

from __future__ import annotations

from tunstack import SetupError

try:
    from tunstack.apps.asgi.lifespan import lifespan
    from tunstack.apps.asgi.server import Server
except ModuleNotFoundError as missing:
    if not (missing.name or "").startswith("hypercorn"):
        raise
    raise SetupError("ASGI needs hypercorn: pip install 'tunstack[tls]'") from missing

__all__ = ["Server", "lifespan"]
