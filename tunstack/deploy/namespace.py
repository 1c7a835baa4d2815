"""Hosts on real devices: in a private network namespace, or in the present one."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.deploy.workers.opening import check_impairments, run_workers
from tunstack.host.host import Host
from tunstack.link.netns import open_network_namespace
from tunstack.link.tun import open_tun
from tunstack.path.impair import both_ways
from tunstack.path.impaired import ImpairedLink

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Callable, Sequence
    from ipaddress import IPv4Interface

    from tunstack.deploy.workers.opening import Service
    from tunstack.deploy.workers.parent import Workers
    from tunstack.link.base import Link
    from tunstack.link.netns import NetworkNamespace
    from tunstack.path.impair import Impairments, Wish
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionFactory

DEFAULT_ADDRESS: Final = "198.51.100.2/24"
"""Ours by default; the kernel's side is 198.51.100.1. Documentation addresses (RFC 5737)."""


@asynccontextmanager
async def open_host(
    address: str | IPv4Interface = DEFAULT_ADDRESS,
    *,
    name: str | None = None,
    peer: str | None = None,
    mtu: int | None = None,
    seed: int | None = None,
    tap: Callable[[Observation], None] | None = None,
    config: Config | None = None,
    congestion: str | CongestionFactory | None = None,
    limits: Limits | None = None,
    impair: Wish = None,
    offload: bool = True,
) -> AsyncIterator[Host]:
    """Run a host on a TUN device in the current network namespace.

    That takes CAP_NET_ADMIN there, or a persistent device that belongs to the user;
    :func:`open_namespace` takes neither.

    Args:
        address: The host's, with its network's prefix length.
        name: The device's; it is made unless it exists. By default the kernel chooses.
        peer: The kernel's address in that network; by default the first that is free.
        mtu: Octets; by default the device's, or 1500.
        seed: For everything random in the host, so that a run can be repeated.
        tap: Called with an `Observation` of every packet.
        config: What every connection begins with.
        congestion: Its congestion control, as :class:`Host` takes it.
        limits: What bounds all of them together.
        impair: What the path does to packets: a text such as ``"loss=1%,delay=20ms"``, which holds
            each way, or `Impairments`, or a pair of them: for what the host sends, and for what it
            receives. :mod:`tunstack.path.impair` has the whole syntax.
        offload: Whether the kernel shall leave segmentation and checksums to the device, which
            saves most of the work; where it cannot, packets come and go one by one all the same.

    Raises:
        SetupError: with one line that says what to do.
        ValueError: in `impair`.
    """
    await trio.lowlevel.checkpoint()
    ways = both_ways(impair)
    tun = open_tun(address, name=name, peer=peer, mtu=mtu, offload=offload)
    async with _host_on(tun, address, ways, seed, tap, config, congestion, limits) as host:
        yield host


def _host_on(
    tun: Link,
    address: str | IPv4Interface,
    ways: tuple[Impairments, Impairments],
    seed: int | None,
    tap: Callable[[Observation], None] | None,
    config: Config | None,
    congestion: str | CongestionFactory | None,
    limits: Limits | None,
) -> Host:
    """Make the host that a device leads to, wherever that is."""
    return Host(
        impaired_link(tun, ways, seed),
        [address],
        seed=seed,
        tap=tap,
        config=config,
        congestion=congestion,
        limits=limits,
    )


def impaired_link(link: Link, ways: tuple[Impairments, Impairments], seed: int | None) -> Link:
    """The link with a bad path behind it, if it is bad."""
    if not any(ways):
        return link
    # Not the host's own chance: what a path loses shall not depend on what the host asked for.
    rng = None if seed is None else random.Random(f"path {seed}")
    return ImpairedLink(link, *ways, rng=rng)


@asynccontextmanager
async def open_namespace() -> AsyncIterator[Namespace]:
    """Make a private kernel network, with a loopback interface and no way out.

    No root is needed where the system lets users have namespaces of their own. When the block
    ends, however it ends, everything in it is gone: devices, sockets and processes.

    Raises:
        SetupError: the system does not allow it; the message says what to do.
    """
    async with open_network_namespace() as kernel:
        yield Namespace(kernel)


@final
class Namespace:
    """A private kernel network, in which hosts meet the kernel; see :func:`open_namespace`."""

    def __init__(self, kernel: NetworkNamespace) -> None:
        self._kernel = kernel

    @property
    def pid(self) -> int:
        """Process id of the namespace's holder: for ``nsenter --net --target PID``."""
        return self._kernel.pid

    @asynccontextmanager
    async def open_workers(
        self,
        service: Service,
        workers: int,
        address: str | IPv4Interface = DEFAULT_ADDRESS,
        *,
        name: str | None = None,
        peer: str | None = None,
        mtu: int | None = None,
        seed: int | None = None,
        config: Config | None = None,
        limits: Limits | None = None,
        impair: Wish = None,
        offload: bool = True,
        told: Callable[[int, Any], None] | None = None,
    ) -> AsyncIterator[Workers]:
        """Run a host in several processes; the arguments are those of :func:`open_workers`."""
        ways = check_impairments(impair)
        queues = await self._kernel.open_queues(
            address, workers, name=name, peer=peer, mtu=mtu, offload=offload
        )
        async with run_workers(
            service,
            queues,
            address,
            seed=seed,
            config=config,
            limits=limits,
            ways=ways,
            told=told,
        ) as crew:
            yield crew

    @asynccontextmanager
    async def open_host(
        self,
        address: str | IPv4Interface = DEFAULT_ADDRESS,
        *,
        name: str | None = None,
        peer: str | None = None,
        mtu: int | None = None,
        seed: int | None = None,
        tap: Callable[[Observation], None] | None = None,
        config: Config | None = None,
        congestion: str | CongestionFactory | None = None,
        limits: Limits | None = None,
        impair: Wish = None,
        offload: bool = True,
    ) -> AsyncIterator[Host]:
        """Run a host on a TUN device in here; the arguments are those of :func:`open_host`."""
        ways = both_ways(impair)
        tun = await self._kernel.open_tun(address, name=name, peer=peer, mtu=mtu, offload=offload)
        async with _host_on(tun, address, ways, seed, tap, config, congestion, limits) as host:
            yield host

    def socket(self, *args: Any, **kwargs: Any) -> trio.socket.SocketType:
        """Make a socket of the kernel's in here; the arguments are `trio.socket.socket`'s."""
        return self._kernel.socket(*args, **kwargs)

    async def run_process(
        self, command: str | Sequence[str], **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in here; the arguments, and what it raises, are `trio.run_process`'s."""
        return await self._kernel.run_process(command, **options)

    async def open_process(self, command: str | Sequence[str], **options: Any) -> trio.Process:
        """Start a program in here; as `trio.lowlevel.open_process` does."""
        return await self._kernel.open_process(command, **options)

    def sysctl(self, name: str, value: str | int | None = None) -> str:
        """Return a kernel parameter of the namespace (``"net.ipv4.tcp_sack"``), set if asked to."""
        return self._kernel.sysctl(name, value)
