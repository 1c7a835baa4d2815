"""Bridges: two network stacks with an impaired path between them, and nothing else.

The packets cross in a process of its own (:mod:`tunstack.path.crossing`), which is the same whoever
is at its ends, so that what is measured over it can be compared: two kernels, or a kernel and a
host of ours. A kernel has a TUN device there, a host a packet socket, which the process reads and
writes in the very same way: so the path costs a host no time of its own process, as it costs a
kernel none.
"""

from __future__ import annotations

import math
import socket
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING, Final, Literal, final

from tunstack.deploy.namespace import Namespace, open_namespace
from tunstack.host.host import Host
from tunstack.link.errors import SetupError
from tunstack.link.forking import not_for_children
from tunstack.link.tun import TunLink
from tunstack.path.bridge import open_crossing
from tunstack.path.impair import both_ways

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import IO

    from tunstack.path.bridge import Crossing
    from tunstack.path.impair import Impairments, Wish
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config

LEFT: Final = "198.51.100.1"
"""The address at the left end of a bridge."""
RIGHT: Final = "198.51.100.2"
"""The address at the right end."""

_PREFIX: Final = "/24"
_SOCKET_BUFFER: Final = 1 << 22
"""Asked for; the system may have a lower limit. A full one is waited for, and loses nothing."""


@asynccontextmanager
async def open_bridge(
    impair: Wish = None,
    *,
    seed: int | None = None,
    mtu: int = 1500,
    offload: bool = False,
    capture: IO[bytes] | None = None,
) -> AsyncIterator[Bridge]:
    """Join two private kernel networks: what one sends to the other takes the impaired path.

    Args:
        impair: What the path does, as in :func:`tunstack.open_host`; ``out`` is from left to right.
        seed: Of what the path does, so that it can be repeated.
        mtu: Of both devices, in octets.
        offload: Whether large segments cross as they are, up to 64 KiB behind a virtio header, as
            between network cards that cut them and put them together. They take the time that
            their packets would take on a wire, and arrive together. So a fast path costs no
            packet at a time; but all packets of one segment share its fate, and such a path has a
            delay, a jitter, a rate and a queue of so many octets only.
        capture: A file for a capture (pcapng) of what comes to the path, with a comment for each
            packet that tells what becomes of it.

    Raises:
        SetupError: with one line that says what to do.
        ValueError: in `impair`; with offload, what would happen to packets one by one.
    """
    ways = _checked(impair, offload=offload)
    async with open_namespace() as left, open_namespace() as right:
        first = await _open_tun(left, RIGHT, LEFT, mtu, offload=offload)
        second = await _open_tun(right, LEFT, RIGHT, mtu, offload=offload)
        file = None if capture is None else capture.fileno()
        sides = first.fileno(), second.fileno()
        async with open_crossing(
            *sides, ways, mtu=mtu, offload=offload, seed=seed, capture=file
        ) as crossing:
            yield Bridge(left, right, crossing)


@final
class Bridge:
    """Two kernel networks and the path between them; see :func:`open_bridge`.

    Attributes:
        left: The network with the address 198.51.100.1.
        right: The network with the address 198.51.100.2.
    """

    def __init__(self, left: Namespace, right: Namespace, crossing: Crossing) -> None:
        self.left = left
        self.right = right
        self._crossing = crossing

    def statistics(self) -> dict[str, int]:
        """What happened to how many packets on the path; ``out_`` is from left to right.

        With offload, a large segment counts as the packets and octets that a wire would carry.

        ``out_admitted``, ``out_lost``, ``out_overflowed``, ``out_duplicated``, ``out_reordered``,
        ``out_corrupted``, ``out_refused``, ``out_delivered`` and ``out_delivered_bytes``; ``in_``
        likewise.
        """
        return self._crossing.statistics()


@asynccontextmanager
async def open_host_bridge(
    impair: Wish = None,
    *,
    end: Literal["left", "right"] = "left",
    seed: int | None = None,
    mtu: int = 1500,
    offload: bool = False,
    tap: Callable[[Observation], None] | None = None,
    config: Config | None = None,
    capture: IO[bytes] | None = None,
) -> AsyncIterator[HostBridge]:
    """As :func:`open_bridge`, with a host of ours in place of one of the kernels.

    For programs and tests `open_host` with `impair` is simpler; this is for comparing the host with
    a kernel, over a path that is the same for both.

    Args:
        impair: What the path does; ``out`` is from left to right, wherever the host is.
        end: Where the host is.
        seed: Of the host and of the path.
        mtu: Of the whole path, in octets.
        offload: As in `open_bridge`, of the host too.
        tap: Called with an `Observation` of every packet of the host's.
        config: What every connection of the host begins with.
        capture: As in `open_bridge`.

    Raises:
        SetupError: with one line that says what to do.
        ValueError: in `impair`; with offload, what would happen to packets one by one.
    """
    ways = _checked(impair, offload=offload)
    ours, theirs = (LEFT, RIGHT) if end == "left" else (RIGHT, LEFT)
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
                async with Host(link, [ours + _PREFIX], seed=seed, tap=tap, config=config) as host:
                    yield HostBridge(host, kernel, crossing)


@final
class HostBridge:
    """A host of ours, a kernel network, and the path between; see :func:`open_host_bridge`.

    Attributes:
        host: The host.
        kernel: The network at the other end.
    """

    def __init__(self, host: Host, kernel: Namespace, crossing: Crossing) -> None:
        self.host = host
        self.kernel = kernel
        self._crossing = crossing

    def statistics(self) -> dict[str, int]:
        """What happened to how many packets on the path, as :meth:`Bridge.statistics` has it."""
        return self._crossing.statistics()


def _checked(impair: Wish, *, offload: bool) -> tuple[Impairments, Impairments]:
    """What is wished for the way out and the way in, where it can be had.

    Raises:
        ValueError: with offload, something that would happen to packets one by one.
    """
    ways = both_ways(impair)
    for way in ways if offload else ():
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            if getattr(way, name):
                raise ValueError(
                    f"with offload a path has no {name}, which befalls packets one by one"
                )
        if way.rate != math.inf and way.limit_bytes is None:
            raise ValueError("with offload limit must be in bytes, as in limit=250kB, with a rate")
    return ways


async def _open_tun(kernel: Namespace, far: str, near: str, mtu: int, *, offload: bool) -> TunLink:
    """The device of a kernel that has the address `near`, and is to reach `far`."""
    # What it would send of itself (MLD, router solicitations), and at random times, would make
    # every run another one, whatever the seed.
    with suppress(FileNotFoundError):
        kernel.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
    device = await kernel._kernel.open_tun(far + _PREFIX, peer=near, mtu=mtu, offload=offload)
    if device.offload != offload:
        raise SetupError("this kernel's TUN devices have no offload: do without it")
    return device


def _packet_link(mtu: int, *, offload: bool) -> tuple[TunLink, socket.socket]:
    """A link whose far end is a packet socket, and that."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in (near, far):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    far.setblocking(False)
    not_for_children(far, socket.socket.close)
    return TunLink(near.detach(), "bridge", mtu, offload), far
