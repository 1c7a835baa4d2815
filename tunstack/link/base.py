"""What a link is: it takes and gives whole IP packets as bytes, and knows nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Buffer: TypeAlias = bytes | bytearray | memoryview

VNET_HEADER_SIZE: Final = 10
"""Octets of struct virtio_net_hdr, which comes before each packet where there is offload."""
LARGEST_FRAME: Final = VNET_HEADER_SIZE + 65535
"""Octets of the largest IP packet behind such a header."""


class Link(Protocol):
    """A point-to-point carrier of IP packets: a TUN device, or one end of an in-memory pair.

    Attributes:
        name: For people: the device's name.
        mtu: The largest packet it carries, in bytes, IP header included.
        offload: Whether each packet, both ways, comes behind the 10 octets of a virtio header
            (struct virtio_net_hdr, as the processor orders octets): then it may be as large as
            IP allows, to be cut into several of the header's `gso_size`, and lack its checksum.
    """

    name: str
    mtu: int
    offload: bool

    def receive(self, limit: int = 256) -> list[Buffer]:
        """Take the packets that wait now, at most `limit`, without blocking.

        Returns an empty list when there is none. Each packet is a buffer of its own that is never
        overwritten, so that views into it may be kept.

        Raises:
            OSError: the device is gone, or the link was closed (EBADF).
        """
        ...

    def send(self, packet: Sequence[Buffer]) -> bool:
        """Give one packet, as the buffers that make it up, without blocking.

        Returns False when the link cannot take it now: :meth:`wait_writable`, and try again.

        Raises:
            OSError: the device is gone, or the link was closed (EBADF).
        """
        ...

    async def wait_readable(self) -> None:
        """Wait until :meth:`receive` would return a packet (or may: wake-ups can be spurious).

        Raises:
            trio.ClosedResourceError: the link was closed, before or meanwhile.
        """
        ...

    async def wait_writable(self) -> None:
        """Wait until :meth:`send` would take a packet; raises as :meth:`wait_readable` does."""
        ...

    def close(self) -> None:
        """Close it; idempotent. Tasks that wait in it wake with `trio.ClosedResourceError`."""
        ...
