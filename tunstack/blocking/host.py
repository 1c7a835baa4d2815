"""A host, for programs that know no trio."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, final, overload

import trio

import tunstack
from tunstack.apps import App, parse_serve
from tunstack.apps.serving import identities_for, need_tls
from tunstack.behaviours import parse
from tunstack.blocking.conversation import Conversation
from tunstack.blocking.handle import Handle, plain
from tunstack.blocking.portal import Block, within
from tunstack.blocking.rules import Rule, Rules
from tunstack.blocking.service import (
    Accepted,
    Served,
    Service,
    deciding,
    remembering,
    serving,
)
from tunstack.blocking.stream import Stream
from tunstack.deploy.naming import own_addresses
from tunstack.live.page import PORT, serve_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from contextlib import ExitStack
    from typing import Unpack

    from tunstack.behaviours import BehaviourLike
    from tunstack.blocking.service import Handler
    from tunstack.host.verdicts import Decide, SynVerdict
    from tunstack.ip.address import Interface
    from tunstack.link.plan import AddressLike
    from tunstack.path.impair import Impairments, ImpairmentsLike
    from tunstack.path.rules import Packet, Selection
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
    use_nameservers = plain(tunstack.Host.use_nameservers)

    @property
    def name(self) -> str:
        """The name of its device."""
        return self._inner.name

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Its own addresses, with their networks; ``198.51.100.0/24`` is a whole network."""
        return self._inner.addresses

    @property
    def mtu(self) -> int:
        """The largest packet that the link carries, in octets."""
        return self._inner.mtu

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

    def on_syn(
        self,
        function: Decide | Callable[[Packet], SynVerdict],
        port: int | None = None,
        *,
        remote: AddressLike | None = None,
    ) -> Rule:
        """Ask `function` about each attempt to connect to the host, before anything is answered.

        :meth:`tunstack.Host.on_syn` has the verdicts. A function that is not async runs in a
        thread, and may take its time.

        Raises:
            TypeError: `function` is no function.
            ValueError: `port` is no port, or `remote` no address.
        """
        decide = deciding(function)
        rule = self._block.call_sync(partial(self._inner.on_syn, decide, port, remote=remote))
        return Rule(self._block, rule)

    # Services

    def serve_tcp(
        self,
        handler: Handler | str,
        port: int | None = None,
        *,
        host: str | None = None,
        backlog: int | None = None,
        congestion: str | CongestionFactory | None = None,
        behaviour: BehaviourLike = None,
        on_syn: Decide | Callable[[Packet], SynVerdict] | None = None,
    ) -> Service:
        """Listen on `port`, and serve each connection until the service is closed.

        Args:
            handler: What serves a connection: an async function of a `tunstack.TcpStream`, which
                runs in the host's loop; a function of a :class:`Stream`, which runs in a thread; or
                the name of an app, as ``tunstack serve`` takes it: ``"http"``, ``"echo:7000"``,
                ``"http,reset-after=4096"``, ``"asgi=module:application"``. Of an app, datagrams
                are served too.
            port: From 1 to 65535, or 0 for any that is free; of an app it may be left out.
            host: Which of our addresses; by default all.
            backlog: How many connections may wait to be accepted; by default as many as can.
            congestion: Their congestion control; by default the host's.
            behaviour: How the port misbehaves meanwhile, as ``"loss=5%,reset-after=4096"``, or
                objects of :mod:`tunstack.behaviours`.
            on_syn: Asked about each SYN; see :meth:`on_syn`.

        Returns:
            The service, which listens by then. A handler that raises aborts its connection with a
            RST, is reported to the logger ``"tunstack"``, and disturbs no other.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL; ENETDOWN, the device is gone.
            SetupError: a package that the app needs is not installed.
            ValueError: there is no such app or congestion control; no port; a behaviour is
                unknown, impossible, or contradicts another.
        """
        served = _served(handler, port, behaviour)
        apps = [(each.what, each.port) for each in served if isinstance(each.what, App)]
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
            on_syn=None if on_syn is None else deciding(on_syn),
        )
        block = Block(manager, self._block, vital=True)
        block.__enter__()
        return Service(block, accepted, host or self.address, served[0].scheme)

    def serve_udp(
        self,
        handler: Callable[[trio.socket.SocketType], Awaitable[object]],
        port: int,
        *,
        host: str | None = None,
        behaviour: BehaviourLike = None,
    ) -> Service:
        """Run an async `handler` on a UDP socket bound to `port`, in each family.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL; ENETDOWN, the device is gone.
            ValueError: a behaviour is unknown, impossible, or of TCP.
        """

        @asynccontextmanager
        async def manager() -> AsyncIterator[list[int]]:
            async with trio.open_nursery() as nursery:
                serve = partial(self._inner.serve_udp, handler, port, host=host)
                socks = await nursery.start(partial(serve, behaviour=behaviour))
                yield [socks[0].getsockname()[1]]
                nursery.cancel_scope.cancel()

        block = Block(manager(), self._block, vital=True)
        block.__enter__()
        return Service(block, Accepted(), host or self.address, "udp")

    def serve_page(self, port: int = PORT, *, names: Iterable[str] = ()) -> Service:
        """Serve a page that shows the host at work; as :func:`tunstack.live.serve_page` does.

        Raises:
            OSError: EADDRINUSE; ENETDOWN, the device is gone.
            SetupError: h11 is not installed.
        """

        @asynccontextmanager
        async def manager() -> AsyncIterator[list[int]]:
            async with trio.open_nursery() as nursery:
                serve = partial(serve_page, self._inner, port, names=names)
                listeners = await nursery.start(serve)
                yield [listeners[0].socket.getsockname()[1]]
                nursery.cancel_scope.cancel()

        block = Block(manager(), self._block, vital=True)
        block.__enter__()
        return Service(block, Accepted(), self.address, "http")

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

    @contextmanager
    def open_conversation(
        self,
        port: int | None = None,
        *,
        remote: tuple[str, int] | None = None,
        local_address: str | None = None,
        start: int | None = None,
        reset: bool = True,
        skip_retransmissions: bool = False,
    ) -> Iterator[Conversation]:
        """Speak TCP by hand: with the first client of a port, or with the server `remote`.

        ::

            with host.open_conversation(80) as talk:
                client.setblocking(False)
                client.connect_ex((host.address, 80))
                talk.expect("SYN")
                talk.send("SYN,ACK", mss=1460)
                talk.expect("ACK", seq=1, ack=1)

        Arguments and errors are those of :func:`tunstack.open_conversation`.
        """
        manager = tunstack.open_conversation(
            self._inner,
            port,
            remote=remote,
            local_address=local_address,
            start=start,
            reset=reset,
            skip_retransmissions=skip_retransmissions,
        )
        with Block(manager, self._block) as block:
            yield Conversation(block, block.value)


def _served(handler: Handler | str, port: int | None, behaviour: BehaviourLike) -> list[Served]:
    """What is to be served, and on which ports."""
    if not isinstance(handler, str):
        if port is None:
            raise ValueError("on which port? give the handler's port, or 0 for any that is free")
        return [Served(handler, port, parse(behaviour, "tcp"))]
    apps = parse_serve(handler)
    if port is not None and len(apps) > 1:
        raise ValueError(f"{handler!r} is for several ports: give one in the text")
    further = parse(behaviour)
    return [
        Served(
            replace(app, behaviours=parse((*app.behaviours, *further))),
            usual if port is None else port,
        )
        for app, usual in apps
    ]
