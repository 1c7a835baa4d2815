"""UDP sockets of a simulated node, and an application that keeps what it receives or echoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tunstack.udp.sock import UdpSock

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address, Buffer
    from tunstack.simulator.node import Node


class Arrival(NamedTuple):
    """A datagram that was received.

    Attributes:
        data: Its data.
        source: The address that it came from, packed.
        port: The port that it came from.
        at: The virtual time, in seconds.
    """

    data: bytes
    source: Address
    port: int
    at: float


class DatagramApplication:
    """What uses a UDP socket of a node, at all of its addresses.

    Attributes:
        sock: The socket.
        received: What was received, in order.
        echo: Whether it sends each datagram back to where it came from.
        errors: The numbers of the errors that sending met, or that ICMP errors told.
    """

    def __init__(self, node: Node, port: int = 0, *, echo: bool = False) -> None:
        """Bind a socket to a port, or to any free one."""
        self._node = node
        self.sock = UdpSock(None)
        self.received: list[Arrival] = []
        self.echo = echo
        self.errors: list[int] = []
        datagrams = node.stack.datagrams
        datagrams.open(self.sock)
        datagrams.bind(self.sock, None, port)
        self.sock.changed = self._changed

    @property
    def port(self) -> int:
        """The port."""
        return self.sock.port

    def send(self, data: Buffer, remote: Address, port: int) -> None:
        """Send a datagram; it is on the path when the simulation goes on."""
        datagrams = self._node.stack.datagrams
        try:
            route = datagrams.route(self.sock, remote, port)
            datagrams.send(self.sock, route, data, self._node.now)
        except OSError as error:
            self.errors.append(error.errno or 0)

    def close(self) -> None:
        """Close the socket."""
        self._node.stack.datagrams.close(self.sock)

    def _changed(self) -> None:
        if number := self.sock.take_error():
            self.errors.append(number)
        while self.sock.queue.items:
            data, source, port, *_ = self._node.stack.datagrams.take(self.sock)
            self.received.append(Arrival(data, source, port, self._node.now))
            if self.echo:
                self.send(data, source, port)
