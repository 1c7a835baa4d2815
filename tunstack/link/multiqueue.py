"""A multi-queue TUN device (IFF_MULTI_QUEUE), with one queue for each of several processes.

Linux selects the queue by flow. For three seconds it remembers from which queue it last received a
packet of the flow (tun_flow_entry); otherwise a symmetric hash over both addresses and ports,
scaled to the number of queues, selects it. So the queue that receives a flow's first packet also
receives all later ones, however long the flow is idle, *as long as the number of queues does not
change*: all queues must stay open until the end. Measured on Linux 6.18:

- Of 400 kernel connections, idle for 4 and for 11 seconds, with 2 and with 4 queues, none moved.
- When one of 4 queues was closed, 10 of 30 connections of the other three had moved 4 s later.
- Of 40 connections that *we* opened through 4 queues in turn, 8 succeeded: the kernel answers a SYN
  before it records the SYN's queue, so the hash selects the answer's. The owner of one of several
  queues can listen, but not connect.

Packets without ports are hashed by their addresses alone: ping, fragments, and ICMP errors, which
therefore all arrive at one queue, whichever flow they concern.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, final

from tunstack.link.device import (
    IFF_MULTI_QUEUE,
    IFF_NO_PI,
    IFF_TUN,
    IFF_VNET_HDR,
    TunRequest,
    is_in_use,
    make_tun,
)
from tunstack.link.errors import SetupError
from tunstack.link.forking import close_in_children

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.link.plan import AddressLike, PeerLike

MAX_QUEUES: Final = 253
"""SCM_MAX_FD, the descriptors in one message; a device may have 256 queues."""

_TUNGETIFF: Final = 0x800454D2
_IFREQ_SIZE: Final = 40
_READ_SIZE: Final = 1 << 17


@final
class Queues:
    """The queues of one TUN device; closed in forked children.

    Attributes:
        descriptors: One for each queue.
        name: The device's.
        mtu: Its MTU in octets.
        offload: Whether packets have a virtio header.
        kernel_addresses: The kernel's own on the device.
    """

    def __init__(
        self,
        descriptors: tuple[int, ...],
        name: str,
        mtu: int,
        offload: bool,
        kernel_addresses: tuple[str, ...],
    ) -> None:
        self.descriptors = descriptors
        self.name = name
        self.mtu = mtu
        self.offload = offload
        self.kernel_addresses = kernel_addresses
        close_in_children(self, Queues.close)

    def close(self) -> None:
        """Close all descriptors; idempotent."""
        descriptors, self.descriptors = self.descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)


def check_count(count: int) -> None:
    """Check a number of queues.

    Raises:
        SetupError: it is out of range.
    """
    if not 1 <= count <= MAX_QUEUES:
        raise SetupError(f"{count} workers cannot be: choose from 1 to {MAX_QUEUES}")


def open_queues(
    count: int,
    *addresses: AddressLike,
    name: str | None = None,
    peer: PeerLike | Sequence[PeerLike] | None = None,
    mtu: int | None = None,
    device_node: str | None = None,
    offload: bool = False,
) -> Queues:
    """Create a TUN device with `count` queues in the current network namespace.

    The other arguments are those of :func:`tunstack.link.tun.open_tun`. A persistent device must
    have been created with IFF_MULTI_QUEUE.

    Raises:
        SetupError: with one line that says what to do.
    """
    from tunstack.link.plan import plan_tun  # here, as the holder does not need it

    check_count(count)
    request = plan_tun(
        *addresses, name=name, peer=peer, mtu=mtu, device_node=device_node, offload=offload
    )
    return make_queues(request, count)


def make_queues(request: TunRequest, count: int, shared: frozenset[int] = frozenset()) -> Queues:
    """Create the device, or attach to a persistent one of that name, with `count` queues.

    Args:
        request: Its parameters.
        count: The number of queues.
        shared: As of :func:`tunstack.link.device.make_tun`.

    Raises:
        SetupError: with one line that says what to do.
    """
    if is_in_use(request.name):
        # A multi-queue device accepts another process: flows would reach the wrong one.
        raise SetupError(
            f"the device {request.name} is in use by another process: choose another name"
        )
    first, name, mtu, offload, kernel = make_tun(request, IFF_MULTI_QUEUE, shared)
    with ExitStack() as opened:
        opened.callback(os.close, first)
        descriptors = [first]
        for _ in range(count - 1):
            descriptor = _attach(name, request.node, offload=offload)
            opened.callback(os.close, descriptor)
            descriptors.append(descriptor)
        # A flow that began while there were fewer queues may belong to another one by now: its SYN
        # must not be answered from this queue, and is retransmitted to the right one.
        _drain(first)
        opened.pop_all()
    return Queues(tuple(descriptors), name, mtu, offload, kernel)


def is_deleted(descriptor: int) -> bool:
    """Whether a queue's device was deleted (TUNGETIFF gives EBADFD)."""
    try:
        fcntl.ioctl(descriptor, _TUNGETIFF, bytes(_IFREQ_SIZE))
    except OSError as error:
        return error.errno == errno.EBADFD
    return False


def _attach(name: str, node: str, *, offload: bool) -> int:
    """Attach one more queue; the offloads are the device's, and hold for all queues."""
    import pytun

    flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE | (IFF_VNET_HDR if offload else 0)
    try:
        device = pytun.TunTapDevice(name=name, flags=flags, dev=node)
    except OSError as error:
        raise SetupError(f"cannot make another queue of {name}: {error}: have fewer") from error
    try:
        return os.dup(device.fileno())
    finally:
        device.close()


def _drain(descriptor: int) -> None:
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        while True:
            os.read(descriptor, _READ_SIZE)
