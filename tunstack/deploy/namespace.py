"""Hosts on TUN devices, in a private network namespace or in the current one."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.deploy.addresses import default_addresses, read_sysctl
from tunstack.deploy.naming import (
    as_names,
    named_for_commands,
    own_addresses,
    serve_with_names,
    serving_names,
)
from tunstack.deploy.workers.opening import check_impairments, run_workers
from tunstack.host.host import Host
from tunstack.link.netns import open_network_namespace
from tunstack.link.tun import open_tun
from tunstack.path.by_address import split
from tunstack.path.impaired import ImpairedLink

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

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

    There may be several hosts, on networks that do not overlap. From the second one on the kernel
    is the router between them: it forwards packets of both families (``net.ipv4.ip_forward``,
    ``net.ipv6.conf.all.forwarding``); :meth:`sysctl` switches that off again.

    Attributes:
        network: The namespace below; its `open_tun` opens a TUN device that no host is on.
        names: The names of the network; None if it has none.
    """

    def __init__(self, kernel: NetworkNamespace, names: Names | None = None) -> None:
        self.network = kernel
        self.names = names
        self._hosts = 0

    def _add_host(self) -> None:
        """Make the kernel a router when there is a second host."""
        self._hosts += 1
        if self._hosts == 2:
            for name in _FORWARDING:
                with suppress(FileNotFoundError):  # A kernel without that family.
                    self.sysctl(name, 1)

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
        queues = await self.network.open_queues(
            workers, *addresses, name=name, peer=peer, mtu=mtu, offload=offload
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
            if self.names is None:
                yield running
                return
            with named_for_commands(self.network, addresses):
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
        tun = await self.network.open_tun(
            *addresses, name=name, peer=peer, mtu=mtu, offload=offload
        )
        self._add_host()
        async with _host_on(
            tun, addresses, path, seed, tap, config, profiles, congestion, limits
        ) as host:
            if self.names is None:
                yield host
                return
            async with serving_names(host, self.names, addresses):
                with named_for_commands(self.network, addresses):
                    yield host

    def socket(self, *args: Any, **kwargs: Any) -> trio.socket.SocketType:
        """Create a kernel socket in the namespace; arguments as of `trio.socket.socket`."""
        return self.network.socket(*args, **kwargs)

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
