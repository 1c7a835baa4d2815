"""The services of ``tunstack serve`` and ``tunstack run``: echo, discard, chargen, dns, http.

Each is a module with an ``async def handler(stream)`` for any `trio.abc.Stream`: of a tunstack
host, of a kernel socket, `trio.SSLStream`, `trio.testing.memory_stream_pair`. Those that serve UDP
as well have an ``async def datagram_handler(sock)`` for any bound socket of trio's.

All handlers

- return at the end of the exchange, and when the connection breaks (`trio.BrokenResourceError` is
  no error of the service); any other exception is an error;
- send end of file on their half before they return. The caller closes the stream, as
  `trio.serve_listeners` does: after an exception there is no orderly end of file.

    >>> from tunstack.apps import parse_app
    >>> app, port = parse_app("http:8080")
    >>> app.name, port
    ('http', 8080)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

if TYPE_CHECKING:
    from tunstack.dns.names import Names

__all__ = ["APPS", "App", "DatagramHandler", "Handler", "parse_app"]

Handler: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]
DatagramHandler: TypeAlias = Callable[[trio.socket.SocketType], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class App:
    """A service.

    Attributes:
        name: Its name on the command line, and its module in this package.
        port: Its well-known port.
        summary: One line for ``--help``.
        names: What the app dns serves; None for ``peer.test`` at the default addresses.
    """

    name: str
    port: int
    summary: str
    names: Names | None = None

    @property
    def handler(self) -> Handler:
        """The handler of one connection; imports the app's module.

        Raises:
            tunstack.SetupError: a package that the app needs is not installed.
        """
        handler: Handler = self._module().handler
        return handler

    @property
    def datagram_handler(self) -> DatagramHandler | None:
        """What serves its datagrams; None if it has none. Imports the app's module."""
        handler: DatagramHandler | None = getattr(self._module(), "datagram_handler", None)
        return handler

    def with_names(self, names: Names) -> App:
        """Return the app as it serves these names; another than dns as it is."""
        return replace(self, names=names) if self.name == "dns" else self

    def _module(self) -> Any:
        module = import_module(f"{__name__}.{self.name}")
        return module if self.names is None else module.serving(self.names)


APPS: Final[Mapping[str, App]] = MappingProxyType(
    {
        app.name: app
        for app in (
            App("echo", 7, "sends back what it receives (RFC 862)"),
            App("discard", 9, "discards what it receives (RFC 863)"),
            App("chargen", 19, "sends lines of characters until you close (RFC 864)"),
            App("dns", 53, "answers what --name and --zone say, over UDP too (RFC 1035)"),
            App("http", 80, "/, /bytes/N, and PUT or POST to /sha256 (HTTP/1.1)"),
        )
    }
)


def parse_app(text: str) -> tuple[App, int]:
    """Parse ``"http"`` or ``"http:8080"``; returns the app and its port.

    Raises:
        ValueError: there is no such app, or the port is invalid; the message is for the user.
    """
    name, colon, port_text = text.partition(":")
    app = APPS.get(name)
    if app is None:
        known = ", ".join(f"{app.name} ({app.port})" for app in APPS.values())
        raise ValueError(f"no app is called {name!r}; there are {known}")
    if not colon:
        return app, app.port
    port = int(port_text) if port_text.isascii() and port_text.isdigit() else 0
    if not 0 < port < 65536:
        raise ValueError(f"{port_text!r} in {text!r} is not a port: give a number from 1 to 65535")
    return app, port
