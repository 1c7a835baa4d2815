"""UDP in and out: demultiplexing, ICMP errors, sending (RFC 768, RFC 1122 section 4.1)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tunstack.ip import address as ip_address
from tunstack.ip.datagram import UDP, Datagram
from tunstack.ip.errors import os_error
from tunstack.ip.icmp_rules import RULES
from tunstack.stack.udp_ports import UdpPorts
from tunstack.stack.udp_route import HEADER, SET_DF, LargePacket, Route
from tunstack.udp.sock import PMTUDISC_DONT, QueuedError, UdpSock
from tunstack.wire import Discard, Reason, decode_udp, encode_udp
from tunstack.wire.fast import datagram as lean

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tunstack.ip.datagram import Address, Buffer
    from tunstack.ip.icmp import IcmpMessage, Quote
    from tunstack.stack.context import Context
    from tunstack.stack.paths import Paths
    from tunstack.udp.receive_queue import Received

COUNTERS: Final[tuple[str, ...]] = ("udp_received", "udp_sent", "udp_errors")
"""Counters: datagrams delivered to sockets, sent by them, ICMP errors reported to them."""

MOST_SEGMENTS: Final = 128
"""Datagrams that one call may send (UDP_SEGMENT): Linux's UDP_MAX_SEGMENTS."""
_SMALL: Final = 2048
"""Octets of data up to which a copy behind the headers costs less than a second buffer."""


