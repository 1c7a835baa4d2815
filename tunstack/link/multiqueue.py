"""A TUN device with several queues (IFF_MULTI_QUEUE), each of which a process can have to itself.

Linux deals the packets out by flow. It remembers for three seconds from which queue it last got a
packet of a flow; of a flow that it does not remember, a hash over both addresses and both ports,
the same in either direction, times the number of queues, says which queue gets the packet. So the
queue that gets a flow's first packet also gets all later ones, however long the flow was idle, *as
long as the number of queues stays what it was*. Whoever makes the queues must therefore keep them
open until the end. Measured on Linux 6.18:

- Of 400 connections of the kernel's, idle for 4 and for 11 seconds, with 2 queues and with 4, none
  had moved.
- When one of 4 queues was closed, 10 of 30 connections of the other three had moved 4 s later.
- Of 40 connections that *we* opened by 4 queues in turns, 8 succeeded: the kernel answers a SYN
  before it has taken note of where that came from, so that the answer goes by the hash. Whoever has
  one of several queues cannot connect, but only listen.

What has no ports goes by the addresses alone: ping, fragments, and ICMP errors, which therefore
come to one and the same queue, whatever flow they are about.
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
from tunstack.link.forking import not_for_children

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Interface

MOST_QUEUES: Final = 253
"""As many descriptors as one message can carry (SCM_MAX_FD); a device may have 256."""

_TUNGETIFF: Final = 0x800454D2
_IFREQ_SIZE: Final = 40
_LARGEST: Final = 1 << 17


@final
class Queues:
    """The queues of one TUN device; a child that is forked has none.

    Attributes:
        descriptors: One for each queue; whoever gets them closes them.
        name: The device's.
        mtu: Its MTU in bytes.
        offload: Whether packets come and go behind a virtio header.
    """

    def __init__(self, descriptors: tuple[int, ...], name: str, mtu: int, offload: bool) -> None:
        self.descriptors = descriptors
        self.name = name
        self.mtu = mtu
        self.offload = offload
        not_for_children(self, Queues.close)

    def close(self) -> None:
        """Close all descriptors; idempotent."""
        descriptors, self.descriptors = self.descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)


def check_count(count: int) -> None:
    """Refuse a number of queues that cannot be.

    Raises:
        SetupError: it cannot.
    """
    if not 1 <= count <= MOST_QUEUES:
        raise SetupError(f"{count} workers cannot be: choose from 1 to {MOST_QUEUES}")


def open_queues(
    address: str | IPv4Interface,
    count: int,
    *,
    name: str | None = None,
    peer: str | IPv4Address | IPv4Interface | None = None,
    mtu: int | None = None,
    device_node: str | None = None,
    offload: bool = False,
) -> Queues:
    """Make a TUN device with `count` queues in the current network namespace.

    The other arguments are those of :func:`tunstack.link.tun.open_tun`. A persistent device must
    have been made for several queues.

    Raises:
        SetupError: with one line that says what to do.
    """
    from tunstack.link.plan import plan_tun  # the holder, which needs the rest, has no use for it

    check_count(count)
    wanted = plan_tun(
        address, name=name, peer=peer, mtu=mtu, device_node=device_node, offload=offload
    )
    return make_queues(wanted, count)


def make_queues(wanted: TunRequest, count: int) -> Queues:
    """Make the device, or attach to a persistent one of that name, `count` times.

    Raises:
        SetupError: with one line that says what to do.
    """
    if is_in_use(wanted.name):
        # One with several queues would take us in: flows of others would come to us, and ours
        # to them.
        raise SetupError(
            f"the device {wanted.name} is in use by another process: choose another name"
        )
    first, name, mtu, offload = make_tun(wanted, IFF_MULTI_QUEUE)
    with ExitStack() as opened:
        opened.callback(os.close, first)
        descriptors = [first]
        for _ in range(count - 1):
            descriptor = _attach(name, wanted.node, offload=offload)
            opened.callback(os.close, descriptor)
            descriptors.append(descriptor)
        # A flow that began while there were fewer queues may be another's by now: its SYN, which
        # will come again, must not be answered by whoever has the queue that it is in.
        _drain(first)
        opened.pop_all()
    return Queues(tuple(descriptors), name, mtu, offload)


def is_deleted(descriptor: int) -> bool:
    """Whether the device of a queue has been deleted."""
    try:
        fcntl.ioctl(descriptor, _TUNGETIFF, bytes(_IFREQ_SIZE))
    except OSError as error:
        return error.errno == errno.EBADFD
    return False


def _attach(name: str, node: str, *, offload: bool) -> int:
    """One more queue of a device that is set up; what is offloaded holds for all of them."""
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
            os.read(descriptor, _LARGEST)
