"""A host, for programs that know no trio."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, final, overload

import trio

import tunstack
from tunstack.apps import parse_serve
from tunstack.apps.serving import identities_for, need_tls
from tunstack.blocking.handle import Handle, plain
from tunstack.blocking.portal import Block, within
from tunstack.blocking.rules import Rule, Rules
from tunstack.blocking.service import Accepted, Service, remembering, serving
from tunstack.blocking.stream import Stream
from tunstack.deploy.naming import own_addresses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import ExitStack
    from typing import Unpack

    from tunstack.apps import App
    from tunstack.blocking.service import Handler
    from tunstack.ip.address import Interface
    from tunstack.path.impair import Impairments, ImpairmentsLike
    from tunstack.path.rules import Selection
    from tunstack.tcp.congestion import CongestionFactory


class Shared:
    """What the hosts of a namespace share.

    Args:
        ends: What is closed when the namespace has ended.
    """

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends
        self._authority: tunstack.Authority | None = None

    @property
    def authority(self) -> tunstack.Authority:
        """The authority of its certificates, created when it is first asked for."""
        if self._authority is None:
            self._authority = self._ends.enter_context(tunstack.Authority())
        return self._authority


@final
class Host(Handle[tunstack.Host]):
    """A host; see `tunstack.Host`. A namespace's :meth:`Namespace.open_host` opens it."""

    def __init__(self, block: Block[Any], inner: tunstack.Host, shared: Shared) -> None:
        super().__init__(block, inner)
        self._shared = shared

    connections = plain(tunstack.Host.connections)
    statistics = plain(tunstack.Host.statistics)

    @property
    def name(self) -> str:
        """The name of its device."""
        return self._inner.name

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Its own addresses, with their networks; ``198.51.100.0/24`` is a whole network."""
        return self._inner.addresses

    @property
    def address(self) -> str:
        """The first of them, as ``"198.51.100.2"``; of a whole network the second in it."""
        return own_addresses(map(str, self.addresses))[0]

    @property
    def authority(self) -> tunstack.Authority:
        """The authority that issues the certificates of what is served over TLS.

        Clients verify them with ``host.authority.bundle``.

        Raises:
            SetupError: trustme is not installed.
        """
        return self._shared.authority

    def abort(self) -> None:
        """End the host now: without a second for its peers to acknowledge FINs. Idempotent.

        What has ended it before comes out of its ``with`` statement.
        """
        self._block.abort()

    # What goes wrong on its way

    @property
    def rules(self) -> Rules:
        """The rules on its packets: ``host.rules.drop(direction="in", flags="SYN", nth=2)``."""
        return Rules(self._block, self._inner.rules)

    unplug = plain(tunstack.Host.unplug)
    plug = plain(tunstack.Host.plug)

    @overload
    def impair(self, impairments: None) -> None: ...

    @overload
    def impair(
        self,
        impairments: str | Impairments | tuple[Impairments, Impairments],
        **selection: Unpack[Selection],
    ) -> Rule: ...

    def impair(self, impairments: ImpairmentsLike, **selection: Unpack[Selection]) -> Rule | None:
        """Impair the path from now on; as :meth:`tunstack.Host.impair` does.

        Raises:
            ValueError: what cannot be parsed, a selection that no packet can match; a selection
                beside None.
            TypeError: there is no such keyword.
            OSError: ENETDOWN: the host has ended, or its device is gone.
        """
        inner: Any = self._inner
        rule = self._block.call_sync(partial(inner.impair, impairments, **selection))
        return None if rule is None else Rule(self._block, rule)

    # Services

    def serve_tcp(
        self,
        handler: Handler | str,
        port: int | None = None,
        *,
        host: str | None = None,
        backlog: int | None = None,
        congestion: str | CongestionFactory | None = None,
    ) -> Service:
        """Listen on `port`, and serve each connection until the service is closed.

        Args:
            handler: What serves a connection: an async function of a `trio.SocketStream`, which
                runs in the host's loop; a function of a :class:`Stream`, which runs in a thread; or
                the name of an app, as ``tunstack serve`` takes it: ``"http"``, ``"echo:7000"``,
                ``"asgi=module:application"``. Of an app, datagrams are served too.
            port: From 1 to 65535, or 0 for any that is free; of an app it may be left out.
            host: Which of our addresses; by default all.
            backlog: How many connections may wait to be accepted; by default as many as can.
            congestion: Their congestion control; by default the host's.

        Returns:
            The service, which listens by then. A handler that raises aborts its connection with a
            RST, is reported to the logger ``"tunstack"``, and disturbs no other.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL; ENETDOWN, the device is gone.
            SetupError: a package that the app needs is not installed.
            ValueError: there is no such app or congestion control; no port.
        """
        served = _served(handler, port)
        apps = [(what, at) for what, at in served if not callable(what)]
        names = ["peer.test", "*.peer.test", *own_addresses(map(str, self.addresses))]
        identities = identities_for(apps, self.authority if need_tls(apps) else None, names)
        accepted = Accepted()
        manager = serving(
            self._inner,
            served,
            identities,
            remembering(accepted, self._block),
            host,
            backlog=backlog,
            congestion=congestion,
        )
        block = Block(manager, self._block, vital=True)
        block.__enter__()
        return Service(block, accepted, host or self.address, _scheme(served[0][0]))

    def serve_udp(
        self,
        handler: Callable[[trio.socket.SocketType], Awaitable[object]],
        port: int,
        *,
        host: str | None = None,
    ) -> Service:
        """Run an async `handler` on a UDP socket bound to `port`, in each family.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL; ENETDOWN, the device is gone.
        """

        @asynccontextmanager
        async def manager() -> AsyncIterator[list[int]]:
            async with trio.open_nursery() as nursery:
                start = self._inner.serve_udp
                socks = await nursery.start(
                    lambda task_status: start(handler, port, host=host, task_status=task_status)
                )
                yield [socks[0].getsockname()[1]]
                nursery.cancel_scope.cancel()

        block = Block(manager(), self._block, vital=True)
        block.__enter__()
        return Service(block, Accepted(), host or self.address, "udp")

    # Connections

    def open_tcp_stream(
        self,
        host: str,
        port: int,
        *,
        local_address: str | None = None,
        congestion: str | CongestionFactory | None = None,
        timeout: float | None = None,
    ) -> Stream:
        """Connect to `host` and `port`; as :meth:`tunstack.Host.open_tcp_stream` does.

        Raises:
            OSError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL...
            TimeoutError: it took more seconds than `timeout`.
            ValueError: there is no congestion control of that name.
        """
        stream = self._block.call(
            within(timeout, self._inner.open_tcp_stream),
            host,
            port,
            local_address=local_address,
            congestion=congestion,
        )
        return Stream(self._block, stream)


def _served(handler: Handler | str, port: int | None) -> list[tuple[App | Handler, int]]:
    """What is to be served, and on which ports."""
    if not isinstance(handler, str):
        if port is None:
            raise ValueError("on which port? give the handler's port, or 0 for any that is free")
        return [(handler, port)]
    apps = parse_serve(handler)
    if port is None:
        return [*apps]
    if len(apps) > 1:
        raise ValueError(f"{handler!r} is for several ports: give one in the text")
    return [(apps[0][0], port)]


def _scheme(served: App | Handler) -> str:
    """The scheme of its URLs."""
    if callable(served):
        return "tcp"
    if served.name.startswith("https") or (served.asgi and served.certificate is not None):
        return "https"
    return "http" if served.name == "http" or served.asgi else "tcp"
