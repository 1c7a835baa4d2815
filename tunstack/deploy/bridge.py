"""Bridges: two network stacks connected by an impaired path, for comparable measurements.

A process of its own forwards the packets (:mod:`tunstack.path.crossing`). It is the same for two
kernels as for a kernel and a host of ours: a kernel's end is a TUN device, a host's end a
SOCK_SEQPACKET socket, which is read and written in the same way. So the path takes no CPU time of
the host's process, as it takes none of a kernel's.
"""

from __future__ import annotations

import math
import socket
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Final, Literal, final

from tunstack.deploy.namespace import Namespace, open_namespace
from tunstack.host.host import Host
from tunstack.link.errors import SetupError
from tunstack.link.forking import close_in_children
from tunstack.link.plan import IPV6_MTU
from tunstack.link.tun import TunLink
from tunstack.path.bridge import open_crossing
from tunstack.path.impair import both_ways

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import IO

    from tunstack.path.bridge import Crossing
    from tunstack.path.impair import Impairments, ImpairmentsLike
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config

LEFT: Final = "198.51.100.1"
"""The address at the left end of a bridge."""
RIGHT: Final = "198.51.100.2"
"""The address at the right end."""

LEFT6: Final = "2001:db8::1"
"""The IPv6 address at the left end."""
RIGHT6: Final = "2001:db8::2"
"""The IPv6 address at the right end."""

_PREFIXES: Final = ("/24", "/64")
_SOCKET_BUFFER: Final = 1 << 22
"""SO_SNDBUF in octets; net.core.wmem_max may limit it. A full socket blocks, and drops nothing."""


@asynccontextmanager
async def open_bridge(
    impair: ImpairmentsLike = None,
    *,
    seed: int | None = None,
    mtu: int = 1500,
    ipv6: bool = True,
    offload: bool = False,
    capture: IO[bytes] | None = None,
) -> AsyncIterator[Bridge]:
    """Connect two private kernel networks by an impaired path.

    Args:
        impair: The impairments, as in :func:`tunstack.open_host`; ``out`` is from left to right.
        seed: Of the impairments, so that a run can be repeated.
        mtu: Of both devices, in octets.
        ipv6: Whether both ends have an IPv6 address as well, if the MTU is at least 1280 octets.
        offload: Whether segments of up to 64 KiB pass unsegmented behind a virtio header, as
            between network cards with TSO and GRO. They take the time that their packets would
            take on a wire, and arrive together. This makes fast paths possible; but all packets of
            a segment share its fate, so that only delay, jitter, rate and a limit in octets are
            available.
        capture: A file for a capture (pcapng) of the packets that arrive at the path, each with a
            comment on its fate.

    Raises:
        SetupError: one line that says what to do.
        ValueError: `impair` is invalid; or with offload, it has impairments of single packets.
    """
    ways = _check_impairments(impair, offload=offload)
    lefts, rights = _ends(mtu, ipv6=ipv6)
    async with open_namespace() as left, open_namespace() as right:
        first = await _open_tun(left, rights, lefts, mtu, offload=offload)
        second = await _open_tun(right, lefts, rights, mtu, offload=offload)
        file = None if capture is None else capture.fileno()
        sides = first.fileno(), second.fileno()
        async with open_crossing(
            *sides, ways, mtu=mtu, offload=offload, seed=seed, capture=file
        ) as crossing:
            yield Bridge(left, right, crossing)


@final
class Bridge:
    """Two kernel networks connected by a path; see :func:`open_bridge`.

    Attributes:
        left: The network with the addresses 198.51.100.1 and 2001:db8::1.
        right: The network with the addresses 198.51.100.2 and 2001:db8::2.
    """

    def __init__(self, left: Namespace, right: Namespace, crossing: Crossing) -> None:
        self.left = left
        self.right = right
        self._crossing = crossing

    def statistics(self) -> dict[str, int]:
        """Return the path's packet counters; ``out_`` is from left to right.

        With offload, a large segment counts as the packets and octets that a wire would carry.

        ``out_admitted``, ``out_lost``, ``out_overflowed``, ``out_duplicated``, ``out_reordered``,
        ``out_corrupted``, ``out_refused``, ``out_delivered`` and ``out_delivered_bytes``; ``in_``
        likewise.
        """
        return self._crossing.statistics()


