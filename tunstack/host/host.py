"""A TCP/IP endpoint on a link: what programs use of it, on one page."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar, final, overload

import trio

from tunstack.host.lifetime import HostLoop
from tunstack.protocol.transport import Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from socket import SocketKind
    from types import TracebackType
    from typing import Unpack

    from tunstack.behaviours import BehaviourLike
    from tunstack.dns.names import Names
    from tunstack.host.taps import End
    from tunstack.host.verdicts import Decide
    from tunstack.ip.address import Interface
    from tunstack.link.base import Link
    from tunstack.link.plan import AddressLike
    from tunstack.path.impair import Impairments, ImpairmentsLike
    from tunstack.path.rules import Rule, Rules, Selection
    from tunstack.protocol.transport import Transport
    from tunstack.resolver.resolver import Resolver
    from tunstack.socket import Socket, TcpListener, TcpStream
    from tunstack.socket.endpoint import NameResolver
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionFactory
    from tunstack.tcp.info import TcpInfo

P = TypeVar("P", bound=Protocol)


@final
class Host:
    """A TCP/IP endpoint on a link: an async context manager, within which it runs.

    When the block ends, what the application closed has a second to finish its teardown; then all
    that is still open is reset, and the link is closed.

    What a `tap` or a congestion control of the program's raises, and what a link raises that is no
    OSError, cancels the block and comes out of it; in an `ExceptionGroup` with what the block
    itself raised, if it did.

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
        self._loop = HostLoop(
            link,
            addresses,
            seed=seed,
            tap=tap,
            config=config,
            limits=limits,
            congestion=congestion,
            excluded=excluded,
            profiles=profiles,
        )

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.addresses))
        return f"<tunstack.Host {addresses} on {self.name}>"

    async def __aenter__(self) -> Host:
        await self._loop.begin()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._loop.end(exc)

    @property
    def name(self) -> str:
        """The link's name."""
        return self._loop.name

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Its own addresses, with their networks; ``198.51.100.0/24`` is a whole network."""
        return self._loop.stack.interfaces

    @property
    def mtu(self) -> int:
        """The largest packet that the link carries, in octets."""
        return self._loop.mtu

    # Its sockets

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
        make: Callable[..., trio.socket.SocketType] = self._loop.socket
        return make(family, type, proto, congestion=congestion)

    def socket_factory(
        self, *, others: Literal["refuse", "kernel"] = "refuse"
    ) -> AbstractContextManager[None]:
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
        return self._loop.socket_factory(others=others)

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
        return await self._loop.open_tcp_stream(
            host, port, local_address=local_address, congestion=congestion
        )

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
        return await self._loop.open_tcp_listeners(
            port, host=host, backlog=backlog, congestion=congestion
        )

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
        await self._loop.serve_tcp(
            handler,
            port,
            host=host,
            backlog=backlog,
            congestion=congestion,
            behaviour=behaviour,
            on_syn=on_syn,
            handler_nursery=handler_nursery,
            task_status=task_status,
        )

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
        await self._loop.serve_udp(
            handler, port, host=host, behaviour=behaviour, task_status=task_status
        )

    # Connections by callbacks

    async def serve_protocol(
        self,
        factory: Callable[[], Protocol],
        port: int,
        *,
        host: str | None = None,
        backlog: int | None = None,
        congestion: str | CongestionFactory | None = None,
        behaviour: BehaviourLike = None,
        on_syn: Decide | None = None,
        task_status: trio.TaskStatus[list[TcpListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen, and make a protocol for each connection, until cancelled.

        As :meth:`Host.serve_tcp`, but no task runs for a connection: the callbacks of its protocol
        are called within the batch of packets that brought its data, and what they write leaves
        with that batch. See :mod:`tunstack.protocol`. Connections have TCP_NODELAY.

        A callback that raises aborts its own connection with a RST, is reported to the logger
        ``"tunstack"``, and disturbs no other.

        When it is cancelled or fails, its connections are closed, `connection_lost` is called with
        None, and the stack delivers what it has taken; those whose write buffer is not empty are
        reset, since nobody would fill in what is missing.

        Args:
            factory: Called for each connection; returns its `Protocol`.
            port: As of :meth:`Host.open_tcp_listeners`, as are `host`, `backlog` and `congestion`.
            host: Which of our addresses.
            backlog: How many connections may wait to be accepted; they are with their batch.
            congestion: Their congestion control.
            behaviour: How the port misbehaves meanwhile, as of :meth:`Host.serve_tcp`; but nothing
                that acts on a handler's stream, as ``"trickle"`` does.
            on_syn: Asked about each SYN to these listeners; see :meth:`Host.on_syn`.
            task_status: Started with the listeners.

        Raises:
            OSError: as :meth:`Host.open_tcp_listeners` does; ENETDOWN, the device is gone.
            ValueError: there is no congestion control of that name; a behaviour is unknown,
                impossible, contradicts another, or acts on a handler's stream.
            TypeError: `factory` or `on_syn` is no function.
        """
        await self._loop.serve_protocol(
            factory,
            port,
            host=host,
            backlog=backlog,
            congestion=congestion,
            behaviour=behaviour,
            on_syn=on_syn,
            task_status=task_status,
        )

    async def connect_protocol(
        self,
        factory: Callable[[], P],
        host: str,
        port: int,
        *,
        local_address: str | None = None,
        congestion: str | CongestionFactory | None = None,
    ) -> tuple[Transport, P]:
        """Connect to `host` and `port`; the counterpart of asyncio's `create_connection`.

        The connection belongs to the host, and ends with it if it is not closed before.

        Args:
            factory: Called when the connection is open; returns its `Protocol`.
            host: An address or a name, as of :meth:`Host.open_tcp_stream`.
            port: From 1 to 65535.
            local_address: Which of our addresses to connect from.
            congestion: Its congestion control; by default the host's.

        Returns:
            The transport and the protocol, whose `connection_made` was called.

        Raises:
            OSError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL...
            ValueError: there is no congestion control of that name.
            TypeError: `factory` is no function.
        """
        return await self._loop.connect_protocol(
            factory, host, port, local_address=local_address, congestion=congestion
        )

    # What is decided about its packets

    def on_syn(
        self,
        function: Decide,
        port: int | None = None,
        *,
        remote: AddressLike | None = None,
    ) -> Rule:
        """Ask `function` about each attempt to connect to the host, before anything is answered.

        It is called with the `Packet` of the SYN, and may take its time: it runs in a task of the
        host, and other connections go on. Other SYNs of the same attempt, which are retransmitted,
        wait for the same verdict. It returns one of these:

        =========================  ================================================================
        ``"accept"``               the host processes the SYN (the latest, if there were more)
        ``"drop"``                 it is lost; the function is asked about the next one
        ``"hold"``                 it is never answered, nor any later one of the same attempt
        ``"refuse"``               it is answered by a RST (RFC 9293 section 3.10.7.1)
        ``"host-unreachable"``     it is answered by an ICMP error about it: RFC 792 and RFC 1122
        ``"port-unreachable"``     section 3.2.2.1, or RFC 4443 section 3.1
        ``"network-unreachable"``
        ``"prohibited"``
        =========================  ================================================================

        Linux's `connect` then raises EHOSTUNREACH, ECONNREFUSED, ENETUNREACH, and for
        ``"prohibited"`` EHOSTUNREACH over IPv4 and EACCES over IPv6.

        At most 1,024 attempts wait for a verdict; SYNs of more are dropped, and counted as
        ``syn_not_asked``. Of those accepted and held 4,096 are remembered, the oldest are
        forgotten. SYNs that the host would drop unseen, as for a bad checksum, or that belong to a
        connection, are not asked about.

        If it raises, or returns something else, the host's block ends with that exception, or with
        ValueError.

        Args:
            function: The async function.
            port: The host's port; any by default.
            remote: The peer's address or prefix; any by default.

        Returns:
            The rule that takes the SYNs: removing it ends the questions; those asked are answered.

        Raises:
            TypeError: `function` is no function.
            ValueError: `port` is no port, or `remote` no address.
            OSError: ENETDOWN: the host has ended, or its device is gone.
        """
        return self._loop.on_syn(function, port, remote=remote)

    @property
    def rules(self) -> Rules:
        """The rules on its packets: ``host.rules.drop(direction="in", flags="SYN", nth=2)``."""
        return self._loop.rules

    @overload
    def impair(self, impairments: None) -> None: ...

    @overload
    def impair(
        self,
        impairments: str | Impairments | tuple[Impairments, Impairments],
        **selection: Unpack[Selection],
    ) -> Rule: ...

    def impair(self, impairments: ImpairmentsLike, **selection: Unpack[Selection]) -> Rule | None:
        """Impair the path from now on: all of it, or for the packets that are selected.

        Args:
            impairments: ``"loss=10%,delay=20ms"``, as :meth:`Rules.impair` takes it. None removes
                all rules that this method has added.
            selection: Which packets: ``remote="198.51.100.1"``, ``local_port=80``.

        Raises:
            ValueError: what cannot be parsed, a selection that no packet can match; a selection
                beside None.
            TypeError: there is no such keyword.
            OSError: ENETDOWN: the host has ended, or its device is gone.
        """
        return self._loop.impair(impairments, **selection)

    def unplug(self) -> None:
        """Pull the cable: all packets in both directions are lost, until :meth:`plug`.

        They are counted as ``rules_unplugged``. Nobody is told: connections notice as they do when
        a wire is cut. Idempotent.

        Raises:
            OSError: ENETDOWN: the host has ended, or its device is gone.
        """
        self._loop.unplug()

    def plug(self) -> None:
        """Undo :meth:`unplug`; idempotent."""
        self._loop.plug()

    # Names

    @property
    def resolver(self) -> NameResolver | None:
        """What looks up names on the host's network; None: trio does, on the machine's."""
        return self._loop.resolver

    def use_resolver(self, resolver: NameResolver | None) -> None:
        """Look up names with `resolver` from now on, where `use_nameservers` would by DNS."""
        self._loop.use_resolver(resolver)

    def use_nameservers(
        self,
        *nameservers: str,
        names: Names | None = None,
        port: int = 53,
        timeout: float = 1.0,
        rounds: int = 3,
    ) -> Resolver:
        """Look up names by DNS over the host itself, from now on.

        So do `Host.open_tcp_stream`, the host's sockets where they are given a name, and within a
        block of `Host.socket_factory` `trio.socket.getaddrinfo` and `trio.open_tcp_stream`.

        Args:
            nameservers: Their addresses; by default the first address that is not ours of each of
                our networks, which is the kernel's.
            names: Names that are known without asking; what is in their zones is asked for nowhere.
                In a namespace with names, hosts know those already.
            port: Of the name servers.
            timeout: Seconds to wait for an answer to the first query; twice as many in each round.
            rounds: How often each name server is asked.

        Raises:
            ValueError: what is no address.
            SetupError: dnspython is not installed.
        """
        return self._loop.use_nameservers(
            *nameservers, names=names, port=port, timeout=timeout, rounds=rounds
        )

    # What is seen of it

    def connections(self) -> list[TcpInfo]:
        """Return all connections, those in TIME-WAIT included, in order of creation."""
        return self._loop.stack.connections()

    def statistics(self) -> dict[str, int]:
        """Return all counters since the host's start, dropped packets by reason.

        The names are stable: ``packets_received``, ``packets_sent``, ``bad_tcp_checksum``,
        ``tcp_accepted``, ``tcp_out_of_window``, ``retransmission_timeout``... An impaired path adds
        what it did: ``path_out_lost``, ``path_in_duplicated``... What rules did is there always:
        ``rules_dropped``, ``rules_delayed``... (:mod:`tunstack.path.rules`).
        """
        return self._loop.statistics()

    @contextmanager
    def tapped(
        self,
        tap: Callable[[Observation], None],
        connection: tuple[End, End] | None = None,
    ) -> Iterator[None]:
        """Within the block, call `tap` with an `Observation` of every packet.

        It is called beside the host's own tap and those of other blocks. With `connection` the
        packets of other connections cost as much as without a tap, or nearly so.

        Args:
            tap: It must be quick. If it raises, it is not called again, and the host's block ends
                with its exception.
            connection: The local and the remote address and port of a TCP connection, as `TcpInfo`
                has them: only its segments are observed, whether or not there is such a connection
                now. Those with IP options or extension headers, and those that come in fragments,
                are left out.

        Raises:
            ValueError: an address or a port is invalid, or the addresses are of two families.
        """
        taps = self._loop.taps
        added = taps.add(tap, connection)
        try:
            yield
        finally:
            taps.remove(added)


def loop_of(host: Host) -> HostLoop:
    """Return what is behind a host: its stack, its link and its rules."""
    return host._loop
