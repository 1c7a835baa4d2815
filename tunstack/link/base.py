"""The `Link` protocol: a device that sends and receives whole IP packets as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Buffer: TypeAlias = bytes | bytearray | memoryview

VNET_HEADER_SIZE: Final = 10
"""Octets of struct virtio_net_hdr, which precedes each packet on links with offload."""
LARGEST_FRAME: Final = VNET_HEADER_SIZE + 65535
"""Octets of the largest IP packet behind such a header."""


class Link(Protocol):
    """A point-to-point carrier of IP packets: a TUN device, or one end of an in-memory pair.

    Attributes:
        name: The device's name, for messages.
        mtu: The largest packet it carries, in octets, IP header included.
        offload: Whether each packet, in both directions, is preceded by a virtio header (struct
            virtio_net_hdr in native byte order, 10 octets): then it may have up to 65,535 octets,
            to be segmented by the header's `gso_size`, and a partial checksum.
    """

    name: str
    mtu: int
    offload: bool

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Receive the packets that are available now, at most `limit`, without blocking.

        Returns an empty list when there is none. Each packet is a buffer of its own that is never
        overwritten, so that views into it may be kept.

        Raises:
            OSError: the device is gone, or the link was closed (EBADF).
        """
        ...

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Send one packet, given as the buffers that make it up, without blocking.

        Returns False when the link's queue is full: :meth:`wait_writable`, and try again.

        Raises:
            OSError: the device is gone, or the link was closed (EBADF).
        """
        ...

    async def wait_readable(self) -> None:
        """Wait until :meth:`receive` may return a packet; wake-ups can be spurious.

        Raises:
            trio.ClosedResourceError: the link was closed, before or meanwhile.
        """
        ...

    async def wait_writable(self) -> None:
        """Wait until :meth:`send` may accept a packet; raises as :meth:`wait_readable` does."""
        ...

    def close(self) -> None:
        """Close the link; idempotent. Waiting tasks raise `trio.ClosedResourceError`."""
        ...