@asynccontextmanager
async def open_host_bridge(
    impair: ImpairmentsLike = None,
    *,
    end: Literal["left", "right"] = "left",
    seed: int | None = None,
    mtu: int = 1500,
    ipv6: bool = True,
    offload: bool = False,
    tap: Callable[[Observation], None] | None = None,
    config: Config | None = None,
    capture: IO[bytes] | None = None,
) -> AsyncIterator[HostBridge]:
    """Connect a host and a private kernel network by an impaired path.

    For programs and tests `open_host` with `impair` is simpler; this is for comparing the host with
    a kernel over the same path as :func:`open_bridge`.

    Args:
        impair: The impairments; ``out`` is from left to right, wherever the host is.
        end: The end at which the host is.
        seed: Of the host and of the impairments.
        mtu: Of the whole path, in octets.
        ipv6: As in `open_bridge`.
        offload: As in `open_bridge`, and of the host too.
        tap: Called with an `Observation` of every packet of the host.
        config: The initial configuration of the host's connections.
        capture: As in `open_bridge`.

    Raises:
        SetupError: one line that says what to do.
        ValueError: `impair` is invalid; or with offload, it has impairments of single packets.
    """
    ways = _check_impairments(impair, offload=offload)
    lefts, rights = _ends(mtu, ipv6=ipv6)
    ours, theirs = (lefts, rights) if end == "left" else (rights, lefts)
    async with open_namespace() as kernel:
        device = await _open_tun(kernel, ours, theirs, mtu, offload=offload)
        link, far = _packet_link(mtu, offload=offload)
        sides = (far.fileno(), device.fileno())
        left, right = sides if end == "left" else sides[::-1]
        file = None if capture is None else capture.fileno()
        with far, closing(link):
            async with open_crossing(
                left, right, ways, mtu=mtu, offload=offload, seed=seed, capture=file
            ) as crossing:
                far.close()
                async with Host(link, _networks(ours), seed=seed, tap=tap, config=config) as host:
                    yield HostBridge(host, kernel, crossing)


@final
class HostBridge:
    """A host and a kernel network connected by a path; see :func:`open_host_bridge`.

    Attributes:
        host: The host.
        kernel: The network at the other end.
    """

    def __init__(self, host: Host, kernel: Namespace, crossing: Crossing) -> None:
        self.host = host
        self.kernel = kernel
        self._crossing = crossing

    def statistics(self) -> dict[str, int]:
        """Return the path's packet counters, as :meth:`Bridge.statistics` does."""
        return self._crossing.statistics()


def _check_impairments(
    impair: ImpairmentsLike, *, offload: bool
) -> tuple[Impairments, Impairments]:
    """Return the impairments of both directions, if the bridge supports them.

    Raises:
        ValueError: with offload, there are impairments of single packets.
    """
    ways = both_ways(impair)
    for way in ways if offload else ():
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            if getattr(way, name):
                raise ValueError(
                    f"with offload a path has no {name}, which applies to single packets"
                )
        if way.rate != math.inf and way.limit_bytes is None:
            raise ValueError("with offload limit must be in bytes, as in limit=250kB, with a rate")
    return ways


def _ends(mtu: int, *, ipv6: bool) -> tuple[list[str], list[str]]:
    """Return the addresses of the left and of the right end."""
    if ipv6 and mtu >= IPV6_MTU:
        return [LEFT, LEFT6], [RIGHT, RIGHT6]
    return [LEFT], [RIGHT]


def _networks(addresses: list[str]) -> list[str]:
    """Return addresses with the prefix length of their networks."""
    return [address + prefix for address, prefix in zip(addresses, _PREFIXES, strict=False)]


async def _open_tun(
    kernel: Namespace, far: list[str], near: list[str], mtu: int, *, offload: bool
) -> TunLink:
    """Create the device of a kernel with the addresses `near` and routes to `far`."""
    device = await kernel.network.open_tun(*_networks(far), peer=near, mtu=mtu, offload=offload)
    if device.offload != offload:
        raise SetupError("this kernel's TUN devices have no offload: do without it")
    return device


def _packet_link(mtu: int, *, offload: bool) -> tuple[TunLink, socket.socket]:
    """A link over a SOCK_SEQPACKET socket, and the socket's other end."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in (near, far):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    far.setblocking(False)
    close_in_children(far, socket.socket.close)
    return TunLink(near.detach(), "bridge", mtu, offload), far
