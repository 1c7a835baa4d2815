"""A TCP/IP endpoint on a link: start and end, sockets, statistics."""

from __future__ import annotations

import errno
import logging
import random
import socket
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal, final, overload

import trio

from tunstack.behaviours import parse
from tunstack.behaviours.serving import listening_options
from tunstack.host import accepting
from tunstack.host.happy_eyeballs import first_connected, interleaved
from tunstack.host.opening import bound, connected, family_of
from tunstack.host.places import parsed_places, profiles_by_network
from tunstack.host.protocols import ProtocolLoop
from tunstack.host.serving import misbehaving
from tunstack.host.verdicts import check_function
from tunstack.ip.errors import os_error
from tunstack.ip.family import FAMILIES
from tunstack.path.impaired import ImpairedLink
from tunstack.socket.factory import installed
from tunstack.socket.kinds import KINDS
from tunstack.socket.stream import TcpListener, TcpStream
from tunstack.stack.stack import Stack
from tunstack.tcp.congestion import congestion_control

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from socket import SocketKind
    from types import TracebackType

    from tunstack.behaviours import BehaviourLike
    from tunstack.host.verdicts import Decide
    from tunstack.ip.address import Interface
    from tunstack.link.base import Link
    from tunstack.link.plan import AddressLike
    from tunstack.socket import Socket
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionFactory
    from tunstack.tcp.info import TcpInfo

logger = logging.getLogger("tunstack")

_TEARDOWN: Final = 1.0
"""Seconds, at most, to wait at the end of a host for ACKs of FINs."""
_PEERS_FIN: Final = 0.25
"""Seconds, at most, to wait there for a peer that has only acknowledged our FIN to send its own."""

_SOCKET_FLAGS: Final = trio.socket.SOCK_NONBLOCK | trio.socket.SOCK_CLOEXEC
"""Flags of a socket's type; they have no effect."""


