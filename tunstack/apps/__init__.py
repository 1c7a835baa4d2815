"""The services of ``tunstack serve`` and ``run``: echo, discard, chargen, dns, http, https.

Each is a module with an ``async def handler(stream)`` for any `trio.abc.Stream`: of a tunstack
host, of a kernel socket, `trio.SSLStream`, `trio.testing.memory_stream_pair`. Those that serve UDP
as well have an ``async def datagram_handler(sock)`` for any bound socket of trio's. What can do
without a task has a ``protocol`` beside, which makes a `tunstack.Protocol` that does the same.

All handlers

- return at the end of the exchange, and when the connection breaks (`trio.BrokenResourceError` is
  no error of the service); any other exception is an error;
- send end of file on their half before they return. The caller closes the stream, as
  `trio.serve_listeners` does: after an exception there is no orderly end of file.

    >>> from tunstack.apps import parse_app
    >>> app, port = parse_app("http:8080")
    >>> app.name, port
    ('http', 8080)

Apps over TLS are modules with a ``make_handler(context)`` instead, for a server's `ssl.SSLContext`.
An ASGI application and a handler of the user's own are apps too: :func:`parse_serve` makes them of
``asgi=module:attribute`` and ``module:function:PORT``. :mod:`tunstack.apps.serving` makes the
handlers of several apps, whatever they are. `pages` is what http and https serve, `tls` the
server's end of TLS; https_stalled, https_damaged and https_unclosed misbehave, for testers.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    import trio

    from tunstack import Protocol
    from tunstack.behaviours import Behaviour
    from tunstack.deploy.authority import Fault
    from tunstack.dns.names import Names

__all__ = ["APPS", "App", "DatagramHandler", "Handler", "asgi_handler", "parse_app", "parse_serve"]

Handler: TypeAlias = "Callable[[trio.abc.Stream], Awaitable[None]]"
DatagramHandler: TypeAlias = "Callable[[trio.socket.SocketType], Awaitable[None]]"

TLS_PORTS: Final = frozenset({443, 8443})
"""The ports on which an ASGI application is served over TLS."""


@dataclass(frozen=True, slots=True)
class App:
    """A service.

    Attributes:
        name: Its name on the command line.
        port: Its well-known port.
        summary: One line for ``--help``.
        module: Its module in this package, if that is not its name.
        certificate: What is wrong with the certificate that it shows, as in
            :mod:`tunstack.deploy.authority`; empty if nothing is, None if it does without TLS.
        target: ``module:attribute`` of a handler or an application of the user's own.
        asgi: Whether `target` is an ASGI application.
        names: What the app dns serves; None for ``peer.test`` at the default addresses.
        behaviours: How it misbehaves, as in :mod:`tunstack.behaviours`.
    """

    name: str
    port: int
    summary: str
    module: str = ""
    certificate: Fault | None = None
    target: str = ""
    asgi: bool = False
    names: Names | None = None
    behaviours: tuple[Behaviour, ...] = ()

    @property
    def handler(self) -> Handler:
        """The handler of one connection, of an app without TLS; imports the app's module.

        Raises:
            tunstack.SetupError: a package that the app needs is not installed.
        """
        handler: Handler = load(self.target) if self.target else self._module().handler
        return handler

    @property
    def datagram_handler(self) -> DatagramHandler | None:
        """What serves its datagrams; None if it has none. Imports the app's module."""
        if self.target:
            return None
        handler: DatagramHandler | None = getattr(self._module(), "datagram_handler", None)
        return handler

    @property
    def protocol(self) -> Callable[[], Protocol] | None:
        """What makes a protocol that does the same; None if there is none. Imports the module.

        There is none with behaviours, which may wrap the handler.
        """
        if self.target or self.certificate is not None or self.behaviours:
            return None
        factory: Callable[[], Protocol] | None = getattr(self._module(), "protocol", None)
        return factory

    def make_handler(self, context: ssl.SSLContext) -> Handler:
        """Make the handler of one connection of an app over TLS."""
        handler: Handler = self._module().make_handler(context)
        return handler

    def check(self) -> None:
        """Import all that the app needs.

        Raises:
            tunstack.SetupError: a package that the app needs is not installed.
            ValueError: there is no such module or attribute; the message is for the user.
        """
        if self.asgi:
            import_module(f"{__name__}.asgi")
        if self.target:
            load(self.target)
        else:
            self.load()

    def load(self) -> None:
        """Import what is otherwise imported with the first connection.

        Raises:
            tunstack.SetupError: a package that the app needs is not installed.
        """
        import_more = None if self.target else getattr(self._module(), "load", None)
        if import_more is not None:
            import_more()

    @property
    def datagram_behaviours(self) -> tuple[Behaviour, ...]:
        """Those of its behaviours that are of UDP as well."""
        of_udp = [each for each in self.behaviours if "udp" in each.protocols]
        return () if all(each.part == "choice" for each in of_udp) else tuple(of_udp)

    def __str__(self) -> str:
        """As it is written on the command line, without the port."""
        return ",".join([self.name, *map(str, self.behaviours)])

    def with_names(self, names: Names) -> App:
        """Return the app as it serves these names; another than dns as it is."""
        return replace(self, names=names) if self.name == "dns" else self

    def _module(self) -> Any:
        module = import_module(f"{__name__}.{self.module or self.name}")
        return module if self.names is None else module.serving(self.names)


