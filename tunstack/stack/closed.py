"""Sums over the connections that a stack no longer has, so that its totals do not shrink."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.stack.flow import Flow


class ClosedConnections:
    """What was added up when each connection left the table of connections.

    Attributes:
        connections: How many.
        bytes_received: Octets of data that they have received in order.
        bytes_acked: Octets of data that their peers have acknowledged.
    """

    __slots__ = ("bytes_acked", "bytes_received", "connections")

    def __init__(self) -> None:
        self.connections = 0
        self.bytes_received = 0
        self.bytes_acked = 0

    def add(self, flow: Flow) -> None:
        """Add a connection that is gone, or is in TIME-WAIT without a socket."""
        self.connections += 1
        self.bytes_received += flow.receiver.buffer.total
        self.bytes_acked += flow.sender.buffer.acknowledged

    def restored(self) -> None:
        """Count one less: it was in TIME-WAIT, and is restored, without its octets."""
        self.connections -= 1