@final
class Host(ProtocolLoop):
    """A TCP/IP endpoint on a link: an async context manager, within which it runs.

    When the block ends, what the application closed has a second to finish its teardown; then all
    that is still open is reset, and the link is closed.

    What a `tap` raises, and what a link raises that is no OSError, cancels the block and comes out
    of it; in an `ExceptionGroup` with what the block itself raised, if it did.

    Args:
        link: What carries its packets; the host closes it.
        addresses: Its own, each with the length of its network's prefix: ``"198.51.100.2/24"``; or
            whole networks, ``"198.51.100.0/24"``, of which it has every address. Those that it does
            not use cost nothing.
        seed: For everything random in it, so that a run can be repeated; unpredictable if None.
        tap: Called with an `Observation` of every packet. It must be quick. If it raises, it is not
            called again.
        config: What every connection begins with; by default what suits the link.
        limits: What bounds all of them together.
        congestion: Its congestion control, instead of the one in `config`: a name, ``"cubic"`` or
            ``"reno"``, or what makes one of your own, a class that does what
            :class:`tunstack.tcp.congestion.CongestionControl` says.
        excluded: Addresses in whole networks that are not its own: the kernel's on a TUN device.
        profiles: What differs from `config` in connections from some of its addresses, by address
            or prefix: ``{"198.51.100.16/28": Profile(mss=536)}``. Of several with an address, that
            of the longest prefix applies.

    Raises:
        ValueError: no address, or one that is malformed, or two that overlap; a network without an
            address that is left for it; a profile of a prefix in which it has none; no congestion
            control of that name.
    """

    def __init__(
        self,
        link: Link,
        addresses: Iterable[AddressLike],
        *,
        seed: int | None = None,
        tap: Callable[[Observation], None] | None = None,
        config: Config | None = None,
        limits: Limits | None = None,
        congestion: str | CongestionFactory | None = None,
        excluded: Iterable[str] = (),
        profiles: Mapping[str, Profile] | None = None,
    ) -> None:
        places = parsed_places(addresses)
        rng = random.SystemRandom() if seed is None else random.Random(seed)
        stack = Stack(
            [place.interface for place in places],
            link.mtu,
            rng=rng,
            excluded=[ip_address(each).packed for each in excluded],
            config=config,
            profiles=profiles_by_network(profiles),
            limits=limits,
            offload=link.offload,
            udp_offload=getattr(link, "udp_offload", False),
        )
        if congestion is not None:
            stack.config = replace(stack.config, congestion=congestion_control(congestion))
        stack.immediate = True
        super().__init__(link, stack, rng, seed)
        if tap is not None:
            stack.set_tap(self._guarded(tap))
        self._failures: list[BaseException] = []
        self._link_raises = False
        self._manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._listeners: dict[Callable[[], None], None] = {}  # In order: they may send.

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.addresses))
        return f"<tunstack.Host {addresses} on {self.name}>"

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Its own addresses, with their networks; ``198.51.100.0/24`` is a whole network."""
        return self.stack.interfaces

    @property
    def mtu(self) -> int:
        """The largest packet that the link carries, in octets."""
        return self._link.mtu

    # Start and end

    async def __aenter__(self) -> Host:
        self.stack.set_epoch(time.time() - trio.current_time())
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self.start(self._nursery)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                await self._await_teardown()
        finally:
            await self._end()
            if self._failures:
                errors = [*self._failures, *_without_cancelled(exc)]
                if len(errors) == 1:
                    raise errors[0]
                raise BaseExceptionGroup(f"the host on {self.name} failed", errors) from None

    async def _end(self) -> None:
        """Reset open connections, end the tasks, and close the link."""
        assert self._nursery is not None
        self._reset_all()
        # The nursery is ours, and gets neither to wrap the caller's exception nor, where the
        # caller was cancelled too, to put Cancelled in its place.
        self._nursery.cancel_scope.shield = True
        self._nursery.cancel_scope.cancel()
        try:
            await self._manager.__aexit__(None, None, None)
        finally:
            self.ended = True
            self._link_failed(RuntimeError(f"the host on {self.name} has ended"))
            try:
                self._link.close()
            except Exception as error:
                self._failures.append(error)

    async def _await_teardown(self) -> None:
        """Wait until the FINs of closed connections are acknowledged, and briefly for the peers'.

        On a busy machine the FIN of a client that has ended is still on its way to the device.
        """
        patience = trio.current_time() + _PEERS_FIN
        with trio.move_on_after(_TEARDOWN):
            # Once in a host's life: not worth an event for every segment.
            while self._is_ending(patience):  # noqa: ASYNC110
                await trio.sleep(0.005)

    def _is_ending(self, patience: float) -> bool:
        """Whether a teardown is under way that is worth waiting for."""
        if self.stack.is_closing:
            return True
        return trio.current_time() < patience and self.stack.awaits_fin

    def _guarded(self, tap: Callable[[Observation], None]) -> Callable[[Observation], None]:
        def call(observation: Observation) -> None:
            try:
                tap(observation)
            except Exception as error:
                self.stack.set_tap(None)
                self._fail(error)

        return call

    def _fail(self, error: Exception) -> None:
        """End the block with `error`."""
        self._failures.append(error)
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _raised(self, error: Exception) -> None:
        """End the block with the link's error, unless that follows from an earlier one."""
        if self._broken is not None or self._link_raises:
            self.stack.outgoing.clear()
            return
        self._link_raises = True
        self.stack.outgoing.clear()
        self._fail(
            error
        )  # Before there are errors of sockets, for which the block is not to blame.
        self._reset_all()
        self._link_failed(error)

    def _reset_all(self) -> None:
        self._drain_link()  # A FIN queued in the device closes a connection in order.
        self._close_listeners()
        self.write()  # What is held for a FIN.
        self.stack.abort_all()
        self.flush()

    # Sockets

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
        """Create a socket on this host; the counterpart of `trio.socket.socket`.

        Args:
            family: AF_INET, or AF_INET6 where the host has an address of that family.
            type: SOCK_STREAM; SOCK_DGRAM for UDP and ping sockets. SOCK_NONBLOCK and SOCK_CLOEXEC
                with it change nothing.
            proto: 0, IPPROTO_TCP, IPPROTO_UDP; IPPROTO_ICMP or IPPROTO_ICMPV6 for a ping socket.
            congestion: The congestion control of a TCP socket; by default the host's.

        Raises:
            OSError: EAFNOSUPPORT, the host has no address of that family; EPROTONOSUPPORT:
                :mod:`tunstack.socket.kinds` lists what there is.
            ValueError: there is no congestion control of that name.
            TypeError: `congestion` is given, and it is no TCP socket.
        """
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
        """Within the block, create all internet sockets of this trio run on this host.

        Of several hosts with a block, each has the tasks that are in its own: that which entered
        it, and those which were started there. Tasks that are in none have the latest.

        So any library that uses trio talks through it, unchanged: what it makes with
        `trio.socket.socket`, and what it makes with `socket.socket` and hands to
        `trio.socket.from_stdlib_socket`. UNIX and netlink sockets and the like, and what already
        has a descriptor, are the kernel's. So is what is done in threads that are not trio's; and
        names that want a look-up, unless :meth:`use_nameservers` was called. See
        :mod:`tunstack.socket.factory`.

        Args:
            others: What to do for internet families and types that the host does not support
                (raw sockets, SCTP, a family without an address). ``"refuse"`` raises OSError,
                EAFNOSUPPORT or EPROTONOSUPPORT, so that nothing goes by the machine's own network
                unseen; ``"kernel"`` makes them the machine's.

        Raises:
            ValueError: `others` is neither.
        """
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
        """Connect to `host` and `port`; the counterpart of `trio.open_tcp_stream`.

        Args:
            host: An address, or a name for the host's resolver, or else trio's. Of several
                addresses each is tried, beside the one before when that has taken 0.25 s (RFC
                8305).
            port: From 1 to 65535.
            local_address: Which of our addresses to connect from; by default the one that RFC 6724
                prefers.
            congestion: Its congestion control; by default the host's.

        Raises:
            OSError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL...
            ValueError: there is no congestion control of that name.
        """
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
        """Listen on `port`; the counterpart of `trio.open_tcp_listeners`.

        Args:
            port: From 1 to 65535, or 0 for any that is free.
            host: Which of our addresses; by default all, with a listener for each family.
            backlog: How many connections may wait to be accepted; by default as many as can.
            congestion: Their congestion control; by default the host's.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL.
            ValueError: there is no congestion control of that name.
        """
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
        """Listen, and run `handler` for each connection, until cancelled; as `trio.serve_tcp`.

        But a handler that raises aborts its own connection with a RST, is reported to the logger
        ``"tunstack"``, and disturbs no other.

        Args:
            handler: Called with each connection's `TcpStream`, which is closed when it returns.
            port: As of :meth:`open_tcp_listeners`, as are `host`, `backlog` and `congestion`.
            host: Which of our addresses.
            backlog: How many connections may wait to be accepted.
            congestion: Their congestion control.
            behaviour: How the port misbehaves meanwhile, as ``"loss=5%,reset-after=4096"``, or
                objects of :mod:`tunstack.behaviours`.
            on_syn: Asked about each SYN to these listeners that the behaviours let pass; see
                :meth:`on_syn`.
            handler_nursery: Where the handlers run; by default one of its own.
            task_status: Started with the listeners.

        Raises:
            OSError: as :meth:`open_tcp_listeners` does; ENETDOWN, the device is gone.
            ValueError: there is no congestion control of that name; a behaviour is unknown,
                impossible, or contradicts another.
            TypeError: `on_syn` is no function.
        """
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
        """Run `handler` on a UDP socket bound to `port`, in each family, until it returns.

        Args:
            handler: It reads the socket, and answers; the socket is closed when it has returned.
            port: From 1 to 65535, or 0 for any that is free.
            host: Which of our addresses; all by default.
            behaviour: How the port misbehaves meanwhile, as ``"loss=5%,delay=20ms"``; see
                :mod:`tunstack.behaviours`.
            task_status: Started with the sockets when they are bound.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL; ENETDOWN, the device is gone.
            ValueError: a behaviour is unknown, impossible, or of TCP.
        """
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

    # Statistics

    def connections(self) -> list[TcpInfo]:
        """Return all connections, those in TIME-WAIT included, in order of creation."""
        return self.stack.connections()

    def statistics(self) -> dict[str, int]:
        """Return all counters since the host's start, dropped packets by reason.

        The names are stable: ``packets_received``, ``packets_sent``, ``bad_tcp_checksum``,
        ``tcp_accepted``, ``tcp_out_of_window``, ``retransmission_timeout``... An impaired path adds
        what it did: ``path_out_lost``, ``path_in_duplicated``... What rules did is there always:
        ``rules_dropped``, ``rules_delayed``... (:mod:`tunstack.path.rules`).
        """
        return self.stack.statistics() | self.rule_counts() | self._path_statistics()

    def _path_statistics(self) -> dict[str, int]:
        if not isinstance(self.bare_link, ImpairedLink):
            return {}
        return {f"path_{what}": count for what, count in self.bare_link.counts.items()}

    # For sockets

    def _close_listeners(self) -> None:
        for close in [*self._listeners]:
            close()

    def add_listener(self, close: Callable[[], None]) -> None:
        """Call `close` at the end of the host, or when its device is gone."""
        self._listeners[close] = None

    def remove_listener(self, close: Callable[[], None]) -> None:
        """Undo :meth:`add_listener`."""
        self._listeners.pop(close, None)


def _without_cancelled(error: BaseException | None) -> list[BaseException]:
    """Return the exceptions of a block without `trio.Cancelled`."""
    if isinstance(error, BaseExceptionGroup):
        error = error.split(trio.Cancelled)[1]
    return [] if error is None or isinstance(error, trio.Cancelled) else [error]