_BAD_HTTPS: Final = (
    App("https-expired", 4431, "its certificate expired in 2001", "https", "expired"),
    App("https-wrong-name", 4432, "its certificate has another name", "https", "wrong-name"),
    App("https-self-signed", 4433, "its certificate is self-signed", "https", "self-signed"),
    App("https-stalled", 4434, "never answers a ClientHello", "https_stalled", ""),
    App("https-damaged", 4435, "sends a record that fails to decrypt", "https_damaged", ""),
    App("https-unclosed", 4436, "ends without close_notify", "https_unclosed", ""),
)
"""What goes wrong with TLS, for testers of clients."""

APPS: Final[Mapping[str, App]] = MappingProxyType(
    {
        app.name: app
        for app in (
            App("echo", 7, "sends back what it receives (RFC 862)"),
            App("discard", 9, "discards what it receives (RFC 863)"),
            App("chargen", 19, "sends lines of characters until you close (RFC 864)"),
            App("dns", 53, "answers for --name and --zone (RFC 1035)"),
            App("http", 80, "/, /bytes/N, and PUT or POST to /sha256 (HTTP/1.1)"),
            App("https", 443, "the same over TLS (HTTP/1.1 and HTTP/2)", certificate=""),
            *_BAD_HTTPS,
        )
    }
)


def asgi_handler(application: Any, context: ssl.SSLContext | None = None) -> Handler:
    """Return the handler of connections to an ASGI application.

    Its lifespan is not run: :func:`tunstack.apps.serving.open_handlers` does that.

    Args:
        application: The application.
        context: For TLS, where ALPN chooses HTTP/1.1 or HTTP/2.

    Raises:
        tunstack.SetupError: hypercorn is not installed.
    """
    server = import_module(f"{__name__}.asgi").Server(application)
    handler: Handler = server.handler(context)
    return handler


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
    return app, _parse_port(port_text, text) if colon else app.port


def parse_serve(text: str) -> tuple[tuple[App, int], ...]:
    """Parse what ``--serve`` takes; returns apps and their ports.

    - ``http`` or ``http:8080``: an app.
    - ``asgi=module:attribute``: an ASGI application, on 80 and over TLS on 443.
    - ``asgi=module:attribute:PORT``: the same on one port, over TLS if that is 443 or 8443.
    - ``module:function:PORT``: a handler of one connection.

    Each may be followed by a comma and its behaviours (:mod:`tunstack.behaviours`), as in
    ``http:80,reset-after=4096``.

    Raises:
        ValueError: it is none of these; the message is for the user.
    """
    text, comma, behaviour = text.partition(",")
    apps = _parse_served(text)
    if not comma:
        return apps
    from tunstack.behaviours import parse

    behaviours = parse(behaviour)
    return tuple((replace(app, behaviours=behaviours), port) for app, port in apps)


def _parse_served(text: str) -> tuple[tuple[App, int], ...]:
    if text.startswith("asgi="):
        return _parse_asgi(text)
    module, _, rest = text.partition(":")
    function, colon, port_text = rest.partition(":")
    if module in APPS or not (colon or "." in module or function.isidentifier()):
        return (parse_app(text),)
    if not colon:
        raise ValueError(f"{text!r} has no port: write {text}:PORT")
    port = _parse_port(port_text, text)
    target = f"{module}:{function}"
    return ((App(target, port, "", target=target), port),)


def _parse_asgi(text: str) -> tuple[tuple[App, int], ...]:
    module, _, rest = text.removeprefix("asgi=").partition(":")
    attribute, colon, port_text = rest.partition(":")
    if not module or not attribute:
        raise ValueError(f"{text!r} names no application: write asgi=module:attribute")
    ports = (_parse_port(port_text, text),) if colon else (80, 443)
    return tuple(
        (
            App(
                f"asgi={module}:{attribute}",
                port,
                "",
                certificate="" if port in TLS_PORTS else None,
                target=f"{module}:{attribute}",
                asgi=True,
            ),
            port,
        )
        for port in ports
    )


def _parse_port(port_text: str, text: str) -> int:
    port = int(port_text) if port_text.isascii() and port_text.isdigit() else 0
    if not 0 < port < 65536:
        raise ValueError(f"{port_text!r} in {text!r} is not a port: give a number from 1 to 65535")
    return port


def load(target: str) -> Any:
    """Import ``module:attribute``, from the current directory too.

    Raises:
        ValueError: it cannot be imported, or called; the message is for the user.
    """
    name, _, attributes = target.partition(":")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(name)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise ValueError(f"cannot import {target}: {type(error).__name__}: {why}") from error
    if not callable(found):
        raise ValueError(f"{target} is {found!r:.60}, and cannot be called")
    return found
