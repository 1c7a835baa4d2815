"""Hosts on TUN devices, in a private network namespace or in the current one."""

from __future__ import annotations

import errno
import random
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

import trio

from tunstack.deploy.addresses import default_addresses, read_sysctl
from tunstack.deploy.inside import Inside
from tunstack.deploy.naming import (
    Naming,
    as_names,
    own_addresses,
    serve_with_names,
    serving_names,
)
from tunstack.deploy.workers.opening import check_impairments, run_workers
from tunstack.host.host import Host
from tunstack.link.errors import SEE_DOCTOR, SetupError
from tunstack.link.netns import open_network_namespace
from tunstack.link.tun import open_tun
from tunstack.path.by_address import split
from tunstack.path.impaired import ImpairedLink
from tunstack.socket.kernel import elsewhere

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tunstack.deploy.naming import NamesLike
    from tunstack.deploy.workers.opening import Service
    from tunstack.deploy.workers.parent import Workers
    from tunstack.dns.names import Names
    from tunstack.link.base import Link
    from tunstack.link.netns import NetworkNamespace
    from tunstack.link.plan import AddressLike, PeerLike
    from tunstack.link.tun import TunLink
    from tunstack.path.by_address import ByNetwork, Ways
    from tunstack.path.impair import ImpairmentsLike
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionFactory

Result = TypeVar("Result")

_REDIRECTS: Final = ("net.ipv4.conf.all.send_redirects", "net.ipv4.conf.default.send_redirects")
_FORWARDING: Final = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


@asynccontextmanager
async def open_host(
    *addresses: AddressLike,
    name: str | None = None,
    peer: PeerLike | Sequence[PeerLike] | None = None,
    mtu: int | None = None,
    seed: int | None = None,
    tap: Callable[[Observation], None] | None = None,
    config: Config | None = None,
    profiles: Mapping[str, Profile] | None = None,
    congestion: str | CongestionFactory | None = None,
    limits: Limits | None = None,
    impair: ImpairmentsLike | Mapping[str, ImpairmentsLike] = None,
    offload: bool = True,
) -> AsyncIterator[Host]:
    """Run a host on a TUN device in the current network namespace.

    It needs CAP_NET_ADMIN there, or a persistent device that belongs to the user;
    :func:`open_namespace` needs neither.

    Args:
        addresses: The host's, each with its network's prefix length, as ``"198.51.100.2/24"``; or
            whole networks, all of whose addresses it has, as ``"198.51.100.0/24"``. The default is
            198.51.100.2/24 and 2001:db8::2/64; the former alone where the MTU is below 1280, and,
            with a warning logged, where the kernel has IPv6 off.
        name: The device's, which is created unless it exists; by default the kernel chooses one.
        peer: The kernel's address in that network, or one for each family; by default the first
            that is free. It reaches further networks of a family by a route.
        mtu: Octets; by default the device's, or 1500.
        seed: Of all randomness in the host, so that a run can be repeated.
        tap: Called with an `Observation` of every packet.
        config: The initial configuration of connections.
        profiles: What differs from that in connections from some of the host's addresses, by
            address or prefix: ``{"198.51.100.16/28": Profile(mss=536, ttl=128)}``.
        congestion: Their congestion control, as :class:`Host` takes it.
        limits: The limits of all connections together.
        impair: The path's impairments: a text such as ``"loss=1%,delay=20ms"`` or `Impairments` for
            both directions, or a pair of `Impairments`, for packets sent and packets received.
            :mod:`tunstack.path.impair` has the whole syntax. Or a mapping of these by address or
            prefix of the host: ``{"198.51.100.16/28": "loss=10%"}``; the longest prefix counts, and
            other addresses have a perfect path.
        offload: Whether to enable TSO and checksum offload on the device, which saves most of the
            work; kernels without it send and receive packets of the MTU.

    Raises:
        SetupError: one line that says what to do.
        ValueError: `impair` is invalid; a profile of a prefix in which the host has no address.
    """
    await trio.lowlevel.checkpoint()
    path = split(impair)
    addresses = addresses or default_addresses(mtu, sysctl=read_sysctl, name=name)
    tun = open_tun(*addresses, name=name, peer=peer, mtu=mtu, offload=offload)
    async with _host_on(
        tun, addresses, path, seed, tap, config, profiles, congestion, limits
    ) as host:
        yield host


