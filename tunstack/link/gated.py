"""A link from which nothing is received before somebody says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

if TYPE_CHECKING:
    from tunstack.link.base import Link


@final
class GatedLink:
    """Any link, and nobody is told that packets wait in it until :meth:`open` was called.

    Packets that had waited for a host would find it before it listens, and be refused.

    Args:
        link: What carries the packets; closed with this.

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
        # Not on the way of every packet: these are the link's own.
        self.receive = link.receive
        self.send = link.send
        self.wait_writable = link.wait_writable

    def open(self) -> None:
        """Let packets in."""
        self._gate.set()

    async def wait_readable(self) -> None:
        """Wait until the gate is open and a packet can be received; as the link's own does."""
        await self._gate.wait()
        await self._link.wait_readable()

    def close(self) -> None:
        """Close the link."""
        self._gate.set()
        self._link.close()
