"""A link that reports no packets before it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

if TYPE_CHECKING:
    from tunstack.link.base import Link


@final
class GatedLink:
    """A link whose :meth:`wait_readable` blocks until :meth:`open` is called.

    Packets queued in the device stay there until the host listens, which would reset them before.

    Args:
        link: The link beneath; closed with this one.

    Attributes:
        name: The link's.
        mtu: The link's.
        offload: The link's.
    """

    def __init__(self, link: Link) -> None:
        self.name = link.name
        self.mtu = link.mtu
        self.offload = link.offload
        self._link = link
        self._gate = trio.Event()
        # Bound directly, so that packets take no extra call.
        self.receive = link.receive
        self.send = link.send
        self.wait_writable = link.wait_writable

    def open(self) -> None:
        """Let `wait_readable` return."""
        self._gate.set()

    async def wait_readable(self) -> None:
        """Wait until the gate is open and a packet can be received; as the link's own does."""
        await self._gate.wait()
        await self._link.wait_readable()

    def close(self) -> None:
        """Close the link."""
        self._gate.set()
        self._link.close()
