"""A TUN device as a link: packets in and out by `read` and `writev` on its descriptor.

pytun creates and configures the device (:mod:`tunstack.link.device`); its own `read` and `write`
are limited to bytes, and not used. The descriptor can be read from any network namespace, so the
device may be in a namespace of :mod:`tunstack.link.netns`.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.link.base import LARGEST_FRAME
from tunstack.link.device import enable_udp_offload, make_tun
from tunstack.link.forking import close_in_children
from tunstack.link.plan import plan_tun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.link.base import Buffer
    from tunstack.link.plan import AddressLike, PeerLike

_QUEUE_FULL: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})

_RECEIVE_BUDGET: Final = 1 << 21
"""Octets to receive in one batch, about: 32 of the largest packets, which take 1 ms.

With a quarter of it, and 8 connections that send, each large segment gets an ACK of its own, and
the process takes a sixth more CPU time.
"""
_MALLOC_BLOCK: Final = 4 << 20
"""Octets of a block above malloc's mmap threshold: freeing it doubles the trim threshold."""


def _raise_malloc_thresholds() -> None:
    """Raise glibc's dynamic mmap and trim thresholds, so that freed packets stay in the heap.

    glibc returns the free end of its heap to the kernel from 128 KiB on (M_TRIM_THRESHOLD), which
    is two packets with offload. Each following packet then takes sixteen page faults, as much time
    as all the rest of its processing. Freeing a block that was mmapped raises both thresholds; this
    block is never written, so its pages are never allocated.
    """
    block = bytes(_MALLOC_BLOCK)
    del block


@final
class TunLink:
    """A TUN device without packet information; a :class:`~tunstack.link.base.Link`.

    A SOCK_SEQPACKET socket is read and written in the same way, and works as well.

    When the device is *down*, nothing arrives, and packets sent are lost (and counted in `lost`)
    until it is up again: connections retransmit or time out. When the device is *deleted*, every
    call raises `OSError` (ENODEV).

    Attributes:
        name: The device's name, in its own namespace.
        mtu: The device's MTU in octets when the link was opened.
        offload: Whether packets have a virtio header (IFF_VNET_HDR); see `Link`.
        kernel_addresses: The kernel's own on the device, when the link was opened.
        udp_offload: Whether it cuts large UDP datagrams as well (USO), which Linux 6.2 knows.
        lost: Packets sent while the device was down.
    """

    def __init__(
        self,
        fd: int,
        name: str,
        mtu: int,
        offload: bool = False,
        kernel_addresses: tuple[str, ...] = (),
    ) -> None:
        """Take ownership of `fd`, a descriptor of a configured TUN device (IFF_TUN | IFF_NO_PI)."""
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        self.name = name
        self.mtu = mtu
        self.offload = offload
        self.kernel_addresses = kernel_addresses
        self.udp_offload = offload and enable_udp_offload(fd)
        self.lost = 0
        self._largest = LARGEST_FRAME if offload else mtu
        self._fd = fd
        close_in_children(self, TunLink._close_in_child)
        if offload:
            _raise_malloc_thresholds()

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""
        return self._fd

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Receive the queued packets, at most `limit` and 2 MiB, without blocking.

        The limit of octets bounds the delay of the packets behind a batch of large segments.

        Raises:
            OSError: ENODEV when the device was deleted, EBADF when the link was closed.
        """
        packets: list[Buffer] = []
        fd, size, read, room = self._fd, self._largest, os.read, _RECEIVE_BUDGET
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
            if not packets:  # Otherwise the next call raises it.
                raise self._translated(error) from error
        if packets and not packets[-1]:  # end of file: of a socket, not of a device
            packets = [packet for packet in packets if packet]
            if not packets:
                raise OSError(errno.ENODEV, f"the far end of {self.name} is gone")
        return packets

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Send one packet, without blocking; False when the kernel has no buffer space.

        Raises:
            OSError: ENODEV when the device was deleted, EBADF when the link was closed, EINVAL when
                it is not an IP packet.
        """
        try:
            if len(packet) == 1:
                os.write(self._fd, packet[0])
            else:
                os.writev(self._fd, packet)
        except OSError as error:
            if error.errno in _QUEUE_FULL:
                return False
            if error.errno not in (errno.EIO, errno.ENETDOWN):
                raise self._translated(error) from error
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
        with suppress(RuntimeError):  # Outside of trio no task can be waiting.
            trio.lowlevel.notify_closing(fd)
        os.close(fd)

    def _close_in_child(self) -> None:
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)

    def _raise_if_closed(self) -> None:
        if self._fd == -1:
            raise trio.ClosedResourceError(f"the link {self.name} is closed")

    def _translated(self, error: OSError) -> OSError:
        if self._fd == -1:
            return OSError(errno.EBADF, f"the link {self.name} is closed")
        if error.errno in (errno.EBADFD, errno.EFAULT):  # Linux's errors for a deleted device
            return OSError(errno.ENODEV, f"the device {self.name} was deleted")
        return error


def open_tun(
    *addresses: AddressLike,
    name: str | None = None,
    peer: PeerLike | Sequence[PeerLike] | None = None,
    mtu: int | None = None,
    device_node: str | None = None,
    offload: bool = False,
) -> TunLink:
    """Create a TUN device in the current network namespace, or attach to a persistent one.

    The kernel's side of the device gets an address in the network of each family, so that it has a
    route to ours. An existing device keeps its addresses. Arguments and errors are those of
    :func:`tunstack.link.plan.plan_tun`.

    Raises:
        SetupError: with one line that says what to do.
    """
    request = plan_tun(
        *addresses, name=name, peer=peer, mtu=mtu, device_node=device_node, offload=offload
    )
    return TunLink(*make_tun(request))
