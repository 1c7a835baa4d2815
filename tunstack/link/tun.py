"""A TUN device as a link: packets in and out by `readv` and `writev` on its descriptor.

pytun makes and configures the device (:mod:`tunstack.link.device`); its own `read` and `write` take
and give only bytes, and are not used. The descriptor can be read from any network namespace, so
the device may be one that :mod:`tunstack.link.netns` made elsewhere.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.link.base import LARGEST_FRAME
from tunstack.link.device import make_tun
from tunstack.link.forking import not_for_children
from tunstack.link.plan import plan_tun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv4Interface

    from tunstack.link.base import Buffer

_TRY_AGAIN: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})

_ENOUGH: Final = 1 << 19
"""Octets that are received at once: what a processor's cache can hold, and half a millisecond."""
_KEPT: Final = 4 << 20
"""Octets of a block that is large for malloc: it will keep twice as many that are free."""


def _keep_memory() -> None:
    """Have glibc keep the memory of packets that have gone, for those that come.

    It gives what is free at the end of its heap back to the system as soon as that is 128 KiB, two
    packets with offload. Then each of the next ones costs sixteen page faults, and clearing their
    pages, which is as much as all else that is done with it. But it raises that bound by itself
    when a block is freed that was too large for the heap: so this is one, which nobody touches.
    """
    block = bytes(_KEPT)
    del block


@final
class TunLink:
    """A TUN device without packet information; a :class:`~tunstack.link.base.Link`.

    A packet socket (SOCK_SEQPACKET) is read and written in the same way, and will do as well.

    When the device is *down* the link is like a cable without a far end: nothing arrives, and what
    is sent is lost (and counted in `lost`), until it is up again. Connections retransmit, or give
    up in their own time. When the device is *deleted*, every call raises `OSError` (ENODEV).

    Attributes:
        name: The device's name, in whichever namespace it is.
        mtu: The device's MTU in bytes, as it was when the link was made.
        offload: Whether packets come and go behind a virtio header (IFF_VNET_HDR); see `Link`.
        lost: Packets sent while the device was down.
    """

    def __init__(self, fd: int, name: str, mtu: int, offload: bool = False) -> None:
        """Take over `fd`, the descriptor of a TUN device (IFF_TUN | IFF_NO_PI) that is set up."""
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        self.name = name
        self.mtu = mtu
        self.offload = offload
        self.lost = 0
        self._largest = LARGEST_FRAME if offload else mtu
        self._fd = fd
        not_for_children(self, TunLink._give_up)
        if offload:
            _keep_memory()

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""
        return self._fd

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Take the packets that wait, at most `limit`, without blocking.

        Large ones are fewer, for what follows them has to wait until all of these are processed.

        Raises:
            OSError: ENODEV when the device was deleted, EBADF when the link was closed.
        """
        packets: list[Buffer] = []
        fd, size, read, room = self._fd, self._largest, os.read, _ENOUGH
        try:
            for _ in range(limit):
                packet = read(fd, size)
                packets.append(packet)
                room -= len(packet)
                if room < 0:
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            if not packets:  # else the next call tells
                raise self._explained(error) from error
        if packets and not packets[-1]:  # no device says that, but a socket whose far end is gone
            packets = [packet for packet in packets if packet]
            if not packets:
                raise OSError(errno.ENODEV, f"the far end of {self.name} is gone")
        return packets

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Give one packet, without blocking; False when the kernel has no room for it now.

        Raises:
            OSError: ENODEV when the device was deleted, EBADF when the link was closed, EINVAL when
                the packet is no IP packet at all.
        """
        try:
            if len(packet) == 1:
                os.write(self._fd, packet[0])
            else:
                os.writev(self._fd, packet)
        except OSError as error:
            if error.errno in _TRY_AGAIN:
                return False
            if error.errno not in (errno.EIO, errno.ENETDOWN):
                raise self._explained(error) from error
            self.lost += 1
        return True

    async def wait_readable(self) -> None:
        """Wait until a packet can be received, or :meth:`receive` would raise.

        Raises:
            trio.ClosedResourceError: the link was closed, before or meanwhile.
        """
        self._raise_if_closed()
        await trio.lowlevel.wait_readable(self._fd)

    async def wait_writable(self) -> None:
        """Wait until a packet can be sent; raises as :meth:`wait_readable` does."""
        self._raise_if_closed()
        await trio.lowlevel.wait_writable(self._fd)

    def close(self) -> None:
        """Close the descriptor, which deletes the device unless it is persistent; idempotent."""
        fd, self._fd = self._fd, -1
        if fd == -1:
            return
        with suppress(RuntimeError):  # outside of trio nobody can be waiting
            trio.lowlevel.notify_closing(fd)
        os.close(fd)

    def _give_up(self) -> None:
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)

    def _raise_if_closed(self) -> None:
        if self._fd == -1:
            raise trio.ClosedResourceError(f"the link {self.name} is closed")

    def _explained(self, error: OSError) -> OSError:
        if self._fd == -1:
            return OSError(errno.EBADF, f"the link {self.name} is closed")
        if error.errno in (errno.EBADFD, errno.EFAULT):  # what Linux says for a device that is gone
            return OSError(errno.ENODEV, f"the device {self.name} was deleted")
        return error


def open_tun(
    address: str | IPv4Interface,
    *,
    name: str | None = None,
    peer: str | IPv4Address | IPv4Interface | None = None,
    mtu: int | None = None,
    device_node: str | None = None,
    offload: bool = False,
) -> TunLink:
    """Make a TUN device in the current network namespace, or attach to a persistent one.

    The kernel's side of the device gets `peer` as its address, with the prefix length of `address`,
    so that it reaches `address` through the device. A device that exists keeps the address that it
    has. Arguments and errors are those of :func:`tunstack.link.plan.plan_tun`.

    Raises:
        SetupError: with one line that says what to do.
    """
    wanted = plan_tun(
        address, name=name, peer=peer, mtu=mtu, device_node=device_node, offload=offload
    )
    return TunLink(*make_tun(wanted))