def _host_on(
    tun: TunLink,
    addresses: Iterable[AddressLike],
    path: tuple[Ways, ByNetwork],
    seed: int | None,
    tap: Callable[[Observation], None] | None,
    config: Config | None,
    profiles: Mapping[str, Profile] | None,
    congestion: str | CongestionFactory | None,
    limits: Limits | None,
) -> Host:
    """Create the host on a device, in whichever namespace that is."""
    return Host(
        impaired_link(tun, path[0], seed, path[1]),
        addresses,
        seed=seed,
        tap=tap,
        config=config,
        profiles=profiles,
        congestion=congestion,
        limits=limits,
        excluded=tun.kernel_addresses,
    )


def impaired_link(
    link: Link, ways: Ways, seed: int | None, networks: ByNetwork | None = None
) -> Link:
    """Wrap the link in an `ImpairedLink` if there are impairments."""
    if not any(ways) and not networks:
        return link
    # A generator of its own: losses must not depend on how often the host uses its own.
    rng = None if seed is None else random.Random(f"path {seed}")
    return ImpairedLink(link, *ways, rng=rng, networks=networks)


@asynccontextmanager
async def open_namespace(names: NamesLike | None = None) -> AsyncIterator[Namespace]:
    """Create a private network namespace of the kernel, with a loopback interface only.

    No root is needed where the system allows unprivileged user namespaces. When the block ends,
    for whatever reason, its devices, sockets and processes are gone.

    Args:
        names: Names of the network, as :class:`tunstack.Names` or what that is made of; ``{}`` for
            ``peer.test`` alone, which is the host. Each host in the namespace serves them on port
            53 (UDP and TCP), and programs that are started in the namespace find them: they read
            an /etc/resolv.conf that points there. The machine's is untouched.

    Raises:
        SetupError: the system does not allow it, and the message says what to do; or `names` are
            given, and dnspython is not installed.
        ValueError: `names` are malformed.
    """
    known = None if names is None else as_names(names)
    async with open_network_namespace() as kernel:
        yield Namespace(kernel, known)


