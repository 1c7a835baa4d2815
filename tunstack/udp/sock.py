"""A UDP socket below the socket API: names, options, pending errors, receive queue."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.udp.receive_queue import ReceiveQueue

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_BUFFER: Final = 212_992
"""Octets of SO_RCVBUF and SO_SNDBUF: Linux's net.core.rmem_default, with its overhead counted."""

# IP_MTU_DISCOVER (linux/in.h)
PMTUDISC_DONT: Final = 0
PMTUDISC_WANT: Final = 1
PMTUDISC_DO: Final = 2
PMTUDISC_PROBE: Final = 3
PMTUDISC_INTERFACE: Final = 4
PMTUDISC_OMIT: Final = 5

MOST_ERRORS: Final = 32
"""Errors that are kept for MSG_ERRQUEUE; Linux's are charged to SO_RCVBUF, about as many."""


class QueuedError(NamedTuple):
    """An entry of the error queue (IP_RECVERR), as struct sock_extended_err has it.

    Attributes:
        errno: The error.
        origin: 1 of this host itself, 2 of ICMP, 3 of ICMPv6.
        type: The ICMP type.
        code: The ICMP code.
        info: The MTU that it tells, or 0.
        offender: Who sent it; None for this host itself.
        remote: The destination of the datagram that it is about.
        remote_port: The destination port.
        data: The data of that datagram, as far as it was quoted.
    """

    errno: int
    origin: int
    type: int
    code: int
    info: int
    offender: bytes | None
    remote: bytes
    remote_port: int
    data: bytes


class UdpSock:
    """The state of a UDP socket.

    Attributes:
        local: Its address; of a family's unspecified address, every one of the family; None for
            every address of both families.
        port: Its port; 0 while it has none.
        remote: The address that it is connected to, or None.
        remote_port: The port that it is connected to.
        bound_to: The address that `bind` gave it, which it has again once it is disconnected.
        keeps_port: Whether `bind` gave it its port, which disconnecting does not release then.
        reuse_address: SO_REUSEADDR.
        reuse_port: SO_REUSEPORT.
        broadcast: SO_BROADCAST.
        ttl: IP_TTL.
        tos: IP_TOS.
        hop_limit: IPV6_UNICAST_HOPS.
        traffic_class: IPV6_TCLASS.
        pmtu_discovery: IP_MTU_DISCOVER.
        pmtu_discovery_ipv6: IPV6_MTU_DISCOVER.
        segment_size: UDP_SEGMENT: octets of each of the datagrams that data is cut into; 0: off.
        gro: UDP_GRO: whether several datagrams of a sender may be received as one.
        receive_errors: IP_RECVERR.
        receive_buffer: SO_RCVBUF, as it is accounted.
        send_buffer: SO_SNDBUF, as it is accounted.
        queue: What was received.
        dropped: Datagrams that were dropped, as the receive queue was full.
        error: The pending error's number; 0 for none.
        errors: The error queue, for MSG_ERRQUEUE.
        receive_shut_down: Whether SHUT_RD was called.
        send_shut_down: Whether SHUT_WR was called.
        reads: Whether its application has read since a batch was last left unread.
        changed: Called when there is something to receive or an error; None once it is closed.
    """

    __slots__ = (
        "bound_to",
        "broadcast",
        "changed",
        "dropped",
        "error",
        "errors",
        "gro",
        "hop_limit",
        "keeps_port",
        "local",
        "pmtu_discovery",
        "pmtu_discovery_ipv6",
        "port",
        "queue",
        "reads",
        "receive_buffer",
        "receive_errors",
        "receive_shut_down",
        "remote",
        "remote_port",
        "reuse_address",
        "reuse_port",
        "segment_size",
        "send_buffer",
        "send_shut_down",
        "tos",
        "traffic_class",
        "ttl",
    )

    def __init__(
        self,
        local: bytes | None,
        *,
        ttl: int = 64,
        tos: int = 0,
        hop_limit: int = 64,
        traffic_class: int = 0,
    ) -> None:
        """Make one without a port; `local` is the wildcard of its family, or None for both."""
        self.local = local
        self.port = 0
        self.remote: bytes | None = None
        self.remote_port = 0
        self.bound_to = local
        self.keeps_port = False
        self.reuse_address = False
        self.reuse_port = False
        self.broadcast = False
        self.ttl = ttl
        self.tos = tos
        self.hop_limit = hop_limit
        self.traffic_class = traffic_class
        self.pmtu_discovery: int = PMTUDISC_WANT
        self.pmtu_discovery_ipv6: int = PMTUDISC_WANT
        self.segment_size = 0
        self.gro = False
        self.receive_errors = False
        self.receive_buffer: int = DEFAULT_BUFFER
        self.send_buffer: int = DEFAULT_BUFFER
        self.queue = ReceiveQueue()
        self.dropped = 0
        self.error = 0
        self.errors: deque[QueuedError] = deque(maxlen=MOST_ERRORS)
        self.receive_shut_down = False
        self.send_shut_down = False
        self.reads = False
        self.changed: Callable[[], None] | None = None

    @property
    def readable(self) -> bool:
        """Whether a call to receive returns at once."""
        return bool(self.queue.items) or self.error != 0 or self.receive_shut_down

    def discovery(self, remote: bytes) -> int:
        """Return the mode of path MTU discovery to an address."""
        return self.pmtu_discovery if len(remote) == 4 else self.pmtu_discovery_ipv6

    def take_error(self) -> int:
        """Return and clear the pending error (SO_ERROR); 0 for none."""
        number, self.error = self.error, 0
        return number
