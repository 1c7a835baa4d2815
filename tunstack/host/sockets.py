"""The sockets of a host: made, connected, listening, and served; as trio's functions do."""

from __future__ import annotations

import errno
import socket
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import trio

from tunstack.behaviours import parse
from tunstack.behaviours.serving import listening_options
from tunstack.host import accepting
from tunstack.host.happy_eyeballs import first_connected, interleaved
from tunstack.host.opening import bound, connected, family_of
from tunstack.host.serving import misbehaving
from tunstack.host.verdicts import DecidingLoop, check_function
from tunstack.ip.errors import os_error
from tunstack.ip.family import FAMILIES
from tunstack.socket.factory import installed
from tunstack.socket.kinds import KINDS
from tunstack.socket.stream import TcpListener, TcpStream
from tunstack.tcp.congestion import congestion_control

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from socket import SocketKind

    from tunstack.behaviours import BehaviourLike
    from tunstack.host.verdicts import Decide
    from tunstack.socket import Socket
    from tunstack.tcp.congestion import CongestionFactory

_SOCKET_FLAGS: Final = trio.socket.SOCK_NONBLOCK | trio.socket.SOCK_CLOEXEC
"""Flags of a socket's type; they have no effect."""


class SocketLoop(DecidingLoop):
    """A host's loop, and the sockets on it."""

    # Making them

    @overload
    def socket(
        self,
        family: int = ...,
        type: Literal[SocketKind.SOCK_STREAM] = ...,
        proto: int = ...,
        *,
        congestion: str | CongestionFactory | None = ...,
    ) -> Socket: ...

    @overload
    def socket(
        self, family: int = ..., type: int = ..., proto: int = ...
    ) -> trio.socket.SocketType: ...

    def socket(
        self,
        family: int = trio.socket.AF_INET,
        type: int = trio.socket.SOCK_STREAM,
        proto: int = 0,
        *,
        congestion: str | CongestionFactory | None = None,
    ) -> trio.socket.SocketType:
        """See :meth:`tunstack.Host.socket`."""
        self.check_speaks(family, type, proto)
        self.check_link()
        options: dict[str, Any] = {}
        if congestion is not None:
            options["congestion"] = congestion_control(congestion)
        return KINDS[family, type & ~_SOCKET_FLAGS, proto](self, **options)

    def has_family(self, family: int) -> bool:
        """Whether it has addresses of a family."""
        return any(each.number == family for each in self.stack.addresses.families)

    def check_speaks(self, family: int, type: int, proto: int) -> None:
        """Raise the errors of :meth:`socket` for what the host does not support."""
        if not self.has_family(family):
            raise os_error(errno.EAFNOSUPPORT)
        if (family, type & ~_SOCKET_FLAGS, proto) not in KINDS:
            raise os_error(errno.EPROTONOSUPPORT)

    @contextmanager
    def socket_factory(self, *, others: Literal["refuse", "kernel"] = "refuse") -> Iterator[None]:
        """See :meth:`tunstack.Host.socket_factory`."""
        with installed(self, others):
            yield

    async def open_tcp_stream(
        self,
        host: str,
        port: int,
        *,
        local_address: str | None = None,
        congestion: str | CongestionFactory | None = None,
    ) -> TcpStream:
        """See :meth:`tunstack.Host.open_tcp_stream`."""
        control = None if congestion is None else congestion_control(congestion)
        targets = await self._targets(host, port, local_address)

        async def attempt(family: int, target: tuple[Any, ...]) -> Socket:
            return await connected(self.socket(family, congestion=control), target, local_address)

        attempts = [partial(attempt, *each) for each in interleaved(targets)]
        try:
            return TcpStream(await first_connected(attempts))
        except OSError as error:
            if error.errno is None or isinstance(error, socket.gaierror):
                raise
            raise OSError(error.errno, f"{error.strerror}: {host} port {port}") from error

    async def _targets(
        self, host: str, port: int, local_address: str | None
    ) -> list[tuple[int, tuple[Any, ...]]]:
        """Return the addresses of `host`, of families that suit, in the order in which to try them.

        Raises:
            OSError: EAFNOSUPPORT: there is none; `socket.gaierror`.
        """
        family = 0 if local_address is None else family_of(local_address)
        try:
            found: list[tuple[int, tuple[Any, ...]]] = [(family_of(host), (host, port))]
        except ValueError:
            kind = trio.socket.SOCK_STREAM
            by = self._resolver
            look_up = trio.socket.getaddrinfo if by is None else by.getaddrinfo
            looked_up = await look_up(host, port, family, kind)
            found = [(each[0], each[4]) for each in looked_up]
        suited = [each for each in found if self.has_family(each[0]) and family in (0, each[0])]
        if not suited:
            raise os_error(errno.EAFNOSUPPORT)
        return suited

    async def _addresses_to_bind(self, host: str | None, port: int) -> list[tuple[int, str]]:
        """Return family and address of `host`, or the wildcard of each family that we have."""
        if not host:
            return [(each.number, "") for each in FAMILIES if self.has_family(each.number)]
        return [(family, at[0]) for family, at in await self._targets(host, port, None)]

    async def open_tcp_listeners(
        self,
        port: int,
        *,
        host: str | None = None,
        backlog: int | None = None,
        congestion: str | CongestionFactory | None = None,
    ) -> list[TcpListener]:
        """See :meth:`tunstack.Host.open_tcp_listeners`."""
        return await self._listeners_with({}, port, host, backlog, congestion)

    async def _listeners_with(
        self,
        options: Mapping[tuple[int, int], int],
        port: int,
        host: str | None,
        backlog: int | None,
        congestion: str | CongestionFactory | None,
    ) -> list[TcpListener]:
        """Return listeners whose sockets have these options, by level and name."""

        def make(family: int) -> Socket:
            sock = self.socket(family, congestion=congestion)
            for option, value in options.items():
                sock.setsockopt(*option, value)
            return sock

        socks = await bound(
            make,
            await self._addresses_to_bind(host, port),
            port,
            backlog=0xFFFF if backlog is None else backlog,
        )
        return [TcpListener(sock) for sock in socks]

    async def serve_tcp(
        self,
        handler: Callable[[TcpStream], Awaitable[object]],
        port: int,
        *,
        host: str | None = None,
        backlog: int | None = None,
        congestion: str | CongestionFactory | None = None,
        behaviour: BehaviourLike = None,
        on_syn: Decide | None = None,
        handler_nursery: trio.Nursery | None = None,
        task_status: trio.TaskStatus[list[TcpListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See :meth:`tunstack.Host.serve_tcp`."""
        check_function(on_syn)
        behaviours = parse(behaviour, "tcp")
        listeners = await self._listeners_with(
            listening_options(behaviours), port, host, backlog, congestion
        )
        socks = [listener.socket for listener in listeners]
        try:
            # No SYN has come before: there was no checkpoint since they listen.
            with (
                misbehaving(self, "tcp", socks, behaviours, self._rng) as misbehave,
                self.asked_about_listeners(on_syn, listeners),
            ):
                await accepting.serve(
                    self,
                    misbehave(handler),
                    listeners,
                    handler_nursery=handler_nursery,
                    task_status=task_status,
                )
        except BaseExceptionGroup as group:
            if group.split(trio.ClosedResourceError)[1] is None:
                self.check_link()
            raise

    async def serve_udp(
        self,
        handler: Callable[[trio.socket.SocketType], Awaitable[object]],
        port: int,
        *,
        host: str | None = None,
        behaviour: BehaviourLike = None,
        task_status: trio.TaskStatus[list[trio.socket.SocketType]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See :meth:`tunstack.Host.serve_udp`."""
        behaviours = parse(behaviour, "udp")
        socks = await bound(
            lambda family: self.socket(family, trio.socket.SOCK_DGRAM),
            await self._addresses_to_bind(host, port),
            port,
        )
        with misbehaving(self, "udp", socks, behaviours, self._rng):
            async with trio.open_nursery() as nursery:
                for sock in socks:
                    nursery.start_soon(handler, sock)
                task_status.started(socks)


__all__ = ["SocketLoop"]
