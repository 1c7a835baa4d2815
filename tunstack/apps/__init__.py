"""The small services that ``tunstack serve`` and ``tunstack run`` offer.

Each is one module with one ``async def handler(stream)``, which speaks over any `trio.abc.Stream`:
of a tunstack host, of a kernel socket, of `trio.SSLStream`, of `trio.testing.memory_stream_pair`.
The same program on two stacks is what makes the two comparable.

What all handlers agree on:

- They end when the conversation is over, and when the peer is gone (`trio.BrokenResourceError` is
  how clients leave, no fault of the service). Anything else that they raise is a fault.
- On a good end they have ended their own half of the stream. Closing it stays with whoever opened
  it, as `trio.serve_listeners` has it: a handler that raises must not look like a good end.

    >>> from tunstack.apps import parse_app
    >>> app, port = parse_app("http:8080")
    >>> app.name, port
    ('http', 8080)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Final, TypeAlias

import trio

__all__ = ["APPS", "App", "Handler", "parse_app"]

Handler: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class App:
    """A small service.

    Attributes:
        name: What it is called on the command line, and its module in this package.
        port: The port it has by custom.
        summary: One line for ``--help``.
    """

    name: str
    port: int
    summary: str

    @property
    def handler(self) -> Handler:
        """What serves one connection; its module is imported now, with what that needs.

        Raises:
            tunstack.SetupError: a package that the app needs is not installed.
        """
        handler: Handler = import_module(f"{__name__}.{self.name}").handler
        return handler


APPS: Final[Mapping[str, App]] = MappingProxyType(
    {
        app.name: app
        for app in (
            App("echo", 7, "sends back what it receives (RFC 862)"),
            App("discard", 9, "receives, and throws away (RFC 863)"),
            App("chargen", 19, "sends lines of characters for as long as you take them (RFC 864)"),
            App("http", 80, "/, /bytes/N, and PUT or POST to /sha256 (HTTP/1.1)"),
        )
    }
)


def parse_app(text: str) -> tuple[App, int]:
    """Read ``"http"`` or ``"http:8080"``: the app, and the port it is to have.

    Raises:
        ValueError: there is no such app, or the port is none; the message is for the user.
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