@final
class Namespace:
    """A private network namespace with hosts and the kernel; see :func:`open_namespace`.

    There may be several hosts, on networks of their own or on the same one: ``"198.51.100.2/24"``
    and ``"198.51.100.3/24"``. From the second one on the kernel is the router between them: it
    forwards packets of both families (``net.ipv4.ip_forward``, ``net.ipv6.conf.all.forwarding``);
    :meth:`sysctl` switches that off again. To hosts on one network it has the same address, and a
    route to each; it sends no ICMP redirects.

    A host may have several addresses, of several networks: each is an argument of
    :meth:`open_host`. An address is one host's only: it is refused for another one, and so is a
    whole network in which a host is, and a host in the whole network of another.

    Attributes:
        network: The namespace below; its `open_tun` opens a TUN device that no host is on.
        names: The names of the network; None if it has none.
    """

    def __init__(self, kernel: NetworkNamespace, names: Names | None = None) -> None:
        self.network = kernel
        self.names = names
        self._hosts = 0
        self._naming = Naming(kernel, names)
        self._inside = Inside(kernel, self._naming)

    def _before_host(self) -> None:
        """Set the parameters that the kernel needs for a host beside those that there are.

        It sends no redirects: hosts of one network do not reach each other without it. Only the
        devices that are created later take note of it. With a second host it is a router.

        Raises:
            SetupError: it cannot be made one.
        """
        if self._hosts == 0:
            for name in _REDIRECTS:
                try:
                    self.sysctl(name, 0)
                except OSError as error:
                    if error.errno != errno.EROFS:  # As in containers, where one host needs none.
                        raise
        elif self._hosts == 1:
            for name in _FORWARDING:
                with suppress(FileNotFoundError):  # A kernel without that family.
                    self._forward(name)

    def _forward(self, name: str) -> None:
        try:
            self.sysctl(name, 1)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            if self.sysctl(name) != "1":
                raise SetupError(
                    f"the kernel cannot forward between hosts, as {name} is read-only here: open a "
                    "namespace for each, or start the container with "
                    f"'--security-opt systempaths=unconfined'{SEE_DOCTOR}"
                ) from error

    def _add_host(self) -> None:
        self._hosts += 1

    @property
    def pid(self) -> int:
        """Process id of the namespace's holder, for ``nsenter --net --target PID``."""
        return self.network.pid

    @asynccontextmanager
    async def open_workers(
        self,
        service: Service,
        workers: int,
        *addresses: AddressLike,
        name: str | None = None,
        peer: PeerLike | Sequence[PeerLike] | None = None,
        mtu: int | None = None,
        seed: int | None = None,
        config: Config | None = None,
        profiles: Mapping[str, Profile] | None = None,
        limits: Limits | None = None,
        impair: ImpairmentsLike = None,
        offload: bool = True,
        on_message: Callable[[int, Any], None] | None = None,
    ) -> AsyncIterator[Workers]:
        """Run a host in several processes; the arguments are those of :func:`open_workers`."""
        ways = check_impairments(impair)
        addresses = addresses or default_addresses(mtu, sysctl=self.sysctl, name=name)
        if self.names is not None:
            names = self.names.at(own_addresses(addresses))
            service = partial(serve_with_names, service=service, names=names)
        self._before_host()
        queues = await self.network.open_queues(
            workers, *addresses, name=name, peer=peer, mtu=mtu, offload=offload, shared=True
        )
        self._add_host()
        async with run_workers(
            service,
            queues,
            addresses,
            seed=seed,
            config=config,
            profiles=profiles,
            limits=limits,
            ways=ways,
            on_message=on_message,
        ) as running:
            with self._reached(queues.kernel_addresses, addresses):
                yield running

    @asynccontextmanager
    async def open_host(
        self,
        *addresses: AddressLike,
        name: str | None = None,
        peer: PeerLike | Sequence[PeerLike] | None = None,
        mtu: int | None = None,
        seed: int | None = None,
        tap: Callable[[Observation], None] | None = None,
        config: Config | None = None,
        profiles: Mapping[str, Profile] | None = None,
        congestion: str | CongestionFactory | None = None,
        limits: Limits | None = None,
        impair: ImpairmentsLike | Mapping[str, ImpairmentsLike] = None,
        offload: bool = True,
    ) -> AsyncIterator[Host]:
        """Run a host on a TUN device in the namespace; arguments as of :func:`open_host`."""
        path = split(impair)
        addresses = addresses or default_addresses(mtu, sysctl=self.sysctl, name=name)
        self._before_host()
        tun = await self.network.open_tun(
            *addresses, name=name, peer=peer, mtu=mtu, offload=offload, shared=True
        )
        self._add_host()
        async with (
            _host_on(tun, addresses, path, seed, tap, config, profiles, congestion, limits) as host,
            serving_names(host, self.names, addresses),
        ):
            with self._reached(tun.kernel_addresses, addresses):
                yield host

    @asynccontextmanager
    async def open_link(
        self,
        *addresses: AddressLike,
        name: str | None = None,
        peer: PeerLike | Sequence[PeerLike] | None = None,
        mtu: int | None = None,
        offload: bool = False,
    ) -> AsyncIterator[TunLink]:
        """Open a TUN device in the namespace as a :class:`tunstack.Link`, for a link of one's own.

        A link is what a host reads packets from and writes them to; one that wraps it may do
        anything to them on the way::

            class Counted:                              # a tunstack.Link
                def __init__(self, below):
                    self.below, self.sent = below, 0

                def __getattr__(self, name):
                    return getattr(self.below, name)

                def send(self, packet):
                    self.sent += 1
                    return self.below.send(packet)

            async with ns.open_link("198.51.100.2/24") as link:
                async with tunstack.Host(Counted(link), ["198.51.100.2/24"]) as host:
                    ...

        or there is no host at all, and the program itself is what the kernel talks to. The host
        serves no names of the namespace.

        Args:
            addresses: Those that the kernel reaches through it, as of :func:`open_host`.
            name: The device's name.
            peer: The kernel's address.
            mtu: Octets.
            offload: Whether packets have a virtio header, and may be large segments: see
                :class:`tunstack.Link`. Off by default: each packet is one of the wire's.

        Raises:
            SetupError: one line that says what to do.
        """
        addresses = addresses or default_addresses(mtu, sysctl=self.sysctl, name=name)
        self._before_host()
        link = await self.network.open_tun(
            *addresses, name=name, peer=peer, mtu=mtu, offload=offload, shared=True
        )
        with closing(link):
            self._add_host()
            with self._inside.reached_from(link.kernel_addresses):
                yield link

    @contextmanager
    def _reached(
        self, kernel_addresses: tuple[str, ...], addresses: tuple[AddressLike, ...]
    ) -> Iterator[None]:
        """A host with these addresses is there, and serves the names, while the block runs."""
        with self._inside.reached_from(kernel_addresses), self._naming.served_at(addresses):
            yield

    def sockets(self) -> AbstractContextManager[None]:
        """Create the sockets of Python in this process in the namespace while the block runs.

        They are kernel sockets, with descriptors, so whatever is built on `socket.socket` works as
        ever, in each thread and without root: requests, urllib3, http.client, asyncio, aiohttp,
        httpx, redis-py, trio itself::

            with ns.sockets():
                await trio.to_thread.run_sync(requests.get, "http://peer.test/")

        A blocking call belongs in a thread if the host runs in this one.

        - What was created before the block stays where it is; what is created in it is in the
          namespace also after the block, and is shut down when the namespace ends.
        - AF_UNIX and other families than those of the internet, and `socket.socketpair`, are the
          machine's.
        - `socket.getaddrinfo`, `gethostbyname`, `gethostbyname_ex`, `gethostbyaddr` and
          `getnameinfo` know the names of the namespace at the host that was opened last, numeric
          addresses, and localhost. Names that are not there are EAI_NONAME (EAI_NODATA: not with an
          address of that family) at once: nothing is asked, so faults of names are not met.
        - Blocks of one namespace may be nested, and may overlap in several threads. A block of
          another namespace at the same time is a RuntimeError: threads have no context by which to
          tell whose their sockets are.
        - Within `Host.socket_factory`, sockets of its trio run are the host's, and those of all
          other threads are in the namespace, whichever block is the inner one.
        - A forked child (`os.fork`, multiprocessing) of a process in the block has no network.

        C libraries that create sockets or look up names by themselves are not caught, and reach the
        machine's network: pycurl, grpc, psycopg and other users of libpq, mysqlclient, pyzmq,
        uvloop, c-ares (aiodns, which aiohttp takes where it is installed, unless it is given
        ``aiohttp.ThreadedResolver()``); and so do programs that are started by `subprocess`. For
        those there are :meth:`run_process`, and as root :meth:`run_in_thread`.

        Raises:
            RuntimeError: the sockets of this process are in another namespace.
            OSError: ENETDOWN, on creation of a socket: the namespace has ended.
        """
        return elsewhere(self._inside)

    def socket(self, *args: Any, **kwargs: Any) -> trio.socket.SocketType:
        """Create a kernel socket in the namespace; arguments as of `trio.socket.socket`."""
        return self.network.socket(*args, **kwargs)

    async def run_in_thread(
        self, function: Callable[..., Result], *args: Any, abandon_on_cancel: bool = False
    ) -> Result:
        """Call a function in a thread of its own in the namespace, for C libraries; as root only.

        Sockets that are created in it are in the namespace, whatever creates them, and programs
        that it starts as well::

            await ns.run_in_thread(psycopg.connect, "host=peer.test")

        Names are looked up by the C library, which asks the host; with :meth:`sockets`, Python's
        look-ups know them without asking.

        Args:
            function: Called with `args`, in a copy of the caller's context.
            args: Its arguments.
            abandon_on_cancel: As of `trio.to_thread.run_sync`. By default a caller that is
                cancelled waits until the function returns.

        Raises:
            SetupError: this process may not enter the namespace: setns(2) needs CAP_SYS_ADMIN on
                the machine. :meth:`run_process` needs nothing.
        """
        return await self.network.run_in_thread(
            function, *args, abandon_on_cancel=abandon_on_cancel
        )

    async def run_process(
        self, command: str | Sequence[str], **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the namespace; arguments and errors as of `trio.run_process`."""
        return await self.network.run_process(command, **options)

    async def open_process(self, command: str | Sequence[str], **options: Any) -> trio.Process:
        """Start a program in the namespace; as `trio.lowlevel.open_process` does."""
        return await self.network.open_process(command, **options)

    def sysctl(self, name: str, value: str | int | None = None) -> str:
        """Read a sysctl of the namespace (``"net.ipv4.tcp_sack"``), or set it and read it back."""
        return self.network.sysctl(name, value)