class Datagrams:
    """The UDP layer of a stack.

    Attributes:
        ports: The sockets, by port.
        unread: Datagrams of the latest batches that are unread, of sockets that are being read.
        all_read: Called when there is none any more; None for nobody.
    """

    def __init__(
        self, context: Context, paths: Paths, *, rng: Random, offload: bool, udp_offload: bool
    ) -> None:
        """Make it without sockets; with `udp_offload` the link cuts large datagrams (USO)."""
        self.ports = UdpPorts(rng)
        self.unread = 0
        self.all_read: Callable[[], None] | None = None
        self._sockets: set[UdpSock] = set()
        self._addresses = context.addresses
        self._budget = context.memory.budget
        self._counters = context.counters
        self._output = context.output
        self._paths = paths
        self._mtus = paths.mtus
        self._rng = rng
        self._offload = offload
        self._udp_offload = udp_offload
        self._large: LargePacket | None = None
        self._link_mtu = context.configs.mtu

    # In

    def datagram_arrives(self, datagram: Datagram, frame: Buffer, now: float) -> None:
        """Process a datagram; raises `Discard` if it is malformed or its socket has no room."""
        sport, dport, data = decode_udp(datagram)
        ports = (sport << 16 | dport).to_bytes(4, "big")
        name = datagram.src + datagram.dst + ports
        sock = self.ports.find(name)
        if sock is None:
            self._output.drop(Reason.NO_UDP_PORT, frame, now)
            self._paths.refuse_port(datagram, now)
            return
        self._deliver(sock, name, bytes(data), datagram.ttl, datagram.tos, datagram.gso_size)
        self._output.observe_in(frame, now, "accepted")

    def lean_arrives(self, fields: lean.Fields, frame: Buffer, now: float, *, looped: bool) -> bool:
        """Process a datagram that the fast reader has read; returns False if no socket matches.

        Raises `Discard` for one that no socket gets.
        """
        name, data, ttl, tos, gso_size = fields
        size = (len(name) >> 1) - 2
        self._addresses.check(name[:size], name[size:-4], looped=looped)
        sock = self.ports.find(name)
        if sock is None:
            return False
        self._deliver(sock, name, data, ttl, tos, gso_size)
        if self._output.tap is not None:
            self._output.observe_in(frame, now, "accepted")
        return True

    def _deliver(
        self, sock: UdpSock, name: bytes, data: bytes, ttl: int, tos: int, gso_size: int
    ) -> None:
        size = (len(name) >> 1) - 2
        src, dst = name[:size], name[size:-4]
        sport = int.from_bytes(name[-4:-2], "big")
        if gso_size and (not sock.gro or len(data) <= gso_size):
            for at in range(0, len(data), gso_size):
                piece = data[at : at + gso_size]
                self._enqueue(sock, (piece, src, sport, dst, ttl, tos, 0))
        else:
            self._enqueue(sock, (data, src, sport, dst, ttl, tos, gso_size))

    def _enqueue(self, sock: UdpSock, received: Received) -> None:
        budget, most = self._budget, sock.receive_buffer
        if budget.tight:
            most = budget.share(most)
        charge = sock.queue.add(received, most)
        if not charge:
            sock.dropped += 1
            raise Discard(Reason.UDP_BUFFER_FULL)
        budget.add(charge)
        self._counters["udp_received"] += 1
        if sock.reads:
            self.unread += 1
        if sock.changed is not None:
            sock.changed()

    def take(self, sock: UdpSock) -> Received:
        """Remove and return the first datagram that `sock` has received; there must be one."""
        before = sock.queue.used
        received = sock.queue.take()
        self._budget.add(sock.queue.used - before)
        sock.reads = True
        if self.unread:
            self.unread -= 1
            if self.unread == 0 and self.all_read is not None:
                self.all_read()
        return received

    def leave_unread(self) -> None:
        """Reset `unread`; sockets count again after their application has read."""
        if self.unread:
            self.unread = 0
            for sock in self._sockets:
                if sock.queue.items:
                    sock.reads = False

    # Errors

    def icmp_error(
        self, quote: Quote, error: OSError | None, message: IcmpMessage, now: float
    ) -> bool:
        """Process an ICMP error about a datagram of ours; returns whether a socket sent it.

        As on Linux, a connected socket is told of what will not pass; any other socket, and of the
        rest, only with IP_RECVERR.

        Args:
            quote: What it quotes of the datagram.
            error: What it means; None for nothing.
            message: The message.
            now: Seconds.
        """
        name = quote.dst + quote.src + (quote.dport << 16 | quote.sport).to_bytes(4, "big")
        sock = self.ports.find(name)
        if sock is None:
            return False
        if error is None:
            return True
        rules = RULES[len(quote.src)]
        too_large = rules.is_too_big(message)
        if too_large:
            self._paths.too_big(quote.dst, message, now)
            if sock.discovery(quote.dst) == PMTUDISC_DONT:
                return True
        number = error.errno or errno.EPROTO
        if sock.receive_errors:
            self._queue_error(sock, name, number, message)
        elif sock.remote is None or not (too_large or rules.is_hard(message)):
            return True
        self._counters["udp_errors"] += 1
        sock.error = number
        if sock.changed is not None:
            sock.changed()
        return True

    def _queue_error(self, sock: UdpSock, name: bytes, number: int, message: IcmpMessage) -> None:
        size = (len(name) >> 1) - 2
        quoted = message.quoted
        data = b"" if quoted is None else bytes(quoted.payload[HEADER:])
        info = message.next_hop_mtu if RULES[size].is_too_big(message) else 0
        sock.errors.append(
            QueuedError(
                number,
                2 if size == 4 else 3,
                message.type,
                message.code,
                info,
                name[:size],
                name[:size],
                int.from_bytes(name[-4:-2], "big"),
                data,
            )
        )

    # Names

    def open(self, sock: UdpSock) -> None:
        """Add a socket; :meth:`close` undoes it."""
        self._sockets.add(sock)

    def end_all(self, number: int) -> None:
        """Set the pending error of every socket: the link is gone."""
        for sock in self._sockets:
            sock.error = number
            if sock.changed is not None:
                sock.changed()

    def bind(self, sock: UdpSock, local: Address | None, port: int) -> None:
        """Bind `sock` to an address of ours, or to all of a family (its wildcard), and a port.

        Raises:
            OSError: EINVAL, it has a port; EADDRNOTAVAIL, EADDRINUSE.
        """
        if sock.port and (local is None or len(local) != 4):  # In Linux's order of each family.
            raise os_error(errno.EINVAL)
        if local is not None and any(local) and local not in self._addresses.local:
            raise os_error(errno.EADDRNOTAVAIL)
        if sock.port:
            raise os_error(errno.EINVAL)
        self.ports.bind(sock, local, port)
        sock.bound_to = local
        sock.keeps_port = port != 0

    def connect(self, sock: UdpSock, remote: Address, port: int) -> None:
        """Set the peer of `sock`: it receives from there alone.

        Raises:
            OSError: ENETUNREACH, EACCES (a broadcast address without SO_BROADCAST), EAGAIN (no
                port is free).
        """
        local = self._source(sock, remote, None)
        if not any(remote):  # As on Linux: this host itself.
            remote = local
        self._check_remote(sock, remote)
        self.bind_automatically(sock)
        self.ports.connect(sock, local, remote, port)

    def disconnect(self, sock: UdpSock) -> None:
        """Forget the peer of `sock` (connect to AF_UNSPEC)."""
        if sock.remote is not None:
            self.ports.disconnect(sock)

    def close(self, sock: UdpSock) -> None:
        """Release the port of `sock`, and what it has received."""
        sock.changed = None
        self._sockets.discard(sock)
        self.ports.remove(sock)
        self._budget.add(-sock.queue.clear())
        sock.errors.clear()

    def bind_automatically(self, sock: UdpSock) -> None:
        """Give `sock` a port if it has none; raises OSError (EAGAIN): none is free."""
        if not sock.port:
            try:
                self.ports.bind(sock, sock.local, 0)
            except OSError:
                raise os_error(errno.EAGAIN) from None

    def _source(self, sock: UdpSock, remote: Address, source: Address | None) -> Address:
        if source is not None and any(source):
            if source not in self._addresses.local or len(source) != len(remote):
                raise os_error(errno.EINVAL)
            return source
        if sock.local is not None and any(sock.local):
            if len(sock.local) != len(remote):
                raise os_error(errno.ENETUNREACH)
            return sock.local
        return self._addresses.source_for(remote)

    def _check_remote(self, sock: UdpSock, remote: Address) -> None:
        broadcasts = self._addresses.broadcasts
        if ip_address.is_valid_remote(remote, broadcasts):
            return
        if not ip_address.is_broadcast(remote, broadcasts):
            raise os_error(errno.ENETUNREACH)
        if not sock.broadcast:
            raise os_error(errno.EACCES)

    # Out

    def route(
        self,
        sock: UdpSock,
        remote: Address,
        port: int,
        *,
        source: Address | None = None,
        ttl: int | None = None,
        tos: int | None = None,
    ) -> Route:
        """Prepare sending from `sock` to a destination; it gets a port if it has none.

        What is returned is valid until a name or an option of the socket is changed.

        Args:
            sock: The socket.
            remote: Address; the unspecified one stands for this host, as on Linux.
            port: Port.
            source: Our address, instead of the socket's (IP_PKTINFO).
            ttl: Instead of the socket's.
            tos: Instead of the socket's.

        Raises:
            OSError: EINVAL (port 0, or a source that is not ours), ENETUNREACH, EACCES (a broadcast
                address without SO_BROADCAST), EAGAIN (no port is free).
        """
        if port == 0:
            raise os_error(errno.EINVAL)
        local = self._source(sock, remote, source)
        if not any(remote):
            remote = local
        self._check_remote(sock, remote)
        self.bind_automatically(sock)
        default = (sock.ttl, sock.tos) if len(remote) == 4 else (sock.hop_limit, sock.traffic_class)
        ttl = default[0] if ttl is None else ttl
        tos = default[1] if tos is None else tos
        ports = (sock.port << 16 | port).to_bytes(4, "big")
        discovery = sock.discovery(remote)
        label = self._output.labels.label(local + remote + ports) if len(local) == 16 else 0
        template = lean.template(
            local,
            remote,
            ports,
            offload=self._offload,
            ttl=ttl,
            tos=tos,
            dont_fragment=discovery in SET_DF,
            flow_label=label,
        )
        loops = remote in self._addresses.local
        return Route(
            local,
            remote,
            port,
            template,
            discovery=discovery,
            loops=loops,
            ttl=ttl,
            tos=tos,
            flow_label=label,
        )

    def send(
        self, sock: UdpSock, route: Route, data: Buffer, now: float, segment_size: int = 0
    ) -> None:
        """Send a datagram, or several of `segment_size` octets of data each (UDP_SEGMENT).

        They are appended to `Output.packets`.

        Raises:
            OSError: The pending error; EPIPE after shutdown; EMSGSIZE, it is too long, or must not
                be fragmented; EINVAL, too many segments.
        """
        size = len(data)
        if segment_size and size > segment_size:
            self._send_segments(sock, route, data, segment_size, now)
            return
        if sock.error:
            raise os_error(sock.take_error())
        if sock.send_shut_down:
            raise os_error(errno.EPIPE)
        if size + route.overhead > self._mtu(route):
            self._send_large(sock, route, data, now)
            return
        output = self._output
        self._counters["udp_sent"] += 1
        large = self._large
        if large is not None and output.packets and large.takes(route, size, output.packets[-1]):
            large.add(data)
            return
        identification = 0 if route.sets_df else self._rng.getrandbits(16)
        headers = route.template.headers(data, identification)
        packet: list[Buffer] = [headers + data] if size < _SMALL else [headers, data]
        if route.loops or output.observes_all:
            output.emit(route.remote, packet, now)
        else:
            output.sent += 1
            output.packets.append(packet)
            if self._udp_offload:
                self._large = LargePacket(packet, route, data)

    def _send_segments(
        self, sock: UdpSock, route: Route, data: Buffer, segment_size: int, now: float
    ) -> None:
        if segment_size + route.overhead > self._mtu(route):
            raise os_error(errno.EMSGSIZE)
        if len(data) > segment_size * MOST_SEGMENTS:
            raise os_error(errno.EINVAL)
        if len(data) > route.most:
            raise os_error(errno.EMSGSIZE)
        view = memoryview(data)
        for at in range(0, len(data), segment_size):
            self.send(sock, route, bytes(view[at : at + segment_size]), now)

    def _send_large(self, sock: UdpSock, route: Route, data: Buffer, now: float) -> None:
        """Send a datagram in fragments, if it may be."""
        if len(data) > route.most or not route.may_fragment:
            raise os_error(errno.EMSGSIZE)
        header = encode_udp(route.local, route.remote, sock.port, route.port, data)
        datagram = Datagram(
            route.local,
            route.remote,
            UDP,
            header + data,
            ttl=route.ttl,
            tos=route.tos,
            flow_label=route.flow_label,
        )
        self._output.send_datagram(datagram, now, mtu=self._mtu(route))
        self._counters["udp_sent"] += 1

    def _mtu(self, route: Route) -> int:
        return self._mtus.get(route.remote) if route.knows_path else self._link_mtu
