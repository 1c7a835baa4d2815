"""A network of named hosts in memory: the public face of the package."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias, final

import trio

from tunstack.host.host import Host
from tunstack.host.ss import sockets_of
from tunstack.path.impair import Impairments, both_ways
from tunstack.socket.factory import installed
from tunstack.virtual.addresses import DEFAULT, Plan
from tunstack.virtual.member import Member
from tunstack.virtual.names import NetworkNames, checked_name
from tunstack.virtual.nowhere import Nowhere
from tunstack.virtual.record import Record
from tunstack.virtual.run import seed_of_run
from tunstack.virtual.switch import Switch

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from tunstack.dns.names import Names
    from tunstack.path.impair import ImpairmentsLike
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionFactory

HostLike: TypeAlias = "str | Host"
Some: TypeAlias = "HostLike | Iterable[HostLike]"
"""A host or several, each by its name or itself."""

_LARGEST_SEED: Final = 1 << 64


def open_network(
    *networks: str,
    seed: object = None,
    link: str | Impairments | None = None,
    mtu: int = 1500,
    names: Names | Mapping[str, str | Iterable[str]] | None = None,
    capture: str | os.PathLike[str] | IO[bytes] | None = None,
) -> Network:
    """Open a network of hosts in memory, between which packets travel by trio's clock.

    It needs no kernel and no root. In a run of :func:`tunstack.run_virtual`, or of pytest-trio with
    ``autojump_clock``, time is virtual, so that timeouts take none::

        async with tunstack.open_network(link="delay=20ms") as net:
            client = await net.add_host("client")
            server = await net.add_host("server")
            await net.start(server, trio.serve_tcp, handler, 80)
            with client.socket_factory():
                stream = await trio.open_tcp_stream("server", 80)
            net.partition("client", "server")

    When the block ends, the programs are cancelled, and then the hosts end. An exception of a
    program that :meth:`Network.start` or :meth:`Network.start_soon` has started, or of a host,
    cancels the block and comes out of it; in an `ExceptionGroup` if there are several.

    A task has the sockets of the host that it was started on, or whose ``socket_factory()`` block
    it is in. Other tasks have none: sockets and look-ups raise OSError (ENETUNREACH).

    Args:
        networks: Prefixes of the addresses of hosts; by default 198.51.100.0/24 and 2001:db8::/64.
        seed: Of all randomness in hosts and links; by default that of
            :func:`tunstack.run_virtual`, or 0.
        link: The impairments between any two hosts at first, in each direction: a text such as
            ``"delay=20ms,loss=1%"``, or `Impairments`. By default packets arrive at once.
        mtu: The largest packet, in octets.
        names: Further names, as :class:`tunstack.Names` or what that is made of. A host's own name
            needs none.
        capture: A pcapng file to write all packets to, when they are sent: its path, or a binary
            file, which is left open. The comment of each says from which host to which, and what
            became of it. Times are virtual, from 0, if the clock is trio's `MockClock`.

    Raises:
        ValueError: A network, the link, the MTU or a name is malformed.
        SetupError: There are names, and dnspython is not installed.
        OSError: The capture cannot be written; when the block is entered.
    """
    return Network(networks or DEFAULT, seed, link, mtu, names, capture)


@final
class Network:
    """A network of hosts in memory; see :func:`open_network`. An async context manager.

    Methods take hosts by name or as :class:`tunstack.Host`, and raise ValueError in one line for a
    name that is not there. Where there may be several, as in ``net.partition(["a", "b"], "c")``,
    all pairs are meant; without the second, all hosts that are there now but those.
    """

    def __init__(
        self,
        networks: Iterable[str],
        seed: object,
        link: str | Impairments | None,
        mtu: int,
        names: Names | Mapping[str, str | Iterable[str]] | None,
        capture: str | os.PathLike[str] | IO[bytes] | None,
    ) -> None:
        self._plan = Plan(networks, mtu)
        self._seed = seed
        self._mtu = mtu
        self._link = Impairments.parse(link) if isinstance(link, str) else link or Impairments()
        self._known = None if names is None else _as_names(names)
        self._capture = capture
        self._members: dict[str, Member] = {}
        self._make: dict[str, Callable[[], Host]] = {}
        self._aliases: dict[str, str] = {}
        self._failures: list[BaseException] = []
        self._sockets = ""  # When it failed.
        self._switch: Switch
        self._record: Record
        self._manager: Any = None
        self._has_ended = False
        self._nursery: trio.Nursery
        self._blocks = ExitStack()

    # Start and end

    async def __aenter__(self) -> Network:
        if self._manager is not None:
            raise RuntimeError("a network can be opened once")
        if self._seed is None:
            self._seed = seed_of_run()
        self._record = Record(self._capture)
        self._blocks.callback(self._record.close)
        self._switch = Switch(self._mtu, self._seed, self._link, self._plan.owner, self._record.add)
        self._blocks.enter_context(installed(Nowhere(), "refuse"))
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            self._sockets = self._sockets or self.ss()
        try:
            if exc is None:
                for member in self._members.values():
                    member.end()
                for member in self._members.values():
                    await member.ended.wait()
        finally:
            self._has_ended = True
            # As in Host: the nursery neither wraps nor replaces the caller's exception.
            self._nursery.cancel_scope.shield = True
            self._nursery.cancel_scope.cancel()
            try:
                await self._manager.__aexit__(None, None, None)
            finally:
                self._blocks.close()
            if self._failures:
                errors = [*self._failures, *_without_cancelled(exc)]
                if len(errors) == 1:
                    raise errors[0]
                raise BaseExceptionGroup("the network failed", errors) from None

    def _fail(self, error: BaseException) -> None:
        self._sockets = self._sockets or self.ss()
        self._failures.append(error)
        self._nursery.cancel_scope.cancel()

    # Hosts

    async def add_host(
        self,
        name: str,
        *addresses: str,
        aliases: Iterable[str] = (),
        tap: Callable[[Observation], None] | None = None,
        config: Config | None = None,
        profiles: Mapping[str, Profile] | None = None,
        congestion: str | CongestionFactory | None = None,
        limits: Limits | None = None,
    ) -> Host:
        """Add a host, which runs until the end of the block.

        Args:
            name: Others find it by this, as in ``trio.open_tcp_stream("server", 80)``.
            addresses: ``"198.51.100.9"``; or a part of the network, all of whose addresses it has:
                ``"198.51.100.128/25"``. By default one of each family.
            aliases: Further names.
            tap: Called with an `Observation` of each of its packets.
            config: The initial configuration of connections.
            profiles: What differs from that, by address or prefix of its own.
            congestion: The congestion control of connections.
            limits: The limits of all connections together.

        Raises:
            ValueError: The name is there already, or malformed; an address is another host's,
                outside the network or malformed.
            RuntimeError: The network's block has not begun, or has ended.
        """
        await trio.lowlevel.checkpoint()
        if self._manager is None or self._has_ended:
            state = "has ended" if self._has_ended else "is not open: use `async with`"
            raise RuntimeError(f"the network {state}")
        name, *others = (checked_name(each) for each in (name, *aliases))
        for each in (name, *others):
            if each in self._aliases:
                raise ValueError(f"there is a host {each!r} already")
        taken = self._plan.take(name, addresses)
        self._aliases |= dict.fromkeys((name, *others), name)

        def make() -> Host:
            host = Host(
                self._switch.plug(name),
                taken,
                seed=_seed(self._seed, name),
                tap=tap,
                config=config,
                profiles=profiles,
                congestion=congestion,
                limits=limits,
            )
            host.use_resolver(NetworkNames(host, self._find, self._plan.owner))
            return host

        self._make[name] = make
        return await self._run(name)

    async def _run(self, name: str) -> Host:
        member = Member(name, self._make[name](), self._fail, self._nursery.cancel_scope.cancel)
        self._members[name] = member
        await self._nursery.start(member.run)
        return member.host

    @property
    def hosts(self) -> dict[str, Host]:
        """All hosts by name, in the order in which they were added."""
        return {name: member.host for name, member in self._members.items()}

    def host(self, name: str) -> Host:
        """Return a host by its name or alias."""
        return self._member(name).host

    async def start(
        self,
        host: HostLike,
        main: Callable[..., Awaitable[object]],
        *args: Any,
        name: object = None,
    ) -> Any:
        """Start a program on a host, and wait until it is ready, as `trio.Nursery.start` does.

        Args:
            host: Its sockets are this host's, and so are those of the tasks that it starts.
            main: The program, an async function that takes `task_status`, as `trio.serve_tcp` does.
            args: Its arguments.
            name: The name of its task.

        Returns:
            What it passes to ``task_status.started()``.
        """
        return await self._member(host).start(main, args, name)

    def start_soon(
        self,
        host: HostLike,
        main: Callable[..., Awaitable[object]],
        *args: Any,
        name: object = None,
    ) -> None:
        """Start a program on a host, as `trio.Nursery.start_soon` does; see :meth:`start`."""
        self._member(host).start_soon(main, args, name)

    def crash(self, host: HostLike) -> None:
        """Let a host lose its power: it sends nothing more, no FIN and no RST.

        Its programs are cancelled, and its sockets raise OSError (ENETDOWN). What it has sent still
        arrives.
        """
        member = self._member(host)
        self._switch.unplug(member.name)
        member.crash()

    async def restart(self, host: HostLike) -> Host:
        """Crash a host, unless it has crashed, and start it again, without connections or programs.

        Returns:
            The host that has its name, addresses and links from now on.
        """
        name = self._member(host).name
        self.crash(name)
        await self._members[name].ended.wait()
        return await self._run(name)

    # Links

    def link(self, one: Some, other: Some | None = None, impair: ImpairmentsLike = None) -> None:
        """Impair the packets between hosts from now on; those on their way are not changed.

        Args:
            one: One end, or several.
            other: The other end; by default all other hosts.
            impair: A text such as ``"delay=20ms,loss=1%"`` or ``"out:rate=1mbit"``, where ``out:``
                is from `one` to `other`; `Impairments`, or a pair of them. None for none.
        """
        there, back = both_ways(impair)
        for a, b in self._pairs(one, other):
            self._switch.impair(a, b, there)
            self._switch.impair(b, a, back)

    def partition(self, one: Some, other: Some | None = None, *, one_way: bool = False) -> None:
        """Drop all packets between hosts until :meth:`repair`, those on their way included.

        Args:
            one: One end, or several.
            other: The other end; by default all other hosts.
            one_way: Whether packets from `other` to `one` still arrive.
        """
        for a, b in self._ways(one, other, one_way=one_way):
            self._switch.cut(a, b)

    def repair(
        self, one: Some | None = None, other: Some | None = None, *, one_way: bool = False
    ) -> None:
        """End :meth:`partition`; without arguments everywhere."""
        for a, b in self._ways(one, other, one_way=one_way):
            self._switch.repair(a, b)

    def hold(self, one: Some, other: Some | None = None, *, one_way: bool = False) -> None:
        """Keep all packets between hosts until :meth:`release`, those on their way included.

        The arguments are those of :meth:`partition`.
        """
        for a, b in self._ways(one, other, one_way=one_way):
            self._switch.hold(a, b)

    def release(
        self, one: Some | None = None, other: Some | None = None, *, one_way: bool = False
    ) -> None:
        """End :meth:`hold`: deliver what was kept, in its order; without arguments everywhere."""
        for a, b in self._ways(one, other, one_way=one_way):
            self._switch.release(a, b)

    def held(self, one: Some, other: Some | None = None, *, one_way: bool = False) -> int:
        """Return how many packets between hosts are kept by :meth:`hold`."""
        return sum(self._switch.held(a, b) for a, b in self._ways(one, other, one_way=one_way))

    # Looking

    def ss(self) -> str:
        """Return the sockets of all hosts, as ``ss -tuani`` shows them; for a failed test.

        After the block has failed it is as it was when that happened.
        """
        return self._sockets or "\n".join(
            f"{name}: {', '.join(self._plan.addresses(name))}\n{sockets_of(member.host)}"
            for name, member in self._members.items()
        )

    def ladder(self, *hosts: HostLike, width: int = 100) -> str:
        """Return the latest 10,000 packets as a ladder, as ``tunstack ladder`` draws it.

        Args:
            hosts: Only what is between these; by default all.
            width: In characters.
        """
        names = [self._member(each).name for each in hosts] or [*self._members]
        legend = [f"{name}: {', '.join(self._plan.addresses(name))}\n" for name in names]
        return "".join([*legend, self._record.ladder({*names}, width)])

    def statistics(self) -> dict[str, int]:
        """Return what became of packets on the links since the start.

        ``sent``; and of these ``lost``, ``queue_full``, ``partitioned``, ``no_such_address``,
        ``unplugged`` (of or to a host that has crashed or ended), ``duplicated``, ``corrupted``.
        What a host has dropped is in its own statistics.
        """
        return dict(self._switch.counters)

    # Names

    def _find(self, name: str) -> list[str]:
        owner = self._aliases.get(name)
        if owner is not None:
            return self._plan.addresses(owner)
        return [] if self._known is None else [*self._known.addresses(name)]

    def _member(self, host: HostLike) -> Member:
        if isinstance(host, str):
            member = self._members.get(self._aliases.get(host.lower(), ""))
        else:
            member = next((e for e in self._members.values() if e.host is host), None)
        if member is None:
            there = ", ".join(self._members) or "none yet"
            raise ValueError(f"no host {host!r} in this network; there are: {there}")
        return member

    def _names(self, some: Some) -> list[str]:
        each_of = [some] if isinstance(some, (str, Host)) else some
        return [self._member(each).name for each in each_of]

    def _pairs(self, one: Some | None, other: Some | None) -> Iterator[tuple[str, str]]:
        if one is None:
            names = [*self._members]
            yield from ((a, b) for index, a in enumerate(names) for b in names[index + 1 :])
            return
        ones = self._names(one)
        others = (
            [each for each in self._members if each not in ones]
            if other is None
            else self._names(other)
        )
        for name in ones:
            if name in others:
                raise ValueError(f"a link of {name} to itself: give two hosts")
        yield from ((a, b) for a in ones for b in others)

    def _ways(
        self, one: Some | None, other: Some | None, *, one_way: bool
    ) -> Iterator[tuple[str, str]]:
        for a, b in self._pairs(one, other):
            yield a, b
            if not one_way:
                yield b, a


def _as_names(names: Names | Mapping[str, str | Iterable[str]]) -> Names:
    from tunstack.dns.names import Names

    return names if isinstance(names, Names) else Names(names)


def _seed(seed: object, name: str) -> int:
    """Return the seed of a host: others do not depend on the order in which hosts are added."""
    return random.Random(f"host {seed} {name}").randrange(_LARGEST_SEED)


def _without_cancelled(error: BaseException | None) -> list[BaseException]:
    """Return the exceptions of a block without `trio.Cancelled`."""
    if isinstance(error, BaseExceptionGroup):
        error = error.split(trio.Cancelled)[1]
    return [] if error is None or isinstance(error, trio.Cancelled) else [error]
